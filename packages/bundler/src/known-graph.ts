/** What is below a root as far as a store has the manifests. */
import {
  childrenOf,
  type Descriptor,
  type Digest,
  fetchManifest,
  isManifestType,
  type Layout,
} from '@omni-airgap/content';

/** The root first. @throws DIGEST_MISMATCH, BAD_DOCUMENT, DISK */
export async function knownGraph(layout: Layout, root: Descriptor): Promise<readonly Descriptor[]> {
  const found = new Map<Digest, Descriptor>();
  const waiting = [root];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    if (found.has(next.digest)) continue;
    const isManifest = isManifestType(next.mediaType);
    if (isManifest && !(await layout.has(next))) continue;
    found.set(next.digest, next);
    if (isManifest) waiting.push(...childrenOf((await fetchManifest(layout, next)).manifest));
  }
  return [...found.values()];
}
