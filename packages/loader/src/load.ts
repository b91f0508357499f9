/**
 * load: bundles into the registry and the object store of a site, straight from the volumes. What is there is left
 * alone; nothing is unpacked. What is wrong is refused before anything is moved. Content comes first; that the bundle
 * was accepted is recorded next; names, lists and the receipt come when all content is in place.
 */
import type { KeyObject } from 'node:crypto';
import {
  acceptedOf,
  checkBundleAge,
  checkEquivocation,
  checkOrigin,
  checkRollback,
  type ReceiptDocument,
  serializeReceipt,
} from '@omni-airgap/format';
import {
  hostsOf,
  type ObjectSink,
  type ObjectStoreTarget,
  openSink,
  type ReadBackMode,
} from '@omni-airgap/objects';
import { type CopyTally, noProgress, type Progress } from '@omni-airgap/oci';
import { byText, CodedError, messageOf } from '@omni-airgap/oci/base';
import { writeOutput } from '@omni-airgap/oci/fs';
import { type Network, type NetworkSettings, openNetwork } from '@omni-airgap/oci/registry';
import type { HandoffInput, Site } from '@omni-airgap/talos';
import { describeSite, type WrittenHandoff, writeHandoff } from './handoff.ts';
import { requireBelievable } from './judge.ts';
import { openOutputs } from './outputs.ts';
import { type PlannedLoad, planLoad } from './plan.ts';
import { receiptOf } from './receipt.ts';
import { type Resigned, resign } from './resign.ts';
import { type LoadSource, MissingVolumes } from './source.ts';
import { folderState, registryState, type StateRecord } from './state.ts';
import { checkRelied, findRelied } from './targets/from-base.ts';
import { belowPrefix, type RegistryTarget, targetText } from './targets/names.ts';
import { type LoadedObject, loadObjects } from './targets/objects/load-objects.ts';
import { type OpenStore, planObjects } from './targets/objects/object-plan.ts';
import { noteReadBacks, preflightStore } from './targets/objects/preflight.ts';
import { checkRegistry, copyContent, verifyRegistry } from './targets/registry/content.ts';
import { type RegistryContext, registryContext } from './targets/registry/context.ts';
import { type LoadedImage, publishNames } from './targets/registry/publish-tags.ts';
import { isCompanion } from './targets/registry/push-order.ts';
import { type OpenRegistry, readTargetStates } from './targets/registry/target-state.ts';

export interface LoadOptions {
  readonly source: LoadSource;
  readonly registry?: RegistryTarget | undefined;
  readonly objectStore?: ObjectStoreTarget | undefined;
  readonly keepHost?: boolean;
  readonly overwriteTags?: boolean;
  /** Where an index carries one platform only, tag that platform's image. */
  readonly flatten?: boolean;
  /** Take a bundle that is older than one that was accepted here. */
  readonly allowRollback?: boolean;
  /** ID of the store of this bundle, 32 hex: taken though only other stores are known here. */
  readonly newOrigin?: string | undefined;
  /** The oldest bundle that is taken; no limit by default. */
  readonly maxAgeDays?: number | undefined;
  /**
   * `full`: pull everything back and hash it. `quick`: nothing; existing objects are taken for what their metadata
   * says. Default: objects that no read-back is on record for.
   */
  readonly verify?: 'full' | 'quick' | undefined;
  /** Folder for what this host remembers: accepted bundles, unfinished uploads, objects that were read back. */
  readonly state: string;
  /** Signs what an Image Factory checks; a P-256 private key. */
  readonly resignKey?: KeyObject;
  /** What only the site knows; its PXE URL makes boot scripts. */
  readonly site?: Site;
  /** PEM of the site's authority. */
  readonly ca?: string;
  /** Folder for configuration to go on with; none is written without it. */
  readonly handoff?: string;
  /** Path to write the receipt to. */
  readonly receipt?: string | undefined;
  readonly network: NetworkSettings;
  /** Blobs on their way at once; default 8. */
  readonly concurrency?: number | undefined;
  /** Name and version of this program, for the record. */
  readonly tool: string;
  readonly progress?: Progress;
  readonly signal?: AbortSignal | undefined;
}

