/**
 * bundle --consume: content leaves the store once the volumes that hold it are safe on a medium. Manifests and the
 * small content of volume 000 stay, since they say what there is; so does what another issued bundle has yet to
 * write.
 */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import {
  bundleIdOf,
  type Digest,
  diskError,
  isManifestType,
  type Layout,
  maxBundleDocumentBytes,
  type PlacedBlob,
  parseBundleDocument,
  readSmallFile,
  VolumeMap,
} from '@omni-airgap/content';
import type { Contents } from './contents.ts';
import { plansOf, VolumeJournal } from './volume-journal.ts';

export class Consumer {
  readonly #layout: Layout;
  readonly #map: VolumeMap;
  readonly #journal: VolumeJournal;
  readonly #left: Set<PlacedBlob>;

  private constructor(layout: Layout, map: VolumeMap, journal: VolumeJournal, left: Set<PlacedBlob>) {
    this.#layout = layout;
    this.#map = map;
    this.#journal = journal;
    this.#left = left;
  }

  /** @param plan hex hash of the plan whose volumes are being written */
  static async open(
    contents: Contents,
    plan: string,
    map: VolumeMap,
    journal: VolumeJournal,
  ): Promise<Consumer> {
    const needed = await neededElsewhere(contents.layout.root, plan);
    const left = new Set<PlacedBlob>();
    for (const blob of map.blobs) {
      const mediaType = contents.descriptors.get(blob.digest)?.mediaType ?? '';
      if (blob.volume > 0 && !isManifestType(mediaType) && !needed.has(blob.digest)) left.add(blob);
    }
    return new Consumer(contents.layout, map, journal, left);
  }

  /**
   * Removes from the store all content whose every volume is written.
   * @param pending volumes that have yet to go to this medium, though another may have them
   * @throws DISK
   */
  async consume(pending: ReadonlySet<number>): Promise<void> {
    const isSafe = (volume: number): boolean => this.#journal.isWritten(volume) && !pending.has(volume);
    for (const blob of this.#left) {
      if (!this.#map.runsOf(blob).every(({ volume }) => isSafe(volume))) continue;
      const path = this.#layout.pathOf(blob.digest);
      await rm(path, { force: true }).catch((error: unknown) => {
        throw diskError(error, path);
      });
      this.#left.delete(blob);
    }
  }
}

/** Content in volumes that other plans have issued and not written to a medium yet. */
async function neededElsewhere(store: string, plan: string): Promise<ReadonlySet<Digest>> {
  const needed = new Set<Digest>();
  for (const other of await plansOf(store)) {
    if (other === plan) continue;
    const journal = await VolumeJournal.open(store, other);
    const path = join(store, 'bundles', bundleIdOf(journal.hashes()), 'bundle.json');
    const bytes = await readSmallFile(path, maxBundleDocumentBytes);
    if (bytes === undefined) continue;
    const document = parseBundleDocument(bytes, path);
    const names = new Map(document.roots.map(({ name, descriptor }) => [name, descriptor]));
    const sizes = document.volumes.map(({ size }) => size);
    const map = new VolumeMap(names, { blobs: document.blobs, sizes });
    for (const blob of map.blobs) {
      if (!map.runsOf(blob).every(({ volume }) => journal.isWritten(volume))) needed.add(blob.digest);
    }
  }
  return needed;
}
