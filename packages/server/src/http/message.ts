/**
 * What route handlers see and give: a request that has been checked, and an answer as data. Handlers never touch
 * the socket, so every rule about bodies, ranges and aborts is in one place (send.ts).
 */

import type { IncomingHttpHeaders } from 'node:http';
import type { Bytes, Piece } from '@omni-airgap/oci';
import type { Digest } from '@omni-airgap/oci/model';

const methods = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'] as const;
export type Method = (typeof methods)[number];

export function isMethod(value: string | undefined): value is Method {
  return (methods as readonly (string | undefined)[]).includes(value);
}

export interface Request {
  readonly method: Method;
  /** The path, split at slashes and decoded; a trailing slash gives an empty last segment. */
  readonly segments: readonly string[];
  readonly query: URLSearchParams;
  readonly headers: IncomingHttpHeaders;
  /** Bytes announced for the body; undefined when the header is missing. */
  readonly contentLength: number | undefined;
  readonly body: Bytes;
  /** IP address of the client, or of a proxy in front that is not trusted to name it. */
  readonly remote: string;
  /** Aborts when the client goes away. */
  readonly signal: AbortSignal;
}

/** A body that lies in files: sent with ranges, hashed while nobody has seen it right, never held in memory. */
export interface FileBody {
  readonly digest: Digest;
  /** Bytes of all pieces together. */
  readonly size: number;
  readonly pieces: readonly Piece[];
  /**
   * Called before a byte is sent. `none`: just send. `hash`: nobody has seen all of it right yet, so what is sent is hashed
   * on the way and told to `hashed` before the last bytes. `verdict`: another answer is hashing it now, so the last
   * bytes wait for `verdict`.
   * @throws DISK when a file is gone, MISSING_CONTENT when the content is known to be damaged
   */
  begin(range: ByteRange | 'whole'): Promise<'none' | 'hash' | 'verdict'>;
  /** Told what digest all the bytes have, once they are read. @throws DIGEST_MISMATCH when it is not this content's */
  hashed(digest: Digest): void;
  /** Resolves once all of it has been read and is right. @throws MISSING_CONTENT */
  verdict(): Promise<void>;
  /** Told why the bytes could not be read, or are not this content's. */
  failed(error: unknown): void;
  /** The answer has ended, in whatever way. */
  end(): void;
}

/** Who may be sent elsewhere, and what the answer there is to be labeled with. */
export interface Client {
  readonly scheme: 'http' | 'https';
  readonly contentType?: string | undefined;
  readonly disposition?: string | undefined;
  readonly signal: AbortSignal;
}

/** A body that comes from another server while it is sent: with ranges, hashed on the way when it is sent whole. */
export interface StreamBody {
  readonly digest: Digest;
  /** Bytes. */
  readonly size: number;
  /**
   * The bytes from `start` up to `end`, which is left out. What is wrong before the first of them still becomes an answer.
   * @throws DIGEST_MISMATCH, NOT_FOUND, DENIED, UPSTREAM, NETWORK, ABORTED
   */
  open(start: number, end: number, signal: AbortSignal): Bytes;
  /** Told whether all the bytes had the digest. */
  checked(isRight: boolean): void;
  /** URL where the client can read it itself; undefined where it cannot. */
  readonly elsewhere?: ((client: Client) => Promise<string | undefined>) | undefined;
}

export type Body = FileBody | StreamBody;

export interface Answer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array | Body;
  /** Who had logged in, for the access log. */
  readonly user?: string | undefined;
}

type Handler = (request: Request) => Answer | Promise<Answer>;
export type Methods = { readonly [M in Method]?: Handler };

/** Paths that belong together, with their own way of saying no. */
export interface RouteGroup {
  /** Pages of other sites may read the answers to GET and HEAD. */
  readonly isCrossOrigin?: true;
  /** The class of a path, for metrics: one of a few words, never text of the client. */
  routeOf(segments: readonly string[]): string;
  /** The handlers for a path; undefined when the path is not of this group. HEAD goes to GET unless it is given. */
  match(segments: readonly string[]): Methods | undefined;
  methodNotAllowed(method: string, allow: string): Answer;
  /** The answer for what a handler threw. */
  failed(error: unknown): Answer;
}

/** True for a body with a size, of which parts can be asked for. */
export function isContent(body: Answer['body']): body is Body {
  return typeof body === 'object' && 'digest' in body;
}

export function isFileBody(body: Body): body is FileBody {
  return 'pieces' in body;
}

interface Target {
  readonly segments: readonly string[];
  readonly query: URLSearchParams;
}

/** RFC 3986 pchar, with percent-encoding, and the slash. */
const pathPattern = /^\/(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})*$/;
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what this looks for
const refusedInSegment = /[\u0000-\u001f\u007f/\\%]/;

/**
 * The request target, taken apart before anything looks at it. Only origin form, no empty and no dot segments, no
 * control characters, no second reading: what cannot be understood in one way is refused (T54, F51).
 * Source: RFC 9112 section 3.2; RFC 3986 section 3.3.
 * @returns undefined when the target is not acceptable
 */
export function parseTarget(target: string): Target | undefined {
  const mark = target.indexOf('?');
  const path = mark < 0 ? target : target.slice(0, mark);
  if (!pathPattern.test(path)) return undefined;
  const raw = path.slice(1).split('/');
  const segments: string[] = [];
  for (const [i, part] of raw.entries()) {
    let text: string;
    try {
      text = decodeURIComponent(part);
    } catch {
      return undefined;
    }
    const last = i === raw.length - 1;
    if ((text === '' && !last) || text === '.' || text === '..' || refusedInSegment.test(text))
      return undefined;
    segments.push(text);
  }
  return { segments, query: new URLSearchParams(mark < 0 ? '' : target.slice(mark + 1)) };
}

/** Bytes `start` to `end`, both included. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

const singlePattern = /^bytes=[ \t]*([0-9]{0,15})-([0-9]{0,15})[ \t]*$/i;

/**
 * The Range header for a body of known size. One range is served; several are answered with the whole body, as
 * the RFC allows.
 * Source: RFC 9110 section 14.
 * @param header as received
 * @param size bytes of the whole body
 * @returns the range, `whole` when the header does not apply, `unsatisfiable` for 416
 */
export function parseRange(header: string | undefined, size: number): ByteRange | 'whole' | 'unsatisfiable' {
  if (header === undefined) return 'whole';
  const [, first, last] = singlePattern.exec(header) ?? [];
  if (first === undefined || last === undefined || (first === '' && last === '')) return 'whole';
  if (first === '') {
    const suffix = Number(last);
    if (suffix === 0 || size === 0) return 'unsatisfiable';
    return { start: Math.max(0, size - suffix), end: size - 1 };
  }
  const start = Number(first);
  const end = last === '' ? size - 1 : Math.min(Number(last), size - 1);
  return start >= size || end < start ? 'unsatisfiable' : { start, end };
}
