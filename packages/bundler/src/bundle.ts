/**
 * bundle: what a store is locked to, or what of it is not inside yet, laid out in volumes, described and signed in
 * the store, and written to a medium. Any step can be interrupted: the same command resumes after the last whole volume.
 */

import { realpath } from 'node:fs/promises';
import { isAbsolute, relative, resolve, sep } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import {
  type BundleDocument,
  fingerprintOf,
  mapOf,
  planHashOf,
  volumeName,
  type WrittenVolume,
} from '@omni-airgap/format';
import { noProgress, type Progress } from '@omni-airgap/oci';
import { CodedError } from '@omni-airgap/oci/base';
import { type IssuedBundle, Store } from '@omni-airgap/store';
import type { InsideFinding } from '@omni-airgap/talos';
import { Consumer, consumingInto } from './consumed.ts';
import { requireContent } from './locked-content.ts';
import { Medium } from './medium.ts';
import { type BundlePlan, type NewBundle, planIssued, planNew } from './plan.ts';
import { programBytes } from './program.ts';
import { type DroppedNames, droppedText } from './report/versions.ts';
import { parseVolumeRange } from './volume-flags.ts';
import { BadStore, hashVolumes, type VolumeRun, writeMedium } from './volume-writer.ts';

export interface BundleOptions extends NewBundle {
  /** Folder that becomes the bundle; made when it is not there. */
  readonly out: string;
  /** Id (8 characters at least) of a bundle that was issued before: its volumes are written, not those of a new one. */
  readonly issued?: string | undefined;
  /** Which volumes go there, such as `2-5`; default all. Volume 000 goes to every medium. */
  readonly volumes?: string | undefined;
  /** Only the account that writes the medium may read it; default false: everyone may, whatever the umask. */
  readonly private?: boolean;
  /** Read each volume back after writing; default true. */
  readonly readBack?: boolean;
  /** Remove content from the store once it is safe on the medium. */
  readonly consume?: boolean;
  readonly progress?: Progress;
}

export interface BundleReport {
  readonly id: string;
  /** ID of the store: whoever loads compares it for the first bundle of a store. */
  readonly origin: string;
  readonly sequence: number;
  readonly volumes: readonly WrittenVolume[];
  /** Names of the volumes that are on this medium. */
  readonly here: readonly string[];
  /** Bytes of all volumes. */
  readonly bytes: number;
  readonly blobs: number;
  readonly names: number;
  /** Ids of the bundles it relies on. */
  readonly bases: readonly string[];
  readonly changes: BundleDocument['changes'];
  /** What of `changes.removed` running versions may still need; undefined for a full bundle. */
  readonly dropped: DroppedNames | undefined;
  /** Names of earlier bundles that it withdraws, those that the last one withdrew among them. */
  readonly withdraws: readonly string[];
  /** What is known against the set inside; empty where a bundle that was issued before is written. */
  readonly inside: readonly InsideFinding[];
  /** True when the medium has a signature, made in this run or before. */
  readonly signed: boolean;
  /** Fingerprint of the key whose signature that is; undefined unless this run signed, or checked that it had. */
  readonly signedBy: string | undefined;
  /** False when the folder held this very bundle already. */
  readonly written: boolean;
  /** Bytes that have left the store in this run. */
  readonly consumedBytes: number;
}

/**
 * @throws NO_INPUT, INCOMPLETE, MISSING_CONTENT for the store; USAGE when content has left it; SECRET; CONFLICT when
 * the folder holds another bundle; DISK; BAD_VOLUME when what was read back is not what was written; DIGEST_MISMATCH
 * when the store is damaged; BUSY when another command removes content, or with `consume` uses any
 */
export async function bundle(options: BundleOptions): Promise<BundleReport> {
  const { store: root, consume = false, signal } = options;
  await checkMedium(options.out, root);
  const access = consume ? 'exclusive' : 'shared';
  return Store.use(root, { access, purpose: 'omni-airgap bundle', signal }, (store) =>
    bundleFrom(store, options),
  );
}

/**
 * The same, of a store that is open, and is exclusively to consume.
 * @throws as bundle
 */
export async function bundleFrom(store: Store, options: BundleOptions): Promise<BundleReport> {
  await checkMedium(options.out, store.root);
  const work = await openRun(store, options);
  try {
    return await make(work, options);
  } finally {
    await work.medium.close();
  }
}

