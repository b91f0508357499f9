/** What is below roots as far as a layout has the manifests. */
import type { Descriptor } from '../model/descriptor.ts';
import type { Digest } from '../model/digest.ts';
import { childrenOf, fetchManifest } from '../model/manifest.ts';
import { isManifestType } from '../model/media-type.ts';
import type { Layout } from './layout.ts';

export interface KnownGraphOptions {
  /** Which children of a manifest belong; default all. */
  readonly select?: (child: Descriptor, parent: Descriptor) => boolean;
  readonly signal?: AbortSignal;
}

/**
 * By digest, the roots first. A manifest that is not there is left out; other content is named whether it is there or
 * not.
 * @throws DIGEST_MISMATCH, BAD_DOCUMENT, DISK
 */
export async function knownGraph(
  layout: Layout,
  roots: Iterable<Descriptor>,
  options: KnownGraphOptions = {},
): Promise<ReadonlyMap<Digest, Descriptor>> {
  const found = new Map<Digest, Descriptor>();
  const waiting = [...roots];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    if (found.has(next.digest)) continue;
    const isManifest = isManifestType(next.mediaType);
    if (isManifest && !(await layout.has(next))) continue;
    found.set(next.digest, next);
    if (!isManifest) continue;
    const parent = next;
    const children = childrenOf((await fetchManifest(layout, next, options.signal)).manifest);
    waiting.push(...children.filter((child) => options.select?.(child, parent) ?? true));
  }
  return found;
}
