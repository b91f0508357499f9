/**
 * load: bundles, or a store, into the registry and the object store of a site, straight from where they lie. Existing
 * content is left alone; nothing is unpacked. What is wrong is refused before anything is moved. Content comes first; that
 * the bundle was accepted is recorded next; then names, those that advertise others last, lists and the receipt. What the
 * site refuses is left out, and its name with it.
 */
import { acceptedOf, type LoadRecord, type ReceiptDocument, serializeReceipt } from '@omni-airgap/format';
import { type CopyTally, noProgress } from '@omni-airgap/oci';
import { byText, messageOf } from '@omni-airgap/oci/base';
import { writeOutput } from '@omni-airgap/oci/fs';
import { isPlainHttp } from '@omni-airgap/oci/http';
import type { HandoffInput } from '@omni-airgap/talos';
import { describeSite, type WrittenHandoff, writeHandoff } from './handoff.ts';
import type { Missing, MissingItem } from './missing.ts';
import type { LoadOptions } from './options.ts';
import { openOutputs } from './outputs.ts';
import { type PlannedLoad, planLoad } from './plan.ts';
import { receiptOf, recordOf } from './receipt.ts';
import { keepLoadRecord } from './records.ts';
import { type Resigned, resign, type SignatureTag } from './resign.ts';
import { demandWarnings, readsOf, refusedReads, type TriedRead, tryReads } from './site-demands.ts';
import { MissingVolumes } from './source.ts';
import { type LoadedObject, loadObjects } from './targets/objects/load-objects.ts';
import { type OpenStore, speaksOf } from './targets/objects/object-plan.ts';
import { type Targets, withTargets } from './targets/open-targets.ts';
import { checkRegistry, copyContent, verifyRegistry } from './targets/registry/content.ts';
import type { RegistryContext } from './targets/registry/context.ts';
import {
  type LoadedImage,
  publishAdvertisers,
  publishNames,
  type TrimmedImage,
  trimmedOf,
} from './targets/registry/publish-tags.ts';
import { isCompanion } from './targets/registry/push-order.ts';
import { advertisedSets } from './targets/registry/sets.ts';
import type { OpenRegistry, TargetState } from './targets/registry/target-state.ts';

