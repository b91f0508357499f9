/** What lock.json and pushes name, down to the last blob, and whether the store still has it. */

import type { PlacedBlob } from '@omni-airgap/format';
import { graphOf, isOfPlatforms, walk } from '@omni-airgap/oci';
import { CodedError, formatBytes } from '@omni-airgap/oci/base';
import { eachBlock } from '@omni-airgap/oci/fs';
import { type Layout, parsePushedName } from '@omni-airgap/oci/layout';
import {
  type Descriptor,
  type Digest,
  fetchManifest,
  Hasher,
  isIndexType,
  plain,
} from '@omni-airgap/oci/model';
import type { LockDocument, LockedItem, Store } from '@omni-airgap/store';
import { isCompanionName } from './report/attachments.ts';
import { repositoryIn } from './report/names.ts';

/** A name with its content; where and when it was fetched is known of what lock.json names. */
export type NamedItem = Pick<LockedItem, 'name' | 'kind' | 'descriptor' | 'bytes' | 'verified'> &
  Partial<Pick<LockedItem, 'platforms' | 'source' | 'fetchedAt'>>;

interface Content<Item extends NamedItem> {
  readonly layout: Layout;
  readonly items: readonly Item[];
  /** Of each item, by name: all descriptors below its root. */
  readonly graphs: ReadonlyMap<string, ReadonlyMap<Digest, Descriptor>>;
  /** All of them, each once. */
  readonly descriptors: ReadonlyMap<Digest, Descriptor>;
  /** What each is for: the kind of the first item that needs it. */
  readonly kinds: ReadonlyMap<Digest, LockedItem['kind']>;
  /** Indexes of which only some platforms are carried. */
  readonly sparse: readonly Descriptor[];
}

/** What lock.json names. */
export interface LockedContent extends Content<LockedItem> {
  /** What mirror.yaml says of the site. */
  readonly inside: LockDocument['inside'];
}
/** That, and what was pushed. */
export type StoredContent = Content<NamedItem>;

/**
 * Reads manifests only: whether a blob is there is seen when it is read.
 * @throws NO_INPUT without lock.json, INCOMPLETE when the last fetch was, MISSING_CONTENT naming the item
 */
export async function readLockedContent(store: Store, signal?: AbortSignal): Promise<LockedContent> {
  const lock = await store.completeLockDocument();
  const content = await readContent(await store.openLayout(), lock.items, signal);
  return { ...content, inside: lock.inside };
}

/**
 * Of what was pushed, an item is a tag, or the digest of a manifest that no tag of its repository leads to.
 * @throws as readLockedContent; a folder that was never fetched into needs no lock.json
 */
export async function readStoredContent(store: Store, signal?: AbortSignal): Promise<StoredContent> {
  const layout = await store.openLayout();
  const isOnlyPushed = await store.isOnlyPushed();
  const locked = isOnlyPushed ? [] : (await store.completeLockDocument()).items;
  const content = await readContent<NamedItem>(layout, locked, signal);
  const tags: NamedItem[] = [];
  const others: NamedItem[] = [];
  for await (const [name, descriptor] of layout.names()) {
    const { tag, digest } = parsePushedName(name) ?? {};
    if (!isOnlyPushed && tag === undefined && digest === undefined) continue;
    // Children of an index that are not here were not pushed, of whatever platform.
    const item: NamedItem = { name, kind: 'image', descriptor, bytes: 0, platforms: [] };
    (digest === undefined ? tags : others).push(item);
  }
  const tagged = await readContent(layout, tags, signal);
  const found = new Set(
    [...tagged.graphs].flatMap(([name, graph]) =>
      [...graph.keys()].map((digest) => `${repositoryIn(name)} ${digest}`),
    ),
  );
  const untagged = await readContent(
    layout,
    others.filter(({ name, descriptor }) => !found.has(`${repositoryIn(name)} ${descriptor.digest}`)),
    signal,
  );
  const parts = [content, tagged, untagged];
  const graphs = new Map(parts.flatMap((part) => [...part.graphs]));
  const pushed: NamedItem[] = [];
  for (const { name, descriptor } of [...tagged.items, ...untagged.items]) {
    const sizes = [...(graphs.get(name)?.values() ?? [])].map(({ size }) => size);
    const { manifest } = await fetchManifest(layout, descriptor, signal);
    const isCompanion = manifest.subject !== undefined || isCompanionName(name);
    const bytes = sizes.reduce((sum, size) => sum + size, 0);
    pushed.push({ name, kind: isCompanion ? 'signature' : 'image', descriptor, bytes });
  }
  return {
    layout,
    items: [...content.items, ...pushed],
    graphs,
    descriptors: new Map(parts.flatMap((part) => [...part.descriptors])),
    kinds: new Map(parts.toReversed().flatMap((part) => [...part.kinds])),
    sparse: parts.flatMap((part) => part.sparse),
  };
}

async function readContent<Item extends NamedItem>(
  layout: Layout,
  items: readonly Item[],
  signal: AbortSignal | undefined,
): Promise<Content<Item>> {
  const descriptors = new Map<Digest, Descriptor>();
  const graphs = new Map<string, ReadonlyMap<Digest, Descriptor>>();
  const kinds = new Map<Digest, LockedItem['kind']>();
  const sparse = new Map<Digest, Descriptor>();
  for (const item of items) {
    const root = item.descriptor;
    const { platforms } = item;
    if (platforms !== undefined && isIndexType(root.mediaType)) sparse.set(root.digest, root);
    const select = async (child: Descriptor, index: Descriptor): Promise<boolean> => {
      // One that was wanted and is not there was lost, and the walk says so.
      const isWanted = platforms === undefined || (platforms.length > 0 && isOfPlatforms(child, platforms));
      if (isWanted || (await layout.has(child))) return true;
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
  return { layout, items, graphs, descriptors, kinds, sparse: [...sparse.values()] };
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
