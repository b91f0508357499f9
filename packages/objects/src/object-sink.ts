/** A place for files by key: a bucket, or a folder behind a web server. No registry: no repositories, no tags. */

import { randomBytes } from 'node:crypto';
import type { Bytes, Piece } from '@omni-airgap/oci';
import { CodedError, printable } from '@omni-airgap/oci/base';
import type { Descriptor, Digest } from '@omni-airgap/oci/model';

export interface ObjectInfo {
  /** Bytes. */
  readonly size: number;
  /** What the place says without a proof; undefined when it says nothing. */
  readonly digest: Digest | undefined;
}

/**
 * How much is read back. `once`: whatever no read-back is on record for. `always`: everything. `never`: nothing; an
 * object is taken for what its metadata says.
 */
export type ReadBackMode = 'once' | 'always' | 'never';

/** Where the bytes of a new object are. */
type ObjectContent =
  | { readonly kind: 'pieces'; readonly pieces: readonly Piece[] }
  | { readonly kind: 'bytes'; readonly bytes: Uint8Array }
  /** Under another key of the same place. */
  | { readonly kind: 'object'; readonly key: string };

export interface NewObject {
  readonly key: string;
  readonly descriptor: Pick<Descriptor, 'digest' | 'size'>;
  readonly contentType: string;
  /** The name a browser saves it under. */
  readonly fileName?: string | undefined;
  readonly content: ObjectContent;
}

/** A kind of request that load makes, tried. */
export interface ProbeStep {
  /** `write`, `copy`, `list unfinished uploads`. */
  readonly what: string;
  /** `note`: load works without it. */
  readonly state: 'ok' | 'note' | 'failed';
  readonly detail: string;
  /** Why it failed. */
  readonly error?: CodedError;
}

/** An upload that was begun some time and never finished: it takes space and is nowhere to be seen. */
export interface StaleUpload {
  readonly key: string;
  readonly startedAt: string;
}

/** An object by its key and the content that it should have. */
export type WantedObject = Pick<NewObject, 'key' | 'descriptor'>;

/** The place has no room for more: its disk is full, or a quota is used up. Nothing else will fit either. */
export class StorageFull extends CodedError {}

export interface ObjectSink {
  /** How people name the place: `s3://bucket/prefix`, `file:///srv/media`. */
  readonly url: string;
  /** Undefined only when there definitely is no such object. */
  head(key: string, signal?: AbortSignal): Promise<ObjectInfo | undefined>;
  /** Whether the object is there with this content, by its bytes and not by what the place says of them. */
  holds(object: WantedObject, signal?: AbortSignal): Promise<boolean>;
  /** Which of these objects seem to be there and would be read back to be sure; a folder always reads. */
  unproven?(objects: readonly WantedObject[], signal?: AbortSignal): Promise<readonly WantedObject[]>;
  /** The bytes of an object that is there. */
  get(key: string, signal?: AbortSignal): Bytes;
  /**
   * Stores an object, replacing another one under its key; whole and right, or not at all.
   * @throws DIGEST_MISMATCH when the content is not what the descriptor says, or the place keeps other bytes than it
   * was given; DISK, DENIED, UPSTREAM, NETWORK
   */
  put(
    object: NewObject,
    onBytes: (bytes: number) => void,
    signal?: AbortSignal,
  ): Promise<'stored' | 'present'>;
  /** Removes an object; nothing happens when there is none. @throws DISK, DENIED, UPSTREAM, NETWORK */
  remove(key: string, signal?: AbortSignal): Promise<void>;
  /** Whether objects of these sizes will fit; only a folder knows. @throws DISK when they do not */
  requireRoom?(objects: readonly { readonly key: string; readonly size: number }[]): Promise<void>;
  /**
   * Makes each kind of request that load makes, with a few bytes under a key of its own that is removed again.
   * @param copies whether copies inside the place are needed, as increments do
   * @throws NETWORK, ABORTED; refusals are steps
   */
  preflight(copies: boolean, signal?: AbortSignal): Promise<readonly ProbeStep[]>;
  /** Unfinished uploads of others, below the prefix; none where they cannot be listed. */
  staleUploads(signal?: AbortSignal): Promise<readonly StaleUpload[]>;
  close(): Promise<void>;
}

const segmentPattern = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,199}$/;

/** @returns the key itself @throws BAD_NAME */
export function checkObjectKey(key: string): string {
  if (key.length > 900 || !key.split('/').every((segment) => segmentPattern.test(segment))) {
    throw new CodedError('BAD_NAME', `not an object key: ${printable(key)}`);
  }
  return key;
}

/** A key for a probe, another one each time: several loads may probe one place at once. */
export function probeKey(): string {
  return `omni-airgap-probe-${randomBytes(4).toString('hex')}`;
}
