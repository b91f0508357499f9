/**
 * Objects in an S3 bucket. Each is read back once and hashed, since stores exist that answer 200 and keep something
 * else; after that its ETag and version tell that it is still the same. An existing object without a read-back on
 * record is read before it counts.
 */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import {
  CopyObjectCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  PutObjectCommand,
} from '@aws-sdk/client-s3';
import type { Bytes, Piece } from '@omni-airgap/oci';
import { CodedError, formatBytes, isCoded } from '@omni-airgap/oci/base';
import { readInto } from '@omni-airgap/oci/fs';
import type { HttpGate } from '@omni-airgap/oci/http';
import { checkFinished, type Digest, Hasher, hexOf } from '@omni-airgap/oci/model';
import pLimit from 'p-limit';
import type {
  NewObject,
  ObjectInfo,
  ObjectSink,
  ProbeStep,
  ReadBackMode,
  StaleUpload,
  WantedObject,
} from './object-sink.ts';
import { PartBuffers } from './part-buffers.ts';
import { ReadBacks } from './read-backs.ts';
import { abort, S3Connection, withPayload } from './s3-connection.ts';
import { bodyOf, digestMetadata, ExistingObjects, mayBe } from './s3-existing.ts';
import { copyInParts, isTooLarge, minPartSize, putInParts } from './s3-multipart.ts';
import { copyRights, listUploads, probeBucket, probePayload } from './s3-preflight.ts';
import type { S3Settings } from './s3-settings.ts';

/** Source: Amazon S3 API Reference, CopyObject: larger objects are copied in parts. */
const maxCopyBytes = 5 * 1024 ** 3;
/** Objects above this go up in parts of this size: large enough that a part's own requests hardly count. */
const defaultPartSize = 16 * 1024 * 1024;
/** Parts and small objects on their way, of all objects together. */
const partsAtOnce = 3;

export interface SinkOptions {
  /** Bytes; objects above it go up in parts. Default 16 MiB. */
  readonly partSize?: number;
  /** Bytes; objects above it are copied in parts. Default 5 GiB, the most that CopyObject takes. */
  readonly maxCopySize?: number;
  /** Default `once`. */
  readonly readBack?: ReadBackMode;
  /** Told what an operator should know and nothing fails for. */
  readonly note?: ((text: string) => void) | undefined;
}

export class S3Sink implements ObjectSink {
  readonly url: string;
  readonly #connection: S3Connection;
  readonly #journals: string;
  readonly #buffers = new PartBuffers(partsAtOnce);
  /** One large object goes up at a time, in several parts; the ones before it are read back meanwhile. */
  readonly #inTurn = pLimit(1);
  /** Bytes; gets smaller when something on the way does not take bodies of this size. */
  #partSize: number;
  readonly #maxCopySize: number;
  readonly #mode: ReadBackMode;
  readonly #existing: ExistingObjects;
  readonly #note: (text: string) => void;
  #md5: Promise<boolean> | undefined;

  /** @param state folder for what this host knows of the bucket */
  constructor(gate: HttpGate, settings: S3Settings, state: string, options: SinkOptions = {}) {
    this.#partSize = options.partSize ?? defaultPartSize;
    this.#maxCopySize = options.maxCopySize ?? maxCopyBytes;
    this.#mode = options.readBack ?? 'once';
    this.#note = options.note ?? (() => {});
    this.#connection = new S3Connection(gate, settings);
    this.#journals = join(state, 'uploads');
    const { href } = settings.endpoint;
    const readBacks = new ReadBacks(join(state, 'read-back'), `${href} ${this.#connection.url}`);
    this.#existing = new ExistingObjects(this.#connection, readBacks, this.#mode);
    this.url = this.#connection.url;
  }

  head(key: string, signal?: AbortSignal): Promise<ObjectInfo | undefined> {
    return this.#existing.look(key, signal);
  }

  async holds(object: WantedObject, signal?: AbortSignal): Promise<boolean> {
    const verdict = await this.#existing.judge(object, signal);
    if (verdict.kind === 'wrong') this.#note(wrongBytes(`${this.url}/${object.key}`, object, verdict.digest));
    return verdict.kind === 'right';
  }

  async unproven(objects: readonly WantedObject[], signal?: AbortSignal): Promise<readonly WantedObject[]> {
    return this.#existing.unproven(objects, signal);
  }

