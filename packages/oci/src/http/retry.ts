/**
 * Trying again: only what may pass by itself (lost connections, 408, 425, 429 and the 5xx of busy servers),
 * with full jitter, bounded in number and in what a server may ask for (threat T40).
 */
import { setTimeout as delay } from 'node:timers/promises';
import { CodedError, isCoded } from '../base/errors.ts';

/** How often and how patiently to retry. */
export interface RetryOptions {
  readonly signal?: AbortSignal | undefined;
  /** Attempts in all; the default of 6 spans about half a minute. */
  readonly tries?: number | undefined;
  /** Told before each wait. */
  readonly onRetry?: ((error: CodedError, attempt: number, waitMs: number) => void) | undefined;
  /** What else than isTransient decides. */
  readonly retryable?: ((error: unknown) => boolean) | undefined;
  readonly random?: (() => number) | undefined;
  readonly sleep?: (ms: number, signal?: AbortSignal) => Promise<void>;
}

const baseMs = 500;
const capMs = 30_000;
/** The longest wait that a Retry-After is obeyed for. */
const retryAfterCapMs = 60_000;
const transientStatuses: ReadonlySet<number> = new Set([408, 425, 429, 500, 502, 503, 504]);

/** True for answers that may be different next time. */
export function isTransientStatus(status: number): boolean {
  return transientStatuses.has(status);
}

/** True for errors that may pass by themselves. */
export function isTransient(error: unknown): boolean {
  if (!isCoded(error)) return false;
  return error.code === 'NETWORK' || (error.status !== undefined && isTransientStatus(error.status));
}

/**
 * @param run one attempt, numbered from 1
 * @returns what the first successful attempt returns
 * @throws what the last attempt threw; ABORTED when the signal fires while waiting
 */
export async function retrying<T>(
  run: (attempt: number) => Promise<T>,
  options: RetryOptions = {},
): Promise<T> {
  const { signal, tries = 6, retryable = isTransient } = options;
  for (let attempt = 1; ; attempt++) {
    throwIfAborted(signal);
    try {
      return await run(attempt);
    } catch (error) {
      if (attempt >= tries || signal?.aborted === true || !retryable(error)) throw error;
      await backOff(error, attempt, options);
    }
  }
}

/** Waits before attempt + 1: what the server asked for, else a random time below an exponential bound. */
export async function backOff(error: unknown, attempt: number, options: RetryOptions = {}): Promise<void> {
  const { signal, random = Math.random, sleep = sleepFor } = options;
  const coded = isCoded(error) ? error : undefined;
  const jitter = random() * Math.min(capMs, baseMs * 2 ** (attempt - 1));
  const waitMs =
    coded?.retryAfterMs === undefined ? jitter : Math.min(retryAfterCapMs, Math.max(0, coded.retryAfterMs));
  if (coded !== undefined) options.onRetry?.(coded, attempt, waitMs);
  await sleep(waitMs, signal);
  throwIfAborted(signal);
}

/** @throws ABORTED (or the signal's own CodedError) when it has fired */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted === true) throw abortedError(signal);
}

/** The error for a signal that has fired. */
export function abortedError(signal: AbortSignal): CodedError {
  const { reason } = signal;
  return isCoded(reason) ? reason : new CodedError('ABORTED', 'stopped', { cause: reason });
}

/** A shared promise, given up by this caller alone when its signal fires. @throws ABORTED */
export async function abortable<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise;
  if (signal.aborted) throw abortedError(signal);
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const onAbort = (): void => reject(abortedError(signal));
  signal.addEventListener('abort', onAbort);
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

/** Ends early when the signal fires, without an error. */
export async function sleepFor(ms: number, signal?: AbortSignal): Promise<void> {
  await delay(ms, undefined, { signal }).catch(() => undefined);
}

/**
 * @param value a Retry-After header: seconds, or an HTTP date
 * @param now milliseconds since the epoch
 * @returns milliseconds from now, never negative; undefined when it is neither
 */
export function parseRetryAfter(value: string | undefined, now: number): number | undefined {
  if (value === undefined || value.length > 64) return undefined;
  if (/^[0-9]+$/.test(value)) return Number(value) * 1000;
  // An HTTP date begins with the name of a day; Date.parse alone would read "-1" as a year.
  const date = /^[A-Z][a-z]{2,8}, /.test(value) ? Date.parse(value) : Number.NaN;
  return Number.isNaN(date) ? undefined : Math.max(0, date - now);
}
