/**
 * One bucket over the AWS SDK and the HTTP gate: how requests are made, retried and explained.
 * Facts: checksums of the newer kind are refused, or worse stored in the object, by many stores, so they are sent
 * only where the protocol requires them; the payload's own SHA-256 is in each signature instead, which nearly every
 * store checks. Faults F45, F46, F47.
 */
import { S3Client } from '@aws-sdk/client-s3';
import { CodedError, isCoded, printable } from '@omni-airgap/oci/base';
import { type HttpGate, type RetryOptions, retrying } from '@omni-airgap/oci/http';
import { checkObjectKey, StorageFull } from './object-sink.ts';
import { ForeignAnswer, GateRequestHandler } from './s3-request-handler.ts';
import type { Addressing, S3Settings } from './s3-settings.ts';

/** Clocks further apart than this are refused by every store. Source: AWS Signature Version 4, "Elements". */
const maxSkewMs = 15 * 60_000;

interface S3Error {
  readonly $metadata?: { readonly httpStatusCode?: number };
  readonly $response?: { readonly headers?: Readonly<Record<string, string>> };
}

export class S3Connection {
  readonly url: string;
  readonly client: S3Client;
  readonly bucket: string;
  readonly prefix: string;
  readonly addressing: Addressing;
  readonly #tries: number | undefined;

  /** @param tries attempts for what may pass by itself; default as `retrying` */
  constructor(gate: HttpGate, settings: S3Settings, tries?: number) {
    this.#tries = tries;
    const { bucket, prefix, endpoint, region, accessKeyId, secretAccessKey, sessionToken } = settings;
    this.url = `s3://${bucket}${prefix === '' ? '' : `/${prefix}`}`;
    this.bucket = bucket;
    this.addressing = settings.addressing ?? 'path';
    this.prefix = prefix === '' ? '' : `${prefix}/`;
    this.client = new S3Client({
      endpoint: endpoint.href,
      region,
      forcePathStyle: settings.addressing !== 'virtual',
      credentials: { accessKeyId, secretAccessKey, ...(sessionToken === undefined ? {} : { sessionToken }) },
      requestChecksumCalculation: 'WHEN_REQUIRED',
      responseChecksumValidation: 'WHEN_REQUIRED',
      // A stream cannot be sent twice; retries are made here, with a new stream.
      maxAttempts: 1,
      // It would tell the console that it cannot send a stream twice.
      logger: { trace() {}, debug() {}, info() {}, warn() {}, error() {} },
      requestHandler: new GateRequestHandler(gate),
    });
    // The payload's digest is known beforehand; the signer takes it from this header.
    this.client.middlewareStack.add(
      (next) => (args) => {
        const request = args.request as { headers: Record<string, string> };
        const { Body: body } = args.input as { readonly Body?: object };
        const sha256 = body === undefined ? undefined : payloadDigests.get(body);
        if (sha256 !== undefined) request.headers['x-amz-content-sha256'] = sha256;
        return next(args);
      },
      { step: 'build', name: 'omniAirgapPayloadDigest' },
    );
  }

  /** Bucket and key of an object, as every command wants them. @throws BAD_NAME */
  at(key: string): { Bucket: string; Key: string } {
    return { Bucket: this.bucket, Key: `${this.prefix}${checkObjectKey(key)}` };
  }

  /**
   * One request, tried again after what may pass by itself.
   * @param right what the credentials must be allowed to do, as policies name it: `s3:PutObject`
   * @throws NOT_FOUND, DENIED, UPSTREAM, NETWORK
   */
  retrying<T>(
    key: string,
    right: string,
    signal: AbortSignal | undefined,
    run: () => Promise<T>,
  ): Promise<T> {
    return retrying(() => this.once(key, right, run), this.retryOptions(signal));
  }

  /** One request. @throws as retrying */
  async once<T>(key: string, right: string, run: () => Promise<T>): Promise<T> {
    try {
      return await run();
    } catch (error) {
      throw this.explain(error, key, right);
    }
  }

