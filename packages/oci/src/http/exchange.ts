/**
 * One request and its answer on one connection: an undici dispatch handler whose body is an async iterable.
 * Chunks are handed on as they come off the socket, without a stream object between; what is not read yet is
 * bounded by pausing the socket.
 */
import type { Dispatcher } from 'undici';
import { markReceived } from '../base/chunk-memory.ts';
import { CodedError } from '../base/errors.ts';
import { type RateFloor, RateMeter, tooSlow } from './rate.ts';
import { abortedError } from './retry.ts';

export interface Head {
  readonly status: number;
  /** Lower-case names; repeated headers are joined with a comma. */
  readonly headers: Readonly<Record<string, string>>;
}

/** The other end of a connection. */
export interface Endpoint {
  /** Empty behind a proxy. */
  readonly address: string;
  /** Organization or name of who issued its certificate; empty without TLS. */
  readonly issuer: string;
  /** Bytes that were given to the connection and have not left it: it may still read the memory they lie in. */
  readonly unsent: number;
}

export interface ExchangeOptions {
  /** Called once, when the body has ended or the exchange has failed. */
  readonly onEnd: (exchange: Exchange) => void;
  /** What a failure is told to the consumer as. */
  readonly toError: (error: unknown) => CodedError;
  readonly signal?: AbortSignal | undefined;
  /** Of the body that comes, from its first byte on. */
  readonly floor: RateFloor;
  /** From the last byte sent to the headers; answers of status 1xx do not extend it. */
  readonly headersTimeoutMs: number;
  /** Bytes that may wait to be read; default 256 KiB. */
  readonly readAhead?: number | undefined;
  /** For messages, such as `GET https://ghcr.io/v2/`. */
  readonly what: string;
}

type IncomingHeaders = Readonly<Record<string, string | string[] | undefined>>;

/**
 * Bytes waiting at which the socket is paused, and below which it goes on. More costs memory and gains nothing: a chunk
 * that waits for long outlives the young generation, whose collection frees the others at once. Less is slower.
 */
const defaultReadAhead = 256 * 1024;
/** A rest not longer than this is read and dropped so that the connection can be used again. */
const drainable = 64 * 1024;

export class Exchange implements Dispatcher.DispatchHandler, AsyncIterableIterator<Uint8Array> {
  readonly head: Promise<Head>;
  /** Set by the client that takes the request. */
  endpoint: Endpoint | undefined;
  /** The address the request went to; empty before that, and behind a proxy. */
  address = '';
  /** Body bytes so far. */
  sent = 0;
  received = 0;
  /** Set with `head`. */
  status: number | undefined;
  readonly #options: ExchangeOptions;
  #resolveHead: (head: Head) => void = () => undefined;
  #rejectHead: (error: unknown) => void = () => undefined;
  #controller: Dispatcher.DispatchController | undefined;
  #remaining: number | undefined;
  #chunks: Uint8Array[] = [];
  #queued = 0;
  #waiting: PromiseWithResolvers<IteratorResult<Uint8Array, undefined>> | undefined;
  readonly #readAhead: number;
  readonly #meter: RateMeter;
  /** When the consumer began to wait; `performance.now()`. */
  #waitingSince = 0;
  #lastSent = 0;
  #ended = false;
  #discarding = false;
  #error: CodedError | undefined;

