/**
 * The objects of a bucket that exist before or after a store: what HEAD shows of them, and what they are worth. Metadata
 * claims a digest; only bytes that were read back, now or on record, prove it.
 */
import {
  GetObjectCommand,
  type GetObjectCommandOutput,
  HeadObjectCommand,
  type HeadObjectCommandOutput,
} from '@aws-sdk/client-s3';
import type { Bytes } from '@omni-airgap/oci';
import { giveBack, isCoded, settleAll } from '@omni-airgap/oci/base';
import { bytesOf, type Digest, digestFromHex, Hasher, isHex64 } from '@omni-airgap/oci/model';
import pLimit from 'p-limit';
import type { ReadBackMode, WantedObject } from './object-sink.ts';
import type { ObjectVersion, ReadBacks } from './read-backs.ts';
import { abort, type S3Connection } from './s3-connection.ts';
import { lookRights } from './s3-preflight.ts';
import { AnswerBody } from './s3-request-handler.ts';

/** Names the digest in an object's metadata. */
export const digestMetadata = 'sha256';
const lookupsAtOnce = 16;

/** An existing object, as HEAD shows it. */
export interface Existing extends ObjectVersion {
  /** From its metadata, which was set when its upload began. */
  readonly digest: Digest | undefined;
  /** What keeps it from being replaced: `governance retention until 2027-01-01T00:00:00Z`, `a legal hold`. */
  readonly lock: string | undefined;
}

/** What an existing object is worth. `wrong`: its metadata names this content, and its bytes are others. */
export type Verdict =
  | { readonly kind: 'absent' | 'other' | 'right' }
  | { readonly kind: 'wrong'; readonly digest: Digest; readonly lock: string | undefined };

export class ExistingObjects {
  readonly #connection: S3Connection;
  readonly #readBacks: ReadBacks;
  readonly #mode: ReadBackMode;

  constructor(connection: S3Connection, readBacks: ReadBacks, mode: ReadBackMode) {
    this.#connection = connection;
    this.#readBacks = readBacks;
    this.#mode = mode;
  }

  /** @throws as lookAt */
  look(key: string, signal?: AbortSignal): Promise<Existing | undefined> {
    return lookAt(this.#connection, key, signal);
  }

  /** Those that would be read back before they count. @throws as look */
  async unproven(objects: readonly WantedObject[], signal?: AbortSignal): Promise<readonly WantedObject[]> {
    if (this.#mode === 'never') return [];
    const limit = pLimit(lookupsAtOnce);
    const found = await settleAll(
      objects.map((object) =>
        limit(async () => {
          const there = await this.look(object.key, signal);
          const isClaimed = there !== undefined && mayBe(there, object);
          return isClaimed && !(await this.#isProven(there, object)) ? [object] : [];
        }),
      ),
    );
    return found.flat();
  }

  /** What the object is worth; it is read when nothing else tells. @throws as look */
  async judge(object: WantedObject, signal?: AbortSignal): Promise<Verdict> {
    const there = await this.look(object.key, signal);
    if (there === undefined) return { kind: 'absent' };
    if (!mayBe(there, object)) return { kind: 'other' };
    if (await this.#isProven(there, object)) return { kind: 'right' };
    const { digest } = object.descriptor;
    if (this.#mode === 'never') return { kind: 'other' };
    const read = await this.readBack(object.key, signal);
    if (read.digest === digest) {
      await this.#readBacks.add(read.version, digest);
      return { kind: 'right' };
    }
    return there.digest === undefined
      ? { kind: 'other' }
      : { kind: 'wrong', digest: read.digest, lock: there.lock };
  }

  /** Remembers that these bytes were read back. @throws DISK */
  record(version: ObjectVersion, digest: Digest): Promise<void> {
    return this.#readBacks.add(version, digest);
  }

  /** The object as a reader will get it, hashed. A transfer that breaks off begins again. */
  readBack(
    key: string,
    signal?: AbortSignal,
  ): Promise<{ readonly digest: Digest; readonly version: ObjectVersion }> {
    const { client } = this.#connection;
    return this.#connection.retrying(key, 's3:GetObject', signal, async () => {
      const answer = await client.send(new GetObjectCommand(this.#connection.at(key)), abort(signal));
      const hasher = new Hasher();
      for await (const chunk of bodyOf(answer)) {
        hasher.update(chunk);
        giveBack(chunk);
      }
      const version = { key, size: hasher.size, etag: answer.ETag, versionId: answer.VersionId };
      return { digest: hasher.finish(), version };
    });
  }

  /** Whether no read-back is needed to take this object for the wanted one. */
  async #isProven(there: Existing, { descriptor }: WantedObject): Promise<boolean> {
    if (this.#mode === 'always') return false;
    if (this.#mode === 'never') return there.digest === descriptor.digest;
    return this.#readBacks.has(there, descriptor.digest);
  }
}

/** What HEAD shows; undefined when the object does not exist. @throws DENIED, NETWORK, UPSTREAM */
export async function lookAt(
  connection: S3Connection,
  key: string,
  signal?: AbortSignal,
): Promise<Existing | undefined> {
  try {
    const answer = await connection.retrying(key, lookRights, signal, () =>
      connection.client.send(new HeadObjectCommand(connection.at(key)), abort(signal)),
    );
    const hex = answer.Metadata?.[digestMetadata];
    return {
      key,
      size: answer.ContentLength ?? 0,
      digest: hex !== undefined && isHex64(hex) ? digestFromHex(hex) : undefined,
      etag: answer.ETag,
      versionId: answer.VersionId,
      lock: lockOf(answer),
    };
  } catch (error) {
    if (isCoded(error, 'NOT_FOUND')) return undefined;
    throw error;
  }
}

/** Whether the object can be the wanted one, by its size and what its metadata says. */
export function mayBe({ size, digest }: Existing, { descriptor }: WantedObject): boolean {
  return size === descriptor.size && (digest === undefined || digest === descriptor.digest);
}

/** Source: Amazon S3 API Reference, HeadObject: shown to those who have s3:GetObjectRetention, s3:GetObjectLegalHold. */
function lockOf(answer: HeadObjectCommandOutput): string | undefined {
  if (answer.ObjectLockLegalHoldStatus === 'ON') return 'a legal hold';
  const until = answer.ObjectLockRetainUntilDate;
  if (answer.ObjectLockMode === undefined || until === undefined || until.getTime() < Date.now()) {
    return undefined;
  }
  return `${answer.ObjectLockMode.toLowerCase()} retention until ${until.toISOString()}`;
}

/** The bytes of an answer. */
export function bodyOf({ Body: body }: GetObjectCommandOutput): Bytes {
  if (body === undefined) return bytesOf(new Uint8Array(0));
  return body instanceof AnswerBody ? body.bytes : (body as unknown as Bytes);
}
