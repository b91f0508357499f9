/**
 * Taking a blob over from a sibling repository, without moving it.
 * Source: distribution-spec v1.1.1 spec.md#mounting-a-blob-from-another-repository. Fault F37.
 */

import { isCoded } from '../base/errors.ts';
import { errorFromResponse } from '../http/error-response.ts';
import type { Descriptor } from '../model/descriptor.ts';
import type { RepositorySession } from './repository-session.ts';
import { cancelUpload } from './upload-session.ts';

/**
 * @returns false when the registry does not mount it, for whatever reason
 * @throws UPSTREAM, NETWORK, EGRESS_DENIED, ABORTED
 */
export async function mountBlob(
  repository: RepositorySession,
  descriptor: Descriptor,
  from: string,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  const { digest } = descriptor;
  const doing = `mount ${digest} from ${from}`;
  const asking = repository.request({
    method: 'POST',
    at: `blobs/uploads/?mount=${encodeURIComponent(digest)}&from=${encodeURIComponent(from)}`,
    doing,
    right: 'push',
    from,
    digest,
    signal,
  });
  // Log-in itself may be refused when it names a repository we may not read.
  const response = await asking.catch((error: unknown) => {
    if (isCoded(error, 'DENIED')) return undefined;
    throw error;
  });
  if (response === undefined) return false;
  const { status } = response;
  if (status === 202) {
    await response.cancel();
    const text = response.headers['location'];
    const location = text === undefined ? undefined : repository.registry.ownReference(text, response.url);
    if (location !== undefined) await cancelUpload(repository, doing, location, signal);
    return false;
  }
  if (status === 201 || [401, 403, 404, 405].includes(status)) {
    await response.cancel();
    return status === 201;
  }
  throw await errorFromResponse(response, `${doing} (${repository.name})`);
}
