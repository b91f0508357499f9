/**
 * copyGraph: everything a manifest points at, from one place to another, children before parents. The one
 * engine under fetch, load and the rest.
 *
 * It always descends into manifests, also into those the target already has: a copy that was interrupted may
 * have left a manifest without its children (oras-go#1211). Only leaf blobs are skipped when they are there.
 * Blobs of all roots go through one queue, the largest first; a manifest's task never holds a slot while it
 * waits for its children, so no bound can dead-lock.
 */

import { CodedError, isCoded } from './base/errors.ts';
import { settleAll, WorkQueue } from './base/tasks.ts';
import { openerOf } from './model/bytes.ts';
import type { Descriptor } from './model/descriptor.ts';
import type { Digest } from './model/digest.ts';
import { childrenOf, fetchManifest } from './model/manifest.ts';
import { isIndexType, isManifestType } from './model/media-type.ts';
import {
  type Fetcher,
  isMounter,
  isRangeFetcher,
  type Mounter,
  type OpenBytes,
  type PushResult,
  type Storage,
} from './storage.ts';
import { contentKey, GraphBounds, type SelectChild } from './walk.ts';

/** What a copier reports while it works. */
export type CopyEvent =
  /** Content is part of what is copied; sent once per target (for an index, once per way of selecting). */
  | { readonly kind: 'found'; readonly descriptor: Descriptor }
  /** Bytes of a blob have passed; `from` as in the options of the copy. */
  | {
      readonly kind: 'bytes';
      readonly descriptor: Descriptor;
      readonly bytes: number;
      readonly from: string | undefined;
    }
  /** A manifest has been read, or cannot be: all that it points at has been found. */
  | { readonly kind: 'read'; readonly descriptor: Descriptor }
  /** What was received broke off or was wrong, and is tried again. */
  | { readonly kind: 'retry'; readonly descriptor: Descriptor; readonly error: CodedError }
  | { readonly kind: 'done'; readonly descriptor: Descriptor; readonly result: CopyResult };

/** How content came to be at the target. */
export type CopyResult = 'stored' | 'present' | 'mounted';

/** As WorkQueue, or Transfers, for which it makes a difference where a blob comes from. */
export interface BlobQueue {
  run<T>(weight: number, task: () => Promise<T>, from?: string): Promise<T>;
}

export interface CopierOptions {
  /**
   * Blobs on their way at once, or the queue they share with other transfers. Default 8: enough to fill a line, few
   * enough for any registry.
   */
  readonly blobs?: number | BlobQueue | undefined;
  /** Manifests on their way at once. Default 16: they are small, and latency is all they cost. */
  readonly manifests?: number;
  /** Of the blobs that wait, the one with the greatest weight goes next. Default: its size in bytes. */
  readonly weight?: (blob: Descriptor) => number;
  readonly onEvent?: (event: CopyEvent) => void;
  readonly signal?: AbortSignal | undefined;
}

export interface CopyOptions {
  /** Which children of an index to copy. Default: all. */
  readonly select?: SelectChild;
  /** Host that the content comes from, for a queue that bounds transfers for each host. */
  readonly from?: string;
}

/**
 * Copies graphs of content between stores. One copier shares its queue, and what it learned about its targets, over
 * all its copies: each blob is transferred once per target, and mounted from a sibling repository where possible.
 */
export class Copier {
  readonly #blobs: BlobQueue;
  readonly #manifests: WorkQueue;
  readonly #weight: (blob: Descriptor) => number;
  readonly #onEvent: (event: CopyEvent) => void;
  readonly #signal: AbortSignal | undefined;
  /** Per target: what is there or under way. */
  readonly #tasks = new WeakMap<object, Map<string, Promise<void>>>();
  /** Numbers for ways of selecting. */
  readonly #selections: CopyOptions['select'][] = [];
  /** Per registry: blobs that one of its repositories has or is getting, and which repository. */
  readonly #mounts = new Map<string, Map<Digest, { readonly path: string; readonly there: Promise<void> }>>();

