/**
 * Objects in a bucket. Bodies are sent plain, with their length and their SHA-256 in the signature: the one check
 * that nearly every S3 store makes. Objects carry their digest as metadata, so that a second load skips them.
 */
import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  GetObjectCommand,
  HeadObjectCommand,
  PutObjectCommand,
  S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import {
  type Bytes,
  CodedError,
  checkFinished,
  digestFromHex,
  eachBlock,
  Hasher,
  type HttpGate,
  hexOf,
  isCoded,
  isHex64,
  printable,
  readPieces,
  retrying,
  slicePieces,
  verified,
} from '@omni-airgap/content';
import { checkObjectKey } from './object-key.ts';
import type { NewObject, ObjectInfo, ObjectSink } from './object-sink.ts';
import { GateRequestHandler } from './s3-request-handler.ts';
import type { S3Settings } from './s3-settings.ts';

const digestMetadata = 'sha256';
/** Objects above this go up in parts of this size, or larger ones when there would be more than 10,000. */
const smallestPart = 64 * 1024 * 1024;
/** Source: Amazon S3 User Guide, "Amazon S3 multipart upload limits". */
const maxParts = 10_000;

export class S3Sink implements ObjectSink {
  readonly url: string;
  readonly #client: S3Client;
  readonly #bucket: string;
  readonly #prefix: string;