  async *get(key: string, signal?: AbortSignal): Bytes {
    const { client } = this.#connection;
    const answer = await this.#connection.retrying(key, 's3:GetObject', signal, () =>
      client.send(new GetObjectCommand(this.#connection.at(key)), abort(signal)),
    );
    yield* bodyOf(answer);
  }

  async put(
    object: NewObject,
    onBytes: (bytes: number) => void,
    signal?: AbortSignal,
  ): Promise<'stored' | 'present'> {
    const { content } = object;
    const before = await this.#existing.judge(object, signal);
    if (before.kind === 'right') return 'present';
    if (before.kind === 'wrong') this.#sendAgain(object, before);
    if (content.kind === 'object') await this.#copy(object, content.key, signal);
    else await this.#send(object, onBytes, signal);
    await this.#prove(object, signal);
    return 'stored';
  }

  async remove(key: string, signal?: AbortSignal): Promise<void> {
    const { client } = this.#connection;
    await this.#connection.retrying(key, 's3:DeleteObject', signal, () =>
      client.send(new DeleteObjectCommand(this.#connection.at(key)), abort(signal)),
    );
  }

  async preflight(copies: boolean, signal?: AbortSignal): Promise<readonly ProbeStep[]> {
    const { steps, md5 } = await probeBucket(this.#connection, copies, signal);
    if (md5 !== undefined) this.#md5 = Promise.resolve(md5);
    return steps;
  }

  async staleUploads(signal?: AbortSignal): Promise<readonly StaleUpload[]> {
    try {
      const { Uploads: uploads = [] } = await listUploads(this.#connection, signal);
      return uploads.map(({ Key = '', Initiated }) => ({
        key: Key,
        startedAt: Initiated?.toISOString() ?? 'unknown',
      }));
    } catch (error) {
      // Only somebody's tidiness depends on it.
      if (isCoded(error, 'DENIED', 'UPSTREAM', 'NOT_FOUND', 'NETWORK')) return [];
      throw error;
    }
  }

  async close(): Promise<void> {
    this.#connection.client.destroy();
  }

  /** @throws DIGEST_MISMATCH for an object that nobody may replace */
  #sendAgain(
    object: NewObject,
    { digest, lock }: { readonly digest: Digest; readonly lock: string | undefined },
  ) {
    const what = wrongBytes(`${this.url}/${object.key}`, object, digest);
    if (lock === undefined) return this.#note(`${what}; load stores the object again`);
    throw new CodedError(
      'DIGEST_MISMATCH',
      `${what}; ${lock} keeps it from being replaced: release it, or load into another prefix`,
    );
  }

  /** After a store: what a reader gets is what was sent. @throws DIGEST_MISMATCH after removing the object, UPSTREAM */
  async #prove(object: NewObject, signal?: AbortSignal): Promise<void> {
    const { key, descriptor } = object;
    const there = await this.#existing.look(key, signal);
    if (there === undefined || !mayBe(there, object)) {
      throw new CodedError(
        'UPSTREAM',
        `${this.url}/${key}: the object store does not show what was just stored`,
      );
    }
    if (this.#mode === 'never') return;
    const read = await this.#existing.readBack(key, signal);
    if (read.digest === descriptor.digest) return this.#existing.record(read.version, read.digest);
    // Only what this load wrote is removed: by now the key may hold an object of another one.
    const isOurs = read.version.etag === there.etag && read.version.versionId === there.versionId;
    const removed = isOurs ? await this.#removeWrong(key, signal) : '';
    const what = wrongBytes(`${this.url}/${key}`, object, read.digest);
    throw new CodedError(
      'DIGEST_MISMATCH',
      `${what}, though load sent the right ones${removed}: run load again; if this happens again, the store or a proxy in front of it changes the bytes`,
    );
  }

  /** In smaller parts after a body that was too large for something on the way, and from then on. */
  async #send(object: NewObject, onBytes: (bytes: number) => void, signal?: AbortSignal): Promise<void> {
    const { key, descriptor, content } = object;
    let shown = 0;
    for (;;) {
      let sent = 0;
      const count = (bytes: number): void => {
        sent += bytes;
        if (sent <= shown) return;
        onBytes(sent - shown);
        shown = sent;
      };
      try {
        if (content.kind === 'pieces' && descriptor.size > this.#partSize) {
          await this.#sendParts(object, content.pieces, count, signal);
        } else await this.#putWhole(object, count, signal);
        return;
      } catch (error) {
        const body = Math.min(this.#partSize, descriptor.size);
        if (!isTooLarge(error) || content.kind !== 'pieces' || body <= minPartSize) throw error;
        this.#partSize = Math.max(minPartSize, Math.floor(body / 2));
        this.#note(
          `${this.url}/${key}: a body of ${formatBytes(body)} is too large for the store or a proxy in front of it; load sends parts of ${formatBytes(this.#partSize)}`,
        );
      }
    }
  }

  async #sendParts(
    object: NewObject,
    pieces: readonly Piece[],
    onBytes: (bytes: number) => void,
    signal?: AbortSignal,
  ): Promise<void> {
    const md5 = await this.#needsMd5(signal);
    await this.#inTurn(() =>
      putInParts({
        connection: this.#connection,
        journals: this.#journals,
        buffers: this.#buffers,
        object,
        pieces,
        partSize: this.#partSize,
        description: this.#describe(object),
        md5,
        onBytes,
        signal,
      }),
    );
  }

