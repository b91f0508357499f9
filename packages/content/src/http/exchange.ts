/**
 * One request and its answer on one connection: an undici dispatch handler whose body is an async iterable.
 * Chunks are handed on as they come off the socket, without a stream object between; what is not read yet is
 * bounded by pausing the socket.
 */
import type { Dispatcher } from 'undici';
import { CodedError } from '../errors.ts';
import { abortedError } from './retry.ts';

export interface Head {
  readonly status: number;
  /** Lower-case names; repeated headers are joined with a comma. */
  readonly headers: Readonly<Record<string, string>>;
}

/** The other end of a connection. */
export interface Peer {
  readonly address: string;
}

type IncomingHeaders = Readonly<Record<string, string | string[] | undefined>>;

/** Bytes waiting at which the socket is paused, and below which it goes on. */
const highWater = 512 * 1024;
const lowWater = 128 * 1024;
/** A rest not longer than this is read and dropped so that the connection can be used again. */
const drainable = 64 * 1024;

export class Exchange implements Dispatcher.DispatchHandler, AsyncIterableIterator<Uint8Array> {
  readonly head: Promise<Head>;
  /** Set by the client that takes the request. */
  peer: Peer | undefined;
  /** The address the request went to; empty before that, and behind a proxy. */
  address = '';
  sent = 0;
  received = 0;
  readonly #onEnd: (exchange: Exchange) => void;
  readonly #signal: AbortSignal | undefined;
  #resolveHead: (head: Head) => void = () => undefined;
  #rejectHead: (error: unknown) => void = () => undefined;
  #controller: Dispatcher.DispatchController | undefined;
  #remaining: number | undefined;
  #chunks: Uint8Array[] = [];
  #queued = 0;
  #waiting: PromiseWithResolvers<IteratorResult<Uint8Array, undefined>> | undefined;
  #ended = false;
  #discarding = false;
  #error: unknown;

  /** @param onEnd called once, when the body has ended or the exchange has failed */
  constructor(onEnd: (exchange: Exchange) => void, signal?: AbortSignal) {
    this.#onEnd = onEnd;
    this.#signal = signal;
    this.head = new Promise((resolve, reject) => {
      this.#resolveHead = resolve;
      this.#rejectHead = reject;
    });
    this.head.catch(() => undefined);
    signal?.addEventListener('abort', this.#onAbort);
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    this.address = this.peer?.address ?? '';
    if (this.#ended) controller.abort(asError(this.#error));
  }

  onBodySent(chunk: Uint8Array): void {
    this.sent += chunk.byteLength;
  }

  onResponseStart(_: Dispatcher.DispatchController, status: number, headers: IncomingHeaders): void {
    if (status < 200) return;
    const joined: Record<string, string> = {};
    for (const [name, value] of Object.entries(headers)) {
      if (value !== undefined) joined[name] = Array.isArray(value) ? value.join(', ') : value;
    }
    const length = joined['content-length'];
    this.#remaining = length === undefined ? undefined : Number(length);
    this.#resolveHead({ status, headers: joined });
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Uint8Array): void {
    this.received += chunk.byteLength;
    if (this.#discarding) return;
    const waiting = this.#waiting;
    if (waiting !== undefined) {
      this.#waiting = undefined;
      waiting.resolve({ done: false, value: chunk });
      return;
    }
    this.#chunks.push(chunk);
    this.#queued += chunk.byteLength;
    if (this.#queued >= highWater) controller.pause();
  }

  onResponseEnd(): void {
    this.#end();
    this.#waiting?.resolve({ done: true, value: undefined });
  }

  onResponseError(_: unknown, error: Error): void {
    this.fail(error);
  }

  /** What the exchange failed with, if it has. */
  get error(): unknown {
    return this.#error;
  }

  /** Ends the exchange with an error and gives its connection up. */
  fail(error: unknown): void {
    if (this.#ended) return;
    this.#error = error;
    this.#end();
    this.#rejectHead(error);
    this.#waiting?.reject(error);
    this.#controller?.abort(asError(error));
  }

  async next(): Promise<IteratorResult<Uint8Array, undefined>> {
    const value = this.#chunks.shift();
    if (value !== undefined) {
      this.#queued -= value.byteLength;
      if (this.#controller?.paused === true && this.#queued <= lowWater) this.#controller.resume();
      return { done: false, value };
    }
    if (this.#error !== undefined) throw this.#error;
    if (this.#ended) return { done: true, value: undefined };
    this.#waiting = Promise.withResolvers();
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
    if (this.#signal !== undefined) this.fail(abortedError(this.#signal));
  };

  #end(): void {
    this.#ended = true;
    this.#signal?.removeEventListener('abort', this.#onAbort);
    this.#onEnd(this);
  }
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