/** From what it will be to its bundle.json on the medium. */
async function make(work: BundleRun, options: BundleOptions): Promise<BundleReport> {
  const { readBack = true, consume = false } = options;
  const { plan, map, medium, journal } = work;
  // Said before the first byte is written, while mirror.yaml can still be changed.
  if (plan.dropped !== undefined) noteDropped(plan.dropped, work.progress);
  const all = [...map.sizes.keys()];
  const chosen = parseVolumeRange(options.volumes, all.length);
  const toWrite = [...new Set([0, ...chosen])].filter((volume) => !medium.has(volume));
  // What goes to several media, or leaves the store, is described and signed before anything is written. Otherwise
  // writing the volumes hashes them, and the content is read once.
  const isIssuedFirst = chosen.length < all.length || consume;
  // A volume that is here already is hashed again when the store has lost its journal.
  const isHashedFirst = (volume: number): boolean => isIssuedFirst || !toWrite.includes(volume);
  const toHash = all.filter((volume) => journal.sha256Of(volume) === undefined && isHashedFirst(volume));
  await requireContent(plan.store, plan.layout, map.blobsIn([...toWrite, ...toHash]));
  const times = readBack ? 2 : 1;
  work.progress.expect(bytesOf(work, toHash) + times * (bytesOf(work, toWrite) + programBytes(plan.program)));
  if (toWrite.length > 0) await medium.begin(await spaceFor(work, toWrite, options));
  await hashVolumes(work, toHash);
  let issued = isIssuedFirst ? await issue(work) : undefined;
  const consumer =
    consume && issued !== undefined ? await Consumer.open(plan, issued.document.id, journal) : undefined;
  try {
    await writeMedium(work, toWrite, readBack, consumer);
  } catch (error) {
    // Only a read-back finds that; by then the bundle has been signed.
    if (error instanceof BadStore && issued !== undefined)
      await plan.store.bundles.withdraw(issued.document.id);
    throw error;
  }
  const hasNewProgram = await writeProgram(work, readBack);
  issued ??= await issue(work);
  const isHere = isDeepStrictEqual(medium.document, issued.document);
  await medium.finish(issued);
  return reportOf(work, issued, {
    signed: await medium.isSigned(),
    signedBy: options.signKey === undefined ? undefined : fingerprintOf(options.signKey),
    written: toWrite.length > 0 || hasNewProgram || !isHere,
    consumedBytes: consumer?.bytes ?? 0,
  });
}

/** Says what its number means for media and sites that have another one. @throws as BundlePlan.issue */
async function issue(work: BundleRun): Promise<IssuedBundle> {
  const { plan, progress } = work;
  const issued = await plan.issue(volumesOf(work));
  const { replaced, document } = issued;
  const { id, sequence } = document;
  const shortId = id.slice(0, 12);
  const name = `bundle ${shortId}`;
  if (replaced !== undefined) {
    progress.note(
      `${name} was number ${replaced} and is now issued again as number ${sequence}; media of number ${replaced} cannot be loaded together with media of number ${sequence}; bundle --issued ${shortId} --volumes RANGE --out MEDIUM renumbers one and keeps its volumes`,
    );
  }
  const later = await plan.store.bundles.laterThan(document);
  if (later !== undefined) {
    progress.note(
      `${name} is number ${sequence} again, and the last one issued is number ${later}: a site that has loaded a later bundle than number ${sequence} needs load --allow-rollback for it`,
    );
  }
  return issued;
}

function noteDropped(dropped: DroppedNames, progress: Progress): void {
  const lines = droppedText(dropped);
  for (const line of lines) progress.note(line);
  if (lines.length > 0)
    progress.note(
      'registries keep what was loaded before, and serve keeps the names of older bundles that it is given; --withdraw NAME ends that. To carry a name again, restore it in mirror.yaml and run fetch',
    );
}

/** @returns whether an executable was not on the medium yet @throws DISK, BAD_VOLUME, DIGEST_MISMATCH */
async function writeProgram(
  { plan, medium, progress, signal }: BundleRun,
  readBack: boolean,
): Promise<boolean> {
  let isNew = false;
  const onBytes = (bytes: number): void => progress.advance(bytes);
  for (const file of plan.program?.executables ?? []) {
    if (await medium.writeProgram(file, { readBack, onBytes, signal })) isNew = true;
  }
  return isNew;
}

/** What bundle.json and the report take for each blob, names among it; bytes, rather too many. */
const documentBytes = 500;

