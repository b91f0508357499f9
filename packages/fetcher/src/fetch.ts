/**
 * fetch: brings a store to what mirror.yaml says. Items are independent: one that fails leaves the others done, and
 * the same command run again does only what is left.
 */
import { join } from 'node:path';
import {
  CodedError,
  Copier,
  type CopyEvent,
  type CopyTally,
  Layout,
  type LockedItem,
  messageOf,
  type NetworkSettings,
  noProgress,
  openEgressLog,
  openNetwork,
  type Progress,
  parseReference,
  tallying,
  WorkQueue,
} from '@omni-airgap/content';
import { hostPattern, publicFactoryHost } from '@omni-airgap/talos';
import pLimit from 'p-limit';
import { readCatalog } from './catalog-images.ts';
import { type Failure, failureOf } from './failures.ts';
import type { FactoryContext } from './fetch-file.ts';
import { fetchImage, type ImageContext } from './fetch-image.ts';
import { listTasks } from './fetch-lists.ts';
import { fetchMediaFile, fetchSchematic, mediaSetName, storeMediaSet } from './fetch-media.ts';
import { readLock, writeLock } from './lock-file.ts';
import { readMirror } from './mirror/mirror.ts';
import { refuseSecrets } from './secrets.ts';
import { readImageKey } from './sources/cosign.ts';
import { DownloadJournal } from './sources/download-journal.ts';
import { FactoryClient } from './sources/factory-client.ts';
import { TransfersView } from './transfers-view.ts';
import { hostsOf, type Wanted, type WantedBuilds, type WantedImage, wantedOf } from './wanted.ts';

export interface FetchOptions {
  /** Path of mirror.yaml. */
  readonly config: string;
  /** Folder of the store; made when it is not there. */
  readonly store: string;
  readonly network: NetworkSettings;
  /** Blobs and files on their way at once; default 8. */
  readonly concurrency?: number;
  /** Let schematics with secrets in them go to the factory and into the store. */
  readonly allowSecrets?: boolean;
  /** `FILE` or `PREFIX=FILE`: images (that begin with the prefix) must carry a cosign signature by the key in it. */
  readonly verifyImagesKeys?: readonly string[];
  readonly progress?: Progress;
  readonly signal?: AbortSignal;
}

export interface FetchReport extends CopyTally {
  readonly items: number;
  readonly bytes: number;
  /** Images whose signature was checked. */
  readonly verified: number;
  /** Names the store has now and had not, or had with another digest. */
  readonly changed: readonly string[];
}

/** Items under way at once; each waits mostly for its blobs, which have a bound of their own. */
const itemsAtOnce = 24;
const manifestsAtOnce = 16;
const buildsAtOnce = 8;
const defaultTransfers = 8;

/**
 * @throws CONFIG, NO_INPUT, SECRET before any request; otherwise, when items failed, one error with the code of
 * the worst, after everything else is done and locked
 */
export async function fetch(options: FetchOptions): Promise<FetchReport> {
  const mirror = await readMirror(options.config);
  const { allowSecrets = false, concurrency = defaultTransfers, progress = noProgress, signal } = options;
  if (!allowSecrets) refuseSecrets(mirror);
  const keys = await Promise.all((options.verifyImagesKeys ?? []).map(readImageKey));
  const wanted = wantedOf(mirror);
  const layout = await Layout.open(options.store, { create: true });
  const before = await readLock(options.store);
  const onRetry = (error: CodedError): void => progress.note(`trying again: ${error.message}`);
  const egressLog = await openEgressLog(join(options.store, 'egress.jsonl'));
  const network = await openNetwork(options.network, {
    hosts: hostsOf(wanted).map(hostPattern),
    allowPrivate: false,
    egressLog,
    // Manifests must not wait until a large blob gives its connection back.
    connections: concurrency + manifestsAtOnce,
    pacing: true,
    onRetry,
  });
  const counts = tallying(progress);
  const view = new TransfersView(progress);
  const onEvent = (event: CopyEvent): void => {
    counts.onEvent(event);
    view.onEvent(event);
  };
  const transfers = new WorkQueue(concurrency);
  const journal = new DownloadJournal(options.store);
  const stoppable = signal === undefined ? {} : { signal };
  const run = new Run(signal);
  const images: ImageContext = {
    network,
    layout,
    copier: new Copier({ onEvent, blobs: transfers, manifests: manifestsAtOnce, ...stoppable }),
    view,
    keys,
    ...stoppable,
  };
  const media: FactoryContext = {
    factory: new FactoryClient({
      gate: network.gate,
      host: publicFactoryHost,
      retry: { onRetry },
      ...stoppable,
    }),
    layout,
    journal,
    transfers,
    builds: pLimit(buildsAtOnce),
    lock: before,
    allowSecrets,
    progress,
    journaled: new Set(),
  };
  try {
    await fetchAll(run, wanted, images, media);
    const { items, failures } = run;
    const missing = failures.map((failure) => failure.name);
    // What could not be brought anew is still what it was: its pins must not get lost.
    const kept = (before?.items ?? []).filter((item) => missing.includes(item.name) && !items.has(item.name));
    await writeLock(options.store, [...items.values(), ...kept], missing, before);
    for (const url of media.journaled) if (run.isLocked(url)) await journal.forget(url);
    signal?.throwIfAborted();
    for (const { name, error } of failures) progress.note(`failed: ${name}: ${messageOf(error)}`);
    if (failures.length > 0) throw failureOf(failures, items.size + failures.length);
    const known = new Map(before?.items.map((item) => [item.name, item.descriptor.digest]));
    return {
      ...counts.tally,
      items: items.size,
      verified: [...items.values()].filter((item) => item.verified !== undefined).length,
      bytes: [...items.values()].reduce((sum, item) => sum + item.bytes, 0),
      changed: [...items.values()]
        .filter((item) => known.get(item.name) !== item.descriptor.digest)
        .map((item) => item.name),
    };
  } finally {
    await network.close();
    await egressLog.close();
  }
}

