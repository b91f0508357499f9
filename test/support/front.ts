/**
 * A reverse proxy on loopback that remembers what was asked of it: several servers under one host, as a public
 * registry looks from outside, or the line to a store of a site, which can break. Host headers go through, so that
 * signatures over them hold.
 */
import { request as ask, type IncomingMessage, type ServerResponse } from 'node:http';
import { Transform } from 'node:stream';
import { startHttpServer } from '../../packages/oci/src/testing/index.ts';

export interface FrontRequest {
  readonly method: string;
  /** Path and query. */
  readonly path: string;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
}

/** What happens to a request: its connection is cut before it arrives, or one byte of its body changes on the way. */
type Fault = 'cut' | 'flip' | undefined;

export interface Front {
  readonly url: string;
  readonly host: string;
  readonly requests: readonly FrontRequest[];
  /** Asked about each request; none fails at first. */
  fault: (request: FrontRequest) => Fault | Promise<Fault>;
  stop(): Promise<void>;
}

export interface FrontOptions {
  /** PEM: it speaks TLS then. */
  readonly tls?: { readonly cert: string; readonly key: string };
}

/** @param routes base URL by path prefix; the first that fits counts */
export async function startFront(
  routes: Readonly<Record<string, string>>,
  { tls }: FrontOptions = {},
): Promise<Front> {
  const pass = async (incoming: IncomingMessage, response: ServerResponse): Promise<void> => {
    const { method = '', url: path = '', headers, rawHeaders } = incoming;
    const fault = await front.fault({ method, path, headers });
    if (fault === 'cut') {
      response.destroy();
      return;
    }
    const origin = Object.entries(routes).find(([prefix]) => path.startsWith(prefix))?.[1];
    if (origin === undefined) {
      response.writeHead(404).end();
      return;
    }
    // What is behind it writes URLs of its own by this.
    const forwarded = tls === undefined ? rawHeaders : [...rawHeaders, 'X-Forwarded-Proto', 'https'];
    const outgoing = ask(`${origin}${path}`, { method, headers: forwarded }, (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.rawHeaders);
      answer.on('error', () => response.destroy());
      answer.pipe(response);
    });
    outgoing.on('error', () => response.destroy());
    response.on('close', () => outgoing.destroy());
    if (fault === 'flip') incoming.pipe(flippingFirstByte()).pipe(outgoing);
    else incoming.pipe(outgoing);
  };
  const server = await startHttpServer((incoming, response) => void pass(incoming, response), tls);
  const front: Front = {
    url: server.url,
    host: server.host,
    requests: server.requests,
    fault: () => undefined,
    stop: () => server.close(),
  };
  return front;
}

function flippingFirstByte(): Transform {
  let isFirst = true;
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      const bytes = Buffer.from(chunk);
      if (isFirst) bytes.writeUInt8(bytes.readUInt8() ^ 1);
      isFirst = false;
      done(null, bytes);
    },
  });
}