/** Bytes that must be free: what is consumed on the same disk makes room for the next volume. */
async function spaceFor(
  work: BundleRun,
  toWrite: readonly number[],
  { consume, store }: BundleOptions,
): Promise<number> {
  const { map, medium } = work;
  const others = documentBytes * [...map.blobs].length + programBytes(work.plan.program);
  const isOneAtATime = consume === true && (await medium.sharesDiskWith(store));
  const sizes = toWrite.map((volume) => bytesOf(work, [volume]));
  return others + (isOneAtATime ? Math.max(0, ...sizes) : bytesOf(work, toWrite));
}

function reportOf(
  work: BundleRun,
  { document }: IssuedBundle,
  run: Pick<BundleReport, 'signed' | 'signedBy' | 'written' | 'consumedBytes'>,
): BundleReport {
  const all = [...work.map.sizes.keys()];
  return {
    id: document.id,
    origin: document.origin,
    sequence: document.sequence,
    volumes: document.volumes,
    here: all.filter((volume) => work.medium.has(volume)).map(volumeName),
    bytes: bytesOf(work, all),
    blobs: document.blobs.length,
    names: document.roots.length,
    bases: (document.base ?? []).map(({ id }) => id),
    changes: document.changes,
    dropped: work.plan.dropped,
    withdraws: document.withdraws ?? [],
    inside: work.plan.inside,
    ...run,
  };
}

/** What all steps share. */
interface BundleRun extends VolumeRun {
  readonly plan: BundlePlan;
}

/**
 * Nothing has been written yet except what the store records of an issued bundle.
 * @throws as planNew and planIssued; BUSY while another process writes to the folder; CONFLICT when it holds another
 * bundle; DISK
 */
async function openRun(store: Store, options: BundleOptions): Promise<BundleRun> {
  const { out, issued, signal, progress = noProgress } = options;
  const plan =
    issued === undefined ? await planNew(store, options) : await planIssued(store, issued, options);
  const { map, layout, hash } = plan;
  const medium = await Medium.open(out, hash, map.sizes, options.private);
  try {
    await refuseOther(medium, plan);
    for (const file of plan.program?.executables ?? []) await medium.refuseOtherFile(file);
    // Another run may have written to both until now.
    const journal = await store.bundles.volumeJournal(hash);
    for (const [volume, { sha256 }] of (plan.volumes ?? []).entries()) await journal.hashed(volume, sha256);
    return { plan, map, layout, journal, medium, progress, signal };
  } catch (error) {
    await medium.close();
    throw error;
  }
}

/** All volumes, each of them already hashed. */
function volumesOf({ map: { sizes }, journal }: BundleRun): readonly WrittenVolume[] {
  return sizes.map((size, volume): WrittenVolume => {
    const sha256 = journal.sha256Of(volume);
    if (sha256 === undefined) throw new CodedError('INTERNAL', `volume ${volume} was never hashed`);
    return { name: volumeName(volume), size, sha256 };
  });
}

function bytesOf({ map: { sizes } }: BundleRun, volumes: readonly number[]): number {
  return volumes.reduce((sum, volume) => sum + (sizes[volume] ?? 0), 0);
}

/**
 * Looks whether a folder can become a bundle, before any work for it: it must be one, hold no files of others, and be
 * outside of the store, where content that leaves it would stay.
 * @throws USAGE, CONFLICT, DISK
 */
export async function checkMedium(out: string, store: string): Promise<void> {
  const inside = relative(await realpath(store).catch(() => store), resolve(out));
  if (inside !== '..' && !inside.startsWith(`..${sep}`) && !isAbsolute(inside)) {
    throw new CodedError('USAGE', `--out ${out}: is in the store; name a folder on the medium`);
  }
  await Medium.check(out);
}

/** @throws CONFLICT */
async function refuseOther({ document, folder, begun }: Medium, { hash, store }: BundlePlan): Promise<void> {
  if (document !== undefined && planHashOf(document, mapOf(document)) !== hash) {
    throw new CodedError('CONFLICT', `${folder}: holds another bundle (${document.id}); use an empty folder`);
  }
  const id = begun === undefined ? undefined : await consumingInto(store, folder);
  if (id !== undefined) {
    throw new CodedError(
      'CONFLICT',
      `${folder}: bundle ${id} is being written here, and its content has begun to leave the store; finish it first: bundle --issued ${id.slice(0, 12)} --out ${folder} --consume`,
    );
  }
}
