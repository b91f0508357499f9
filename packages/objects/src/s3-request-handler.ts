/** The AWS SDK over the one HTTP gate: its requests obey the same policy and leave the same records as all others. */
import { Readable } from 'node:stream';
import type { Bytes } from '@omni-airgap/oci';
import { printable } from '@omni-airgap/oci/base';
import {
  type GateResponse,
  type HttpGate,
  looksLikePage,
  type Method,
  type StreamBody,
  saysPage,
  unexpectedAnswer,
} from '@omni-airgap/oci/http';
import { bytesOf } from '@omni-airgap/oci/model';

/** S3 answers to everything but GetObject are small; a page of a listing has a thousand entries. */
const maxAnswerBytes = 8 * 1024 * 1024;

/** Of an answer that is shown to people. */
const maxShownBytes = 4096;

/** Bytes of a body that are sent at once: time-outs begin anew with each. */
const sliceBytes = 1024 * 1024;

/** The parts of the SDK's request that a handler needs; it hands over a class of its own. */
export interface SdkRequest {
  readonly method: string;
  readonly protocol: string;
  readonly hostname: string;
  readonly port?: number;
  readonly path: string;
  readonly query?: Readonly<Record<string, string | readonly string[] | null>>;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: unknown;
}

export interface SdkResponse {
  readonly statusCode: number;
  readonly headers: Record<string, string>;
  readonly body: Readable;
}

/** An error that is no S3 XML: a proxy or web server in front of the store answered. */
export class ForeignAnswer extends Error {
  readonly status: number;
  /** Where a redirect points; undefined for other answers. */
  readonly location: string | undefined;

  /** @param text what it says, printable */
  constructor(status: number, text: string, location: string | undefined) {
    super(text);
    this.name = 'ForeignAnswer';
    this.status = status;
    this.location = location;
  }
}

/** An answer's body for the SDK, which wants a stream. Who reads a whole object takes the bytes as they come instead. */
export class AnswerBody extends Readable {
  readonly bytes: Bytes;
  #iterator: AsyncIterator<Uint8Array> | undefined;

  constructor(bytes: Bytes) {
    super();
    this.bytes = bytes;
  }

  override _read(): void {
    this.#iterator ??= this.bytes[Symbol.asyncIterator]();
    this.#iterator.next().then(
      ({ done, value }) => this.push(done === true ? null : value),
      (error: unknown) => this.destroy(error as Error),
    );
  }
}

export class GateRequestHandler {
  readonly #gate: HttpGate;

  constructor(gate: HttpGate) {
    this.#gate = gate;
  }

  async handle(
    request: SdkRequest,
    options: { readonly abortSignal?: unknown } = {},
  ): Promise<{ response: SdkResponse }> {
    const body = bodyOf(request);
    const signal = options.abortSignal;
    const response = await this.#gate.request({
      peer: 'object store',
      method: request.method as Method,
      url: urlOf(request),
      // The SDK waits for a go-ahead before it sends a body; our connections do not speak that.
      headers: Object.fromEntries(
        Object.entries(request.headers).filter(([name]) => name.toLowerCase() !== 'expect'),
      ),
      follow: false,
      body,
      ...(signal instanceof AbortSignal ? { signal } : {}),
    });
    const isContent = response.status === 200 || response.status === 206;
    const isObject = request.method === 'GET' && isContent && request.query?.['x-id'] === 'GetObject';
    let bytes = response.body;
    if (!isObject) {
      const small = await response.bytes('an answer of the object store', maxAnswerBytes);
      // An answer to HEAD has no body: its type is that of the object.
      if (request.method !== 'HEAD') {
        if (response.status >= 300) refuseForeign(response, small);
        else refusePage(response, `${request.method} ${request.path}`, small);
      }
      bytes = bytesOf(small);
    }
    return {
      response: {
        statusCode: response.status,
        headers: { ...response.headers },
        body: new AnswerBody(bytes),
      },
    };
  }

  updateHttpClientConfig(): void {}

  httpHandlerConfigs(): Record<string, never> {
    return {};
  }
}

/**
 * Some stores label what they answer text/html, whatever it is, so the bytes decide.
 * @throws UPSTREAM for a web page that says all is well
 */
function refusePage(response: GateResponse, what: string, bytes: Uint8Array): void {
  const isXml = /^\s*</.test(Buffer.from(bytes.subarray(0, maxShownBytes)).toString('utf8'));
  const isAnswer = bytes.byteLength === 0 || (isXml && !looksLikePage(bytes));
  if (saysPage(response) && !isAnswer)
    throw unexpectedAnswer(response, what, 'an answer of the object store');
}

/** @throws ForeignAnswer for an error that is no S3 XML */
function refuseForeign({ status, headers }: GateResponse, bytes: Uint8Array): void {
  const text = Buffer.from(bytes.subarray(0, maxShownBytes)).toString('utf8');
  const isXml = /^\s*<(?:\?xml|Error[ >])/.test(text) && !looksLikePage(bytes);
  // Without a body the status alone tells, and some stores send none.
  if (isXml || (bytes.byteLength === 0 && status >= 400)) return;
  const title = /<title>([^<]*)<\/title>/i.exec(text)?.[1] ?? text.replace(/<[^>]*>/g, ' ');
  throw new ForeignAnswer(status, printable(title.replace(/\s+/g, ' ').trim(), 100), headers['location']);
}

/** Escaped as it is signed. */
export function urlOf(request: Omit<SdkRequest, 'headers'>): URL {
  const url = new URL(
    `${request.protocol}//${request.hostname}${request.port ? `:${request.port}` : ''}${request.path}`,
  );
  const query = Object.entries(request.query ?? {}).flatMap(([name, value]) =>
    (Array.isArray(value) ? value : [value]).map(
      (one) => `${escapeQuery(name)}${one === null ? '=' : `=${escapeQuery(one)}`}`,
    ),
  );
  if (query.length > 0) url.search = query.join('&');
  return url;
}

/** As SigV4 escapes: everything but RFC 3986 unreserved characters. */
function escapeQuery(text: string): string {
  return encodeURIComponent(text).replace(
    /[!'()*]/g,
    (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}

function bodyOf(request: SdkRequest): Uint8Array | StreamBody | undefined {
  const { body } = request;
  if (typeof body === 'string') return Buffer.from(body);
  if (!(body instanceof Uint8Array)) return undefined;
  return { size: body.byteLength, open: () => slicesOf(body) };
}

/** Views, no copies. */
async function* slicesOf(bytes: Uint8Array): Bytes {
  for (let at = 0; at < bytes.byteLength; at += sliceBytes) yield bytes.subarray(at, at + sliceBytes);
}
