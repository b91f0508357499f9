/**
 * The HTTP core: limits, request checks, dispatch to route groups, sending, the access log. It knows nothing of
 * what is served; groups (registry, later others) are handed in.
 */

import { randomUUID, X509Certificate } from 'node:crypto';
import {
  createServer as createNodeServer,
  type IncomingMessage,
  type Server as NodeServer,
  type ServerOptions,
  type ServerResponse,
} from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { type SecureContextOptions, Server as TlsServer } from 'node:tls';
import { CodedError, messageOf, printable } from '@omni-airgap/oci/base';
import { type ClientAddress, clientAddressBehind } from './client-address.ts';
import {
  type Answer,
  isMethod,
  type Methods,
  parseTarget,
  type Request,
  type RouteGroup,
} from './message.ts';
import { send } from './send.ts';

/** One line of the access log. */
export interface AccessEntry {
  /** ISO 8601, when the request came. */
  readonly time: string;
  readonly remote: string;
  readonly method: string;
  /** Without the query, safe to print. */
  readonly path: string;
  readonly status: number;
  /** Bytes that were handed to the socket, the headers' among them. */
  readonly bytes: number;
  readonly ms: number;
  /** Why the answer is no success, or was cut. */
  readonly error?: string;
  /** Bytes that came for it, with its headers. */
  readonly received: number;
  /** The class of its path: one of a few words. */
  readonly route: string;
  /** Who had logged in; not for an answer that needed no log-in. */
  readonly user?: string;
  /** As the client sent it, or made here; the answer carries it too. */
  readonly requestId: string;
}

/** PEM. */
export interface TlsOptions {
  readonly cert: string | Uint8Array;
  readonly key: string | Uint8Array;
  /** Authorities of clients: only who has a certificate of one of them may connect. Left out: everyone. */
  readonly clientCa?: string | Uint8Array | undefined;
}

interface HttpOptions {
  readonly groups: readonly RouteGroup[];
  /** What every answer's Server header says. */
  readonly name: string;
  /** Left out: plain HTTP. */
  readonly tls?: TlsOptions | undefined;
  /** Whose X-Forwarded-For is believed: IP addresses and networks. Left out: nobody's. */
  readonly trustedProxies?: readonly string[] | undefined;
  readonly onAccess?: ((entry: AccessEntry) => void) | undefined;
}

/** A client that neither sends nor takes a byte for so long is dropped. */
const idleMs = 120_000;
const headersMs = 20_000;
const maxConnections = 4096;
const idleCheckMs = 100;
/** An unread request body up to this size is read to its end, so that the client gets to see the answer. */
const drainAtMost = 16 * 1024 * 1024;

/** What the access log tells of an answer, besides its status. */
interface Outcome {
  route: string;
  user?: string | undefined;
  /** What went wrong. */
  problem?: string;
}

export class HttpServer {
  readonly #options: HttpOptions;
  readonly #server: NodeServer;
  #isDraining = false;
  /** Bytes that had come by the end of the last request of a connection. */
  readonly #accounted = new WeakMap<Socket, number>();
  readonly #clientAddress: ClientAddress;

  /** @throws CONFIG for a certificate that cannot be used, USAGE for a trusted proxy that is no address */
  constructor(options: HttpOptions) {
    this.#options = options;
    this.#clientAddress = clientAddressBehind(options.trustedProxies ?? []);
    const settings = {
      maxHeaderSize: 16 * 1024,
      headersTimeout: headersMs,
      // A blob may take hours to come in; a silent connection is ended by the idle time-out.
      requestTimeout: 0,
      keepAliveTimeout: 30_000,
      noDelay: true,
    };
    this.#server =
      options.tls === undefined ? createNodeServer(settings) : secureServer(settings, options.tls);
    this.#server.maxConnections = maxConnections;
    this.#server.setTimeout(idleMs);
    this.#server.on('request', this.listener);
    this.#server.on('clientError', refuseRaw);
    this.#server.on('tlsClientError', (_error: Error, socket: Socket) => socket.destroy());
  }

  /** For use inside another server, such as one that adds authentication. */
  readonly listener = (incoming: IncomingMessage, response: ServerResponse): void => {
    void this.#serve(incoming, response);
  };