  constructor(options: ExchangeOptions) {
    this.#options = options;
    this.#readAhead = options.readAhead ?? defaultReadAhead;
    this.#meter = new RateMeter(options.floor);
    this.head = new Promise((resolve, reject) => {
      this.#resolveHead = resolve;
      this.#rejectHead = reject;
    });
    this.head.catch(() => undefined);
    options.signal?.addEventListener('abort', this.#onAbort);
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    this.#lastSent = performance.now();
    this.address = this.endpoint?.address ?? '';
    if (this.#error !== undefined) controller.abort(this.#error);
  }

  onBodySent(chunk: Uint8Array): void {
    this.sent += chunk.byteLength;
    this.#lastSent = performance.now();
  }

  onResponseStart(_: Dispatcher.DispatchController, status: number, headers: IncomingHeaders): void {
    if (status < 200) {
      // Each of them begins the time-out of the HTTP client anew (103 Early Hints without end).
      if (performance.now() - this.#lastSent > this.#options.headersTimeoutMs) {
        this.fail(
          new CodedError('NETWORK', `${this.#options.what}: no answer in time, only status ${status}`),
        );
      }
      return;
    }
    this.status = status;
    const joined: Record<string, string> = {};
    for (const [name, value] of Object.entries(headers)) {
      if (value !== undefined) joined[name] = Array.isArray(value) ? value.join(', ') : value;
    }
    const length = joined['content-length'];
    this.#remaining = length === undefined ? undefined : Number(length);
    this.#resolveHead({ status, headers: joined });
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Uint8Array): void {
    const waiting = this.#waiting;
    const waitedMs =
      waiting === undefined || this.received === 0 ? 0 : performance.now() - this.#waitingSince;
    this.received += chunk.byteLength;
    const rate = this.#meter.moved(chunk.byteLength, waitedMs);
    if (rate !== undefined) this.fail(tooSlow(this.#options.what, rate, this.#options.floor));
    if (this.#discarding || this.#ended) return;
    markReceived(chunk);
    if (waiting !== undefined) {
      this.#waiting = undefined;
      waiting.resolve({ done: false, value: chunk });
      return;
    }
    this.#chunks.push(chunk);
    this.#queued += chunk.byteLength;
    if (this.#queued >= this.#readAhead) controller.pause();
  }

  onResponseEnd(): void {
    this.#end();
    this.#waiting?.resolve({ done: true, value: undefined });
  }

  onResponseError(_: unknown, error: Error): void {
    this.fail(error);
  }

  /** What the exchange failed with, if it has. */
  get error(): CodedError | undefined {
    return this.#error;
  }

  /** Ends the exchange with an error and gives its connection up. */
  fail(error: unknown): void {
    if (this.#ended) return;
    const coded = this.#options.toError(error);
    this.#error = coded;
    this.#end();
    this.#rejectHead(coded);
    this.#waiting?.reject(coded);
    this.#controller?.abort(coded);
  }

  next(): Promise<IteratorResult<Uint8Array, undefined>> {
    const value = this.#chunks.shift();
    if (value !== undefined) {
      this.#queued -= value.byteLength;
      if (this.#controller?.paused === true && this.#queued <= this.#readAhead / 4) this.#controller.resume();
      return Promise.resolve({ done: false, value });
    }
    if (this.#error !== undefined) return Promise.reject(this.#error);
    if (this.#ended) return Promise.resolve({ done: true, value: undefined });
    this.#waiting = Promise.withResolvers();
    this.#waitingSince = performance.now();
    return this.#waiting.promise;
  }

  async return(): Promise<IteratorResult<Uint8Array, undefined>> {
    this.cancel();
    return { done: true, value: undefined };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  /** Drops the rest of the body: reads a short one to its end, gives the connection up otherwise. */
  cancel(): void {
    this.#chunks = [];
    this.#queued = 0;
    if (this.#ended) return;
    if (this.#remaining !== undefined && this.#remaining - this.received <= drainable) {
      this.#discarding = true;
      this.#controller?.resume();
    } else {
      this.fail(new CodedError('ABORTED', 'the rest of the answer was not wanted'));
    }
  }

  readonly #onAbort = (): void => {
    if (this.#options.signal !== undefined) this.fail(abortedError(this.#options.signal));
  };

  #end(): void {
    this.#ended = true;
    this.#options.signal?.removeEventListener('abort', this.#onAbort);
    this.#options.onEnd(this);
  }
}