  constructor(gate: HttpGate, settings: S3Settings) {
    const { bucket, prefix, endpoint, region, accessKeyId, secretAccessKey, sessionToken } = settings;
    this.url = `s3://${bucket}${prefix === '' ? '' : `/${prefix}`}`;
    this.#bucket = bucket;
    this.#prefix = prefix === '' ? '' : `${prefix}/`;
    this.#client = new S3Client({
      endpoint: endpoint.href,
      region,
      forcePathStyle: true,
      credentials: { accessKeyId, secretAccessKey, ...(sessionToken === undefined ? {} : { sessionToken }) },
      // Checksums of the newer kind are refused, or worse stored in the object, by many stores.
      requestChecksumCalculation: 'WHEN_REQUIRED',
      responseChecksumValidation: 'WHEN_REQUIRED',
      // A stream cannot be sent twice; retries are made here, with a new stream.
      maxAttempts: 1,
      requestHandler: new GateRequestHandler(gate),
    });
    // The payload's digest is known beforehand; the signer takes it from this header.
    this.#client.middlewareStack.add(
      (next) => (args) => {
        const request = args.request as { headers: Record<string, string> };
        const sha256 = payloadDigests.get(args.input);
        if (sha256 !== undefined) request.headers['x-amz-content-sha256'] = sha256;
        return next(args);
      },
      { step: 'build', name: 'omniAirgapPayloadDigest' },
    );
  }

  async head(key: string, signal?: AbortSignal): Promise<ObjectInfo | undefined> {
    const input = { Bucket: this.#bucket, Key: this.#key(key) };
    try {
      const answer = await this.#retrying(key, signal, () =>
        this.#client.send(new HeadObjectCommand(input), abort(signal)),
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
    const input = { Bucket: this.#bucket, Key: this.#key(key) };
    const answer = await this.#retrying(key, signal, () =>
      this.#client.send(new GetObjectCommand(input), abort(signal)),
    );
    if (answer.Body === undefined) return;
    yield* answer.Body as Readable as Bytes;
  }

  async put(
    object: NewObject,
    onBytes: (bytes: number) => void,
    signal?: AbortSignal,
  ): Promise<'stored' | 'present'> {
    const { key, descriptor } = object;
    const there = await this.head(key, signal);
    if (there?.size === descriptor.size && there.digest === descriptor.digest) return 'present';
    if (descriptor.size <= smallestPart) await this.#putWhole(object, onBytes, signal);
    else await this.#putInParts(object, onBytes, signal);
    const after = await this.head(key, signal);
    if (after?.size !== descriptor.size || after.digest !== descriptor.digest) {
      throw new CodedError(
        'UPSTREAM',
        `${this.url}/${key}: the object store does not show what was just stored`,
      );
    }
    await this.#readBack(object, signal);
    return 'stored';
  }

  async close(): Promise<void> {
    this.#client.destroy();
  }

  async #putWhole(object: NewObject, onBytes: (bytes: number) => void, signal?: AbortSignal): Promise<void> {
    const { descriptor, pieces } = object;
    await this.#retrying(object.key, signal, () => {
      const bytes = counted(
        verified(readPieces(pieces, signal), { mediaType: object.contentType, ...descriptor }),
        onBytes,
      );
      const input = { ...this.#describe(object), Body: streamOf(bytes), ContentLength: descriptor.size };
      payloadDigests.set(input, hexOf(descriptor.digest));
      return this.#client.send(new PutObjectCommand(input), abort(signal));
    });
  }

  async #putInParts(
    object: NewObject,
    onBytes: (bytes: number) => void,
    signal?: AbortSignal,
  ): Promise<void> {
    const { key, descriptor, pieces } = object;
    const at = { Bucket: this.#bucket, Key: this.#key(key) };
    const created = await this.#retrying(key, signal, () =>
      this.#client.send(new CreateMultipartUploadCommand(this.#describe(object)), abort(signal)),
    );
    const upload = { ...at, UploadId: created.UploadId };
    try {
      const partSize = Math.max(smallestPart, Math.ceil(descriptor.size / maxParts));
      const whole = new Hasher();
      const parts: { readonly PartNumber: number; readonly ETag: string | undefined }[] = [];
      for (let offset = 0; offset < descriptor.size; offset += partSize) {
        const size = Math.min(partSize, descriptor.size - offset);
        const run = slicePieces(pieces, offset, size);
        // The signature needs the part's digest before its first byte, so the part is read twice: from memory the
        // second time.
        const hash = createHash('sha256');
        await eachBlock(
          run,
          (block) => {
            hash.update(block);
            whole.update(block);
          },
          signal,
        );
        const sha256 = hash.digest('hex');
        const PartNumber = parts.length + 1;
        const answer = await this.#retrying(key, signal, () => {
          const bytes = counted(readPieces(run, signal), onBytes);
          const input = { ...upload, PartNumber, Body: streamOf(bytes), ContentLength: size };
          payloadDigests.set(input, sha256);
          return this.#client.send(new UploadPartCommand(input), abort(signal));
        });
        parts.push({ PartNumber, ETag: answer.ETag });
      }
      checkFinished(whole, { mediaType: object.contentType, ...descriptor }, key);
      const done = { ...upload, MultipartUpload: { Parts: parts } };
      await this.#retrying(key, signal, () =>
        this.#client.send(new CompleteMultipartUploadCommand(done), abort(signal)),
      );
    } catch (error) {
      await this.#client.send(new AbortMultipartUploadCommand(upload)).catch(() => {});
      throw error;
    }
  }

  /** Stores exist that answer 200 and keep something else: what is there is read once and hashed. */
  async #readBack(object: NewObject, signal?: AbortSignal): Promise<void> {
    const { key, descriptor } = object;
    const hasher = new Hasher();
    for await (const chunk of this.get(key, signal)) hasher.update(chunk);
    checkFinished(hasher, { mediaType: object.contentType, ...descriptor }, `${this.url}/${key} read back`);
  }

  #describe(object: NewObject): Record<string, unknown> & { Bucket: string; Key: string } {
    const { key, contentType, fileName, descriptor } = object;
    return {
      Bucket: this.#bucket,
      Key: this.#key(key),
      ContentType: contentType,
      ...(fileName === undefined ? {} : { ContentDisposition: `attachment; filename="${fileName}"` }),
      Metadata: { [digestMetadata]: hexOf(descriptor.digest) },
    };
  }

  #key(key: string): string {
    return `${this.#prefix}${checkObjectKey(key)}`;
  }

  #retrying<T>(key: string, signal: AbortSignal | undefined, run: () => Promise<T>): Promise<T> {
    return retrying(
      async () => {
        try {
          return await run();
        } catch (error) {
          throw this.#explain(error, key);
        }
      },
      signal === undefined ? {} : { signal },
    );
  }

  #explain(error: unknown, key: string): unknown {
    for (let e = error; e instanceof Error; e = e.cause) if (isCoded(e)) return e;
    if (!(error instanceof Error) || error.name === 'AbortError') return error;
    const status = (error as { $metadata?: { httpStatusCode?: number } }).$metadata?.httpStatusCode;
    const code = status === 404 ? 'NOT_FOUND' : status === 401 || status === 403 ? 'DENIED' : 'UPSTREAM';
    const what = `${this.url}/${key}: the object store answers ${printable(error.name)}`;
    const advice = hints[error.name] ?? printable(error.message);
    return new CodedError(code, `${what}${advice === '' ? '' : `: ${advice}`}`, {
      cause: error,
      ...(status === undefined ? {} : { status }),
    });
  }
}

const hints: Readonly<Record<string, string>> = {
  RequestTimeTooSkewed:
    'the clock here and the clock there differ too much; set this host to the site’s time server',
  NoSuchBucket: 'make the bucket first, or correct --object-store',
  InvalidAccessKeyId: 'it does not know AWS_ACCESS_KEY_ID',
  SignatureDoesNotMatch: 'AWS_SECRET_ACCESS_KEY or the region is wrong',
  AccessDenied: 'these credentials may not do that',
};

/** Digest of the payload of a command's input, for the signature. */
const payloadDigests = new WeakMap<object, string>();

function abort(signal: AbortSignal | undefined): { readonly abortSignal?: AbortSignal } {
  return signal === undefined ? {} : { abortSignal: signal };
}

function streamOf(bytes: Bytes): Readable {
  return Readable.from(bytes, { objectMode: false });
}

async function* counted(bytes: Bytes, onBytes: (bytes: number) => void): Bytes {
  for await (const chunk of bytes) {
    onBytes(chunk.byteLength);
    yield chunk;
  }
}