/** Tasks of one run, and what came of them. */
class Run {
  readonly items = new Map<string, LockedItem>();
  readonly failures: Failure[] = [];
  readonly #limit = pLimit(itemsAtOnce);
  readonly #signal: AbortSignal | undefined;

  constructor(signal: AbortSignal | undefined) {
    this.#signal = signal;
  }

  /** Runs when a place is free; its failure is noted under the name. @returns undefined when it failed */
  task<T>(name: string, task: () => Promise<T>): Promise<T | undefined> {
    return this.#limit(() => this.attempt(name, task));
  }

  /** The same at once, for tasks that wait for others. */
  async attempt<T>(name: string, task: () => Promise<T>): Promise<T | undefined> {
    try {
      this.#signal?.throwIfAborted();
      return await task();
    } catch (error) {
      this.failures.push({ name, error });
      return undefined;
    }
  }

  add(items: readonly (LockedItem | undefined)[] | undefined): void {
    for (const item of items ?? []) if (item !== undefined) this.items.set(item.name, item);
  }

  isLocked(url: string): boolean {
    return [...this.items.values()].some((item) => item.files?.some((file) => file.source === url));
  }
}

async function fetchAll(
  run: Run,
  wanted: Wanted,
  images: ImageContext,
  factory: FactoryContext,
): Promise<void> {
  const image = async (one: WantedImage): Promise<void> =>
    run.add(
      await run.task(one.reference, () =>
        fetchImage(images, one).finally(() => images.view.ended(one.reference)),
      ),
    );
  const builds = wanted.builds.map((build) => fetchBuilds(run, build, factory, image));
  const lists = wanted.lists === undefined ? [] : listTasks(factory, wanted.lists);
  // An installer named as an image exists at the factory only once it knows the schematic.
  const isBuilt = (one: WantedImage): boolean => parseReference(one.reference).registry === publicFactoryHost;
  await Promise.all([
    ...wanted.images.filter((one) => !isBuilt(one)).map(image),
    ...lists.map(async (list) => run.add([await run.task(list.name, () => list.run())])),
    Promise.all(builds).then(() => Promise.all(wanted.images.filter(isBuilt).map(image))),
  ]);
  // What a catalog names is known only when the catalog is here.
  const catalogs = wanted.images.filter((one) => one.catalog !== undefined && run.items.has(one.reference));
  const named = new Map<string, WantedImage>();
  await Promise.all(
    catalogs.map((one) =>
      run.task(`catalog ${one.reference}`, async () => {
        const root = run.items.get(one.reference)?.descriptor;
        if (root === undefined) return;
        for (const found of await readCatalog(images.layout, root, one)) named.set(found.reference, found);
      }),
    ),
  );
  await Promise.all([...named.values()].map(image));
}

/** A schematic, then all that is built for it. Files that came are pinned also when others of their set failed. */
async function fetchBuilds(
  run: Run,
  { schematic, media, installers }: WantedBuilds,
  context: FactoryContext,
  image: (one: WantedImage) => Promise<void>,
): Promise<void> {
  const stored = await run.task(`schematic ${schematic.id}`, () => fetchSchematic(context, schematic));
  const id = stored?.id ?? schematic.id;
  const references = installers.map(
    ({ repository, version }) => `${publicFactoryHost}/${repository}/${id}:${version}`,
  );
  if (stored === undefined) {
    const error = new CodedError('INCOMPLETE', `its schematic ${id} is not known to the factory`);
    const names = [...references, ...media.map(({ version }) => mediaSetName(id, version))];
    run.failures.push(...names.map((name) => ({ name, error })));
    return;
  }
  run.add([stored.item]);
  await Promise.all([
    ...references.map((reference) => image({ reference, platforms: undefined })),
    ...media.map((set) =>
      run.attempt(mediaSetName(id, set.version), async () => {
        const files = await Promise.allSettled(
          set.files.map((file) => fetchMediaFile(context, id, set.version, file)),
        );
        const failed = files.filter((one) => one.status === 'rejected');
        const errors = failed.map(({ reason }): Failure => ({ name: `${id} ${set.version}`, error: reason }));
        if (errors.length > 0) throw failureOf(errors, files.length);
        const all = files.flatMap((one) => (one.status === 'fulfilled' ? one.value : []));
        run.add([await storeMediaSet(context, id, set, all)]);
      }),
    ),
  ]);
}
