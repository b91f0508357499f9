/**
 * load: bundles into the registry and the object store of a site, straight from the volumes. What is there is left
 * alone; nothing is unpacked. Content comes first; that the bundle was accepted is recorded next; names, lists and
 * the receipt come when all content is in place.
 */
import type { KeyObject } from 'node:crypto';
import { join } from 'node:path';
import {
  type BundleTrust,
  byText,
  type CopyTally,
  checkBundleAge,
  type Network,
  type NetworkSettings,
  noProgress,
  openNetwork,
  type Progress,
  type ReceiptDocument,
  serializeReceipt,
  writeFileAtomic,
} from '@omni-airgap/content';
import type { HandoffInput, Site } from '@omni-airgap/talos';
import { describeSite, type WrittenHandoff, writeHandoff } from './handoff.ts';
import { type LoadedObject, loadObjects } from './load-objects.ts';
import { type PlannedObject, planObjects } from './objects/object-plan.ts';
import type { ObjectSink } from './objects/object-sink.ts';
import { type ObjectStoreTarget, openSink } from './objects/open-sink.ts';
import { type PlannedLoad, planLoad } from './plan.ts';
import { type RegistryContext, registryContext } from './registry/context.ts';
import { checkRegistry, copyContent, type LoadedImage, publishNames } from './registry/load-registry.ts';
import { belowPrefix } from './registry/preflight.ts';
import { checkRelied } from './registry/relied.ts';
import { type Surveyed, surveyRegistry } from './registry/survey.ts';
import { verifyRegistry } from './registry/verify-registry.ts';
import { isCompanion } from './registry/waves.ts';
import { type Resigned, resign } from './signing/resign.ts';
import { LoadSource, MissingVolumes } from './source.ts';
import { Spool } from './spool.ts';
import { acceptedOf, checkRollback, folderState, registryState, type StateRecord } from './state.ts';
import { type RegistryTarget, targetText } from './target-names.ts';

export interface LoadOptions {
  /** Folders where the media are mounted: of one bundle, or of a base and its increments. */
  readonly bundles: readonly string[];
  readonly trust: BundleTrust;
  readonly registry?: RegistryTarget;
  readonly objectStore?: ObjectStoreTarget;
  readonly keepHost?: boolean;
  readonly overwriteTags?: boolean;
  /** Where an index carries one platform only, tag that platform's image. */
  readonly flatten?: boolean;
  /** Take a bundle that is older than one that was accepted here. */
  readonly allowRollback?: boolean;
  /** The oldest bundle that is taken; no limit by default. */
  readonly maxAgeDays?: number;
  /** `full`: pull everything back and hash it. `quick`: not even objects are. Default: objects are. */
  readonly verify?: 'full' | 'quick';
  /** Folder for what this host remembers: accepted bundles, unfinished uploads. */
  readonly state: string;
  /** Folder for parts of blobs that are cut over volumes which are not mounted together. */
  readonly spool?: string;
  /** Signs what an Image Factory checks; a P-256 private key. */
  readonly resignKey?: KeyObject;
  /** What only the site knows; its PXE URL makes boot scripts. */
  readonly site?: Site;
  /** PEM of the site's authority. */
  readonly ca?: string;
  /** Folder for configuration to go on with; none is written without it. */
  readonly handoff?: string;
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
  /** Names that now stand for one platform instead of the index they stood for outside. */
  readonly flattened: readonly string[];
  /** Bytes pulled back and hashed; undefined unless that was asked for. */
  readonly verifiedBytes: number | undefined;
  /** Images signed with the site's key; undefined unless that was asked for. */
  readonly resigned: Resigned | undefined;
  /** Files written for the site to go on with, and those left alone because somebody changed them. */
  readonly handoff: WrittenHandoff | undefined;
}

/** What all steps of a load share. */
interface Loading {
  readonly options: LoadOptions;
  readonly bundles: LoadSource;
  readonly registry: RegistryContext | undefined;
  readonly names: readonly Surveyed[];
  readonly sink: ObjectSink | undefined;
  readonly objects: readonly PlannedObject[];
  readonly records: readonly StateRecord[];
  readonly progress: Progress;
}

/**
 * @throws NO_INPUT, UNSIGNED, BAD_SIGNATURE, BAD_DOCUMENT, BAD_VOLUME, EXPIRED, ROLLBACK, CONFLICT, MISSING_CONTENT and what
 * the targets refuse, before anything is moved; INCOMPLETE naming volumes that must be mounted next; others
 */
