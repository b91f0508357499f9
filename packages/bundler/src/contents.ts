/** What a store is locked to: everything that lock.json names, down to the last blob. */

import { graphOf, walk } from '@omni-airgap/oci';
import type { Layout } from '@omni-airgap/oci/layout';
import { type Descriptor, type Digest, isIndexType, plain } from '@omni-airgap/oci/model';
import type { LockedItem, Store } from '@omni-airgap/store';

export interface Contents {
  readonly layout: Layout;
  readonly items: readonly LockedItem[];
  /** Of each item, by name: all descriptors below its root. */
  readonly graphs: ReadonlyMap<string, ReadonlyMap<Digest, Descriptor>>;
  /** All of them, each once. */
  readonly descriptors: ReadonlyMap<Digest, Descriptor>;
  /** What each is for: the kind of the first item that needs it. */
  readonly kinds: ReadonlyMap<Digest, LockedItem['kind']>;
  /** Indexes of which only some platforms are carried. */
  readonly sparse: readonly Descriptor[];
}

/**
 * Reads manifests only: whether a blob is there is seen when it is read.
 * @throws NO_INPUT without lock.json, INCOMPLETE when the last fetch was, MISSING_CONTENT naming the item
 */
export async function readContents(store: Store, signal?: AbortSignal): Promise<Contents> {
  const layout = await store.openLayout();
  const lock = await store.completeLockDocument();
  const descriptors = new Map<Digest, Descriptor>();
  const graphs = new Map<string, ReadonlyMap<Digest, Descriptor>>();
  const kinds = new Map<Digest, LockedItem['kind']>();
  const sparse = new Map<Digest, Descriptor>();
  for (const item of lock.items) {
    const root = item.descriptor;
    const isPartial = item.platforms !== undefined;
    if (isPartial && isIndexType(root.mediaType)) sparse.set(root.digest, root);
    const select = async (child: Descriptor, index: Descriptor): Promise<boolean> => {
      if (!isPartial || (await layout.has(child))) return true;
      // An index within the image's own may lack platforms too.
      sparse.set(index.digest, plain(index));
      return false;
    };
    const graph = await graphOf(walk(layout, [root], { select, signal }));
    graphs.set(item.name, graph);
    for (const [digest, descriptor] of graph) {
      descriptors.set(digest, descriptor);
      if (!kinds.has(digest)) kinds.set(digest, item.kind);
    }
  }
  return { layout, items: lock.items, graphs, descriptors, kinds, sparse: [...sparse.values()] };
}