export interface LoadReport {
  readonly receipt: ReceiptDocument;
  /** What happened in the registry; undefined when none was named. */
  readonly registry: CopyTally | undefined;
  readonly objectsStored: number;
  readonly objectsPresent: number;
  /** Names that now stand for one platform instead of the index they stood for outside. */
  readonly flattened: readonly string[];
  /** Bytes pulled back and hashed; undefined unless that was asked for. */
  readonly verifiedBytes: number | undefined;
  /** Images signed with the site's key; undefined unless that was asked for. */
  readonly resigned: Resigned | undefined;
  /** Files written for the site to go on with, and those left alone because somebody changed them. */
  readonly handoff: WrittenHandoff | undefined;
  /** What went wrong after everything was loaded, and what to do about it. */
  readonly warnings: readonly string[];
}

/**
 * @throws NO_INPUT, UNSIGNED, BAD_SIGNATURE, BAD_DOCUMENT, BAD_VOLUME, EXPIRED, ROLLBACK, CONFLICT, MISSING_CONTENT and what
 * the targets refuse, before anything is moved; INCOMPLETE naming volumes that must be mounted next; others
 */
export async function load(options: LoadOptions): Promise<LoadReport> {
  const { source, state, receipt, registry, signal } = options;
  const handoff = registry === undefined ? undefined : options.handoff;
  const close = await openOutputs({ source, state, receipt, handoff, signal });
  try {
    return await withTargets(options, (targets) => loadInto(options, targets));
  } finally {
    await close();
  }
}

async function loadInto(options: LoadOptions, { registry, store, records }: Targets): Promise<LoadReport> {
  const { source: bundles, signal } = options;
  // A mistake in the site file is found here.
  if (registry !== undefined) handoffInput(options, registry);
  if (registry !== undefined) await checkRegistry(registry.context, registry.names);
  if (store !== undefined) await noteStaleUploads(store, options);
  const { tally, files } = await moveContent(options, bundles, registry, store);
  for (const document of bundles.documents) {
    const accepted = acceptedOf(document, bundles.signer);
    for (const record of records) await record.add(accepted, signal);
  }
  const { images, resigned } = await publish(options, bundles, registry);
  const documents = await storeObjects(options, bundles, store, 'documents');
  let verifiedBytes: number | undefined;
  if (options.verify === 'full' && registry !== undefined) {
    verifiedBytes = await verifyRegistry(registry.context, registry.names);
  }
  const objects = [...files, ...documents];
  if (options.verify === 'full' && store !== undefined) {
    verifiedBytes = objects.reduce((sum, { size }) => sum + size, verifiedBytes ?? 0);
  }
  const placed = {
    bundles,
    registry: registry?.context,
    objectStore: store?.sink.url,
    objectsReadBack: options.verify !== 'quick' || store?.sink.unproven === undefined,
    images,
    objects,
  };
  const receipt = await receiptOf(placed, options.tool, signal);
  const { handoff, warnings } = await writeDown(options, receipt, registry);
  const present = objects.filter((object) => object.result === 'present').length;
  return {
    receipt,
    registry: tally,
    objectsStored: objects.length - present,
    objectsPresent: present,
    flattened: (registry?.names ?? []).filter(({ flattened }) => flattened).map(({ name }) => name),
    verifiedBytes,
    resigned,
    handoff,
    warnings,
  };
}

/**
 * Everything is loaded: the receipt, which is true now, comes first, and what fails besides it is a warning.
 * @throws DISK when the receipt cannot be written, after the rest was tried
 */
async function writeDown(
  options: LoadOptions,
  receipt: ReceiptDocument,
  registry: OpenRegistry | undefined,
): Promise<Pick<LoadReport, 'handoff' | 'warnings'>> {
  const { source, receipt: path, signal } = options;
  const warnings: string[] = [];
  const orWarning = async <T>(work: () => Promise<T>, advice: string): Promise<T | undefined> => {
    try {
      return await work();
    } catch (error) {
      if (signal?.aborted === true) throw error;
      warnings.push(`${messageOf(error)}; ${advice}`);
      return undefined;
    }
  };
  const text = serializeReceipt(receipt);
  let lost: unknown;
  try {
    if (path !== undefined) await writeOutput('--receipt', path, text, { signal });
  } catch (error) {
    lost = error;
  }
  await orWarning(() => source.dropParts(), 'remove the parts in the folder of --spool');
  const handoff = await orWarning(
    () => handOff(options, registry),
    'everything is loaded; to write the hand-off, run the same command again with --handoff DIR',
  );
  if (lost !== undefined) throw lost;
  return { handoff, warnings };
}