export function load(options: LoadOptions): Promise<LoadReport> {
  return withLoading(options, async (loading) => {
    const { bundles, registry, names, sink, objects, records, progress } = loading;
    const { signal } = options;
    if (registry !== undefined) await checkRegistry(registry, names);
    if (sink !== undefined) await noteStaleUploads(sink, progress, signal);
    const { tally, files } = await moveContent(loading);
    for (const { document } of bundles.bundles) {
      const accepted = acceptedOf(document, bundles.signer);
      for (const record of records) await record.add(accepted, signal);
    }
    const { images, resigned } = await publish(loading);
    const documents =
      sink === undefined
        ? []
        : await loadObjects(
            objectLoad(loading, sink),
            objects.filter(({ isDocument }) => isDocument),
          );
    let verifiedBytes: number | undefined;
    if (options.verify === 'full' && registry !== undefined) {
      verifiedBytes = await verifyRegistry(registry, names);
    }
    if (options.spool !== undefined) {
      for (const bundle of bundles.bundles) await new Spool(options.spool).clear(bundle);
    }
    const stored = [...files, ...documents];
    const handoff =
      options.handoff === undefined || registry === undefined
        ? undefined
        : await writeHandoff(options.handoff, handoffInput(loading, registry));
    const receipt = receiptOf(loading, images, stored);
    if (options.receipt !== undefined) await writeFileAtomic(options.receipt, serializeReceipt(receipt));
    const present = stored.filter((object) => object.result === 'present').length;
    return {
      receipt,
      registry: tally,
      objectsStored: stored.length - present,
      objectsPresent: present,
      flattened: names.filter(({ flattened }) => flattened).map(({ name }) => name),
      verifiedBytes,
      resigned,
      handoff,
    };
  });
}

/** Names: what speaks about images first, the site's own signatures among it. */
async function publish({ options, registry, names }: Loading): Promise<{
  readonly images: readonly LoadedImage[];
  readonly resigned: Resigned | undefined;
}> {
  if (registry === undefined) return { images: [], resigned: undefined };
  const overwrite = options.overwriteTags === true;
  const companions = await publishNames(registry, names.filter(isCompanion), overwrite);
  const key = options.resignKey;
  const resigned = key === undefined ? undefined : await resign(registry, names, key);
  const others = await publishNames(
    registry,
    names.filter((name) => !isCompanion(name)),
    overwrite,
  );
  const images = [...companions, ...others].sort((a, b) => byText(a.name, b.name));
  return { images, resigned };
}

/** What load would do, without doing it. @throws as load does before anything is moved */
export function dryRun(options: LoadOptions): Promise<PlannedLoad> {
  return withLoading(options, ({ bundles, registry, names, sink, objects }) =>
    planLoad({ bundles, registry, names, sink, objects }, options.signal),
  );
}

/** Opens bundles and targets, looks what is there, and closes everything at the end. */
async function withLoading<T>(options: LoadOptions, run: (loading: Loading) => Promise<T>): Promise<T> {
  const { registry: target, objectStore, progress = noProgress, signal } = options;
  const spool = options.spool === undefined ? undefined : new Spool(options.spool);
  const bundles = await LoadSource.open(options.bundles, options.trust, spool);
  const old = checkBundleAge(bundles.document, options.maxAgeDays);
  if (old !== undefined) progress.note(old);
  const network = await openNetwork(options.network, {
    hosts: [
      ...(target === undefined ? [] : [target.host]),
      ...(objectStore?.kind === 's3' ? [objectStore.settings.endpoint.host] : []),
    ],
    allowPrivate: true,
  });
  let sink: ObjectSink | undefined;
  try {
    const registry = target === undefined ? undefined : openRegistry(options, bundles, target, network);
    await registry?.client.ping(signal);
    sink =
      objectStore === undefined
        ? undefined
        : await openSink(objectStore, network, join(options.state, 'uploads'), {
            readBack: options.verify !== 'quick',
          });
    const records = recordsOf(options, registry, sink);
    if (options.allowRollback !== true) {
      const accepted = await Promise.all(records.map((record) => record.list(signal)));
      checkRollback(acceptedOf(bundles.document, bundles.signer), accepted.flat());
    }
    const names =
      registry === undefined
        ? []
        : await surveyRegistry(registry, {
            keepHost: options.keepHost === true,
            overwriteTags: options.overwriteTags === true,
            flatten: options.flatten === true,
          });
    if (registry !== undefined) await checkRelied(registry);
    const objects =
      sink === undefined
        ? []
        : await planObjects(registry?.source ?? bundles, bundles.document.roots, options.site?.pxe);
    return await run({ options, bundles, registry, names, sink, objects, records, progress });
  } finally {
    await sink?.close();
    await network.close();
  }
}

