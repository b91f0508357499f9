/**
 * bundle --consume: content leaves the store once the volumes that hold it are safe on a medium. What says what there
 * is stays, and the small content of volume 000; so does what another issued bundle has yet to write. What has gone,
 * and in which bundle, is on record before it goes.
 */
import { mapOf, type PlacedBlob, planHashOf } from '@omni-airgap/format';
import type { Store, VolumeJournal } from '@omni-airgap/store';
import type { Draft } from './draft.ts';
import { planBegunIn } from './medium.ts';

export class Consumer {
  readonly #draft: Draft;
  readonly #bundle: string;
  readonly #journal: VolumeJournal;
  readonly #left: Set<PlacedBlob>;
  #bytes = 0;

  private constructor(draft: Draft, bundle: string, journal: VolumeJournal, left: Set<PlacedBlob>) {
    this.#draft = draft;
    this.#bundle = bundle;
    this.#journal = journal;
    this.#left = left;
  }

  /** @param bundle its id; it has been issued @throws BAD_DOCUMENT, DISK */
  static async open(draft: Draft, bundle: string, journal: VolumeJournal): Promise<Consumer> {
    const { store, map, stays } = draft;
    const others = (await store.bundles.pending()).filter(({ plan }) => plan !== draft.hash);
    const needed = new Set(others.flatMap(({ blobs }) => blobs.map(({ digest }) => digest)));
    const left = new Set<PlacedBlob>();
    for (const blob of map.blobs) {
      if (blob.volume > 0 && !stays.has(blob.digest) && !needed.has(blob.digest)) left.add(blob);
    }
    return new Consumer(draft, bundle, journal, left);
  }

  /** Bytes that have left the store. */
  get bytes(): number {
    return this.#bytes;
  }

  /**
   * Removes from the store all content whose every volume is written.
   * @param pending volumes that have yet to go to this medium, though another may have them
   * @throws DISK
   */
  async consume(pending: ReadonlySet<number>): Promise<void> {
    const { map, layout, store } = this.#draft;
    const isSafe = (volume: number): boolean => this.#journal.isWritten(volume) && !pending.has(volume);
    const going = [...this.#left].filter((blob) => map.volumesOf(blob).every(isSafe));
    if (going.length === 0) return;
    const volumes = going.flatMap((blob) => map.volumesOf(blob));
    this.#bytes += await store.bundles.consume(this.#bundle, volumes, going, layout);
    for (const blob of going) this.#left.delete(blob);
  }
}

/**
 * The bundle that is being written into a folder and whose content has begun to leave the store: it must be finished
 * before the folder can be used for another.
 * @returns its id @throws BAD_DOCUMENT, DISK
 */
export async function consumingInto(store: Store, folder: string): Promise<string | undefined> {
  const plan = await planBegunIn(folder);
  if (plan === undefined) return undefined;
  for (const { document } of await store.bundles.all()) {
    if (planHashOf(document, mapOf(document)) !== plan) continue;
    if ((await store.bundles.consumedVolumes(document.id)).size > 0) return document.id;
  }
  return undefined;
}
