/**
 * Everything that speaks about an image: cosign's signature, attestation and SBOM tags, the referrers fallback tag
 * and the referrers API, for the index and for every manifest below it. Only a definite "not found" counts as
 * absent; whatever else goes wrong fails the image, so that no signature is ever lost silently.
 * Sources: sigstore/cosign specs/SIGNATURE_SPEC.md; distribution-spec v1.1.1 spec.md#listing-referrers.
 */

import { CodedError } from '@omni-airgap/oci/base';
import {
  companionSuffixes,
  companionTag,
  type Descriptor,
  type Digest,
  isManifestType,
  type Reference,
} from '@omni-airgap/oci/model';
import type { RepositoryClient } from '@omni-airgap/oci/registry';

/** What hangs on an image under a tag of its own, or under its digest when it has none. */
export interface Companion {
  /** Tag, or `@sha256:…`. */
  readonly name: string;
  readonly descriptor: Descriptor;
}

/** Name under which the store knows it. @param image the one it hangs on */
export function companionName(
  image: Pick<Reference, 'registry' | 'repository'>,
  { name }: Companion,
): string {
  return `${image.registry}/${image.repository}${name.startsWith('@') ? name : `:${name}`}`;
}

/** A signature of a signature of a signature is the most that makes sense; a registry can make up chains without end. */
const maxDepth = 4;
/** An index of twenty platforms, each with all there is, has some hundred. */
const maxCompanions = 2000;

/**
 * @param manifests the index and its children
 * @throws DENIED, UPSTREAM, NETWORK when the registry does not give a definite answer; BAD_DOCUMENT when there are more
 * than anything real has
 */
export async function findCompanions(
  repository: RepositoryClient,
  manifests: Iterable<Descriptor>,
  signal?: AbortSignal,
): Promise<readonly Companion[]> {
  const found = new Map<string, Companion>();
  const visited = new Set<Digest>();
  let waiting = [...manifests].filter((d) => isManifestType(d.mediaType));
  for (let depth = 1; waiting.length > 0; depth++) {
    if (depth > maxDepth || found.size > maxCompanions) {
      throw new CodedError(
        'BAD_DOCUMENT',
        `what refers to it is without end: ${found.size} manifests, ${depth - 1} levels deep`,
      );
    }
    const batch = waiting.filter((d) => !visited.has(d.digest));
    for (const d of batch) visited.add(d.digest);
    const companions = await Promise.all(batch.map((d) => companionsOf(repository, d.digest, signal)));
    waiting = [];
    for (const companion of companions.flat()) {
      found.set(companion.name, companion);
      // A signature may itself be signed.
      waiting.push(companion.descriptor);
    }
  }
  return [...found.values()];
}

async function companionsOf(
  repository: RepositoryClient,
  digest: Digest,
  signal?: AbortSignal,
): Promise<readonly Companion[]> {
  const tagged = companionSuffixes.map(async (suffix): Promise<readonly Companion[]> => {
    const name = companionTag(digest, suffix);
    const descriptor = await repository.resolve(name, signal);
    return descriptor === undefined ? [] : [{ name, descriptor }];
  });
  const referrers = repository
    .referrers(digest, signal)
    .then((list) => list.map((descriptor): Companion => ({ name: `@${descriptor.digest}`, descriptor })));
  return (await Promise.all([...tagged, referrers])).flat();
}
