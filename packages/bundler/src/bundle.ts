/**
 * bundle: what a store is locked to, or what of it is not inside yet, laid out in volumes, described and signed in
 * the store, and written to a medium. Any step can be interrupted: the same command goes on after the last volume
 * that is whole.
 */
import { type BundleDocument, signatureName, volumeName, type WrittenVolume } from '@omni-airgap/format';
import { type IssuedBundle, Store } from '@omni-airgap/store';
import type { BundleOptions } from './bundle-options.ts';
import { type Bundling, bytesOf, hashVolumes, openBundling, refuseInStore, volumesOf } from './bundling.ts';
import { Consumer } from './consume.ts';
import { requireContent } from './content-check.ts';
import { BadStore } from './read-back.ts';
import { parseVolumeRange } from './volume-range.ts';
import { writeMedium } from './write-medium.ts';

export interface BundleReport {
  readonly id: string;
  readonly sequence: number;
  readonly volumes: readonly WrittenVolume[];
  /** Names of the volumes that are on this medium. */
  readonly here: readonly string[];
  /** Bytes of all volumes. */
  readonly bytes: number;
  readonly blobs: number;
  readonly names: number;
  /** Ids of the bundles it relies on. */
  readonly bases: readonly string[];
  readonly changes: BundleDocument['changes'];
  readonly signed: boolean;
  /** False when the folder held this very bundle already. */
  readonly written: boolean;
  /** Bytes that have left the store in this run. */
  readonly consumedBytes: number;
}

/**
 * @throws NO_INPUT, INCOMPLETE, MISSING_CONTENT for the store; USAGE when content has left it; SECRET; CONFLICT when
 * the folder holds another bundle; DISK; BAD_VOLUME when what was read back is not what was written; DIGEST_MISMATCH
 * when the store is damaged; BUSY when another command removes content, or with `consume` uses any
 */
export async function bundle(options: BundleOptions): Promise<BundleReport> {
  const { store: root, consume = false, signal } = options;
  await refuseInStore(options.out, root);
  const access = consume ? 'exclusive' : 'shared';
  return Store.use(root, { access, purpose: 'omni-airgap bundle', signal }, (store) =>
    bundleFrom(store, options),
  );
}

/**
 * The same, of a store that is open, and is exclusively to consume.
 * @throws as bundle
 */
export async function bundleFrom(store: Store, options: BundleOptions): Promise<BundleReport> {
  await refuseInStore(options.out, store.root);
  const work = await openBundling(store, options);
  try {
    return await make(work, options);
  } finally {
    await work.medium.close();
  }
}

/** From what it will be to its bundle.json on the medium. */
async function make(work: Bundling, options: BundleOptions): Promise<BundleReport> {
  const { readBack = true, consume = false } = options;
  const { draft, map, medium, journal } = work;
  const all = [...map.sizes.keys()];
  const chosen = parseVolumeRange(options.volumes, all.length);
  const toWrite = [...new Set([0, ...chosen])].filter((volume) => !medium.has(volume));
  // What goes to several media, or leaves the store, is described and signed before anything is written. Otherwise
  // writing the volumes hashes them, and the content is read once.
  const isIssuedFirst = chosen.length < all.length || consume;
  const toHash = isIssuedFirst ? all.filter((volume) => journal.sha256Of(volume) === undefined) : [];
  await requireContent(draft.store, draft.layout, map.blobsIn([...toWrite, ...toHash]));
  work.progress.expect(bytesOf(work, toHash) + (readBack ? 2 : 1) * bytesOf(work, toWrite));
  if (toWrite.length > 0) await medium.begin(await spaceFor(work, toWrite, options));
  await hashVolumes(work, toHash);
  let issued = isIssuedFirst ? await draft.issue(volumesOf(work)) : undefined;
  const consumer =
    consume && issued !== undefined ? await Consumer.open(draft, issued.document.id, journal) : undefined;
  try {
    await writeMedium(work, toWrite, readBack, consumer);
  } catch (error) {
    // Only a read-back finds that; by then the bundle has been signed.
    if (error instanceof BadStore && issued !== undefined)
      await draft.store.bundles.withdraw(issued.document.id);
    throw error;
  }
  issued ??= await draft.issue(volumesOf(work));
  await medium.finish(issued);
  return reportOf(work, issued, { written: toWrite.length > 0, consumedBytes: consumer?.bytes ?? 0 });
}

/** What bundle.json and the report take for each blob, names among it; bytes, rather too many. */
const documentBytes = 500;

/** Bytes that must be free: what is consumed on the same disk makes room for the next volume. */
async function spaceFor(
  work: Bundling,
  toWrite: readonly number[],
  { consume, store }: BundleOptions,
): Promise<number> {
  const { map, medium } = work;
  const documents = documentBytes * [...map.blobs].length;
  const isOneAtATime = consume === true && (await medium.sharesDiskWith(store));
  const sizes = toWrite.map((volume) => bytesOf(work, [volume]));
  return documents + (isOneAtATime ? Math.max(0, ...sizes) : bytesOf(work, toWrite));
}

function reportOf(
  work: Bundling,
  { document, files }: IssuedBundle,
  run: Pick<BundleReport, 'written' | 'consumedBytes'>,
): BundleReport {
  const all = [...work.map.sizes.keys()];
  return {
    id: document.id,
    sequence: document.sequence,
    volumes: document.volumes,
    here: all.filter((volume) => work.medium.has(volume)).map(volumeName),
    bytes: bytesOf(work, all),
    blobs: document.blobs.length,
    names: document.roots.length,
    bases: (document.base ?? []).map(({ id }) => id),
    changes: document.changes,
    signed: files.some(({ name }) => name === signatureName),
    ...run,
  };
}
