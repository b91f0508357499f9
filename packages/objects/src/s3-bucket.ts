/**
 * A bucket that is served from: objects with ranges, lists of keys, small documents. Nothing is kept on this host. What an
 * object holds is what its metadata says: whoever hands the bytes on hashes them.
 */
import { GetObjectCommand, ListObjectsV2Command, PutObjectCommand } from '@aws-sdk/client-s3';
import type { Bytes } from '@omni-airgap/oci';
import { CodedError, isCoded } from '@omni-airgap/oci/base';
import { backOff, type HttpGate, isTransient } from '@omni-airgap/oci/http';
import { collect, digestOf, hexOf } from '@omni-airgap/oci/model';
import type { ObjectInfo } from './object-sink.ts';
import { abort, S3Connection, withPayload } from './s3-connection.ts';
import { bodyOf, digestMetadata, lookAt } from './s3-existing.ts';
import { type SdkRequest, urlOf } from './s3-request-handler.ts';
import type { S3Settings } from './s3-settings.ts';

/** What the client's signer can do besides signing, as far as it is used here. */
interface RequestPresigner {
  presign(request: PlainRequest, options: { readonly expiresIn: number }): Promise<PlainRequest>;
}

type PlainRequest = Omit<SdkRequest, 'body'>;

/** For a disk image on a slow line, which is asked for in one request. */
const presignedSeconds = 900;

/** An object as it was when it was looked at. */
export interface BucketObject extends ObjectInfo {
  readonly key: string;
  readonly etag: string | undefined;
}

export class S3Bucket {
  readonly #connection: S3Connection;

  /** @param tries attempts for what may pass by itself */
  constructor(gate: HttpGate, settings: S3Settings, tries?: number) {
    this.#connection = new S3Connection(gate, settings, tries);
  }

  /** How people name the place: `s3://bucket/prefix`. */
  get url(): string {
    return this.#connection.url;
  }

  /** @returns undefined when there is no such object @throws DENIED, NETWORK, UPSTREAM */
  look(key: string, signal?: AbortSignal): Promise<BucketObject | undefined> {
    return lookAt(this.#connection, key, signal);
  }

  /**
   * The bytes from `start` to `end`, which is left out. A transfer that breaks off is resumed, as long as the object is the
   * one that was looked at; tries are only counted while nothing arrives.
   * @throws NOT_FOUND, UPSTREAM with status 412 for an object that was replaced, DENIED, NETWORK
   */
  async *open(object: BucketObject, start: number, end: number, signal?: AbortSignal): Bytes {
    const { key, size, etag } = object;
    const retry = this.#connection.retryOptions(signal);
    let at = start;
    for (let failures = 0; at < end; ) {
      const before = at;
      try {
        for await (const chunk of await this.#get(object, at, end, signal)) {
          if (at + chunk.byteLength > end) {
            throw new CodedError(
              'UPSTREAM',
              `${this.url}/${key}: more bytes than the range that was asked for`,
            );
          }
          at += chunk.byteLength;
          yield chunk;
        }
        if (at === end) return;
        throw new CodedError(
          'NETWORK',
          `${this.url}/${key} (${etag ?? size}): ${at} of ${end} bytes arrived`,
        );
      } catch (error) {
        failures = at > before ? 1 : failures + 1;
        if (!isTransient(error) || failures >= (retry.tries ?? 1)) throw error;
        await backOff(error, failures, retry);
      }
    }
  }

  /** A small object; undefined when there is none. @param max bytes @throws BAD_DOCUMENT, DENIED, NETWORK, UPSTREAM */
  async read(key: string, max: number, signal?: AbortSignal): Promise<Uint8Array | undefined> {
    const { client } = this.#connection;
    try {
      return await this.#connection.retrying(key, 's3:GetObject', signal, async () => {
        const answer = await client.send(new GetObjectCommand(this.#connection.at(key)), abort(signal));
        return collect(bodyOf(answer), max, `${this.url}/${key}`);
      });
    } catch (error) {
      if (isCoded(error, 'NOT_FOUND')) return undefined;
      throw error;
    }
  }

  /** Stores a small object, in place of another one under its key. @throws DENIED, NETWORK, UPSTREAM */
  async write(key: string, bytes: Uint8Array, contentType: string, signal?: AbortSignal): Promise<void> {
    const sha256 = hexOf(digestOf(bytes));
    const input = {
      ...this.#connection.at(key),
      ContentType: contentType,
      Metadata: { [digestMetadata]: sha256 },
    };
    const { client } = this.#connection;
    await this.#connection.retrying(key, 's3:PutObject', signal, () =>
      client.send(new PutObjectCommand(withPayload(input, bytes, sha256)), abort(signal)),
    );
  }

