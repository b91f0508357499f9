/** The one request that stores a manifest, under its digest or a tag. Source: distribution-spec v1.1.1 spec.md#pushing-manifests. */

import { errorFromResponse } from '../http/error-response.ts';
import type { GateResponse } from '../http/response.ts';
import { mismatch } from '../model/bytes.ts';
import type { Descriptor } from '../model/descriptor.ts';
import { isDigest } from '../model/digest.ts';
import type { RepositorySession } from './repository-session.ts';

/** @param name tag or digest @throws DIGEST_MISMATCH when the registry says it stored something else */
export async function putManifest(
  repository: RepositorySession,
  descriptor: Descriptor,
  name: string,
  bytes: Uint8Array,
  signal: AbortSignal | undefined,
): Promise<GateResponse> {
  const doing = `push manifest ${name}`;
  const response = await repository.request({
    method: 'PUT',
    at: `manifests/${name}`,
    doing,
    right: 'push',
    headers: { 'content-type': descriptor.mediaType },
    body: bytes,
    digest: descriptor.digest,
    signal,
  });
  if (![200, 201, 202].includes(response.status)) {
    throw await errorFromResponse(response, `${doing} (${repository.name})`);
  }
  await response.cancel();
  const said = response.headers['docker-content-digest'];
  if (isDigest(said) && said !== descriptor.digest) {
    throw mismatch(descriptor, `the registry stored it as ${said}`, repository.name);
  }
  return response;
}
