/** What is below roots as far as a layout has the manifests. */
import type { Descriptor } from '../descriptor.ts';
import type { Digest } from '../digest.ts';
import { childrenOf, fetchManifest } from '../manifest.ts';
import { isManifestType } from '../media-type.ts';
import type { Layout } from './layout.ts';

/**
 * By digest, the roots first. A manifest that is not there is left out; other content is named whether it is there or
 * not.
 * @throws DIGEST_MISMATCH, BAD_DOCUMENT, DISK
 */
export async function knownGraph(
  layout: Layout,
  roots: Iterable<Descriptor>,
  signal?: AbortSignal,
): Promise<ReadonlyMap<Digest, Descriptor>> {
  const found = new Map<Digest, Descriptor>();
  const waiting = [...roots];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    if (found.has(next.digest)) continue;
    const isManifest = isManifestType(next.mediaType);
    if (isManifest && !(await layout.has(next))) continue;
    found.set(next.digest, next);
    if (isManifest) waiting.push(...childrenOf((await fetchManifest(layout, next, signal)).manifest));
  }
  return found;
}
