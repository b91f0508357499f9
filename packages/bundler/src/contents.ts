/** What a store is locked to: everything that lock.json names, down to the last blob. */
import { collectGraph, type Descriptor, type Digest, isIndexType } from '@omni-airgap/oci';
import { Layout } from '@omni-airgap/oci/layout';
import { type LockedItem, readWholeLock } from '@omni-airgap/store';

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
 * @throws NO_INPUT without a store or lock, INCOMPLETE when the last fetch was, MISSING_CONTENT naming the item
 */
export async function readContents(store: string, signal?: AbortSignal): Promise<Contents> {
  const layout = await Layout.open(store);
  const lock = await readWholeLock(store);
  const descriptors = new Map<Digest, Descriptor>();
  const graphs = new Map<string, ReadonlyMap<Digest, Descriptor>>();
  const kinds = new Map<Digest, LockedItem['kind']>();
  const sparse = new Map<Digest, Descriptor>();
  for (const item of lock.items) {
    const partial = item.platforms !== undefined;
    const select = async (child: Descriptor): Promise<boolean> => !partial || (await layout.has(child));
    const graph = await collectGraph(layout, item.descriptor, {
      select,
      ...(signal === undefined ? {} : { signal }),
    });
    graphs.set(item.name, graph);
    for (const [digest, descriptor] of graph) {
      descriptors.set(digest, descriptor);
      if (!kinds.has(digest)) kinds.set(digest, item.kind);
    }
    if (partial && isIndexType(item.descriptor.mediaType))
      sparse.set(item.descriptor.digest, item.descriptor);
  }
  return { layout, items: lock.items, graphs, descriptors, kinds, sparse: [...sparse.values()] };
}
