import { describe, expect, test } from 'vitest';
import { CodedError } from '../src/base/errors.ts';
import { parseRetryAfter, type RetryOptions, retrying } from '../src/http/retry.ts';

/** Runs until it succeeds or gives up; tells the waits and the number of attempts. */
async function run(
  errors: readonly Error[],
  options: RetryOptions = {},
): Promise<{ waits: number[]; attempts: number; result: unknown }> {
  const waits: number[] = [];
  let attempts = 0;
  const result = await retrying(
    async (attempt) => {
      attempts = attempt;
      const error = errors[attempt - 1];
      if (error !== undefined) throw error;
      return 'done';
    },
    { sleep: async (ms) => void waits.push(ms), random: () => 1, ...options },
  ).catch((error: unknown) => error);
  return { waits, attempts, result };
}
const network = new CodedError('NETWORK', 'reset');
const status = (code: number, retryAfterMs?: number): CodedError =>
  new CodedError('UPSTREAM', 'answer', {
    status: code,
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  });

describe('retrying', () => {
  test('waits twice as long each time, up to the cap', async () => {
    const { waits, result } = await run(Array(8).fill(network), { tries: 9 });
    expect(result).toBe('done');
    expect(waits).toEqual([500, 1000, 2000, 4000, 8000, 16000, 30000, 30000]);
  });
  test('gives up after its tries with the last error', async () => {
    const { attempts, result } = await run(Array(20).fill(network));
    expect(attempts).toBe(6);
    expect(result).toBe(network);
  });
  test.each([408, 425, 429, 500, 502, 503, 504])('tries again after %i', async (code) => {
    expect((await run([status(code)])).attempts).toBe(2);
  });
  test.each([400, 401, 403, 404, 409, 413, 501])('does not after %i', async (code) => {
    expect((await run([status(code)])).attempts).toBe(1);
  });
  test('does not after errors that stay', async () => {
    expect((await run([new CodedError('EGRESS_DENIED', 'no')])).attempts).toBe(1);
    expect((await run([new TypeError('bug')])).attempts).toBe(1);
  });
  test('T40 obeys Retry-After up to a minute', async () => {
    expect((await run([status(429, 7000), status(503, 1e12)])).waits).toEqual([7000, 60000]);
  });
  test('an abort ends the wait with ABORTED', async () => {
    const controller = new AbortController();
    setTimeout(() => controller.abort(), 10);
    const result = await retrying(() => Promise.reject(network), {
      signal: controller.signal,
      random: () => 1,
    }).catch((error: unknown) => error);
    expect(result).toMatchObject({ code: 'ABORTED' });
  });
});

describe('parseRetryAfter', () => {
  const now = Date.parse('2026-01-01T00:00:00Z');
  test.each([
    ['0', 0],
    ['120', 120_000],
    ['Thu, 01 Jan 2026 00:00:30 GMT', 30_000],
    ['Wed, 31 Dec 2025 00:00:00 GMT', 0],
    ['-1', undefined],
    ['1.5', undefined],
    ['soon', undefined],
    [undefined, undefined],
  ])('T40 %s is %s ms', (value, expected) => {
    expect(parseRetryAfter(value, now)).toBe(expected);
  });
});