  constructor(options: CopierOptions = {}) {
    const { blobs = 8 } = options;
    this.#blobs = typeof blobs === 'number' ? new WorkQueue(blobs) : blobs;
    this.#manifests = new WorkQueue(options.manifests ?? 16);
    this.#weight = options.weight ?? ((blob) => blob.size);
    this.#onEvent = options.onEvent ?? (() => {});
    this.#signal = options.signal;
  }

  /**
   * Copies `root` and all it points at. Everything that can be copied is, also when a part fails; the first
   * failure is then thrown, and no manifest is pushed whose children are not all there.
   * @throws DIGEST_MISMATCH, BAD_DOCUMENT, and the errors of source and target
   */
  async copy(source: Fetcher, target: Storage, root: Descriptor, options: CopyOptions = {}): Promise<void> {
    const bounds = new GraphBounds(root);
    const seen = new Set<string>();
    const visit = async (descriptor: Descriptor, depth: number): Promise<void> => {
      const key = contentKey(descriptor);
      if (!seen.has(key)) bounds.countOne();
      seen.add(key);
      bounds.checkNesting(depth, isIndexType(descriptor.mediaType) ? 1 : 0);
      if (!isManifestType(descriptor.mediaType)) {
        return this.#once(target, descriptor, key, () =>
          this.#copyBlob(source, target, descriptor, options.from),
        );
      }
      // An index that was copied in part is not there for one who wants all of it.
      const way = isIndexType(descriptor.mediaType) ? ` ${this.#numberOf(options.select)}` : '';
      return this.#once(target, descriptor, `${key}${way}`, async () => {
        let bytes: Uint8Array;
        let visits: readonly Promise<void>[];
        try {
          const read = await this.#manifests.run(0, () => this.#readManifest(source, descriptor));
          bytes = read.bytes;
          const children: Descriptor[] = [];
          for (const child of childrenOf(read.manifest)) {
            if (read.manifest.kind === 'image' || ((await options.select?.(child, descriptor)) ?? true))
              children.push(child);
          }
          visits = children.map((child) => visit(child, depth + 1));
        } finally {
          this.#onEvent({ kind: 'read', descriptor });
        }
        await settleAll(visits);
        const result = await this.#manifests.run(0, () => {
          this.#signal?.throwIfAborted();
          return target.push(descriptor, openerOf(bytes), this.#signal);
        });
        this.#onEvent({ kind: 'done', descriptor, result });
      });
    };
    await visit(root, 0);
  }

  /** Says that a repository of a registry has a blob, so that its siblings take it from there. */
  offer(registry: string, path: string, digest: Digest): void {
    const places = this.#placesOf(registry);
    if (!places.has(digest)) places.set(digest, { path, there: Promise.resolve() });
  }

  /** Runs the task unless the target has the content, or another task is just bringing it. */
  #once(target: object, descriptor: Descriptor, key: string, task: () => Promise<void>): Promise<void> {
    let tasks = this.#tasks.get(target);
    if (tasks === undefined) {
      tasks = new Map();
      this.#tasks.set(target, tasks);
    }
    const running = tasks.get(key);
    if (running !== undefined) return running;
    this.#onEvent({ kind: 'found', descriptor });
    const started = task();
    tasks.set(key, started);
    // A failed one may be tried again by a later root.
    started.catch(() => tasks.delete(key));
    return started;
  }

  #numberOf(select: CopyOptions['select']): number {
    const known = this.#selections.indexOf(select);
    return known < 0 ? this.#selections.push(select) - 1 : known;
  }

  async #copyBlob(source: Fetcher, target: Storage, descriptor: Descriptor, from?: string): Promise<void> {
    try {
      const result = isMounter(target)
        ? await this.#mountOrPush(source, target, descriptor, from)
        : await this.#pushBlob(source, target, descriptor, from);
      this.#onEvent({ kind: 'done', descriptor, result });
    } catch (error) {
      throw descriptor.urls === undefined ? error : withoutForeign(error, descriptor);
    }
  }

  /** A sibling repository that has the blob, or is about to, spares sending it again. */
  async #mountOrPush(
    source: Fetcher,
    target: Storage & Mounter,
    descriptor: Descriptor,
    from: string | undefined,
  ): Promise<CopyResult> {
    const places = this.#placesOf(target.registry);
    const place = places.get(descriptor.digest);
    if (place !== undefined && place.path !== target.path && (await succeeds(place.there))) {
      const mounted = await this.#blobs.run(0, async () => {
        if (await target.has(descriptor, this.#signal)) return 'present';
        return (await target.mount(descriptor, place.path, this.#signal)) ? 'mounted' : undefined;
      });
      return mounted ?? this.#pushBlob(source, target, descriptor, from);
    }
    const pushing = this.#pushBlob(source, target, descriptor, from);
    const there = pushing.then(() => {});
    there.catch(() => {});
    places.set(descriptor.digest, { path: target.path, there });
    return pushing;
  }

  #placesOf(registry: string): Map<Digest, { readonly path: string; readonly there: Promise<void> }> {
    let places = this.#mounts.get(registry);
    if (places === undefined) {
      places = new Map();
      this.#mounts.set(registry, places);
    }
    return places;
  }

  #pushBlob(source: Fetcher, target: Storage, descriptor: Descriptor, from?: string): Promise<CopyResult> {
    const push = (): Promise<PushResult> => {
      this.#signal?.throwIfAborted();
      return target.push(descriptor, this.#opener(source, descriptor, from), this.#signal);
    };
    return this.#blobs.run(this.#weight(descriptor), () => this.#retryWrongBytes(descriptor, push), from);
  }

  async #readManifest(source: Fetcher, descriptor: Descriptor): ReturnType<typeof fetchManifest> {
    return this.#retryWrongBytes(descriptor, () => {
      this.#signal?.throwIfAborted();
      return fetchManifest(source, descriptor, this.#signal);
    });
  }

  /** Bytes that were damaged once on their way deserve a second try; twice is the sender. */
  async #retryWrongBytes<T>(descriptor: Descriptor, run: () => Promise<T>): Promise<T> {
    try {
      return await run();
    } catch (error) {
      if (!isCoded(error, 'DIGEST_MISMATCH')) throw error;
      this.#onEvent({ kind: 'retry', descriptor, error });
      return run();
    }
  }

  /** Unverified: every Pusher checks what it stores, and bytes are hashed once. */
  #opener(source: Fetcher, descriptor: Descriptor, from: string | undefined): OpenBytes {
    return (offset = 0) => {
      const bytes =
        offset === 0
          ? source.fetch(descriptor, this.#signal)
          : isRangeFetcher(source)
            ? source.fetchFrom(descriptor, offset, this.#signal)
            : skip(source.fetch(descriptor, this.#signal), offset);
      return this.#counted(bytes, descriptor, from);
    };
  }

  async *#counted(
    bytes: AsyncIterable<Uint8Array>,
    descriptor: Descriptor,
    from: string | undefined,
  ): AsyncIterable<Uint8Array> {
    for await (const chunk of bytes) {
      this.#onEvent({ kind: 'bytes', descriptor, bytes: chunk.byteLength, from });
      yield chunk;
    }
  }
}

/** One root with a copier of its own; see Copier.copy. */
export function copyGraph(
  source: Fetcher,
  target: Storage,
  root: Descriptor,
  options: CopierOptions & CopyOptions = {},
): Promise<void> {
  return new Copier(options).copy(source, target, root, options);
}

/** A layer that was published elsewhere need not be in the registry (Windows images of old). */
function withoutForeign(error: unknown, descriptor: Descriptor): unknown {
  if (!isCoded(error, 'NOT_FOUND')) return error;
  return new CodedError(
    'NOT_FOUND',
    `layer ${descriptor.digest} is not in the registry, only behind urls of its own (a foreign layer), which are never followed; leave out the image, or its platform with platforms in mirror.yaml`,
    { cause: error, descriptor, status: error.status },
  );
}

function succeeds(task: Promise<void>): Promise<boolean> {
  return task.then(
    () => true,
    () => false,
  );
}

async function* skip(bytes: AsyncIterable<Uint8Array>, offset: number): AsyncIterable<Uint8Array> {
  let left = offset;
  for await (const chunk of bytes) {
    if (left >= chunk.byteLength) {
      left -= chunk.byteLength;
      continue;
    }
    yield left === 0 ? chunk : chunk.subarray(left);
    left = 0;
  }
}
