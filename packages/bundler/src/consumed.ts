/**
 * Content that `bundle --consume` moves out of the store, once the volumes that hold it are safe on a medium. Manifests and
 * schematics stay, since they say what there is; so do the small content of volume 000, and what another issued bundle has
 * yet to write.
 */
import { mapOf, type PlacedBlob, planHashOf } from '@omni-airgap/format';
import type { Layout } from '@omni-airgap/oci/layout';
import type { Descriptor, Digest } from '@omni-airgap/oci/model';
import type { Store, VolumeJournal } from '@omni-airgap/store';
import { planBegunIn } from './medium.ts';
import type { BundlePlan } from './plan.ts';

export class Consumer {
  readonly #plan: BundlePlan;
  readonly #bundle: string;
  readonly #journal: VolumeJournal;
  readonly #left: Set<PlacedBlob>;
  #bytes = 0;

  private constructor(plan: BundlePlan, bundle: string, journal: VolumeJournal, left: Set<PlacedBlob>) {
    this.#plan = plan;
    this.#bundle = bundle;
    this.#journal = journal;
    this.#left = left;
  }

  /** @param bundle its id; it has been issued @throws BAD_DOCUMENT, DISK */
  static async open(plan: BundlePlan, bundle: string, journal: VolumeJournal): Promise<Consumer> {
    const { store, map, stays } = plan;
    const others = (await store.bundles.pending()).filter((pending) => pending.plan !== plan.hash);
    const needed = new Set(others.flatMap(({ blobs }) => blobs.map(({ digest }) => digest)));
    const left = new Set<PlacedBlob>();
    for (const blob of map.blobs) {
      if (blob.volume > 0 && !stays.has(blob.digest) && !needed.has(blob.digest)) left.add(blob);
    }
    return new Consumer(plan, bundle, journal, left);
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
    const { map, layout, store } = this.#plan;
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

export interface Consumed {
  /** Ids of the bundles that hold it. */
  readonly bundles: readonly string[];
  readonly blobs: number;
  readonly bytes: number;
}

/** @returns the sum, and which it is @throws BAD_DOCUMENT, DISK */
export async function consumedOf(
  store: Store,
  layout: Layout,
  descriptors: Iterable<Descriptor>,
): Promise<Consumed & { readonly digests: ReadonlySet<Digest> }> {
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
