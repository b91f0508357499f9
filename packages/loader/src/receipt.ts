/** What was placed where, for the site and for `bundle --since`. */
import type { ReceiptDocument } from '@omni-airgap/content';
import type { LoadedObject } from './load-objects.ts';
import type { Loading } from './loading.ts';
import type { LoadedImage } from './registry/load-registry.ts';
import { targetText } from './target-names.ts';

export function receiptOf(
  { options, bundles, sink }: Loading,
  images: readonly LoadedImage[],
  objects: readonly LoadedObject[],
): ReceiptDocument {
  const { id, origin, sequence, roots } = bundles.document;
  const { registry } = options;
  const outside = new Map(roots.map((root) => [root.name, root]));
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
    objects: objects.map(({ key, digest, size }) => ({ key, digest, size })),
  };
}