  /** @returns what to say of it: the wrong bytes are worse news than that they cannot be removed */
  async #removeWrong(key: string, signal?: AbortSignal): Promise<string> {
    try {
      await this.remove(key, signal);
      return '; load removed the object';
    } catch (error) {
      if (!isCoded(error, 'DENIED', 'UPSTREAM', 'NETWORK')) throw error;
      return `; load could not remove the object (${error.message})`;
    }
  }

  async #putWhole(object: NewObject, onBytes: (bytes: number) => void, signal?: AbortSignal): Promise<void> {
    const { content, descriptor, contentType, key } = object;
    const send = async (bytes: Uint8Array): Promise<void> => {
      const hasher = new Hasher();
      hasher.update(bytes);
      checkFinished(hasher, { mediaType: contentType, ...descriptor }, key);
      const md5 = (await this.#needsMd5(signal))
        ? createHash('md5').update(bytes).digest('base64')
        : undefined;
      const input = { ...this.#describe(object), ContentMD5: md5 };
      const { client } = this.#connection;
      await this.#connection.retrying(key, 's3:PutObject', signal, () =>
        client.send(new PutObjectCommand(withPayload(input, bytes, hexOf(descriptor.digest))), abort(signal)),
      );
      onBytes(bytes.byteLength);
    };
    if (content.kind === 'bytes') await send(content.bytes);
    if (content.kind !== 'pieces') return;
    await this.#buffers.lend(descriptor.size, async (bytes) => {
      await readInto(bytes, content.pieces);
      await send(bytes);
    });
  }

  /** Inside the store, without moving the bytes through here. */
  async #copy(object: NewObject, from: string, signal?: AbortSignal): Promise<void> {
    const { Bucket, Key } = this.#connection.at(from);
    const source = `${Bucket}/${Key.split('/').map(encodeURIComponent).join('/')}`;
    const description = this.#describe(object);
    const maxPartSize = this.#maxCopySize;
    if (object.descriptor.size > maxPartSize) {
      const connection = this.#connection;
      return copyInParts({
        ...{ connection, object, source, description, rights: copyRights },
        maxPartSize,
        signal,
      });
    }
    const input = { ...description, CopySource: source, MetadataDirective: 'REPLACE' as const };
    await this.#connection.retrying(object.key, copyRights, signal, () =>
      this.#connection.client.send(new CopyObjectCommand(input), abort(signal)),
    );
  }

  /** Whether bodies need a Content-MD5: a probe tells, which is made once, and again when it failed. */
  #needsMd5(signal?: AbortSignal): Promise<boolean> {
    this.#md5 ??= probePayload(this.#connection, signal).catch((error: unknown) => {
      this.#md5 = undefined;
      throw error;
    });
    return this.#md5;
  }

  #describe(object: NewObject): Record<string, unknown> & { Bucket: string; Key: string } {
    const { key, contentType, fileName, descriptor } = object;
    return {
      ...this.#connection.at(key),
      ContentType: contentType,
      ContentDisposition: fileName === undefined ? undefined : `attachment; filename="${fileName}"`,
      Metadata: { [digestMetadata]: hexOf(descriptor.digest) },
    };
  }
}

function wrongBytes(where: string, { descriptor }: WantedObject, digest: Digest): string {
  return `${where}: read back, the stored bytes have ${digest} instead of ${descriptor.digest}`;
}
