/**
 * The one way out: every request of this project, and every redirect, is made here. Policy first, then the
 * connection, then the record. HTTP statuses are answers, not errors: the caller decides what they mean.
 * Threats T15, T29, T30, T33, T34, T35, T39, T53.
 */
import { giveBack } from '../base/chunk-memory.ts';
import { CodedError, isCoded } from '../base/errors.ts';
import { printable } from '../base/text.ts';
import type { Bytes } from '../storage.ts';
import type { Peer } from './advice.ts';
import { type ConnectionOptions, Connections } from './connections.ts';
import { Exchange, type Head } from './exchange.ts';
import { failureOf, shown } from './failure.ts';
import type { Pacing } from './pacing.ts';
import { anyAddressAllowed, checkUrl, type EgressPolicy, physicalUrl, resolveReference } from './policy.ts';
import { defaultRateFloor, type RateFloor, RateMeter, tooSlow } from './rate.ts';
import type { EgressRecord, EgressSink } from './record.ts';
import { type GateResponse, gateResponse } from './response.ts';
import { parseRetryAfter, throwIfAborted } from './retry.ts';

/** Hosts whose answers may be long in coming, since they make what they are asked for. */
export interface SlowHosts {
  /** Logical, with port when not 443. */
  readonly hosts: readonly string[];
  readonly headersTimeoutMs: number;
}

export interface GateOptions extends ConnectionOptions {
  readonly policy: EgressPolicy;
  readonly egressLog?: EgressSink | undefined;
  /** Default 60 s, from the last byte sent to the headers of the answer. */
  readonly headersTimeoutMs?: number | undefined;
  readonly slowHosts?: SlowHosts | undefined;
  /** Longest pause within a body; default 60 s. There is no total time-out. */
  readonly stallTimeoutMs?: number | undefined;
  /** Slowest rate of a body, in both directions; default 1 KiB/s over 60 s. */
  readonly rateFloor?: RateFloor | undefined;
  /** False: undici receives large bodies, too. Default true. */
  readonly blockReader?: boolean | undefined;
  /** Bytes of each body that may wait to be read; default 256 KiB. */
  readonly readAhead?: number | undefined;
  /** Hold requests back where hosts say that they are busy; without it, who retries waits by itself. */
  readonly pacing?: Pacing | undefined;
}

/** HTTP methods that registries, factories and object stores need. */
export type Method = 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';

/** A request body that can be sent again; `size` in bytes is its Content-Length. */
export interface StreamBody {
  readonly size: number;
  readonly open: () => Bytes;
}

export interface GateRequest {
  readonly method: Method;
  /** Logical URL, such as `https://ghcr.io/v2/`. */
  readonly url: string | URL;
  /** Who is asked, for what is said of failures; default `site`, a service that the operator named. */
  readonly peer?: Peer | undefined;
  /** Sent to the origin of `url`; elsewhere only Accept, Range, If-Range, User-Agent and what the body is go along. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** Authorization for the origin of `url`, never sent again on a chain of redirects that has left it. */
  readonly authorization?: string | undefined;
  readonly body?: Uint8Array | StreamBody | undefined;
  readonly signal?: AbortSignal | undefined;
  /**
   * Whether redirects are followed, at most 10 of them; default: those of GET and HEAD. With true also those of the other
   * methods, where the answer says to send the same again (307, 308): not for bodies that are secrets.
   */
  readonly follow?: boolean | undefined;
  /** Instead of the gate's own, for answers that are known to take minutes. */
  readonly headersTimeoutMs?: number | undefined;
  /** What is fetched or sent, for the record only. */
  readonly digest?: string | undefined;
  /** Bytes of the body to come, where that is known: a large one is read in blocks. Default 0. */
  readonly expectedBytes?: number | undefined;
  /** Take an answer labeled with a Content-Encoding as it is: for content that is checked. Default false. */
  readonly anyEncoding?: boolean | undefined;
}

/** Bytes of a body for which connections of its own are worth it. */
const leastForBlocks = 1024 * 1024;
const maxHops = 10;
const redirects: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);
/** Those that keep method and body. Source: RFC 9110 sections 15.4.8, 15.4.9. */
const sameAgain: ReadonlySet<number> = new Set([307, 308]);
const crossOrigin: ReadonlySet<string> = new Set([
  'accept',
  'range',
  'if-range',
  'user-agent',
  // What the body is.
  'content-type',
  'content-range',
]);
/** Written by the gate or the HTTP client itself. */
const ownHeaders: ReadonlySet<string> = new Set([
  'accept-encoding',
  'connection',
  'content-length',
  'expect',
  'host',
  'proxy-authorization',
  'transfer-encoding',
]);

