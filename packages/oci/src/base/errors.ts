/**
 * The one error type of this project: a union code that programs match on, one line for people, the
 * descriptor or name it is about, and the cause. The code decides the exit code, nowhere else.
 */

/** Exit codes a command ends with; docs/commands.md explains them to users. */
export const ExitCode = {
  ok: 0,
  unexpected: 1,
  usage: 2,
  integrity: 3,
  refused: 4,
  incomplete: 5,
  interrupted: 130,
} as const;
export type ExitCode = (typeof ExitCode)[keyof typeof ExitCode];

/** Every code an error can carry, with the exit code it leads to. */
const exitCodes = {
  /** Command line or argument cannot be used. */
  USAGE: ExitCode.usage,
  /** A configuration file cannot be used; the message names file and line. */
  CONFIG: ExitCode.usage,
  /** A named input (bundle, store, file) is not there. */
  NO_INPUT: ExitCode.usage,
  /** A digest string, reference, tag, key or file name breaks its grammar. */
  BAD_NAME: ExitCode.usage,
  /** Bytes do not have the digest or size they were announced with. */
  DIGEST_MISMATCH: ExitCode.integrity,
  /** A document (manifest, lock, bundle.json, JSON answer) is malformed or ambiguous. */
  BAD_DOCUMENT: ExitCode.integrity,
  /** Something that must be there for the content to be whole is not. */
  MISSING_CONTENT: ExitCode.integrity,
  /** A volume is damaged, truncated, hostile or not the one that bundle.json describes. */
  BAD_VOLUME: ExitCode.integrity,
  /** A signature does not verify. */
  BAD_SIGNATURE: ExitCode.integrity,
  /** A request was refused by the egress policy before any connection for it was made. */
  EGRESS_DENIED: ExitCode.refused,
  /** Sensitive content would leave without permission. */
  SECRET: ExitCode.refused,
  /** An unsigned bundle without --allow-unsigned. */
  UNSIGNED: ExitCode.refused,
  /** A bundle older than one seen before, or another one under the same sequence. */
  ROLLBACK: ExitCode.refused,
  /** A bundle older than the operator takes. */
  EXPIRED: ExitCode.refused,
  /** A tag or key holds something else and must not be replaced silently. */
  CONFLICT: ExitCode.refused,
  /** The other side says 401 or 403. */
  DENIED: ExitCode.incomplete,
  /** The other side definitely does not have it. */
  NOT_FOUND: ExitCode.incomplete,
  /** The other side answered with something unusable or an error status. */
  UPSTREAM: ExitCode.incomplete,
  /** No connection, time-out, reset, name not resolved. */
  NETWORK: ExitCode.incomplete,
  /** The local disk is full, read-only or failing. */
  DISK: ExitCode.incomplete,
  /** Another process uses it; waiting cures that. */
  BUSY: ExitCode.incomplete,
  /** Some items of many failed; the others are done. */
  INCOMPLETE: ExitCode.incomplete,
  /** Stopped by the user. */
  ABORTED: ExitCode.interrupted,
  /** A state that the code should make impossible. */
  INTERNAL: ExitCode.unexpected,
} as const;
/** What went wrong, as programs see it; each code leads to one exit code. */
export type ErrorCode = keyof typeof exitCodes;

export interface CodedErrorOptions {
  readonly cause?: unknown;
  /** What the error is about, when that is content. */
  readonly descriptor?:
    | { readonly mediaType: string; readonly digest: string; readonly size: number }
    | undefined;
  /** HTTP status of the answer that led to it. */
  readonly status?: number | undefined;
  /** Why a connection failed, and with whom, in the words of oci/http. */
  readonly failure?: { readonly cause: string; readonly peer: string } | undefined;
  /** Milliseconds the other side asked to wait (Retry-After). */
  readonly retryAfterMs?: number | undefined;
}

/** An error of this project. Its message is one line for people; programs match on its code. */
export class CodedError extends Error {
  readonly code: ErrorCode;
  readonly descriptor: CodedErrorOptions['descriptor'];
  readonly status: number | undefined;
  readonly failure: CodedErrorOptions['failure'];
  readonly retryAfterMs: number | undefined;

  /** @param message one line: what failed, which item, what to do next; never a secret. */
  constructor(code: ErrorCode, message: string, options: CodedErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'CodedError';
    this.code = code;
    this.descriptor = options.descriptor;
    this.status = options.status;
    this.failure = options.failure;
    this.retryAfterMs = options.retryAfterMs;
  }
}

/** True for our own error, with the given code when one is named. */
export function isCoded(error: unknown, ...codes: ErrorCode[]): error is CodedError {
  return error instanceof CodedError && (codes.length === 0 || codes.includes(error.code));
}

/**
 * An error of a class that has no codes of ours, as a CodedError; any other error is returned as it is. What text is
 * wrong for, a file of the operator or a bundle, is known to whoever had it judged.
 * @param what stands before the message, with what divides the two
 */
export function recoded(
  error: unknown,
  type: abstract new (...args: never) => Error,
  code: ErrorCode,
  what = '',
): unknown {
  return error instanceof type ? new CodedError(code, `${what}${error.message}`, { cause: error }) : error;
}

/** The exit code an error leads to. An AbortError is an interruption; everything unknown is 1. */
export function exitCodeOf(error: unknown): ExitCode {
  if (error instanceof CodedError) return exitCodes[error.code];
  if (error instanceof Error && error.name === 'AbortError') return ExitCode.interrupted;
  return ExitCode.unexpected;
}

/** The text of anything thrown, for use inside another message. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The errno-style code (`ENOENT`, `UND_ERR_SOCKET`) of an error or its causes, if any. */
export function systemCodeOf(error: unknown): string | undefined {
  for (let e = error, depth = 0; e instanceof Error && depth < 8; e = e.cause, depth++) {
    const code = (e as { code?: unknown }).code;
    if (typeof code === 'string' && !(e instanceof CodedError)) return code;
  }
  return undefined;
}
