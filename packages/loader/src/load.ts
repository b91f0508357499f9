/**
 * load: a bundle into the registry and the object store of a site, straight from the volumes. What is there is
 * left alone; nothing is unpacked; names and receipt come when all content is in place.
 */
import {
  BundleStore,
  type BundleTrust,
  type CopyTally,
  type NetworkSettings,
  noProgress,
  openNetwork,
  type Progress,
  type ReceiptDocument,
  serializeReceipt,
  writeFileAtomic,
} from '@omni-airgap/content';
import { type LoadedObject, loadObjects } from './load-objects.ts';
import { type LoadedImage, loadRegistry } from './load-registry.ts';
import { type ObjectStoreTarget, openSink } from './objects/open-sink.ts';
import type { RegistryTarget } from './target-names.ts';

export interface LoadOptions {
  /** Folders where the media are mounted. */
  readonly bundles: readonly string[];
  readonly trust: BundleTrust;
  readonly registry?: RegistryTarget;
  readonly objectStore?: ObjectStoreTarget;
  readonly keepHost?: boolean;
  readonly overwriteTags?: boolean;
  /** Path to write the receipt to. */
  readonly receipt?: string;
  readonly network: NetworkSettings;
  /** Blobs on their way at once; default 8. */
  readonly concurrency?: number;
  /** Name and version of this program, for the record. */
  readonly tool: string;
  readonly progress?: Progress;
  readonly signal?: AbortSignal;
}

export interface LoadReport {
  readonly receipt: ReceiptDocument;
  /** What happened in the registry; undefined when none was named. */
  readonly registry: CopyTally | undefined;
  readonly objectsStored: number;
  readonly objectsPresent: number;
}

/** @throws NO_INPUT, UNSIGNED, BAD_SIGNATURE, BAD_DOCUMENT, BAD_VOLUME before anything is moved; CONFLICT; others */
export async function load(options: LoadOptions): Promise<LoadReport> {
  const { registry, objectStore, progress = noProgress, signal } = options;
  const bundle = await BundleStore.open(options.bundles, options.trust);
  const network = await openNetwork(options.network, {
    hosts: [
      ...(registry === undefined ? [] : [registry.host]),
      ...(objectStore?.kind === 's3' ? [objectStore.settings.endpoint.host] : []),
    ],
    allowPrivate: true,
  });
  const shared = { bundle, progress, ...(signal === undefined ? {} : { signal }) };
  try {
    let images: readonly LoadedImage[] = [];
    let tally: CopyTally | undefined;
    if (registry !== undefined) {
      ({ images, tally } = await loadRegistry({
        ...shared,
        network,
        target: registry,
        keepHost: options.keepHost === true,
        overwriteTags: options.overwriteTags === true,
        ...(options.concurrency === undefined ? {} : { concurrency: options.concurrency }),
      }));
    }
    let objects: readonly LoadedObject[] = [];
    let storeUrl: string | undefined;
    if (objectStore !== undefined) {
      const sink = await openSink(objectStore, network);
      try {
        storeUrl = sink.url;
        objects = await loadObjects({ ...shared, sink });
      } finally {
        await sink.close();
      }
    }
    const { id, origin, sequence } = bundle.document;
    const receipt: ReceiptDocument = {
      bundle: id,
      kind: 'omni-airgap/receipt',
      schema: 1,
      origin,
      sequence,
      loadedAt: new Date().toISOString(),
      tool: options.tool,
      trust: bundle.signer,
      ...(registry === undefined
        ? {}
        : { registry: [registry.host, registry.prefix].filter(Boolean).join('/') }),
      ...(storeUrl === undefined ? {} : { objectStore: storeUrl }),
      images: [...images],
      objects: objects.map(({ key, digest, size }) => ({ key, digest, size })),
    };
    if (options.receipt !== undefined) await writeFileAtomic(options.receipt, serializeReceipt(receipt));
    const present = objects.filter((object) => object.result === 'present').length;
    return { receipt, registry: tally, objectsStored: objects.length - present, objectsPresent: present };
  } finally {
    await network.close();
  }
}
