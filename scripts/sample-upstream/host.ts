/** One host of the upstream on a loopback port of its own, and what all of them share. */
import { createHmac, timingSafeEqual } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { pipeline } from 'node:stream/promises';

/** A request as a host saw it, for tests that count and compare. */
export interface SeenRequest {
  readonly host: string;
  readonly method: string;
  /** Path with query. */
  readonly target: string;
  readonly status: number;
  readonly authorized: boolean;
  readonly range: string | undefined;
}

export type Handler = (request: IncomingMessage, response: ServerResponse, url: URL) => void | Promise<void>;

export class Host {
  readonly name: string;
  readonly #server: Server;

  constructor(name: string, handler: Handler, onRequest?: (seen: SeenRequest) => void) {
    this.name = name;
    this.#server = createServer({ keepAliveTimeout: 30_000 }, (request, response) => {
      response.once('close', () =>
        onRequest?.({
          host: name,
          method: request.method ?? '',
          target: request.url ?? '',
          status: response.statusCode,
          authorized: request.headers.authorization !== undefined,
          range: request.headers.range,
        }),
      );
      void answer(handler, request, response);
    });
  }

  async listen(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.#server.closeAllConnections();
    await closed;
  }
}

async function answer(handler: Handler, request: IncomingMessage, response: ServerResponse): Promise<void> {
  try {
    await handler(request, response, new URL(request.url ?? '', 'http://localhost'));
  } catch (error) {
    if (response.headersSent) response.destroy();
    else sendText(response, 500, String(error));
  }
}

export function sendText(
  response: ServerResponse,
  status: number,
  text: string,
  type = 'text/plain; charset=utf-8',
): void {
  response.writeHead(status, { 'Content-Type': type, 'Content-Length': Buffer.byteLength(text) });
  response.end(response.req.method === 'HEAD' ? undefined : text);
}

export interface ServedFile {
  readonly path: string;
  readonly size: number;
}

/** A file with ranges, as object storage gives it. */
export async function sendFile(
  request: IncomingMessage,
  response: ServerResponse,
  file: ServedFile,
  headers: Readonly<Record<string, string>>,
): Promise<void> {
  const [, first, last] = /^bytes=([0-9]+)-([0-9]*)$/.exec(request.headers.range ?? '') ?? [];
  const start = first === undefined ? 0 : Number(first);
  const end = last === undefined || last === '' ? file.size - 1 : Math.min(Number(last), file.size - 1);
  if (first !== undefined && (start >= file.size || end < start)) {
    response.writeHead(416, { 'Content-Range': `bytes */${file.size}`, 'Content-Length': 0 }).end();
    return;
  }
  response.writeHead(first === undefined ? 200 : 206, {
    ...headers,
    'Accept-Ranges': 'bytes',
    'Content-Length': end - start + 1,
    ...(first === undefined ? {} : { 'Content-Range': `bytes ${start}-${end}/${file.size}` }),
  });
  if (request.method === 'HEAD' || file.size === 0) response.end();
  else {
    const bytes = createReadStream(file.path, { start, end, highWaterMark: 1024 * 1024 });
    // A client that goes away is no error of the host.
    await pipeline(bytes, response).catch(() => {});
  }
}

/** Signs and checks the URLs that one host hands out for another. */
export class UrlSigner {
  readonly #secret: string;

  constructor(secret: string) {
    this.#secret = secret;
  }

  /** @param expires ms since 1970 */
  sign(path: string, expires: number): string {
    return createHmac('sha256', this.#secret).update(`${path}\n${expires}`).digest('hex');
  }

  verify(path: string, expires: number, signature: string): boolean {
    const expected = Buffer.from(this.sign(path, expires));
    const got = Buffer.from(signature);
    return got.byteLength === expected.byteLength && timingSafeEqual(got, expected) && Date.now() < expires;
  }
}

/** A refusal as object storage words it, in XML. */
export function sendStorageError(response: ServerResponse, status: number, code: string): void {
  sendText(response, status, `<?xml version="1.0"?><Error><Code>${code}</Code></Error>`, 'application/xml');
}
