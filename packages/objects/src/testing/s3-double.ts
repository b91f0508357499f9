/**
 * An S3 store in memory, on loopback: objects, uploads in parts, copies. It checks the signed payload hash as real
 * stores do; what it does wrong is decided by a hook for each request. Signatures themselves are not checked.
 */
import { createHash } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { readBody, startHttpServer } from '@omni-airgap/oci/testing';
import { onTestFinished } from 'vitest';

interface StoredObject {
  readonly bytes: Buffer;
  /** Of the bytes that the store was sent, whatever it keeps. */
  readonly etag: string;
  readonly headers: Readonly<Record<string, string>>;
  /** Instead of the length of the bytes, for an object that is only copied. */
  readonly size?: number;
}

interface Upload {
  readonly key: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly parts: Map<number, Buffer>;
}

interface S3Request {
  readonly method: string;
  /** Bucket and key. */
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingMessage['headers'];
  readonly body: Buffer;
}

/**
 * Instead of the right answer. `lose`: do it, and close the connection. `drop`: close it. `cut`: close it within the
 * body of the right answer.
 */
type S3Fault = { status: number; body?: string; headers?: Record<string, string> } | 'lose' | 'drop' | 'cut';

export interface S3Double {
  readonly url: string;
  readonly objects: Map<string, StoredObject>;
  readonly uploads: Map<string, Upload>;
  readonly requests: readonly S3Request[];
  /** Decides about each request; undefined lets it pass. */
  fault: (request: S3Request) => S3Fault | undefined;
  /** What a store makes of the bytes it is given; default nothing. */
  keep: (bytes: Buffer) => Buffer;
  /** Default true: payloads whose hash is not the signed one are refused. */
  checksPayload: boolean;
  /** The Content-Type of all answers that are no objects; default that of each. */
  answerType: string | undefined;
}

export async function startS3Double(): Promise<S3Double> {
  const objects = new Map<string, StoredObject>();
  const uploads = new Map<string, Upload>();
  const requests: S3Request[] = [];
  const double: { -readonly [K in keyof S3Double]: S3Double[K] } = {
    url: '',
    objects,
    uploads,
    requests,
    fault: () => undefined,
    keep: (bytes) => bytes,
    checksPayload: true,
    answerType: undefined,
  };
  const server = await startHttpServer((request, response) => {
    answer(double, requests, request, response).catch(() => response.destroy());
  });
  double.url = server.url;
  onTestFinished(() => server.close());
  return double;
}

async function answer(
  double: S3Double,
  requests: S3Request[],
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const url = new URL(request.url ?? '', 'http://s3.invalid');
  // Virtual addressing: the bucket is the first label of a host `BUCKET.s3.test`.
  const [, virtual] = /^([a-z0-9-]+)\.s3\.test(?::|$)/.exec(request.headers.host ?? '') ?? [];
  const body = await readBody(request);
  const seen: S3Request = {
    method: request.method ?? '',
    path: decodeURIComponent(`${virtual === undefined ? '' : `${virtual}/`}${url.pathname.slice(1)}`),
    query: url.searchParams,
    headers: request.headers,
    body,
  };
  requests.push(seen);
  const fault = double.fault(seen);
  if (fault === 'drop') return void request.socket.destroy();
  if (fault === 'lose') {
    handle(double, seen);
    return void request.socket.destroy();
  }
  const answered = fault === undefined || fault === 'cut' ? handle(double, seen) : fault;
  const { status, headers = {}, body: text = '' } = answered;
  const bytes = Buffer.from(text);
  const isObject = seen.method === 'HEAD' || seen.query.get('x-id') === 'GetObject';
  const label = isObject || double.answerType === undefined ? {} : { 'content-type': double.answerType };
  response.writeHead(status, { 'content-length': bytes.byteLength, ...headers, ...label });
  if (fault === 'cut') {
    response.write(bytes.subarray(0, bytes.byteLength / 2), () => request.socket.destroy());
    return;
  }
  response.end(seen.method === 'HEAD' ? undefined : bytes);
}

interface Answer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string | number>>;
  readonly body?: string | Buffer;
}

