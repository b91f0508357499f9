/** Stores for tests of the copy engine, and content to put into them. */
import { setImmediate as turn } from 'node:timers/promises';
import { expect } from 'vitest';
import { openerOf } from '../src/model/bytes.ts';
import { type Descriptor, descriptorOf } from '../src/model/descriptor.ts';
import type { Digest } from '../src/model/digest.ts';
import { MediaType } from '../src/model/media-type.ts';
import type { Bytes, OpenBytes, PushResult } from '../src/storage.ts';
import { buildManifest } from '../src/testing/graph.ts';
import { MemoryStore } from '../src/testing/memory-store.ts';
import { graphOf, walk } from '../src/walk.ts';

export const layerType = 'application/vnd.oci.image.layer.v1.tar';

/** A memory store that counts and records what is asked of it, and can be slow. */
export class Recorder extends MemoryStore {
  readonly fetched: Digest[] = [];
  readonly pushed: Digest[] = [];
  busy = 0;
  busiest = 0;

  override async *fetchFrom(descriptor: Descriptor, offset: number, signal?: AbortSignal): Bytes {
    this.fetched.push(descriptor.digest);
    this.busiest = Math.max(this.busiest, ++this.busy);
    try {
      await turn();
      yield* super.fetchFrom(descriptor, offset, signal);
    } finally {
      this.busy--;
    }
  }

  override async push(descriptor: Descriptor, open: OpenBytes, signal?: AbortSignal): Promise<PushResult> {
    const result = await super.push(descriptor, open, signal);
    this.pushed.push(descriptor.digest);
    return result;
  }
}

export async function put(store: MemoryStore, mediaType: string, bytes: Uint8Array): Promise<Descriptor> {
  const descriptor = descriptorOf(mediaType, bytes);
  await store.push(descriptor, openerOf(bytes));
  return descriptor;
}

export async function putManifest(
  store: MemoryStore,
  mediaType: string,
  members: object,
): Promise<Descriptor> {
  const { descriptor, bytes } = buildManifest(mediaType, members);
  await store.push(descriptor, openerOf(bytes));
  return descriptor;
}

export async function putImage(store: MemoryStore, ...layers: readonly string[]): Promise<Descriptor> {
  const config = await put(store, MediaType.ociConfig, Buffer.from('{}'));
  const list = [];
  for (const text of layers) list.push(await put(store, layerType, Buffer.from(text)));
  return putManifest(store, MediaType.ociManifest, { config, layers: list });
}

export async function expectWhole(target: MemoryStore, root: Descriptor): Promise<void> {
  for (const descriptor of (await graphOf(walk(target, [root]))).values()) {
    expect(await target.has(descriptor), `${descriptor.mediaType} ${descriptor.digest}`).toBe(true);
  }
}
