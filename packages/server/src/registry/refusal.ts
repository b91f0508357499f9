/**
 * How the registry says no: the error bodies of the distribution specification.
 * Source: distribution-spec v1.1.1 spec.md#error-codes.
 */
import { isCoded, printable } from '@omni-airgap/oci/base';
import type { Answer } from '../http/message.ts';
import { upstreamProblem } from '../replica/upstream-problem.ts';

const statusOf = {
  BLOB_UNKNOWN: 404,
  BLOB_UPLOAD_INVALID: 400,
  BLOB_UPLOAD_UNKNOWN: 404,
  DENIED: 403,
  DIGEST_INVALID: 400,
  MANIFEST_BLOB_UNKNOWN: 404,
  MANIFEST_INVALID: 400,
  MANIFEST_UNKNOWN: 404,
  NAME_INVALID: 400,
  NAME_UNKNOWN: 404,
  SIZE_INVALID: 400,
  TOOMANYREQUESTS: 429,
  UNAUTHORIZED: 401,
  UNKNOWN: 500,
  UNSUPPORTED: 405,
} as const;
export type RefusalCode = keyof typeof statusOf;

/** Every answer under /v2 says so; older Docker clients look for it. */
export const registryHeaders = { 'Docker-Distribution-API-Version': 'registry/2.0' } as const;

/** @param status when the code's own is not the fitting one */
export function refuse(code: RefusalCode, message: string, status: number = statusOf[code]): Answer {
  return {
    status,
    headers: { ...registryHeaders, 'Content-Type': 'application/json' },
    body: JSON.stringify({ errors: [{ code, message: printable(message, 400) }] }),
  };
}

/** Source: image-spec v1.1.1 descriptor.md#digests. */
const digestPattern = /^[a-z0-9]+(?:[+._-][a-z0-9]+)*:[A-Za-z0-9=_-]+$/;

/** True for a digest of an algorithm that nothing here is stored under: well-formed, so not found rather than invalid. */
export function isOtherDigest(reference: string): boolean {
  return !reference.startsWith('sha256:') && digestPattern.test(reference);
}

const codes: ReadonlyMap<number, RefusalCode> = new Map([
  [404, 'BLOB_UNKNOWN'],
  [429, 'TOOMANYREQUESTS'],
]);

/** The answer for an error nobody expected to be the client's fault; paths of this machine stay in the log. */
export function refuseError(error: unknown): Answer {
  if (isCoded(error, 'DIGEST_MISMATCH', 'MISSING_CONTENT')) {
    return refuse('UNKNOWN', 'the stored content is damaged or incomplete; see the log of the server');
  }
  if (isCoded(error, 'DISK')) {
    return refuse('UNKNOWN', 'the disk of the server fails or is full; see the log of the server', 503);
  }
  const upstream = upstreamProblem(error);
  if (upstream !== undefined) {
    const answer = refuse(codes.get(upstream.status) ?? 'UNKNOWN', upstream.message, upstream.status);
    return { ...answer, headers: { ...answer.headers, ...upstream.headers } };
  }
  return refuse('UNKNOWN', 'the server could not answer; see its log');
}