export interface LoadReport {
  readonly receipt: ReceiptDocument;
  /** What was left out, and why. With refused items the load is not complete. */
  readonly missing: readonly MissingItem[];
  /** What happened in the registry; undefined when none was named. */
  readonly registry: CopyTally | undefined;
  readonly objectsStored: number;
  readonly objectsPresent: number;
  /** Names that now stand for one platform instead of the index they stood for outside. */
  readonly flattened: readonly string[];
  /** Names that now stand for an index of the carried platforms instead of the index outside. */
  readonly trimmed: readonly TrimmedImage[];
  /** Bytes pulled back and hashed; undefined unless that was asked for. */
  readonly verifiedBytes: number | undefined;
  /** Images signed with the site's key; undefined unless that was asked for. */
  readonly resigned: Resigned | undefined;
  /** Files written for the site to go on with, and those left alone because somebody changed them. */
  readonly handoff: WrittenHandoff | undefined;
  /** What at this site would not work, and what went wrong after everything was loaded; each with what to do. */
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

async function loadInto(options: LoadOptions, targets: Targets): Promise<LoadReport> {
  const { source: bundles, signal } = options;
  const { store, records, missing } = targets;
  let { registry } = targets;
  // A mistake in the site file is found here.
  const unmet = registry === undefined ? [] : siteWarnings(options, registry);
  if (registry !== undefined) {
    const { context, names } = registry;
    registry = { context, names: await checkRegistry(context, names, missing) };
  }
  if (store !== undefined) await noteStaleUploads(store, options);
  const { tally, files } = await moveContent(options, { ...targets, registry });
  for (const document of bundles.kind === 'store' ? [] : bundles.documents) {
    const accepted = acceptedOf(document, bundles.signer);
    for (const record of records) await record.add(accepted, signal);
  }
  const { images, resigned, signatures } = await publish(options, registry, missing);
  const objects = [...files, ...(await storeDocuments(options, targets))];
  const loaded = new Set(images.map(({ name }) => name));
  const names = (registry?.names ?? []).filter(({ name }) => loaded.has(name));
  const verifiedBytes =
    options.verify === 'full' ? await verifyAll(registry?.context, names, store, objects) : undefined;
  const trimmed = registry === undefined ? [] : await trimmedOf(registry.context, names);
  const receipt = await receiptOf(
    {
      bundles,
      registry: registry?.context,
      objectStore: store?.sink.url,
      objectsReadBack: options.verify !== 'quick' || store?.sink.unproven === undefined,
      images,
      trimmed,
      objects,
      missing: missing.items,
    },
    options.tool,
    signal,
  );
  const done = registry === undefined ? undefined : { context: registry.context, names };
  const record = recordOf(receipt, bundles, registry?.context, signatures);
  const { handoff, warnings } = await writeDown(options, record, done);
  const untrimmed = names.flatMap(({ name, untrimmed }) =>
    untrimmed === undefined ? [] : [`${name} keeps the index that lacks platforms: ${untrimmed}`],
  );
  const present = objects.filter((object) => object.result === 'present').length;
  return {
    receipt,
    missing: missing.items,
    registry: tally,
    objectsStored: objects.length - present,
    objectsPresent: present,
    flattened: names.filter(({ replaces }) => replaces?.how === 'flattened').map(({ name }) => name),
    trimmed,
    verifiedBytes,
    resigned,
    handoff,
    warnings: [...unmet, ...untrimmed, ...warnings],
  };
}

/** @returns bytes that were pulled back and hashed */
async function verifyAll(
  context: RegistryContext | undefined,
  names: readonly TargetState[],
  store: OpenStore | undefined,
  objects: readonly LoadedObject[],
): Promise<number | undefined> {
  const pulled = context === undefined ? undefined : await verifyRegistry(context, names);
  // Objects were read back when they were stored or found.
  return store === undefined ? pulled : objects.reduce((sum, { size }) => sum + size, pulled ?? 0);
}

/**
 * Everything is loaded: the receipt, which is true now, comes first, and what fails besides it is a warning.
 * @throws DISK when the receipt cannot be written, after the rest was tried
 */
async function writeDown(
  options: LoadOptions,
  record: LoadRecord,
  registry: OpenRegistry | undefined,
): Promise<Pick<LoadReport, 'handoff' | 'warnings'>> {
  const { source, state, receipt: path, signal } = options;
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
  const text = serializeReceipt(record.receipt);
  let lost: unknown;
  try {
    if (path !== undefined) await writeOutput('--receipt', path, text, { signal });
  } catch (error) {
    lost = error;
  }
  await orWarning(
    () => keepLoadRecord(state, record),
    'everything is loaded; prune will ask for the receipt of this load with --receipt',
  );
  await orWarning(() => source.dropParts(), 'remove the parts in the folder of --spool');
  const reads =
    (await orWarning(
      () => readAnonymously(options, registry),
      'everything is loaded; reads without a log-in were not tried',
    )) ?? [];
  warnings.push(...(registry === undefined ? [] : refusedReads(registry.context.target.host, reads)));
  const handoff = await orWarning(
    () => handOff(options, registry, reads),
    'everything is loaded; to write the hand-off, run the same command again with --handoff DIR',
  );
  if (lost !== undefined) throw lost;
  return { handoff, warnings };
}

/** What load would do, without doing it. @throws as load does before anything is moved */
export function dryRun(options: LoadOptions): Promise<PlannedLoad> {
  return withTargets(
    options,
    (targets) => {
      if (targets.registry !== undefined) siteWarnings(options, targets.registry);
      return planLoad(options.source.document.id, targets, options.signal);
    },
    true,
  );
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
  { registry, store, missing }: Targets,
): Promise<{ readonly tally: CopyTally | undefined; readonly files: readonly LoadedObject[] }> {
  const { source, progress = noProgress, concurrency, signal } = options;
  const absent: MissingVolumes[] = [];
  const orAbsent = async <T>(work: Promise<T>): Promise<T | undefined> => {
    try {
      return await work;
    } catch (error) {
      if (!(error instanceof MissingVolumes)) throw error;
      absent.push(error);
      return undefined;
    }
  };
  const tally =
    registry === undefined
      ? undefined
      : await orAbsent(copyContent(registry.context, registry.names, missing, concurrency));
  const objects = store?.objects.filter(({ isDocument }) => !isDocument) ?? [];
  const files =
    store === undefined
      ? []
      : await orAbsent(
          loadObjects({ bundles: source, sink: store.sink, missing, progress, signal }, objects),
        );
  if (absent.length === 0) return { tally, files: files ?? [] };
  await source.keepParts(progress, signal);
  throw new MissingVolumes(absent.flatMap((error) => error.volumes));
}

/** The small lists and scripts, but for those that speak of missing files. */
async function storeDocuments(
  { source, progress = noProgress, signal }: LoadOptions,
  { store, missing }: Targets,
): Promise<readonly LoadedObject[]> {
  if (store === undefined) return [];
  const documents = store.objects.filter(({ isDocument }) => isDocument);
  const absent = store.files.filter((key) => missing.has({ name: key }));
  for (const document of documents) {
    const file = absent.find((key) => speaksOf(document, key));
    if (file !== undefined) missing.hold(document.key, `it lists ${file}, which is missing`);
  }
  const left = documents.filter(({ key }) => !missing.has({ name: key }));
  return loadObjects({ bundles: source, sink: store.sink, missing, progress, signal }, left);
}

/** Names: what speaks about images first, the site's own signatures among it; what advertises others last. */
async function publish(
  { source, overwriteTags = false, keepHost = false, resignKey }: LoadOptions,
  registry: OpenRegistry | undefined,
  missing: Missing,
): Promise<{
  readonly images: readonly LoadedImage[];
  readonly resigned: Resigned | undefined;
  readonly signatures: readonly SignatureTag[];
}> {
  if (registry === undefined) return { images: [], resigned: undefined, signatures: [] };
  const { context, names } = registry;
  const advertising = new Set(advertisedSets(names.map(({ name }) => name)).map(({ name }) => name));
  const companions = await publishNames(context, names.filter(isCompanion), missing, overwriteTags);
  const verified = source.document.roots.filter((root) => root.verified !== undefined);
  const signed =
    resignKey === undefined
      ? undefined
      : await resign(
          context,
          names.filter((name) => !missing.has(name)),
          resignKey,
          new Set(verified.map(({ name }) => name)),
        );
  const others = await publishNames(
    context,
    names.filter((name) => !isCompanion(name) && !advertising.has(name.name)),
    missing,
    overwriteTags,
  );
  const last = await publishAdvertisers(context, names, [...companions, ...others], missing, {
    overwriteTags,
    keepHost,
  });
  const images = [...companions, ...others, ...last].sort((a, b) => byText(a.name, b.name));
  return { images, resigned: signed?.resigned, signatures: signed?.tags ?? [] };
}

/** What Image Factory and machines read without a log-in. */
async function readAnonymously(
  options: LoadOptions,
  registry: OpenRegistry | undefined,
): Promise<readonly TriedRead[]> {
  if (registry === undefined) return [];
  const { names, context } = registry;
  const { factoryVersion } = handoffInput(options, registry);
  const reads = readsOf(names, context.target, factoryVersion !== undefined).filter(
    ({ what }) => what !== 'image' || options.handoff !== undefined,
  );
  return tryReads(options.network, context.target.host, reads, options.signal);
}

async function handOff(
  options: LoadOptions,
  registry: OpenRegistry | undefined,
  reads: readonly TriedRead[],
): Promise<WrittenHandoff | undefined> {
  if (options.handoff === undefined || registry === undefined) return undefined;
  const input = handoffInput(options, registry);
  const answered = (asked: TriedRead['what']): TriedRead['answer'] | undefined =>
    reads.find(({ what }) => what === asked)?.answer;
  const [image, built] = [answered('image'), answered('built')];
  return writeHandoff(options.handoff, {
    ...input,
    registry: {
      ...input.registry,
      needsLogIn: image === 'unknown' ? undefined : image === 'refused',
      opensInstallers: built === 'unknown' ? undefined : built === 'open',
    },
  });
}

/** @throws CONFIG for a registry in the site file that contradicts this load, or that Omni cannot use */
function siteWarnings(options: LoadOptions, registry: OpenRegistry): readonly string[] {
  const input = handoffInput(options, registry);
  return demandWarnings(options.site ?? {}, input.registry, input.factoryVersion !== undefined);
}

/** @throws CONFIG where the site file contradicts this load, with line and column */
function handoffInput(options: LoadOptions, { names, context }: OpenRegistry): HandoffInput {
  const { site = {}, objectStore, ca, resignKey, keepHost = false } = options;
  const { target } = context;
  return describeSite({
    folder: options.handoff ?? '.',
    names: names.map(({ name, descriptor }) => ({ name, digest: descriptor.digest })),
    trimmed: names.flatMap(({ replaces, repository, tag }) =>
      replaces?.how === 'trimmed' ? [`${target.host}/${repository}:${tag}`] : [],
    ),
    withdraws: context.bundles.document.withdraws ?? [],
    site,
    target,
    plainHttp: isPlainHttp(options.network.plainHttp, target.host),
    keepHost,
    objectStore,
    ca,
    resignKey,
  });
}
