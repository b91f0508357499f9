/** Deleting content by digest. Source: distribution-spec v1.1.1 spec.md#deleting-manifests, #deleting-blobs. */

import { errorFromResponse } from '../http/error-response.ts';
import type { Descriptor } from '../model/descriptor.ts';
import { contentPath, type RepositorySession } from './repository-session.ts';

/** @returns false when the registry deletes nothing (405), or does not have it @throws DENIED, UPSTREAM, NETWORK */
export async function removeContent(
  repository: RepositorySession,
  descriptor: Pick<Descriptor, 'digest' | 'mediaType'>,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  const doing = `delete ${descriptor.digest}`;
  const response = await repository.request({
    method: 'DELETE',
    at: contentPath(descriptor),
    doing,
    right: 'delete',
    signal,
  });
  if (response.status === 202 || response.status === 204) {
    await response.cancel();
    return true;
  }
  if ([200, 404, 405].includes(response.status)) {
    await response.cancel();
    return false;
  }
  throw await errorFromResponse(response, `${doing} (${repository.name})`);
}