  /**
   * Keys that begin with a prefix, in byte order, a thousand at a time.
   * @param prefix below that of the bucket, such as `image/`
   * @throws DENIED without s3:ListBucket, NETWORK, UPSTREAM
   */
  async *list(
    prefix: string,
    signal?: AbortSignal,
  ): AsyncIterable<{ readonly key: string; readonly size: number }> {
    const { client, bucket } = this.#connection;
    const own = this.#connection.prefix;
    let token: string | undefined;
    do {
      const input = { Bucket: bucket, Prefix: `${own}${prefix}`, ContinuationToken: token };
      const page = await this.#connection.retrying(prefix, 's3:ListBucket', signal, () =>
        client.send(new ListObjectsV2Command(input), abort(signal)),
      );
      for (const { Key: key = '', Size: size = 0 } of page.Contents ?? []) {
        if (key.startsWith(own)) yield { key: key.slice(own.length), size };
      }
      token = page.IsTruncated === true ? page.NextContinuationToken : undefined;
    } while (token !== undefined);
  }

  /**
   * A URL by which anyone can read an object for some minutes, at the address that clients reach the store by.
   * Source: AWS Signature Version 4, "Authenticating Requests: Using Query Parameters".
   * @param endpoint of the same store @param about what the answer is labeled with
   */
  async presign(
    key: string,
    endpoint: URL,
    about: { readonly contentType?: string | undefined; readonly disposition?: string | undefined },
  ): Promise<string> {
    const { client, addressing } = this.#connection;
    const { Bucket, Key } = this.#connection.at(key);
    const isVirtual = addressing === 'virtual';
    const host = isVirtual ? `${Bucket}.${endpoint.host}` : endpoint.host;
    const folder = endpoint.pathname.replace(/\/$/, '');
    const query: Record<string, string> = {};
    if (about.contentType !== undefined) query['response-content-type'] = about.contentType;
    if (about.disposition !== undefined) query['response-content-disposition'] = about.disposition;
    const request = {
      method: 'GET',
      protocol: endpoint.protocol,
      hostname: host.replace(/:[0-9]+$/, ''),
      ...(endpoint.port === '' ? {} : { port: Number(endpoint.port) }),
      path: `${folder}${isVirtual ? '' : `/${Bucket}`}/${Key}`,
      query,
      headers: { host, 'x-amz-content-sha256': 'UNSIGNED-PAYLOAD' },
    };
    const signer = await client.config.signer();
    const { presign } = signer as Partial<RequestPresigner>;
    if (presign === undefined) throw new CodedError('INTERNAL', 'the S3 client cannot presign');
    return urlOf(await presign.call(signer, request, { expiresIn: presignedSeconds })).href;
  }

  close(): void {
    this.#connection.client.destroy();
  }

  #get(object: BucketObject, start: number, end: number, signal: AbortSignal | undefined): Promise<Bytes> {
    const { key, size, etag } = object;
    const isWhole = start === 0 && end === size;
    const input = {
      ...this.#connection.at(key),
      IfMatch: etag,
      Range: isWhole ? undefined : `bytes=${start}-${end - 1}`,
    };
    // Tried again by whoever reads, from the byte that was reached.
    return this.#connection.once(key, 's3:GetObject', async () => {
      const answer = await this.#connection.client.send(new GetObjectCommand(input), abort(signal));
      if (isWhole || answer.ContentLength === end - start) return bodyOf(answer);
      await cancel(bodyOf(answer));
      throw new CodedError('UPSTREAM', `${this.url}/${key}: the object store gives no ranges`);
    });
  }
}

async function cancel(bytes: Bytes): Promise<void> {
  await bytes[Symbol.asyncIterator]().return?.();
}
