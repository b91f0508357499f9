/**
 * Pages of other sites, such as Omni's, may read what the Image Factory offers, as at the public one.
 * Source: Fetch standard, section 3.3 (CORS protocol); siderolabs/image-factory 26b95cac internal/frontend/http/http.go (Handler).
 */
import type { Answer, Request } from './message.ts';

const readable = 'Content-Disposition, Content-Length, Content-Type';

/** Headers that let the page that asked read the answer; none where no page asked. */
export function crossOriginHeaders({ method, headers }: Pick<Request, 'method' | 'headers'>) {
  if (headers.origin === undefined || (method !== 'GET' && method !== 'HEAD')) return {};
  return { 'Access-Control-Allow-Origin': '*', 'Access-Control-Expose-Headers': readable };
}

/** The answer to what a browser asks before a request: reading is allowed, with the one header that steers caches. */
export function preflight({ headers }: Pick<Request, 'headers'>, allow: string): Answer {
  const asked = headers['access-control-request-method'];
  const isReading = headers.origin !== undefined && (asked === 'GET' || asked === 'HEAD');
  return {
    status: 204,
    headers: {
      Allow: allow,
      ...(isReading
        ? {
            'Access-Control-Allow-Origin': '*',
            'Access-Control-Allow-Methods': 'GET, HEAD, OPTIONS',
            'Access-Control-Allow-Headers': 'Cache-Control',
          }
        : {}),
    },
  };
}
