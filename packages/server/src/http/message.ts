/**
 * What route handlers see and give: a request that has been checked, and an answer as data. Handlers never touch
 * the socket, so every rule about bodies, ranges and aborts is in one place (send.ts).
 */
import type { IncomingHttpHeaders } from 'node:http';
import type { Bytes, Digest, Piece } from '@omni-airgap/oci';
import type { ByteRange } from './range.ts';

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

export interface Answer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array | FileBody;
}

type Handler = (request: Request) => Answer | Promise<Answer>;
export type Methods = { readonly [M in Method]?: Handler };

/** Paths that belong together, with their own way of saying no. */
export interface RouteGroup {
  /** Pages of other sites may read the answers to GET and HEAD. */
  readonly isCrossOrigin?: true;
  /** The handlers for a path; undefined when the path is not of this group. HEAD goes to GET unless it is given. */
  match(segments: readonly string[]): Methods | undefined;
  methodNotAllowed(method: string, allow: string): Answer;
  /** The answer for what a handler threw. */
  failed(error: unknown): Answer;
}

export function isFileBody(body: Answer['body']): body is FileBody {
  return typeof body === 'object' && 'pieces' in body;
}
