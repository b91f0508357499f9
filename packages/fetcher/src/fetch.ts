/**
 * fetch: brings a store to what mirror.yaml says. Items are independent: one that fails leaves the others done, and
 * the same command run again does only what is left.
 */
import { type CountedSigner, countSigners } from '@omni-airgap/format';
import {
  Copier,
  type CopyEvent,
  type CopyTally,
  noProgress,
  noteRetry,
  type Progress,
  Transfers,
  tallying,
} from '@omni-airgap/oci';
import { type CodedError, printable, withCleanUp } from '@omni-airgap/oci/base';
import { checkOutputFolder } from '@omni-airgap/oci/fs';
import type { Layout } from '@omni-airgap/oci/layout';
import { parseReference } from '@omni-airgap/oci/model';
import { type NetworkSettings, openNetwork } from '@omni-airgap/oci/registry';
import { type EgressLog, type LockDocument, type LockedItem, Store } from '@omni-airgap/store';
import { hostPattern, type InsideFinding, publicFactoryHost, type Site } from '@omni-airgap/talos';
import { FactoryClient } from './factory/client.ts';
import { Builds, type FactoryContext, slowFactory } from './factory/file.ts';
import { listTasks } from './factory/lists.ts';
import { buildTasks, fetchBuilds } from './factory/media.ts';
import { Offers } from './factory/offers.ts';
import { Repins } from './factory/pin.ts';
import { readCatalog } from './images/catalog.ts';
import { Companions } from './images/companions.ts';
import { fetchImage, type ImageContext, localFirst, TransfersView } from './images/image.ts';
import { missingText } from './images/platforms.ts';
import { factsOf, findingsOfLocked, findingsOfWanted, refuseFindings, wantedNames } from './inside.ts';
import {
  type ChosenRange,
  type ChosenVersions,
  chooseVersions,
  lockedRange,
  pinVersions,
  withStandIns,
} from './mirror/chosen-versions.ts';
import { readMirror, refuseSecrets, type WrittenMirror } from './mirror/mirror.ts';
import { hostsOf, type ResolvedMirror, resolveMirror, type WantedImage } from './mirror/resolved-mirror.ts';
import { failureLines, failureOf, Run } from './run.ts';
import { readSigners, type SignerOptions } from './signatures/signers.ts';

export interface FetchOptions extends SignerOptions {
  /** Path of mirror.yaml. */
  readonly config: string;
  /** Folder of the store; made when it is not there. */
  readonly store: string;
  readonly network: NetworkSettings;
  /** Blobs and files on their way at once; default 12. */
  readonly concurrency?: number | undefined;
  /** Let schematics with secrets in them go to the factory and into the store. */
  readonly allowSecrets?: boolean;
  /** Bring back what has left the store with a bundle; default: it counts as there. */
  readonly restore?: boolean;
  /** Images that lack one of the wanted platforms fail; default: they are carried without it, and named. */
  readonly requirePlatforms?: boolean;
  /** Choose the versions of ranges anew; default: as lock.json pins them. */
  readonly update?: boolean;
  /** The site file. */
  readonly site?: Site | undefined;
  /** Refuse what does not work inside without a change there; default: name it. */
  readonly strict?: boolean;
  /** Names of pins in lock.json that are replaced by what the factory has now: `ITEM` or `ITEM/FILE`. */
  readonly repin?: readonly string[];
  /** Account and machine, for the record. */
  readonly by?: string;
  readonly progress?: Progress;
  readonly signal?: AbortSignal | undefined;
}

export interface FetchReport extends CopyTally {
  readonly items: number;
  /** What the ranges of mirror.yaml stand for. */
  readonly ranges: readonly ChosenRange[];
  readonly bytes: number;
  /** Bytes of content that came from upstream in this run, boot assets included. */
  readonly receivedBytes: number;
  /** Images whose signature was checked. */
  readonly verified: number;
  /** Who signed how many of them. */
  readonly signers: readonly CountedSigner[];
  /** Images that lack some of the wanted platforms upstream. */
  readonly missingPlatforms: readonly MissingPlatforms[];
  /** Names the store has now and had not, or had with another digest. */
  readonly changed: readonly string[];
  /** What is known against the set inside. */
  readonly inside: readonly InsideFinding[];
}

interface MissingPlatforms {
  readonly name: string;
  readonly platforms: readonly string[];
}

const manifestsAtOnce = 16;
/** To one host, unless the operator says how many transfers there are: more look like an attack. */
const mostConnections = 32;
/** Some connections are left for manifests, which must not wait until a large blob gives its connection back. */
const mostTransfers = 24;

/**
 * @throws CONFIG, NO_INPUT, SECRET before any request or write, CONFIG after it for what only the content tells; BUSY while another command removes content; otherwise, when
 * items failed, one error with the code of the worst, after everything else is done and locked
 */
export async function fetch(options: FetchOptions): Promise<FetchReport> {
  const fetchInto = await prepareFetch(options);
  const { store, progress = noProgress, signal } = options;
  return Store.use(
    store,
    {
      access: 'shared',
      purpose: 'omni-airgap fetch',
      create: true,
      onRepaired: repairNote(progress),
      signal,
    },
    fetchInto,
  );
}

