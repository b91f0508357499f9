/**
 * Objects in an S3 bucket. What is there with the same size and recorded digest is left alone; everything that was
 * stored is read back once and hashed (unless that is turned off), since stores exist that answer 200 and keep
 * something else.
 */
import { createHash } from 'node:crypto';
import {
  CopyObjectCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  PutObjectCommand,
} from '@aws-sdk/client-s3';
import type { Bytes } from '@omni-airgap/oci';
import { CodedError, giveBack, isCoded } from '@omni-airgap/oci/base';
import { readInto } from '@omni-airgap/oci/fs';
import type { HttpGate } from '@omni-airgap/oci/http';
import {
  checkFinished,
  type Descriptor,
  digestFromHex,
  Hasher,
  hexOf,
  isHex64,
} from '@omni-airgap/oci/model';
import pLimit from 'p-limit';
import type { NewObject, ObjectInfo, ObjectSink, StaleUpload } from './object-sink.ts';
import { PartBuffers } from './part-buffers.ts';
import { abort, S3Connection, withPayload } from './s3-connection.ts';
import { putInParts } from './s3-multipart.ts';
import { AnswerBody } from './s3-request-handler.ts';
import type { S3Settings } from './s3-settings.ts';

const digestMetadata = 'sha256';
/** Source: Amazon S3 API Reference, CopyObject: larger objects are copied in parts. */
const maxCopyBytes = 5 * 1024 ** 3;
/** Objects above this go up in parts of this size: large enough that a part's own requests hardly count. */
const defaultPartSize = 16 * 1024 * 1024;
/** Parts and small objects on their way, of all objects together. */
const partsAtOnce = 3;
const probeKey = 'omni-airgap-probe';

export interface SinkOptions {
  /** Bytes; objects above it go up in parts. Default 16 MiB. */
  readonly partSize?: number;
  /** Read and hash what was stored; default true. */
  readonly readBack?: boolean;
}

export class S3Sink implements ObjectSink {
  readonly url: string;
  readonly #connection: S3Connection;
  readonly #journals: string;
  readonly #buffers = new PartBuffers(partsAtOnce);
  /** One large object goes up at a time, in several parts; the ones before it are read back meanwhile. */
  readonly #inTurn = pLimit(1);
  readonly #partSize: number;
  readonly #readsBack: boolean;
  #md5: Promise<boolean> | undefined;

  /** @param journals folder for what is known of unfinished uploads */
  constructor(gate: HttpGate, settings: S3Settings, journals: string, options: SinkOptions = {}) {
    this.#partSize = options.partSize ?? defaultPartSize;
    this.#readsBack = options.readBack ?? true;
    this.#connection = new S3Connection(gate, settings);
    this.#journals = journals;
    this.url = this.#connection.url;
  }

