/**
 * Uploads at a registry: begun, gone on with where the registry says, and given up.
 * Source: distribution-spec v1.1.1 spec.md#pushing-blobs. Threat T31, fault F36.
 */

import { CodedError } from '../base/errors.ts';
import { printable } from '../base/printable.ts';
import { errorFromResponse } from '../http/error-response.ts';
import type { GateResponse } from '../http/response.ts';
import { retrying } from '../http/retry.ts';
import type { Digest } from '../model/digest.ts';
import type { RepositorySession } from './repository-session.ts';

export interface Upload {
  readonly location: URL;
  /** The smallest chunk the registry takes, bytes. */
  readonly minChunk: number;
}

/**
 * One attempt.
 * @param doing for messages
 * @throws DENIED, NOT_FOUND for a project that must exist, EGRESS_DENIED, UPSTREAM, NETWORK, ABORTED
 */
export async function beginUpload(
  repository: RepositorySession,
  doing: string,
  signal: AbortSignal | undefined,
  digest?: Digest,
): Promise<Upload> {
  const response = await repository.once({
    method: 'POST',
    at: 'blobs/uploads/',
    doing,
    right: 'push',
    signal,
    ...(digest === undefined ? {} : { digest }),
  });
  if (response.status !== 202) throw await errorFromResponse(response, `${doing} (${repository.name})`);
  await response.cancel();
  const asked = Number(response.headers['oci-chunk-min-length'] ?? 0);
  return {
    location: locationOf(repository, doing, response),
    minChunk: Number.isSafeInteger(asked) ? asked : 0,
  };
}

/** Shows the right to push, without storing anything. @throws as beginUpload */
export async function probeUpload(
  repository: RepositorySession,
  signal: AbortSignal | undefined,
): Promise<void> {
  const doing = 'begin an upload';
  const { location } = await retrying(
    () => beginUpload(repository, doing, signal),
    repository.registry.retryOptions(signal),
  );
  await cancelUpload(repository, doing, location, signal);
}

/** Best effort: an upload that stays is the registry's to clean up. */
export async function cancelUpload(
  repository: RepositorySession,
  doing: string,
  location: URL,
  signal: AbortSignal | undefined,
): Promise<void> {
  try {
    const response = await repository.once({ method: 'DELETE', at: location, doing, right: 'push', signal });
    await response.cancel();
  } catch (error) {
    if (signal?.aborted === true) throw error;
  }
}

/** Where an upload goes on: at the registry's own origin, or nowhere. @throws UPSTREAM, EGRESS_DENIED */
export function locationOf(
  { registry, name }: RepositorySession,
  doing: string,
  response: GateResponse,
): URL {
  const text = response.headers['location'];
  if (text === undefined) throw new CodedError('UPSTREAM', `${doing} (${name}): an upload without Location`);
  const url = registry.ownReference(text, response.url);
  if (url !== undefined) return url;
  const origin = printable(registry.logicalReference(text, response.url)?.origin ?? text);
  throw new CodedError(
    'EGRESS_DENIED',
    `${doing} (${name}): the registry sends the upload to ${origin} instead of ${registry.origin.origin}; ` +
      'set http.host to that URL, or http.relativeurls: true, in its configuration',
  );
}
