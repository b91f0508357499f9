/** A small HTTP or HTTPS server on loopback for tests: port chosen by the OS, requests recorded, nothing left open. */
import { createServer, type IncomingMessage, type RequestListener, type Server } from 'node:http';
import { createServer as createTlsServer, type ServerOptions } from 'node:https';
import type { AddressInfo } from 'node:net';

interface SeenRequest {
  readonly method: string;
  /** Path and query as sent. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
}

/** A server on a free port of 127.0.0.1 that notes what it was asked. */
export interface LoopbackServer {
  /** Such as `http://127.0.0.1:34567`. */
  readonly url: string;
  /** Such as `127.0.0.1:34567`. */
  readonly host: string;
  /** TCP connections accepted so far. */
  readonly connections: number;
  /** The most of them that were open at once. */
  readonly mostConnections: number;
  readonly requests: readonly SeenRequest[];
  close(): Promise<void>;
}

/**
 * @param listener answers requests; must drain what it is sent if the connection is to be used again
 * @param tls certificate, key and what else Node.js takes make it an HTTPS server
 */
export async function startHttpServer(
  listener: RequestListener,
  tls?: ServerOptions,
): Promise<LoopbackServer> {
  const requests: SeenRequest[] = [];
  let connections = 0;
  let open = 0;
  let most = 0;
  const answer: RequestListener = (request, response) => {
    requests.push({ method: request.method ?? '', path: request.url ?? '', headers: request.headers });
    // A client that goes away in the middle is part of many tests.
    response.on('error', () => undefined);
    listener(request, response);
  };
  const server: Server = tls === undefined ? createServer(answer) : createTlsServer(tls, answer);
  server.on('connection', (socket) => {
    connections++;
    most = Math.max(most, ++open);
    socket.once('close', () => open--);
  });
  server.listen(0, '127.0.0.1');
  await new Promise((resolve, reject) => server.once('listening', resolve).once('error', reject));
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    url: `${tls === undefined ? 'http' : 'https'}://${host}`,
    host,
    requests,
    get connections() {
      return connections;
    },
    get mostConnections() {
      return most;
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** The whole body of a request. */
export async function readBody(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}
