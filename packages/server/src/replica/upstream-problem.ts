/** What a client is told of a registry or bucket that did not answer as it should. Names and reasons are for the log. */
import { isCoded } from '@omni-airgap/oci/base';

export interface UpstreamProblem {
  readonly status: number;
  readonly message: string;
  readonly headers: Readonly<Record<string, string>>;
}

/** Seconds after which a client may try again. */
const soon = 5;

/** @returns undefined for an error of another kind. Source of the statuses: RFC 9110 section 15.6. */
export function upstreamProblem(error: unknown): UpstreamProblem | undefined {
  if (!isCoded(error)) return undefined;
  const { code, retryAfterMs } = error;
  const later = { 'Retry-After': String(Math.ceil((retryAfterMs ?? soon * 1000) / 1000)) };
  if (error.status === 429) {
    return {
      status: 429,
      message: 'the registry or object store behind this server is busy',
      headers: later,
    };
  }
  switch (code) {
    case 'NOT_FOUND':
      return {
        status: 404,
        message: 'it is not in the registry or object store behind this server',
        headers: {},
      };
    case 'NETWORK':
      return {
        status: 503,
        message: 'the registry or object store behind this server cannot be reached; see its log',
        headers: later,
      };
    case 'DENIED':
      return {
        status: 502,
        message: 'the registry or object store behind this server refuses its credentials; see its log',
        headers: {},
      };
    case 'UPSTREAM':
    case 'EGRESS_DENIED':
      return {
        status: 502,
        message:
          'the registry or object store behind this server gave an answer that cannot be used; see its log',
        headers: {},
      };
    default:
      return undefined;
  }
}