/** The way out. Refuses what the policy does not allow before any name is resolved, and records every request. */
export class HttpGate {
  readonly policy: EgressPolicy;
  readonly #options: GateOptions;
  readonly #connections: Connections;

  constructor(options: GateOptions) {
    this.policy = options.policy;
    this.#options = options;
    this.#connections = new Connections(options);
  }

  /**
   * @throws EGRESS_DENIED before any connection; NETWORK for lost, refused and stalled connections; UPSTREAM for
   * TLS and protocol errors, a Content-Encoding, or a chain of redirects without end; ABORTED
   */
  async request(request: GateRequest): Promise<GateResponse> {
    const start = typeof request.url === 'string' ? parseUrl(request.url) : request.url;
    const isRead = request.method === 'GET' || request.method === 'HEAD';
    const followed = (request.follow ?? isRead) ? (isRead ? redirects : sameAgain) : undefined;
    let url = start;
    let pointedBy: string | undefined;
    let headers = this.#headers(request);
    for (let hop = 0; ; hop++) {
      this.#check(request, url, pointedBy);
      await this.#options.pacing?.turn(url.host, request.signal);
      const response = await this.#send(request, url, headers);
      const { status } = response;
      this.#options.pacing?.saw(
        url.host,
        status,
        parseRetryAfter(response.headers['retry-after'], Date.now()),
      );
      const location = response.headers['location'];
      if (followed?.has(status) !== true || location === undefined) return response;
      await response.cancel();
      if (hop === maxHops) {
        throw new CodedError('UPSTREAM', `${request.method} ${shown(start)}: more than ${maxHops} redirects`);
      }
      const next = resolveReference(this.policy, location, url);
      if (next === undefined) {
        throw new CodedError('UPSTREAM', `${shown(url)} redirects to no URL: ${printable(location)}`);
      }
      next.hash = '';
      pointedBy = `a redirect (${response.status}) of ${url.host}`;
      if (url.protocol === 'https:' && next.protocol === 'http:') {
        this.#refuse(
          request,
          next,
          `refused ${printable(next.host)}, where ${pointedBy} points: https may not become http`,
        );
      }
      if (next.origin !== start.origin) headers = surviving(headers);
      url = next;
    }
  }

  /** Ends all connections; what is still under way fails. */
  async close(): Promise<void> {
    await this.#connections.close();
  }

  #headersTimeoutOf(url: URL): number {
    const { slowHosts, headersTimeoutMs = 60_000 } = this.#options;
    return slowHosts?.hosts.includes(url.host) ? slowHosts.headersTimeoutMs : headersTimeoutMs;
  }

  #headers(request: GateRequest): Record<string, string> {
    const headers: Record<string, string> = { 'user-agent': 'omni-airgap' };
    for (const [name, value] of Object.entries(request.headers ?? {})) {
      const lower = name.toLowerCase();
      if (!ownHeaders.has(lower)) headers[lower] = value;
    }
    if (request.authorization !== undefined) headers['authorization'] = request.authorization;
    return headers;
  }

  #check(request: GateRequest, url: URL, pointedBy: string | undefined): void {
    try {
      checkUrl(this.policy, url, pointedBy);
    } catch (error) {
      this.#recordRefusal(request, url, error);
      throw error;
    }
  }

  #refuse(request: GateRequest, url: URL, message: string): never {
    const error = new CodedError('EGRESS_DENIED', message);
    this.#recordRefusal(request, url, error);
    throw error;
  }

  #recordRefusal(request: GateRequest, url: URL, error: unknown): void {
    const refused = isCoded(error) ? error.message : 'refused';
    this.#record(request, url, { time: new Date().toISOString(), address: '', bytes: 0, refused });
  }

  #record(
    request: GateRequest,
    url: URL,
    rest: Omit<EgressRecord, 'host' | 'method' | 'path' | 'digest'>,
  ): void {
    this.#options.egressLog?.record({
      ...rest,
      host: url.host,
      method: request.method,
      path: url.pathname,
      digest: request.digest,
    });
  }

  async #send(
    request: GateRequest,
    url: URL,
    headers: Readonly<Record<string, string>>,
  ): Promise<GateResponse> {
    const target = physicalUrl(this.policy, url);
    const publicOnly = !anyAddressAllowed(this.policy, url);
    const { dispatcher, blocks, proxy } = await this.#connections.route(url, target, publicOnly);
    throwIfAborted(request.signal);
    const { body } = request;
    const stream = body === undefined || body instanceof Uint8Array ? undefined : body;
    const time = new Date().toISOString();
    const what = `${request.method} ${shown(url)}`;
    const floor = this.#options.rateFloor ?? defaultRateFloor;
    const headersTimeoutMs = request.headersTimeoutMs ?? this.#headersTimeoutOf(url);
    const destination = {
      method: request.method,
      url,
      target,
      peer: request.peer ?? 'site',
      proxy,
      hasAuthority: this.#connections.hasAuthority,
    };
    const exchange = new Exchange({
      readAhead: this.#options.readAhead,
      signal: request.signal,
      toError: (error) => failureOf(error, destination),
      floor,
      headersTimeoutMs,
      what,
      onEnd: (ended) => {
        this.#record(request, url, {
          time,
          address: ended.address,
          status: ended.status,
          bytes: ended.sent + ended.received,
          via: proxy === undefined ? undefined : 'proxy',
          ...(isCoded(ended.error, 'EGRESS_DENIED') ? { refused: ended.error.message } : {}),
        });
      },
    });
    const path = target.pathname + target.search;
    const sent = { ...headers, 'accept-encoding': 'identity' };
    const timeouts = {
      headersTimeout: headersTimeoutMs,
      bodyTimeout: this.#options.stallTimeoutMs ?? 60_000,
    };
    const dispatch = (): boolean =>
      dispatcher.dispatch(
        {
          origin: target.origin,
          path,
          method: request.method,
          headers: {
            ...sent,
            ...(stream === undefined ? {} : { 'content-length': String(stream.size) }),
          },
          body: (stream === undefined
            ? body
            : stream.size === 0
              ? null
              : sending(stream.open(), exchange, floor, what)) as Buffer | null,
          // Undici closes the connection after each HEAD unless told not to.
          ...(request.method === 'HEAD' ? { reset: false } : {}),
          ...timeouts,
        },
        exchange,
      );
    const isLarge = request.method === 'GET' && (request.expectedBytes ?? 0) >= leastForBlocks;
    if (isLarge && body === undefined && blocks !== undefined && this.#options.blockReader !== false) {
      blocks.get({ path, headers: sent, ...timeouts }, exchange, (unfit) => {
        // This request was made, too.
        if (unfit !== undefined) this.#record(request, url, { time, ...unfit, bytes: 0 });
        dispatch();
      });
    } else {
      dispatch();
    }
    let head: Head;
    try {
      head = await exchange.head;
    } catch (error) {
      if (!isCoded(error) || error.failure?.cause.startsWith('certificate ') !== true) throw error;
      // When it expired, and who issued it, is what helps.
      throw failureOf(error.cause, destination, await this.#connections.certificateOf(target, publicOnly));
    }
    const encoding = head.headers['content-encoding']?.toLowerCase();
    const isBody = request.method !== 'HEAD' && request.anyEncoding !== true;
    if (isBody && encoding !== undefined && encoding !== 'identity') {
      const error = new CodedError(
        'UPSTREAM',
        `${request.method} ${shown(url)}: content encoding ${printable(encoding)} was not asked for`,
      );
      exchange.fail(error);
      throw error;
    }
    return gateResponse(head, exchange, url, destination.peer);
  }
}

/**
 * A body to send: ends with TooSlow when the other side takes it more slowly than the floor. Gives the memory of chunks
 * back that have left: the HTTP client asks for the next one when it has handed this one to the connection.
 */
async function* sending(body: Bytes, exchange: Exchange, floor: RateFloor, what: string): Bytes {
  const meter = new RateMeter(floor);
  for await (const chunk of body) {
    const since = performance.now();
    const { byteLength } = chunk;
    yield chunk;
    if (exchange.endpoint?.unsent === 0) giveBack(chunk);
    const rate = meter.moved(byteLength, performance.now() - since);
    if (rate !== undefined) throw tooSlow(what, rate, floor);
  }
}

function surviving(headers: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => crossOrigin.has(name)));
}

function parseUrl(text: string): URL {
  const url = URL.parse(text);
  if (url === null) throw new CodedError('BAD_NAME', `not a URL: ${printable(text)}`);
  return url;
}