/** What load would do, without doing it. @throws as load does before anything is moved */
export function dryRun(options: LoadOptions): Promise<PlannedLoad> {
  return withTargets(
    options,
    ({ registry, store }) => planLoad(options.source.document.id, registry, store, options.signal),
    true,
  );
}

/** Where a load goes, looked through. */
interface Targets {
  readonly registry: OpenRegistry | undefined;
  readonly store: OpenStore | undefined;
  /** Where accepted bundles are recorded. */
  readonly records: readonly StateRecord[];
}

/**
 * Opens bundles and targets, refuses what is wrong with them, and closes everything at the end.
 * @param isDry reads no object back
 */
async function withTargets<T>(
  options: LoadOptions,
  run: (targets: Targets) => Promise<T>,
  isDry = false,
): Promise<T> {
  const { source: bundles, registry: target, objectStore, progress = noProgress, signal } = options;
  const old = checkBundleAge(bundles.document, options.maxAgeDays);
  if (old !== undefined) progress.note(old);
  requireOrigin(options);
  await requireBelievable(bundles, bundles.documents);
  const targets = [...(target === undefined ? [] : [target.host]), ...hostsOf(objectStore)];
  const network = await openNetwork(options.network, {
    hosts: targets,
    identifyTo: targets,
    allowPrivate: true,
    onNote: (text) => progress.note(text),
  });
  let sink: ObjectSink | undefined;
  try {
    const context = target === undefined ? undefined : openRegistry(options, bundles, target, network);
    await context?.client.ping(belowPrefix(context.target.prefix, stateRepository), signal);
    sink =
      objectStore === undefined
        ? undefined
        : await openSink(objectStore, network, options.state, {
            readBack: readBackModes[options.verify ?? 'default'],
            note: (text) => progress.note(text),
          });
    const records = recordsOf(options, context, sink);
    await checkAccepted(options, bundles, records);
    const registry = context === undefined ? undefined : await lookThrough(options, context);
    const planned =
      sink === undefined
        ? []
        : await planObjects(context?.source ?? bundles, bundles.document.roots, options.site?.pxe);
    let store: OpenStore | undefined;
    if (sink !== undefined) {
      const context = { source: bundles, sink, planned, progress, signal };
      if (!isDry) await preflightStore(context);
      await noteReadBacks(context, options.verify);
      store = { sink, objects: await findRelied(bundles, sink, planned, isDry, signal) };
    }
    return await run({ registry, store, records });
  } finally {
    await sink?.close();
    await network.close();
  }
}

/** The first repository that a load asks for. */
const stateRepository = 'omni-airgap/state';

const readBackModes: Readonly<Record<'full' | 'quick' | 'default', ReadBackMode>> = {
  full: 'always',
  default: 'once',
  quick: 'never',
};

function openRegistry(
  options: LoadOptions,
  bundles: LoadSource,
  target: RegistryTarget,
  network: Network,
): RegistryContext {
  const { keepHost = false, progress = noProgress, signal } = options;
  const client = network.registry(target.host);
  return registryContext({ bundles, client, target, keepHost, progress, signal });
}

/** @throws CONFLICT, MISSING_CONTENT */
async function lookThrough(options: LoadOptions, context: RegistryContext): Promise<OpenRegistry> {
  const { keepHost = false, overwriteTags = false, flatten = false } = options;
  const names = await readTargetStates(context, { keepHost, overwriteTags, flatten });
  await checkRelied(context, names);
  return { context, names };
}

/** Where accepted bundles are recorded: with the target, and on this host. */
function recordsOf(
  { state, progress = noProgress }: LoadOptions,
  registry: RegistryContext | undefined,
  sink: ObjectSink | undefined,
): readonly StateRecord[] {
  const records: StateRecord[] = [];
  if (registry !== undefined) {
    const { prefix } = registry.target;
    records.push(folderState(state, targetText(registry.target)));
    const repository = registry.repository(belowPrefix(prefix, stateRepository));
    records.push(registryState(repository, (text) => progress.note(text)));
  }
  if (sink !== undefined) records.push(folderState(state, sink.url));
  return records;
}

/** Whoever names a store means the one of this bundle. @throws USAGE */
function requireOrigin({ source, newOrigin }: LoadOptions): void {
  const { id, origin } = source.document;
  if (newOrigin === undefined || newOrigin === origin) return;
  throw new CodedError(
    'USAGE',
    `--new-origin ${newOrigin}: bundle ${id.slice(0, 12)} comes from store ${origin}; nothing was changed`,
  );
}

