/** Content that --consume has moved out of the store onto bundles. */

import type { Layout } from '@omni-airgap/oci/layout';
import type { Descriptor, Digest } from '@omni-airgap/oci/model';
import type { Store } from '@omni-airgap/store';

export interface Left {
  /** Ids of the bundles that hold it. */
  readonly bundles: readonly string[];
  readonly blobs: number;
  readonly bytes: number;
}

/** @returns the sum, and which it is @throws BAD_DOCUMENT, DISK */
export async function whatLeft(
  store: Store,
  layout: Layout,
  descriptors: Iterable<Descriptor>,
): Promise<Left & { readonly digests: ReadonlySet<Digest> }> {
  const carried = await store.bundles.carried();
  const bundles = new Set<string>();
  const digests = new Set<Digest>();
  let bytes = 0;
  for (const descriptor of descriptors) {
    const bundle = carried.carrierOf(descriptor)?.bundle;
    if (bundle === undefined || (await layout.stat(descriptor.digest)) !== undefined) continue;
    bundles.add(bundle);
    digests.add(descriptor.digest);
    bytes += descriptor.size;
  }
  return { bundles: [...bundles], blobs: digests.size, bytes, digests };
}
