import { expect, test } from 'vitest';
import { CodedError, ExitCode, exitCodeOf, isCoded, messageOf, systemCodeOf } from '../src/base/errors.ts';

test('exit codes follow from the code, and from nothing else', () => {
  expect(exitCodeOf(new CodedError('CONFIG', 'x'))).toBe(ExitCode.usage);
  expect(exitCodeOf(new CodedError('DIGEST_MISMATCH', 'x'))).toBe(ExitCode.integrity);
  expect(exitCodeOf(new CodedError('EGRESS_DENIED', 'x'))).toBe(ExitCode.refused);
  expect(exitCodeOf(new CodedError('NETWORK', 'x'))).toBe(ExitCode.incomplete);
  expect(exitCodeOf(new CodedError('ABORTED', 'x'))).toBe(ExitCode.interrupted);
  expect(exitCodeOf(new CodedError('INTERNAL', 'NETWORK'))).toBe(ExitCode.unexpected);
  expect(exitCodeOf(AbortSignal.abort().reason)).toBe(ExitCode.interrupted);
  for (const unknown of [new TypeError('x'), 'text', undefined]) {
    expect(exitCodeOf(unknown)).toBe(ExitCode.unexpected);
  }
});

test('a coded error carries what it is about, and its cause', () => {
  const cause = new Error('deeper');
  const error = new CodedError('UPSTREAM', 'status 503', { cause, status: 503, retryAfterMs: 1000 });
  expect(error).toMatchObject({
    code: 'UPSTREAM',
    status: 503,
    retryAfterMs: 1000,
    cause,
    name: 'CodedError',
  });
  expect(Object.hasOwn(new CodedError('UPSTREAM', 'x'), 'cause')).toBe(false);
  expect(isCoded(error)).toBe(true);
  expect([isCoded(error, 'DISK', 'UPSTREAM'), isCoded(error, 'DISK'), isCoded(cause)]).toEqual([
    true,
    false,
    false,
  ]);
});

test('system codes are found below wrapping errors, not in our own codes', () => {
  const reset = Object.assign(new Error('x'), { code: 'ECONNRESET' });
  expect(systemCodeOf(new CodedError('NETWORK', 'x', { cause: new Error('y', { cause: reset }) }))).toBe(
    'ECONNRESET',
  );
  expect(systemCodeOf(new CodedError('NETWORK', 'x'))).toBeUndefined();
  const loop = new Error('loop');
  loop.cause = loop;
  expect(systemCodeOf(loop)).toBeUndefined();
  expect([messageOf('text'), messageOf(reset), messageOf(5)]).toEqual(['text', 'x', '5']);
});