  retryOptions(signal: AbortSignal | undefined): RetryOptions {
    return { signal, tries: this.#tries };
  }

  /** What the SDK throws, as an error of ours. */
  explain(error: unknown, key: string, right: string): unknown {
    for (let e = error; e instanceof Error; e = e.cause) {
      if (isCoded(e)) return e;
      if (e instanceof ForeignAnswer) return explainForeign(e, `${this.url}/${key}`);
    }
    if (!(error instanceof Error) || error.name === 'AbortError') return error;
    const { $metadata, $response } = error as S3Error;
    const status = $metadata?.httpStatusCode;
    const code = status === 404 ? 'NOT_FOUND' : status === 401 || status === 403 ? 'DENIED' : 'UPSTREAM';
    // An answer without a body, as those to HEAD, gets a name of the SDK's that says nothing.
    const isNamed = !unnamed.has(error.name);
    const answer = isNamed ? printable(error.name) : `${status ?? 'nothing'}`;
    const what = `${this.url}/${key}: the object store answers ${answer}`;
    // An answer to HEAD has no body that could say why; its date does.
    const isSkewed = status === 403 && skewOf($response?.headers?.['date']) > maxSkewMs;
    const isDenied = status === 403 && (error.name === 'AccessDenied' || !isNamed);
    const advice = isSkewed
      ? skewHint
      : isDenied
        ? `${isNamed ? 'the policy of these credentials' : 'the credentials are wrong, or their policy'} must allow ${right} here`
        : (hints.get(error.name) ?? (isNamed && !unnamed.has(error.message) ? printable(error.message) : ''));
    if (isFull(error.name, status)) {
      const reason = status === 507 ? 'the store is full' : 'the quota is used up';
      return new StorageFull('UPSTREAM', `${what}: ${reason}`, { cause: error, status });
    }
    return new CodedError(code, `${what}${advice === '' ? '' : `: ${advice}`}`, {
      cause: error,
      // An error inside a 200 is one of the store, and may pass.
      status: status === 200 ? 500 : status,
    });
  }
}

/** Names of errors for an answer that gave none. */
const unnamed: ReadonlySet<string> = new Set(['Unknown', 'UnknownError', 'Error', '403', 'Forbidden']);
const skewHint =
  'the clock here and the clock there differ too much; set this host to the site’s time server';
/** By the error codes of S3, which the store chooses: a Map, so that `constructor` is none. */
const hints: ReadonlyMap<string, string> = new Map([
  ['RequestTimeTooSkewed', skewHint],
  ['NoSuchBucket', 'make the bucket first, or correct --object-store'],
  ['InvalidAccessKeyId', 'it does not know AWS_ACCESS_KEY_ID'],
  [
    'SignatureDoesNotMatch',
    'AWS_SECRET_ACCESS_KEY or the region is wrong, or a proxy in front of the store changes the Host header or the path (nginx: proxy_set_header Host $http_host, and proxy_pass without a path)',
  ],
  ['PermanentRedirect', 'the bucket is elsewhere; correct --s3-endpoint and AWS_REGION'],
]);

/** By the codes of Ceph, MinIO, versitygw and others. */
function isFull(name: string, status: number | undefined): boolean {
  return status === 507 || /QuotaExceeded|InsufficientStorage|StorageFull/.test(name);
}

/** An answer of something that is no object store, by its status and text. */
function explainForeign({ status, message, location }: ForeignAnswer, where: string): CodedError {
  const code = status === 401 || status === 403 ? 'DENIED' : 'UPSTREAM';
  const text = message === '' ? '' : ` (${message})`;
  const target = URL.parse(location ?? '')?.origin;
  const advice =
    target === undefined
      ? (foreignHints.get(status) ?? '')
      : `: it redirects to ${printable(target)}; specify that with --s3-endpoint`;
  return new CodedError(code, `${where}: a proxy or web server answers ${status}${text}${advice}`, {
    status,
  });
}

const foreignHints: ReadonlyMap<number, string> = new Map([
  [
    413,
    ': it refuses bodies of this size, and parts of an upload have at least 5 MiB (nginx: client_max_body_size 0)',
  ],
  [404, ': no object store answers at this address; correct --s3-endpoint'],
  [407, ': the proxy wants a user name and password'],
]);

/** Milliseconds between a Date header and now; 0 when there is none. */
function skewOf(date: string | undefined): number {
  const there = Date.parse(date ?? '');
  return Number.isNaN(there) ? 0 : Math.abs(Date.now() - there);
}

/** Digests of the bodies of commands, for the signature. */
const payloadDigests = new WeakMap<object, string>();

/** A command's input with a body: plain bytes of known length whose hash is signed. @param sha256 hex */
export function withPayload<T extends object>(
  input: T,
  bytes: Uint8Array,
  sha256: string,
): T & { readonly Body: Uint8Array; readonly ContentLength: number } {
  payloadDigests.set(bytes, sha256);
  return { ...input, Body: bytes, ContentLength: bytes.byteLength };
}

export function abort(signal: AbortSignal | undefined): { readonly abortSignal?: AbortSignal } {
  return signal === undefined ? {} : { abortSignal: signal };
}
