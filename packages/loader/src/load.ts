/**
 * load: bundles into the registry and the object store of a site, straight from the volumes. What is there is left
 * alone; nothing is unpacked. Content comes first; that the bundle was accepted is recorded next; names, lists and
 * the receipt come when all content is in place.
 */

import { type ReceiptDocument, serializeReceipt } from '@omni-airgap/format';
import type { ObjectSink } from '@omni-airgap/objects';
import type { CopyTally, Progress } from '@omni-airgap/oci';
import { byText } from '@omni-airgap/oci/base';
import { writeFileAtomic } from '@omni-airgap/oci/fs';
import type { HandoffInput } from '@omni-airgap/talos';
import { describeSite, type WrittenHandoff, writeHandoff } from './handoff.ts';
import { type LoadedObject, loadObjects } from './load-objects.ts';
import type { LoadOptions } from './load-options.ts';
import { type Loading, withLoading } from './loading.ts';
import { type PlannedLoad, planLoad } from './plan.ts';
import { receiptOf } from './receipt.ts';
import type { RegistryContext } from './registry/context.ts';
import { checkRegistry, copyContent, type LoadedImage, publishNames } from './registry/load-registry.ts';
import { verifyRegistry } from './registry/verify-registry.ts';
import { isCompanion } from './registry/waves.ts';
import { type Resigned, resign } from './signing/resign.ts';
import { MissingVolumes } from './source.ts';
import { Spool } from './spool.ts';
import { acceptedOf } from './state.ts';

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
    await sink?.requireRoom?.(objects.map(({ key, descriptor }) => ({ key, size: descriptor.size })));
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
    const receipt = await receiptOf(loading, images, stored);
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
async function publish({ bundles, options, registry, names }: Loading): Promise<{
  readonly images: readonly LoadedImage[];
  readonly resigned: Resigned | undefined;
}> {
  if (registry === undefined) return { images: [], resigned: undefined };
  const overwrite = options.overwriteTags === true;
  const companions = await publishNames(registry, names.filter(isCompanion), overwrite);
  const key = options.resignKey;
  const verified = bundles.document.roots.filter((root) => root.verified !== undefined);
  const resigned =
    key === undefined
      ? undefined
      : await resign(registry, names, key, new Set(verified.map(({ name }) => name)));
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