  async head(key: string, signal?: AbortSignal): Promise<ObjectInfo | undefined> {
    const { client } = this.#connection;
    try {
      const answer = await this.#connection.retrying(key, signal, () =>
        client.send(new HeadObjectCommand(this.#connection.at(key)), abort(signal)),
      );
      const hex = answer.Metadata?.[digestMetadata];
      const digest = hex !== undefined && isHex64(hex) ? digestFromHex(hex) : undefined;
      return { size: answer.ContentLength ?? 0, digest };
    } catch (error) {
      if (isCoded(error, 'NOT_FOUND')) return undefined;
      throw error;
    }
  }

  async *get(key: string, signal?: AbortSignal): Bytes {
    const { client } = this.#connection;
    const answer = await this.#connection.retrying(key, signal, () =>
      client.send(new GetObjectCommand(this.#connection.at(key)), abort(signal)),
    );
    if (answer.Body === undefined) return;
    yield* answer.Body instanceof AnswerBody ? answer.Body.bytes : (answer.Body as unknown as Bytes);
  }

  async put(
    object: NewObject,
    onBytes: (bytes: number) => void,
    signal?: AbortSignal,
  ): Promise<'stored' | 'present'> {
    const { key, descriptor, content } = object;
    if (await this.#isThere(object, signal)) return 'present';
    if (content.kind === 'object') await this.#copy(object, content.key, signal);
    else if (content.kind === 'pieces' && descriptor.size > this.#partSize) {
      const { pieces } = content;
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
    } else await this.#putWhole(object, onBytes, signal);
    if (!(await this.#isThere(object, signal))) {
      throw new CodedError(
        'UPSTREAM',
        `${this.url}/${key}: the object store does not show what was just stored`,
      );
    }
    if (this.#readsBack) await this.#readBack(object, signal);
    return 'stored';
  }

  async remove(key: string, signal?: AbortSignal): Promise<void> {
    const { client } = this.#connection;
    await this.#connection.retrying(key, signal, () =>
      client.send(new DeleteObjectCommand(this.#connection.at(key)), abort(signal)),
    );
  }

  async checksPayload(signal?: AbortSignal): Promise<boolean> {
    return !(await this.#needsMd5(signal));
  }

  async staleUploads(signal?: AbortSignal): Promise<readonly StaleUpload[]> {
    const { client, bucket, prefix } = this.#connection;
    const answer = await this.#connection.retrying('', signal, () =>
      client.send(new ListMultipartUploadsCommand({ Bucket: bucket, Prefix: prefix }), abort(signal)),
    );
    return (answer.Uploads ?? []).map(({ Key = '', Initiated }) => ({
      key: Key,
      startedAt: Initiated?.toISOString() ?? 'unknown',
    }));
  }

  async close(): Promise<void> {
    this.#connection.client.destroy();
  }

  async #isThere({ key, descriptor }: NewObject, signal?: AbortSignal): Promise<boolean> {
    const there = await this.head(key, signal);
    return there?.size === descriptor.size && there.digest === descriptor.digest;
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
      await this.#connection.retrying(key, signal, () =>
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
    if (object.descriptor.size > maxCopyBytes) {
      throw new CodedError(
        'UPSTREAM',
        `${this.url}/${object.key}: larger than the 5 GiB that a store copies at once; load a full bundle instead of an increment`,
      );
    }
    const { Bucket, Key } = this.#connection.at(from);
    const input = {
      ...this.#describe(object),
      CopySource: `${Bucket}/${Key.split('/').map(encodeURIComponent).join('/')}`,
      MetadataDirective: 'REPLACE' as const,
    };
    await this.#connection.retrying(object.key, signal, () =>
      this.#connection.client.send(new CopyObjectCommand(input), abort(signal)),
    );
  }

  /** The object as a reader will get it, hashed. */
  async #readBack(object: NewObject, signal?: AbortSignal): Promise<void> {
    const { key, descriptor } = object;
    const hasher = new Hasher();
    for await (const chunk of this.get(key, signal)) {
      hasher.update(chunk);
      giveBack(chunk);
    }
    const expected: Descriptor = { mediaType: object.contentType, ...descriptor };
    checkFinished(hasher, expected, `${this.url}/${key} read back`);
  }

  /**
   * Whether the store lets a payload pass that is not the one that was signed for; asked once, with an object of
   * a few bytes. Such a store gets a Content-MD5 as well.
   */
  #needsMd5(signal?: AbortSignal): Promise<boolean> {
    this.#md5 ??= this.#probe(signal);
    return this.#md5;
  }

  async #probe(signal?: AbortSignal): Promise<boolean> {
    const { client } = this.#connection;
    const body = Buffer.from('these bytes are not the ones that were signed for');
    const sha256 = createHash('sha256').update('other bytes').digest('hex');
    const at = this.#connection.at(probeKey);
    try {
      await client.send(new PutObjectCommand(withPayload(at, body, sha256)), abort(signal));
    } catch (error) {
      const coded = this.#connection.explain(error, probeKey);
      const isRefused = isCoded(coded, 'UPSTREAM') && (coded.status ?? 500) < 500;
      if (isRefused) return false;
      throw coded;
    }
    await client.send(new DeleteObjectCommand(at), abort(signal)).catch(() => {});
    return true;
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
