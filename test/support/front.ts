/**
 * A reverse proxy on loopback that remembers what was asked of it: several servers under one host, as a public
 * registry looks from outside. Host headers go through, so that signatures over them hold.
 */
import { request as ask, type RequestListener } from 'node:http';
import { startHttpServer } from '../../packages/oci/src/testing/index.ts';

interface FrontRequest {
  readonly method: string;
  /** Path and query. */
  readonly path: string;
  readonly userAgent: string | undefined;
  readonly authorization: string | undefined;
}

export interface Front {
  readonly url: string;
  readonly host: string;
  readonly requests: readonly FrontRequest[];
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
  const requests: FrontRequest[] = [];
  const listener: RequestListener = (incoming, response) => {
    const { method = '', url: path = '', headers, rawHeaders } = incoming;
    requests.push({ method, path, userAgent: headers['user-agent'], authorization: headers.authorization });
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
    incoming.pipe(outgoing);
  };
  const server = await startHttpServer(listener, tls);
  return { url: server.url, host: server.host, requests, stop: () => server.close() };
}