function openRegistry(
  options: LoadOptions,
  bundles: LoadSource,
  target: RegistryTarget,
  network: Network,
): RegistryContext {
  const { progress = noProgress, signal } = options;
  return registryContext({
    bundles,
    client: network.registry(target.host),
    target,
    keepHost: options.keepHost === true,
    progress,
    ...(signal === undefined ? {} : { signal }),
  });
}

/** Where accepted bundles are recorded: with the target, and on this host. */
function recordsOf(
  options: LoadOptions,
  registry: RegistryContext | undefined,
  sink: ObjectSink | undefined,
): readonly StateRecord[] {
  const { progress = noProgress } = options;
  const records: StateRecord[] = [];
  if (registry !== undefined) {
    const { prefix } = registry.target;
    records.push(folderState(options.state, targetText(registry.target)));
    const repository = registry.repository(belowPrefix(prefix, 'omni-airgap/state'));
    records.push(registryState(repository, (text) => progress.note(text)));
  }
  if (sink !== undefined) records.push(folderState(options.state, sink.url));
  return records;
}

/** All content but the small lists. Parts of blobs that are cut are kept when the other part is not mounted. */
async function moveContent(
  loading: Loading,
): Promise<{ readonly tally: CopyTally | undefined; readonly files: readonly LoadedObject[] }> {
  const { options, bundles, registry, names, sink, objects, progress } = loading;
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
    registry === undefined ? undefined : await orMissing(copyContent(registry, names, options.concurrency));
  const plain = objects.filter(({ isDocument }) => !isDocument);
  const files = sink === undefined ? [] : await orMissing(loadObjects(objectLoad(loading, sink), plain));
  if (missing.length === 0) return { tally, files: files ?? [] };
  if (options.spool !== undefined) {
    const spool = new Spool(options.spool);
    for (const bundle of bundles.bundles) await spool.fill(bundle, progress, options.signal);
  }
  throw new MissingVolumes(missing.flatMap((error) => error.volumes));
}

function objectLoad(
  { bundles, progress, options }: Loading,
  sink: ObjectSink,
): Parameters<typeof loadObjects>[0] {
  const { signal } = options;
  return { bundles, sink, progress, ...(signal === undefined ? {} : { signal }) };
}

async function noteStaleUploads(sink: ObjectSink, progress: Progress, signal?: AbortSignal): Promise<void> {
  const stale = await sink.staleUploads(signal);
  if (stale.length === 0) return;
  const [first] = stale;
  progress.note(
    `${sink.url}: ${stale.length} unfinished upload(s) take space there, the first for ${first?.key} since ${first?.startedAt}; a load that was stopped goes on with its own`,
  );
}

function handoffInput({ options, names }: Loading, { target }: RegistryContext): HandoffInput {
  const { site = {}, objectStore, ca, resignKey, keepHost = false } = options;
  return describeSite({
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

function receiptOf(
  { options, bundles, sink }: Loading,
  images: readonly LoadedImage[],
  objects: readonly LoadedObject[],
): ReceiptDocument {
  const { id, origin, sequence, roots } = bundles.document;
  const { registry } = options;
  const outside = new Map(roots.map((root) => [root.name, root]));
  return {
    bundle: id,
    kind: 'omni-airgap/receipt',
    schema: 1,
    origin,
    sequence,
    loadedAt: new Date().toISOString(),
    tool: options.tool,
    trust: bundles.signer,
    ...(registry === undefined ? {} : { registry: targetText(registry) }),
    ...(sink === undefined ? {} : { objectStore: sink.url }),
    images: images.map((image) => {
      const { signature, verified } = outside.get(image.name) ?? {};
      return {
        ...image,
        ...(signature === undefined ? {} : { signature }),
        ...(verified === undefined ? {} : { verified }),
      };
    }),
    objects: objects.map(({ key, digest, size }) => ({ key, digest, size })),
  };
}
