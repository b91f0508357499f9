/** inspect: what a bundle or a store is, from its documents and manifests; nothing large is read. */
import { type BundleDocument, type BundleSigner, BundleStore, type BundleTrust } from '@omni-airgap/format';
import { CodedError } from '@omni-airgap/oci/base';
import { Store } from '@omni-airgap/store';
import { type Consumed, consumedOf } from './consumed.ts';
import { type NamedItem, readStoredContent, type StoredContent } from './locked-content.ts';
import { isSigned } from './medium.ts';
import { type AttachedImage, type Attachment, companionsOf, distinct } from './report/attachments.ts';
import { graphBelow, type Summary, summarize } from './report/summary.ts';

export interface Inspection extends Summary {
  /** Whose signature was checked. */
  readonly signer: BundleSigner;
  /** False when there is no signature that could be checked. */
  readonly isSigned: boolean;
  /** Volumes that are in none of the folders. */
  readonly absent: readonly string[];
}

/**
 * @param folders media of one bundle; the first volume alone is enough
 * @throws as BundleStore.open
 */
export async function inspectBundle(folders: readonly string[], trust: BundleTrust): Promise<Inspection> {
  const { bundle, summary } = await openBundle(folders, trust);
  const absent = bundle.problems
    .filter(({ size }) => size === undefined)
    .map(({ volume }) => bundle.document.volumes[volume]?.name ?? '');
  return { ...summary, signer: bundle.signer, isSigned: await isSigned(folders), absent };
}

/** @throws as BundleStore.open */
export async function openBundle(
  folders: readonly string[],
  trust: BundleTrust,
): Promise<{ readonly bundle: BundleStore; readonly summary: Summary }> {
  const bundle = await BundleStore.open(folders, trust, { volumes: 'present' });
  // All that is read lies in there.
  const first = bundle.problems.find(({ volume }) => volume === 0);
  if (first?.size !== undefined) {
    throw new CodedError(
      'BAD_VOLUME',
      `${bundle.volumePath(0)}: ${first.size} bytes instead of ${bundle.map.sizes[0]}; copy it again`,
    );
  }
  return { bundle, summary: await summarize(bundle.document, bundle) };
}

export interface StoreInspection {
  /** All names, but those that are about an image here: they are its attachments. */
  readonly items: readonly StoredItem[];
  readonly blobs: number;
  /** Bytes of all content, each blob once. */
  readonly bytes: number;
  /** What of it is not here because it left with bundles. */
  readonly left: Consumed;
  /** What it has issued, the newest last. */
  readonly bundles: readonly Pick<BundleDocument, 'id' | 'sequence' | 'createdAt'>[];
  /** Names that its last bundle withdraws; the next one repeats those that it does not list. */
  readonly withdraws: readonly string[];
}

export interface StoredItem extends Omit<NamedItem, 'platforms'> {
  readonly attachments: readonly Attachment[];
}

/** @throws NO_INPUT, INCOMPLETE, MISSING_CONTENT, BAD_DOCUMENT; BUSY while content is removed */
export function inspectStore(root: string, signal?: AbortSignal): Promise<StoreInspection> {
  return Store.use(root, { access: 'read', purpose: 'omni-airgap inspect', signal }, (store) =>
    inspectOpen(store, signal),
  );
}

async function inspectOpen(store: Store, signal: AbortSignal | undefined): Promise<StoreInspection> {
  const contents = await readStoredContent(store, signal);
  const { layout, descriptors } = contents;
  const { digests: _, ...left } = await consumedOf(store, layout, descriptors.values());
  const bundles = (await store.bundles.all()).map(({ document: { id, sequence, createdAt } }) => ({
    id,
    sequence,
    createdAt,
  }));
  return {
    items: await storedItems(contents),
    blobs: descriptors.size,
    bytes: [...descriptors.values()].reduce((sum, { size }) => sum + size, 0),
    left,
    bundles: bundles.reverse(),
    withdraws: await store.bundles.withdrawnNames(),
  };
}

/** @throws DIGEST_MISMATCH, BAD_DOCUMENT, DISK */
export async function storedItems({ layout, items }: StoredContent): Promise<readonly StoredItem[]> {
  const isCompanion = ({ kind }: NamedItem): boolean => kind === 'signature';
  const images: AttachedImage[] = [];
  const inside = new Map<string, readonly Attachment[]>();
  for (const { name, descriptor } of items.filter((item) => !isCompanion(item))) {
    const { manifests, attachments } = await graphBelow(layout, descriptor, new Set(), () => true);
    images.push({ name, manifests });
    inside.set(name, attachments);
  }
  const companions = await companionsOf(layout, items.filter(isCompanion), images);
  const folded = new Set(companions.flatMap((one) => (one.images.size > 0 ? [one.root.name] : [])));
  return items
    .filter(({ name }) => !folded.has(name))
    .map((item) => {
      const beside = companions.flatMap((one) => (one.images.has(item.name) ? one.attachments : []));
      return { ...item, attachments: distinct([...beside, ...(inside.get(item.name) ?? [])]) };
    });
}
