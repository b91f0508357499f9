/** A target in memory. */

import { CodedError } from '../base/errors.ts';
import { bytesOf, collect, verified } from '../model/bytes.ts';
import { type Descriptor, plain } from '../model/descriptor.ts';
import type { Digest } from '../model/digest.ts';
import type { Bytes, NameLister, OpenBytes, PushResult, RangeFetcher, Target } from '../storage.ts';

/** Far above what anybody should keep in memory. */
const maxBytes = 64 * 1024 * 1024;

/** A store in memory that checks digests as every store must. */
export class MemoryStore implements Target, RangeFetcher, NameLister {
  readonly #blobs = new Map<Digest, Uint8Array>();
  readonly #names = new Map<string, Descriptor>();

  async has(descriptor: Descriptor): Promise<boolean> {
    return this.#blobs.get(descriptor.digest)?.byteLength === descriptor.size;
  }

  fetch(descriptor: Descriptor, signal?: AbortSignal): Bytes {
    return this.fetchFrom(descriptor, 0, signal);
  }

  async *fetchFrom(descriptor: Descriptor, offset: number, signal?: AbortSignal): Bytes {
    signal?.throwIfAborted();
    const bytes = this.#blobs.get(descriptor.digest);
    if (bytes === undefined) {
      throw new CodedError('MISSING_CONTENT', `${descriptor.digest}: not in memory`, { descriptor });
    }
    yield* bytesOf(bytes.subarray(offset));
  }

  async push(descriptor: Descriptor, open: OpenBytes, signal?: AbortSignal): Promise<PushResult> {
    signal?.throwIfAborted();
    if (await this.has(descriptor)) return 'present';
    const bytes = await collect(verified(open(), descriptor), maxBytes, descriptor.digest);
    signal?.throwIfAborted();
    this.#blobs.set(descriptor.digest, bytes);
    return 'stored';
  }

  async resolve(name: string): Promise<Descriptor | undefined> {
    return this.#names.get(name);
  }

  async tag(descriptor: Descriptor, name: string): Promise<void> {
    if (!(await this.has(descriptor))) {
      throw new CodedError('MISSING_CONTENT', `${descriptor.digest}: cannot be named before it is there`, {
        descriptor,
      });
    }
    this.#names.set(name, plain(descriptor));
  }

  async *names(): AsyncIterable<readonly [string, Descriptor]> {
    yield* [...this.#names].sort(([a], [b]) => (a < b ? -1 : 1));
  }
}