function handle(double: S3Double, request: S3Request): Answer {
  const { method, path, query, headers, body } = request;
  const signed = headers['x-amz-content-sha256'];
  const isWrong = createHash('sha256').update(body).digest('hex') !== signed;
  if (method === 'PUT' && double.checksPayload && isWrong) return problem(400, 'XAmzContentSHA256Mismatch');
  const key = path;
  const uploadId = query.get('uploadId');
  if (query.has('uploads')) {
    if (method === 'GET') return listUploads(double);
    const id = `upload-${double.uploads.size + 1}`;
    double.uploads.set(id, { key, headers: kept(headers), parts: new Map() });
    return xml(`<InitiateMultipartUploadResult><UploadId>${id}</UploadId></InitiateMultipartUploadResult>`);
  }
  if (uploadId !== null) return part(double, request, uploadId);
  if (method === 'PUT') {
    const source = headers['x-amz-copy-source'];
    const from =
      typeof source === 'string'
        ? double.objects.get(decodeURIComponent(source.replace(/^\//, '')))
        : undefined;
    if (source !== undefined && from === undefined) return problem(404, 'NoSuchKey');
    const tag = from?.etag ?? etag(body);
    double.objects.set(key, { bytes: from?.bytes ?? double.keep(body), etag: tag, headers: kept(headers) });
    const copied = `<CopyObjectResult><ETag>"${tag}"</ETag></CopyObjectResult>`;
    return from === undefined ? { status: 200, headers: { etag: `"${tag}"` } } : xml(copied);
  }
  if (method === 'DELETE') {
    double.objects.delete(key);
    return { status: 204 };
  }
  if (query.has('list-type')) return listObjects(double, path, query);
  const object = double.objects.get(key);
  if (object === undefined) return problem(404, 'NoSuchKey');
  const wanted = headers['if-match'];
  if (wanted !== undefined && wanted !== `"${object.etag}"`) return problem(412, 'PreconditionFailed');
  const [, first, last] = /^bytes=([0-9]+)-([0-9]+)$/.exec(headers.range ?? '') ?? [];
  if (first !== undefined) {
    const bytes = object.bytes.subarray(Number(first), Number(last) + 1);
    const range = `bytes ${first}-${Number(first) + bytes.byteLength - 1}/${object.bytes.byteLength}`;
    const about = { ...object.headers, etag: `"${object.etag}"`, 'content-range': range };
    return { status: 206, headers: about, body: bytes };
  }
  return {
    status: 200,
    headers: {
      ...object.headers,
      etag: `"${object.etag}"`,
      'content-length': object.size ?? object.bytes.byteLength,
    },
    body: object.bytes,
  };
}

function part(double: S3Double, { method, query, body, path, headers }: S3Request, id: string): Answer {
  const upload = double.uploads.get(id);
  if (upload === undefined || upload.key !== path) return problem(404, 'NoSuchUpload');
  if (method === 'DELETE') {
    double.uploads.delete(id);
    return { status: 204 };
  }
  if (method === 'PUT') {
    const number = Number(query.get('partNumber'));
    const source = headers['x-amz-copy-source'];
    if (typeof source === 'string') {
      const from = double.objects.get(decodeURIComponent(source));
      const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(String(headers['x-amz-copy-source-range'])) ?? [];
      if (from === undefined || last === undefined) return problem(400, 'InvalidArgument');
      const copied = from.bytes.subarray(Number(first), Number(last) + 1);
      upload.parts.set(number, copied);
      return xml(`<CopyPartResult><ETag>"${etag(copied)}"</ETag></CopyPartResult>`);
    }
    upload.parts.set(number, body);
    return { status: 200, headers: { etag: `"${etag(body)}"` } };
  }
  const parts = [...upload.parts].sort(([a], [b]) => a - b);
  if (method === 'GET') {
    const list = parts.map(
      ([number, bytes]) =>
        `<Part><PartNumber>${number}</PartNumber><ETag>"${etag(bytes)}"</ETag><Size>${bytes.byteLength}</Size></Part>`,
    );
    return xml(`<ListPartsResult><IsTruncated>false</IsTruncated>${list.join('')}</ListPartsResult>`);
  }
  double.uploads.delete(id);
  const sent = Buffer.concat(parts.map(([, one]) => one));
  const tag = `${etag(sent)}-${parts.length}`;
  double.objects.set(upload.key, { bytes: double.keep(sent), etag: tag, headers: upload.headers });
  return xml(`<CompleteMultipartUploadResult><ETag>"${tag}"</ETag></CompleteMultipartUploadResult>`);
}

/** Two keys a page, so that every list of more has several. */
function listObjects(double: S3Double, path: string, query: URLSearchParams): Answer {
  const bucket = `${path.replace(/\/$/, '')}/`;
  const prefix = `${bucket}${query.get('prefix') ?? ''}`;
  const after = query.get('continuation-token') ?? '';
  const keys = [...double.objects.keys()].filter((key) => key.startsWith(prefix) && key > after).sort();
  const page = keys.slice(0, 2);
  const list = page.map(
    (key) =>
      `<Contents><Key>${key.slice(bucket.length)}</Key><Size>${double.objects.get(key)?.bytes.byteLength}</Size></Contents>`,
  );
  const isCut = page.length < keys.length;
  const next = isCut ? `<NextContinuationToken>${page.at(-1)}</NextContinuationToken>` : '';
  return xml(
    `<ListBucketResult><IsTruncated>${isCut}</IsTruncated>${next}${list.join('')}</ListBucketResult>`,
  );
}

function listUploads(double: S3Double): Answer {
  const list = [...double.uploads].map(
    ([id, { key }]) =>
      `<Upload><Key>${key.slice(key.indexOf('/') + 1)}</Key><UploadId>${id}</UploadId><Initiated>2026-01-01T00:00:00.000Z</Initiated></Upload>`,
  );
  return xml(`<ListMultipartUploadsResult>${list.join('')}</ListMultipartUploadsResult>`);
}

function kept(headers: IncomingMessage['headers']): Record<string, string> {
  const names = ['content-type', 'content-disposition', 'x-amz-meta-sha256'];
  return Object.fromEntries(
    names.flatMap((name) => (typeof headers[name] === 'string' ? [[name, headers[name]]] : [])),
  );
}

function etag(bytes: Buffer): string {
  return createHash('md5').update(bytes).digest('hex');
}

export function problem(status: number, code: string): { readonly status: number; readonly body: string } {
  return { status, body: `<Error><Code>${code}</Code><Message>${code}</Message></Error>` };
}

function xml(body: string): Answer {
  return { status: 200, headers: { 'content-type': 'application/xml' }, body };
}
