/** What was placed where, for the site and for `bundle --since`. */

import type { ReceiptDocument } from '@omni-airgap/format';
import { childrenOf, type Digest, fetchManifest } from '@omni-airgap/oci';
import type { LoadedObject } from './load-objects.ts';
import type { Loading } from './loading.ts';
import type { LoadedImage } from './registry/load-registry.ts';
import { targetText } from './target-names.ts';

/** @throws BAD_DOCUMENT, DIGEST_MISMATCH, and as the registry */
export async function receiptOf(
  loading: Loading,
  images: readonly LoadedImage[],
  objects: readonly LoadedObject[],
): Promise<ReceiptDocument> {
  const { options, bundles, sink } = loading;
  const { id, origin, sequence, roots } = bundles.document;
  const { registry } = options;
  const outside = new Map(roots.map((root) => [root.name, root]));
  const sparse = await sparseIndexes(loading);
  return {
    bundle: id,
    kind: 'omni-airgap/receipt',
    schema: 1,
    origin,
    sequence,
    loadedAt: new Date().toISOString(),
    tool: options.tool,
    trust: bundles.signer,
    ...(registry === undefined ? {} : { registry: targetText(registry) }),
    ...(sink === undefined ? {} : { objectStore: sink.url }),
    images: images.map((image) => {
      const { signature, verified } = outside.get(image.name) ?? {};
      return {
        ...image,
        ...(signature === undefined ? {} : { signature }),
        ...(verified === undefined ? {} : { verified }),
      };
    }),
    ...(sparse.length === 0 ? {} : { sparse: [...sparse] }),
    objects: objects.map(({ key, digest, size }) => ({ key, digest, size })),
  };
}

/**
 * Whoever has all platforms must not think that all are here. No walk: each index says what its own children are, also
 * what other indexes share.
 */
async function sparseIndexes({
  options,
  bundles,
  registry,
}: Loading): Promise<readonly { readonly digest: Digest; manifests: Digest[] }[]> {
  const found: { readonly digest: Digest; manifests: Digest[] }[] = [];
  if (registry === undefined) return found;
  for (const index of bundles.document.sparse ?? []) {
    const { manifest } = await fetchManifest(registry.source, index, options.signal);
    const manifests: Digest[] = [];
    for (const child of childrenOf(manifest)) {
      if (await registry.source.has(child)) manifests.push(child.digest);
    }
    found.push({ digest: index.digest, manifests });
  }
  return found;
}
