/**
 * What refers to a manifest: signatures, attestations, SBOMs.
 * Source: distribution-spec v1.1.1 spec.md#listing-referrers.
 */
import { isDigest, MediaType } from '@omni-airgap/oci';
import type { Answer, Request } from '../http/message.ts';
import type { Catalog } from './catalog.ts';
import { refuse, registryHeaders } from './refusal.ts';

/** Never 404 for a well-formed digest: clients would take that for a registry without this API. */
export function listReferrers(
  catalog: Catalog,
  repository: string,
  reference: string,
  { query }: Request,
): Answer {
  if (!isDigest(reference)) return refuse('DIGEST_INVALID', `not a sha256 digest: ${reference}`);
  const all = catalog.repository(repository)?.referrers.get(reference) ?? [];
  const artifactType = query.get('artifactType');
  const manifests = artifactType === null ? all : all.filter((d) => d.artifactType === artifactType);
  return {
    status: 200,
    headers: {
      ...registryHeaders,
      'Content-Type': MediaType.ociIndex,
      ...(artifactType === null ? {} : { 'OCI-Filters-Applied': 'artifactType' }),
    },
    body: JSON.stringify({ schemaVersion: 2, mediaType: MediaType.ociIndex, manifests }),
  };
}