/** @throws ROLLBACK */
async function checkAccepted(
  { allowRollback = false, newOrigin, progress = noProgress, signal }: LoadOptions,
  bundles: LoadSource,
  records: readonly StateRecord[],
): Promise<void> {
  const accepted = (await Promise.all(records.map((record) => record.list(signal)))).flat();
  const given = bundles.documents.map((document) => acceptedOf(document, bundles.signer));
  for (const one of given) checkEquivocation(one, [...accepted, ...given]);
  const newest = acceptedOf(bundles.document, bundles.signer);
  const said = [checkOrigin(newest, accepted, newOrigin), checkRollback(newest, accepted, allowRollback)];
  for (const text of said) if (text !== undefined) progress.note(text);
}

/** Uploads that take space and that nobody sees. */
async function noteStaleUploads(
  { sink }: OpenStore,
  { progress = noProgress, signal }: LoadOptions,
): Promise<void> {
  const stale = await sink.staleUploads(signal);
  const [first] = stale;
  if (first === undefined) return;
  progress.note(
    `${sink.url}: ${stale.length} unfinished upload(s) take space there, the first for ${first.key} since ${first.startedAt}; a load that was stopped resumes its own`,
  );
}

/** All content but the small lists. Parts of blobs that are cut are kept when the other part is not mounted. */
async function moveContent(
  options: LoadOptions,
  bundles: LoadSource,
  registry: OpenRegistry | undefined,
  store: OpenStore | undefined,
): Promise<{ readonly tally: CopyTally | undefined; readonly files: readonly LoadedObject[] }> {
  const missing: MissingVolumes[] = [];
  const orMissing = async <T>(work: Promise<T>): Promise<T | undefined> => {
    try {
      return await work;
    } catch (error) {
      if (!(error instanceof MissingVolumes)) throw error;
      missing.push(error);
      return undefined;
    }
  };
  const tally =
    registry === undefined
      ? undefined
      : await orMissing(copyContent(registry.context, registry.names, options.concurrency));
  const files = await orMissing(storeObjects(options, bundles, store, 'files'));
  if (missing.length === 0) return { tally, files: files ?? [] };
  await bundles.keepParts(options.progress ?? noProgress, options.signal);
  throw new MissingVolumes(missing.flatMap((error) => error.volumes));
}

/** @param what the files, or the small lists that speak of them */
async function storeObjects(
  { progress = noProgress, signal }: LoadOptions,
  bundles: LoadSource,
  store: OpenStore | undefined,
  what: 'files' | 'documents',
): Promise<readonly LoadedObject[]> {
  if (store === undefined) return [];
  const objects = store.objects.filter(({ isDocument }) => isDocument === (what === 'documents'));
  return loadObjects({ bundles, sink: store.sink, progress, signal }, objects);
}

/** Names: what speaks about images first, the site's own signatures among it. */
async function publish(
  { overwriteTags = false, resignKey }: LoadOptions,
  bundles: LoadSource,
  registry: OpenRegistry | undefined,
): Promise<{ readonly images: readonly LoadedImage[]; readonly resigned: Resigned | undefined }> {
  if (registry === undefined) return { images: [], resigned: undefined };
  const { context, names } = registry;
  const companions = await publishNames(context, names.filter(isCompanion), overwriteTags);
  const verified = bundles.document.roots.filter((root) => root.verified !== undefined);
  const resigned =
    resignKey === undefined
      ? undefined
      : await resign(context, names, resignKey, new Set(verified.map(({ name }) => name)));
  const others = await publishNames(
    context,
    names.filter((name) => !isCompanion(name)),
    overwriteTags,
  );
  const images = [...companions, ...others].sort((a, b) => byText(a.name, b.name));
  return { images, resigned };
}

async function handOff(
  options: LoadOptions,
  registry: OpenRegistry | undefined,
): Promise<WrittenHandoff | undefined> {
  if (options.handoff === undefined || registry === undefined) return undefined;
  return writeHandoff(options.handoff, handoffInput(options, registry));
}

/** @throws CONFIG where the site file contradicts this load, with line and column */
function handoffInput(options: LoadOptions, { names, context }: OpenRegistry): HandoffInput {
  const { site = {}, objectStore, ca, resignKey, keepHost = false } = options;
  const { target } = context;
  return describeSite({
    folder: options.handoff ?? '.',
    names: names.map(({ name }) => name),
    site,
    target,
    plainHttp: options.network.plainHttp.includes(target.host),
    keepHost,
    objectStore,
    ca,
    resignKey,
  });
}