  /**
   * @param port 0 lets the system choose
   * @throws NETWORK when the address cannot be bound
   */
  async listen(host: string, port: number): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', (cause) =>
        reject(new CodedError('NETWORK', `cannot listen on ${host}:${port}: ${cause.message}`, { cause })),
      );
      this.#server.listen(port, host, resolve);
    });
  }

  /**
   * Connections from now on get this certificate; those that are open keep theirs.
   * @throws CONFIG when it cannot be used, and the one before stays; INTERNAL for a server without TLS
   */
  setTls(tls: TlsOptions): void {
    const server: unknown = this.#server;
    if (!(server instanceof TlsServer)) throw new CodedError('INTERNAL', 'the server has no TLS');
    const settings = secureSettings(tls);
    checked(() => server.setSecureContext(settings));
  }

  /** `http://host:port`, or https, while listening. */
  get url(): string {
    const address = this.#server.address() as AddressInfo | null;
    if (address === null) throw new CodedError('INTERNAL', 'the server does not listen');
    const host = address.family === 'IPv6' ? `[${address.address}]` : address.address;
    return `${this.#options.tls === undefined ? 'http' : 'https'}://${host}:${address.port}`;
  }

  /** Connections end with their next answer: whoever comes again is to be sent to another server. */
  drain(): void {
    this.#isDraining = true;
  }

  /**
   * Takes no more connections and ends those there are.
   * @param graceMs answers under way may take this long to end; then they are cut
   */
  async close(graceMs = 0): Promise<void> {
    if (!this.#server.listening) return;
    const closed = new Promise((resolve) => this.#server.close(resolve));
    const ended = closed.then(() => true);
    const end = performance.now() + graceMs;
    // A kept connection becomes idle when its answer ends; nothing else tells when.
    while (performance.now() < end && !(await Promise.race([ended, sleep(idleCheckMs, false)]))) {
      this.#server.closeIdleConnections();
    }
    this.#server.closeAllConnections();
    await closed;
  }

  async #serve(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const started = performance.now();
    const time = new Date().toISOString();
    const { socket } = incoming;
    const remote = this.#clientAddress(incoming);
    const before = socket.bytesWritten;
    const requestId = requestIdOf(incoming);
    response.setHeader('Server', this.#options.name);
    response.setHeader('X-Request-ID', requestId);
    if (this.#isDraining) response.shouldKeepAlive = false;
    const abort = new AbortController();
    response.once('close', () => abort.abort(new CodedError('ABORTED', 'the client went away')));
    const outcome: Outcome = { route: 'none' };
    try {
      await this.#answer(incoming, response, { remote, signal: abort.signal }, outcome);
    } catch (error) {
      outcome.problem = messageOf(error);
      // Part of the answer is out: the only honest end is one that no client takes for whole.
      socket.resetAndDestroy();
    }
    this.#options.onAccess?.({
      time,
      remote,
      method: incoming.method ?? '',
      path: printable((incoming.url ?? '').split('?', 1)[0] ?? ''),
      status: response.statusCode,
      bytes: socket.bytesWritten - before,
      ms: Math.round(performance.now() - started),
      received: this.#receivedBy(socket),
      route: outcome.route,
      requestId,
      ...(outcome.user === undefined ? {} : { user: printable(outcome.user) }),
      ...(outcome.problem === undefined ? {} : { error: printable(outcome.problem) }),
    });
  }

  /** @param outcome is filled in for the log @throws when the connection must be cut */
  async #answer(
    incoming: IncomingMessage,
    response: ServerResponse,
    { remote, signal }: Pick<Request, 'remote' | 'signal'>,
    outcome: Outcome,
  ): Promise<void> {
    const { method, headers } = incoming;
    const target = parseTarget(incoming.url ?? '');
    if (target === undefined || !isMethod(method)) {
      const answer = text(target === undefined ? 400 : 501, 'request not understood');
      outcome.problem = 'request not understood';
      await this.#send(incoming, response, answer, { method: 'GET', headers, signal });
      return;
    }
    const length = headers['content-length'];
    const request: Request = {
      method,
      ...target,
      headers,
      contentLength: length === undefined ? undefined : Number(length),
      // A handler that stops reading must not close the connection that its answer goes to.
      body: incoming.iterator({ destroyOnReturn: false }),
      remote,
      signal,
    };
    const [group, methods] = this.#find(target.segments);
    if (group === undefined || methods === undefined) {
      await this.#send(incoming, response, text(404, '404 page not found'), request);
      return;
    }
    outcome.route = group.routeOf(target.segments);
    if (group.isCrossOrigin) response.setHeaders(new Map(Object.entries(crossOriginHeaders(request))));
    const handler = methods[method] ?? (method === 'HEAD' ? methods.GET : undefined);
    let answer: Answer;
    try {
      answer = handler === undefined ? withoutHandler(group, request, methods) : await handler(request);
    } catch (error) {
      if (signal.aborted) throw error;
      outcome.problem = messageOf(error);
      answer = group.failed(error);
    }
    outcome.user = answer.user;
    try {
      await this.#send(incoming, response, answer, request);
    } catch (error) {
      if (response.headersSent || signal.aborted) throw error;
      outcome.problem = messageOf(error);
      await this.#send(incoming, response, group.failed(error), request);
    }
  }

  /** Since the request before: some bytes come before the request is told of. */
  #receivedBy(socket: Socket): number {
    const before = this.#accounted.get(socket) ?? 0;
    this.#accounted.set(socket, socket.bytesRead);
    return socket.bytesRead - before;
  }

  #find(segments: readonly string[]): readonly [RouteGroup?, Methods?] {
    for (const group of this.#options.groups) {
      const methods = group.match(segments);
      if (methods !== undefined) return [group, methods];
    }
    return [];
  }

  async #send(
    incoming: IncomingMessage,
    response: ServerResponse,
    answer: Answer,
    request: Pick<Request, 'method' | 'headers' | 'signal'>,
  ): Promise<void> {
    const unread = !incoming.complete && hasBody(incoming);
    const small = Number(incoming.headers['content-length'] ?? Number.POSITIVE_INFINITY) <= drainAtMost;
    if (unread && !small) response.shouldKeepAlive = false;
    await send(response, answer, request);
    if (unread && small) incoming.resume();
  }
}

