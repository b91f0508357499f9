/**
 * What a place that holds content can do: small interfaces, composed. A function asks for the least it
 * needs; a store offers what it has. Optional abilities have a guard beside them.
 *
 * Bytes are async iterables; a chunk belongs to its consumer (a producer reuses a buffer that it has handed
 * out only when the consumer gives it back, `giveBack`). Every call takes an AbortSignal and rejects with a CodedError.
 */
import type { Descriptor } from './model/descriptor.ts';
import type { Digest } from './model/digest.ts';

/** Chunks of content in order; a chunk belongs to its consumer. */
export type Bytes = AsyncIterable<Uint8Array>;

/** Opens the same bytes again, from `offset` on (0 when left out): a push may have to start again. */
export type OpenBytes = (offset?: number) => Bytes;

/** A store that gives out content by descriptor. */
export interface Fetcher {
  /**
   * The bytes of `descriptor`, unverified unless the store says otherwise: wrap in `verified()`.
   * Errors (while iterating too): MISSING_CONTENT or NOT_FOUND when it is not there, NETWORK, UPSTREAM, DISK.
   */
  fetch(descriptor: Descriptor, signal?: AbortSignal): Bytes;
}

/** A store that can resume within a blob. */
export interface RangeFetcher {
  /** Like fetch, from byte `offset` on. */
  fetchFrom(descriptor: Descriptor, offset: number, signal?: AbortSignal): Bytes;
}

/** A store that knows what it holds. */
export interface Presence {
  /** True when content of this digest and size is there. Never a guess: errors are thrown. */
  has(descriptor: Descriptor, signal?: AbortSignal): Promise<boolean>;
}

/** A store with names. */
export interface Resolver {
  /** The descriptor that a name stands for; undefined only when the name definitely does not exist. */
  resolve(name: string, signal?: AbortSignal): Promise<Descriptor | undefined>;
}

/** Whether a push moved bytes, or the store had the content. */
export type PushResult = 'stored' | 'present';

export interface Pusher {
  /**
   * Stores the bytes under the descriptor; nothing is visible before digest and size are right.
   * `open` may be called several times and with an offset.
   * Errors: DIGEST_MISMATCH, plus those of the store.
   */
  push(descriptor: Descriptor, open: OpenBytes, signal?: AbortSignal): Promise<PushResult>;
}

/** A store whose names can be set. */
export interface Tagger {
  /** Lets `name` stand for the descriptor, replacing what it stood for. The content must be there. */
  tag(descriptor: Descriptor, name: string, signal?: AbortSignal): Promise<void>;
}

/** A store whose names can be listed. */
export interface NameLister {
  /** All names, in byte order. */
  names(signal?: AbortSignal): AsyncIterable<readonly [name: string, descriptor: Descriptor]>;
}

/** The source of a copy that can also be asked for presence. */
export interface ReadOnlyStorage extends Fetcher, Presence {}
/** The target of a copy. */
export interface Storage extends ReadOnlyStorage, Pusher {}
export interface Target extends Storage, Resolver, Tagger {}

/** A run of bytes in a file. */
export interface Piece {
  readonly path: string;
  readonly offset: number;
  readonly size: number;
}

/** A store whose content lies in files: readers may read them with their own buffers. */
export interface Located {
  /** Where the content lies, in order (several pieces for a blob cut over volumes); undefined when absent. */
  locate(descriptor: Pick<Descriptor, 'digest' | 'size'>): Promise<readonly Piece[] | undefined>;
}

/** A repository that takes blobs over from its siblings. Source: distribution-spec v1.1.1 spec.md#mounting-a-blob. */
export interface Mounter {
  /** The registry and the repository in it: siblings are those of the same registry. */
  readonly registry: string;
  readonly path: string;
  /** Takes the blob from a sibling repository of the same registry without moving it. False: push instead. */
  mount(descriptor: Descriptor, fromRepository: string, signal?: AbortSignal): Promise<boolean>;
}

export interface ReferrerLister {
  /** Manifests whose subject is `digest`. An empty list means that there definitely are none. */
  referrers(digest: Digest, signal?: AbortSignal): Promise<readonly Descriptor[]>;
}

const can = (store: object, method: string): boolean =>
  typeof (store as Readonly<Record<string, unknown>>)[method] === 'function';

export const isRangeFetcher = (store: object): store is RangeFetcher => can(store, 'fetchFrom');
export const isLocated = (store: object): store is Located => can(store, 'locate');
export const isMounter = (store: object): store is Mounter => can(store, 'mount');