/** Tells of a name that was removed when a store was repaired. */
export function repairNote(progress: Progress): (name: string, mediaType: string) => void {
  return (name, mediaType) =>
    progress.note(
      `repaired: ${printable(name)} was stored by an earlier version, but is ${printable(mediaType)} and no image; removed from the store`,
    );
}

/**
 * The first half of fetch: reads and checks all input, without any request or write.
 * @returns the second half, which fetches into a store that is open for adding content
 * @throws CONFIG, NO_INPUT, SECRET, USAGE for a store that is no folder; the second half as fetch
 */
export async function prepareFetch(options: FetchOptions): Promise<(store: Store) => Promise<FetchReport>> {
  const mirror = await readMirror(options.config);
  await checkOutputFolder('--store', options.store);
  if (options.allowSecrets !== true) refuseSecrets(mirror);
  const signers = await readSigners(options);
  const { site } = options;
  // What can be wrong without upstream is found now; versions that stand in for others prove nothing.
  refuseFindings(
    findingsOfWanted(resolveMirror(withStandIns(mirror)), { inside: mirror.inside, site }),
    false,
  );
  return async (store) => {
    const layout = await store.openLayout({ carried: options.restore !== true });
    const report = await fetchInto(store, layout, mirror, signers, options);
    refuseFindings(report.inside, options.strict === true);
    return report;
  };
}

async function fetchInto(
  store: Store,
  layout: Layout,
  written: WrittenMirror,
  signers: ImageContext['signers'],
  options: FetchOptions,
): Promise<FetchReport> {
  const { progress = noProgress } = options;
  const before = await store.lockDocument();
  const repins = new Repins(options.repin ?? [], before);
  const egressLog = await store.openEgressLog();
  const onNote = (text: string): void => progress.note(text);
  const scope = {
    egressLog,
    onNote,
    onRetry: (error: CodedError, _: number, waitMs: number): void => noteRetry(progress, error, waitMs),
    // Nothing is requested without a record.
    signal: AbortSignal.any([egressLog.failed, ...(options.signal === undefined ? [] : [options.signal])]),
  };
  const work = async (): Promise<FetchReport> => {
    const { network, update = false } = options;
    const chosen = await chooseVersions(written, { lock: before, network, scope, update });
    chosen.warnings.forEach(onNote);
    return fetchChosen(chosen, { store, layout, before, repins, signers, ...scope }, options);
  };
  return withCleanUp(work, () => egressLog.close());
}

/** A fetch under way. */
interface Fetching {
  readonly store: Store;
  readonly layout: Layout;
  readonly before: LockDocument | undefined;
  readonly repins: Repins;
  readonly signers: ImageContext['signers'];
  readonly egressLog: EgressLog;
  readonly onNote: (text: string) => void;
  readonly onRetry: (error: CodedError, attempt: number, waitMs: number) => void;
  readonly signal: AbortSignal;
}