function secureServer(settings: ServerOptions, tls: TlsOptions): NodeServer {
  const secure = secureSettings(tls);
  const asksClients = { requestCert: true, rejectUnauthorized: true };
  return checked(() =>
    createTlsServer({ ...settings, ...secure, ...(tls.clientCa === undefined ? {} : asksClients) }),
  );
}

/** @throws CONFIG for authorities of clients that are no certificates */
function secureSettings({ cert, key, clientCa }: TlsOptions): SecureContextOptions {
  return {
    cert: Buffer.from(cert),
    key: Buffer.from(key),
    ...(clientCa === undefined ? {} : { ca: authorities(Buffer.from(clientCa).toString('latin1')) }),
    minVersion: 'TLSv1.2',
  };
}

/** Node.js passes over what is no certificate, and would then let nobody in without a word. */
function authorities(pem: string): string[] {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g) ?? [];
  try {
    if (blocks.length === 0) throw new Error('no PEM certificate');
    for (const block of blocks) new X509Certificate(block);
  } catch (cause) {
    throw new CodedError('CONFIG', `the authority of clients cannot be used: ${messageOf(cause)}`, { cause });
  }
  return blocks;
}

function checked<T>(use: () => T): T {
  try {
    return use();
  } catch (cause) {
    throw new CodedError('CONFIG', `certificate and key cannot be used: ${messageOf(cause)}`, { cause });
  }
}

/** Text of a client goes into the log and back to it: only what is surely an identifier. */
function requestIdOf({ headers }: IncomingMessage): string {
  const sent = headers['x-request-id'];
  return typeof sent === 'string' && /^[A-Za-z0-9._:/+=-]{1,128}$/.test(sent) ? sent : randomUUID();
}

function hasBody({ headers }: IncomingMessage): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
}

/** What a path says to a method that it has no handler for. */
function withoutHandler(group: RouteGroup, request: Request, methods: Methods): Answer {
  const names = [...Object.keys(methods), 'OPTIONS'];
  if (names.includes('GET') && !names.includes('HEAD')) names.push('HEAD');
  const allow = names.sort().join(', ');
  if (request.method === 'OPTIONS') return preflight(group.isCrossOrigin ? request : { headers: {} }, allow);
  const answer = group.methodNotAllowed(request.method, allow);
  return { ...answer, headers: { ...answer.headers, Allow: allow } };
}

function text(status: number, line: string): Answer {
  return { status, headers: { 'Content-Type': 'text/plain; charset=utf-8' }, body: `${line}\n` };
}

/** What is not even HTTP, or has headers beyond the limit. */
function refuseRaw(error: NodeJS.ErrnoException, socket: Socket): void {
  // After an answer has begun on this connection, text of ours would stand in the middle of it.
  if (!socket.writable || socket.bytesWritten > 0 || error.code === 'ECONNRESET') {
    socket.destroy();
    return;
  }
  const status =
    error.code === 'HPE_HEADER_OVERFLOW'
      ? '431 Request Header Fields Too Large'
      : error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
        ? '408 Request Timeout'
        : '400 Bad Request';
  socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
}

const readable = 'Content-Disposition, Content-Length, Content-Type';

/**
 * Pages of other sites, such as Omni's, may read what the Image Factory offers, as at the public one.
 * Source: Fetch standard, section 3.3 (CORS protocol); siderolabs/image-factory 26b95cac internal/frontend/http/http.go (Handler).
 * @returns headers that let the page that asked read the answer; none where no page asked.
 */
function crossOriginHeaders({ method, headers }: Pick<Request, 'method' | 'headers'>) {
  if (headers.origin === undefined || (method !== 'GET' && method !== 'HEAD')) return {};
  return { 'Access-Control-Allow-Origin': '*', 'Access-Control-Expose-Headers': readable };
}

/** The answer to what a browser asks before a request: reading is allowed, with the one header that steers caches. */
function preflight({ headers }: Pick<Request, 'headers'>, allow: string): Answer {
  const asked = headers['access-control-request-method'];
  const isReading = headers.origin !== undefined && (asked === 'GET' || asked === 'HEAD');
  return {
    status: 204,
    headers: {
      Allow: allow,
      ...(isReading
        ? {
            'Access-Control-Allow-Origin': '*',
            'Access-Control-Allow-Methods': 'GET, HEAD, OPTIONS',
            'Access-Control-Allow-Headers': 'Cache-Control',
          }
        : {}),
    },
  };
}
