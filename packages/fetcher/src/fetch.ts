/**
 * fetch: brings a store to what mirror.yaml says. Items are independent: one that fails leaves the others done, and
 * the same command run again does only what is left.
 */
import { join } from 'node:path';
import {
  CodedError,
  Copier,
  type CopyTally,
  Layout,
  type LockedItem,
  messageOf,
  type NetworkSettings,
  noProgress,
  openEgressLog,
  openNetwork,
  type Progress,
  tallying,
} from '@omni-airgap/content';
import { findSecrets, publicFactoryHost } from '@omni-airgap/talos';
import pLimit from 'p-limit';
import { type Failure, failureOf } from './failures.ts';
import { fetchCatalog } from './fetch-catalog.ts';
import { fetchImage, type ImageContext } from './fetch-image.ts';
import { fetchMediaSet, fetchSchematic, type MediaContext } from './fetch-media.ts';
import { readLock, writeLock } from './lock-file.ts';
import { type Mirror, readMirror } from './mirror/mirror.ts';
import { FactoryClient } from './sources/factory-client.ts';
import { hostsOf, type Wanted, type WantedImage, wantedOf } from './wanted.ts';

export interface FetchOptions {
  /** Path of mirror.yaml. */
  readonly config: string;
  /** Folder of the store; made when it is not there. */
  readonly store: string;
  readonly network: NetworkSettings;
  /** Blobs on their way at once; default 8. */
  readonly concurrency?: number;
  /** Let schematics with secrets in them go to the factory. */
  readonly allowSecrets?: boolean;
  readonly progress?: Progress;
  readonly signal?: AbortSignal;
}

export interface FetchReport extends CopyTally {
  readonly items: number;
  readonly bytes: number;
  /** Names the store has now and had not, or had with another digest. */
  readonly changed: readonly string[];
}

/** Items under way at once; each waits mostly for its blobs, which have a bound of their own. */
const itemsAtOnce = 24;

/**
 * @throws CONFIG, NO_INPUT, SECRET before any request; otherwise, when items failed, one error with the code of
 * the worst, after everything else is done and locked
 */
export async function fetch(options: FetchOptions): Promise<FetchReport> {
  const mirror = await readMirror(options.config);
  if (options.allowSecrets !== true) refuseSecrets(mirror);
  const wanted = wantedOf(mirror);
  const layout = await Layout.open(options.store, { create: true });
  const before = await readLock(options.store);
  const egressLog = await openEgressLog(join(options.store, 'egress.jsonl'));
  const network = await openNetwork(options.network, {
    hosts: hostsOf(wanted).map((host) => host.pattern),
    allowPrivate: false,
    egressLog,
  });
  const { progress = noProgress, signal } = options;
  const { tally, onEvent } = tallying(progress);
  try {
    const copier = new Copier({
      onEvent,
      ...(options.concurrency === undefined ? {} : { blobs: options.concurrency }),
      ...(signal === undefined ? {} : { signal }),
    });
    const images: ImageContext = { network, layout, copier, ...(signal === undefined ? {} : { signal }) };
    const factory = new FactoryClient(network.gate, publicFactoryHost, signal);
    const { items, failures } = await fetchAll(
      wanted,
      images,
      { factory, layout, lock: before, progress },
      signal,
    );
    const missing = failures.map((failure) => failure.name);
    await writeLock(options.store, items, missing, before);
    signal?.throwIfAborted();
    for (const { name, error } of failures) progress.note(`failed: ${name}: ${messageOf(error)}`);
    if (failures.length > 0) throw failureOf(failures, items.length + failures.length);
    const known = new Map(before?.items.map((item) => [item.name, item.descriptor.digest]));
    return {
      ...tally,
      items: items.length,
      bytes: items.reduce((sum, item) => sum + item.bytes, 0),
      changed: items
        .filter((item) => known.get(item.name) !== item.descriptor.digest)
        .map((item) => item.name),
    };
  } finally {
    await network.close();
    await egressLog.close();
  }
}

/** @throws SECRET naming where, never what */
export function refuseSecrets(mirror: Mirror): void {
  for (const [i, { schematic }] of mirror.media.entries()) {
    if (schematic.kind !== 'text') continue;
    const [found] = findSecrets(schematic.schematic);
    if (found === undefined) continue;
    throw new CodedError(
      'SECRET',
      `media[${i}].schematic: ${found.where} holds ${found.what}; it would go to the public Image Factory, which logs it; remove it, or pass --allow-secrets`,
    );
  }
}

async function fetchAll(
  wanted: Wanted,
  images: ImageContext,
  media: MediaContext,
  signal: AbortSignal | undefined,
): Promise<{ readonly items: readonly LockedItem[]; readonly failures: readonly Failure[] }> {
  const limit = pLimit(itemsAtOnce);
  const items = new Map<string, LockedItem>();
  const failures: Failure[] = [];
  const run = (name: string, task: () => Promise<readonly LockedItem[]>): Promise<void> =>
    limit(async () => {
      try {
        signal?.throwIfAborted();
        for (const item of await task()) items.set(item.name, item);
      } catch (error) {
        failures.push({ name, error });
      }
    });
  const image = (one: WantedImage): Promise<void> => run(one.reference, () => fetchImage(images, one));
  // Installer images exist at the factory only once it knows their schematic.
  const known = Promise.all(
    wanted.schematics.map((s) => run(`schematic ${s.id}`, async () => [await fetchSchematic(media, s)])),
  );
  const isInstaller = (one: WantedImage): boolean => one.reference.startsWith(`${publicFactoryHost}/`);
  await Promise.all([
    ...wanted.images.filter((one) => !isInstaller(one)).map(image),
    known.then(() =>
      Promise.all([
        ...wanted.images.filter(isInstaller).map(image),
        ...wanted.media.map((set) =>
          run(`media ${set.schematic.id.slice(0, 12)}… ${set.version}`, async () => [
            await fetchMediaSet(media, set),
          ]),
        ),
      ]),
    ),
  ]);
  // What a catalog names is known only when the catalog is here.
  const catalogs = wanted.images.filter((one) => one.catalog !== undefined && items.has(one.reference));
  const named = new Map<string, WantedImage>();
  await Promise.all(
    catalogs.map((one) =>
      run(`catalog ${one.reference}`, async () => {
        for (const found of await fetchCatalog(images.layout, one)) named.set(found.reference, found);
        return [];
      }),
    ),
  );
  await Promise.all([...named.values()].map(image));
  return { items: [...items.values()], failures };
}
