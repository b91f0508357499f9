/** What lock.json names, down to the last blob, and whether the store still has it. */

import type { PlacedBlob } from '@omni-airgap/format';
import { graphOf, isOfPlatforms, walk } from '@omni-airgap/oci';
import { CodedError, formatBytes } from '@omni-airgap/oci/base';
import { eachBlock } from '@omni-airgap/oci/fs';
import type { Layout } from '@omni-airgap/oci/layout';
import { type Descriptor, type Digest, Hasher, isIndexType, plain } from '@omni-airgap/oci/model';
import type { LockedItem, Store } from '@omni-airgap/store';

export interface LockedContent {
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
export async function readLockedContent(store: Store, signal?: AbortSignal): Promise<LockedContent> {
  const layout = await store.openLayout();
  const lock = await store.completeLockDocument();
  const descriptors = new Map<Digest, Descriptor>();
  const graphs = new Map<string, ReadonlyMap<Digest, Descriptor>>();
  const kinds = new Map<Digest, LockedItem['kind']>();
  const sparse = new Map<Digest, Descriptor>();
  for (const item of lock.items) {
    const root = item.descriptor;
    const { platforms } = item;
    if (platforms !== undefined && isIndexType(root.mediaType)) sparse.set(root.digest, root);
    const select = async (child: Descriptor, index: Descriptor): Promise<boolean> => {
      // One that was wanted and is not there was lost, and the walk says so.
      if (platforms === undefined || isOfPlatforms(child, platforms) || (await layout.has(child)))
        return true;
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

/** Ids that a message names. */
const maxNamed = 4;

/**
 * @throws USAGE when content has left the store: what to do is the operator's choice; MISSING_CONTENT when it is gone
 * otherwise
 */
export async function requireContent(
  store: Store,
  layout: Layout,
  blobs: readonly PlacedBlob[],
): Promise<void> {
  const absent: PlacedBlob[] = [];
  for (const blob of blobs) if ((await layout.locate(blob)) === undefined) absent.push(blob);
  if (absent.length === 0) return;
  const carried = await store.bundles.carried();
  const lost = absent.find((blob) => !carried.has(blob));
  if (lost !== undefined) {
    throw new CodedError(
      'MISSING_CONTENT',
      `${lost.digest}: not in the store any more, or of another size; run fetch again`,
    );
  }
  const carriers = absent.flatMap((blob) => carried.carrierOf(blob) ?? []);
  const bundles = [...new Set(carriers.map(({ bundle }) => bundle))];
  const bytes = absent.reduce((sum, { size }) => sum + size, 0);
  const named = bundles.slice(0, maxNamed).join(', ');
  const more = bundles.length > maxNamed ? ` and ${bundles.length - maxNamed} more` : '';
  const since = bundles.map((id) => `--since ${id.slice(0, 12)}`).join(' ');
  // What is in a bundle that was taken back will not be inside: no increment can do without it.
  const canIncrement = carriers.every(({ isIssued }) => isIssued);
  const ways = canIncrement
    ? `carry only what is new: ${since}; or bring them back first: fetch --restore`
    : 'bring them back first: fetch --restore';
  throw new CodedError(
    'USAGE',
    `${absent.length} blobs (${formatBytes(bytes)}) have left ${store.root} with bundle ${named}${more} (--consume); ${ways}`,
  );
}

/** Reads a blob in the store. @returns whether its bytes are what its name says @throws DISK */
export async function isRight(layout: Layout, blob: PlacedBlob, signal?: AbortSignal): Promise<boolean> {
  const pieces = await layout.locate(blob);
  if (pieces === undefined) return false;
  const hasher = new Hasher();
  await eachBlock(pieces, (block) => hasher.update(block), signal);
  return hasher.finish() === blob.digest;
}

/** What to say of a blob that is not. */
export function wrongBytes(layout: Layout, { digest }: PlacedBlob): string {
  return `${layout.pathOf(digest)}: its bytes are not what its name says, the store was changed or its disk is bad; remove it and run fetch again`;
}