async function fetchChosen(
  { mirror, ranges }: ChosenVersions,
  { store, layout, before, repins, signers, egressLog, onNote, onRetry, signal }: Fetching,
  options: FetchOptions,
): Promise<FetchReport> {
  const { allowSecrets = false, concurrency, progress = noProgress } = options;
  const wanted = resolveMirror(mirror);
  const facts = { inside: factsOf(mirror), site: options.site };
  refuseFindings(findingsOfWanted(wanted, facts), options.strict === true);
  await pinVersions(
    store,
    ranges,
    wantedNames(wanted).map(({ name }) => name),
  );
  const transfers = new Transfers(concurrency ?? mostTransfers);
  const network = await openNetwork(options.network, {
    hosts: hostsOf(wanted).map(hostPattern),
    allowPrivate: false,
    egressLog,
    connections: concurrency === undefined ? mostConnections : concurrency + manifestsAtOnce,
    pacing: true,
    slowHosts: slowFactory,
    onRetry: (error, attempt, waitMs, host) => {
      transfers.failed(host, error);
      onRetry(error, attempt, waitMs);
    },
    onNote,
  });
  const counts = tallying(progress);
  let received = 0;
  const onReceived = (bytes: number, host = ''): void => {
    received += bytes;
    transfers.moved(host, bytes);
  };
  const view = new TransfersView(progress);
  const onEvent = (event: CopyEvent): void => {
    counts.onEvent(event);
    view.onEvent(event);
    if (event.kind === 'bytes') onReceived(event.bytes, event.from);
  };
  const journal = store.downloads;
  const stoppable = { signal };
  const builds = new Builds(progress);
  const run = new Run(signal, progress);
  const images: ImageContext = {
    network,
    layout,
    copier: new Copier({ onEvent, blobs: transfers, manifests: manifestsAtOnce, ...stoppable }),
    view,
    builds,
    companions: new Companions({ onNote, signal }),
    signers,
    requirePlatforms: options.requirePlatforms,
    ...stoppable,
  };
  const factory = new FactoryClient({
    gate: network.gate,
    host: publicFactoryHost,
    retry: {
      onRetry: (error, attempt, waitMs) => {
        transfers.failed(publicFactoryHost, error);
        onRetry(error, attempt, waitMs);
      },
    },
    ...stoppable,
  });
  const media: FactoryContext = {
    factory,
    offers: new Offers(factory),
    layout,
    journal,
    transfers,
    builds,
    lock: before,
    repins,
    by: options.by,
    allowSecrets,
    progress,
    onReceived: (bytes) => onReceived(bytes, publicFactoryHost),
    journaled: new Set(),
  };
  const work = async (): Promise<FetchReport> => {
    await fetchAll(run, wanted, images, media);
    if (run.failures.length === 0) {
      for (const name of repins.unused)
        progress.note(`--repin ${name} had no effect: mirror.yaml no longer asks for it`);
    }
    const { items, failures } = run;
    const missing = failures.map((failure) => failure.name);
    const missingPlatforms = [...items.values()].flatMap((item) =>
      item.missingPlatforms === undefined ? [] : [{ name: item.name, platforms: item.missingPlatforms }],
    );
    for (const { name, platforms } of missingPlatforms) progress.note(`${name} ${missingText(platforms)}`);
    // One alone is told by the error of the command.
    if (failures.length > 1) for (const line of failureLines(failures)) progress.note(`failed: ${line}`);
    const failure = failures.length === 0 ? undefined : failureOf(failures, items.size + failures.length);
    const record = async (): Promise<void> => {
      await store.updateLockDocument((now) => {
        // What could not be brought anew is still what it was: its pins must not get lost.
        const isKept = ({ name }: LockedItem): boolean => missing.includes(name) && !items.has(name);
        const kept = (now?.items ?? []).filter(isKept);
        return {
          ranges: ranges.map(lockedRange),
          items: [...items.values(), ...kept],
          missing,
          inside: facts.inside,
        };
      }, options.by);
      for (const url of media.journaled) if (run.isLocked(url)) await journal.forget(url);
    };
    await record().catch((error: unknown) => {
      // On a disk that has failed this fails as well; the first failure is what to tell.
      egressLog.failed.throwIfAborted();
      throw failure ?? error;
    });
    signal.throwIfAborted();
    if (failure !== undefined) throw failure;
    const found = countSigners([...items.values()].map((item) => item.verified));
    const known = new Map(before?.items.map((item) => [item.name, item.descriptor.digest]));
    return {
      ...counts.tally,
      items: items.size,
      receivedBytes: received,
      ranges,
      verified: found.reduce((sum, { images }) => sum + images, 0),
      signers: found,
      bytes: [...items.values()].reduce((sum, item) => sum + item.bytes, 0),
      missingPlatforms,
      changed: [...items.values()]
        .filter((item) => known.get(item.name) !== item.descriptor.digest)
        .map((item) => item.name),
      inside: await findingsOfLocked(layout, [...items.values()], facts),
    };
  };
  return withCleanUp(work, () => network.close());
}

async function fetchAll(
  run: Run,
  wanted: ResolvedMirror,
  images: ImageContext,
  factory: FactoryContext,
): Promise<void> {
  const begun = new Map<string, Promise<void>>();
  const keyOf = ({ reference, platforms }: WantedImage): string => `${reference} ${platforms?.join(' ')}`;
  /** Once, however often it is named; and what it names, as soon as it is here. */
  const image = (one: WantedImage): Promise<void> => {
    const key = keyOf(one);
    const running = begun.get(key) ?? bring(one);
    begun.set(key, running);
    return running;
  };
  const bring = async (one: WantedImage): Promise<void> => {
    const items = await run.task(one.reference, (sized) =>
      fetchImage(images, one, sized).finally(() => images.view.ended(one.reference)),
    );
    run.add(items);
    const [root] = items ?? [];
    if (root === undefined || one.catalog === undefined) return;
    const { registry, repository } = parseReference(one.reference);
    // Its layer may have left the store with a bundle.
    const source = localFirst(images.layout, images.network.registry(registry).repository(repository));
    run.declare(1);
    const named = await run.task(`catalog ${one.reference}`, () => readCatalog(source, root.descriptor, one));
    await Promise.all((named ?? []).map(further));
  };
  /** One that only the content of another names. */
  const further = (one: WantedImage): Promise<void> => {
    if (!begun.has(keyOf(one))) run.declare(1);
    return image(one);
  };
  run.declare(wanted.images.length + wanted.builds.reduce((sum, one) => sum + buildTasks(one), 0));
  const builds = wanted.builds.map((build) => fetchBuilds(run, build, factory, image));
  const lists = wanted.lists === undefined ? [] : listTasks(factory, wanted.lists);
  run.declare(lists.length);
  // An installer named as an image exists at the factory only once it knows the schematic.
  const isBuilt = (one: WantedImage): boolean => parseReference(one.reference).registry === publicFactoryHost;
  await Promise.all([
    ...wanted.images.filter((one) => !isBuilt(one)).map(image),
    ...lists.map(async (list) => run.add([await run.task(list.name, () => list.run())])),
    Promise.all(builds).then(() => Promise.all(wanted.images.filter(isBuilt).map(image))),
  ]);
}
