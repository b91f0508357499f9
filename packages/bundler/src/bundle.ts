/**
 * bundle: what a store is locked to, or what of it is not inside yet, laid out in volumes, described and signed in
 * the store, and written to a medium. Any step can be interrupted: the same command goes on after the last volume
 * that is whole.
 */
import { realpath } from 'node:fs/promises';
import { isAbsolute, relative, resolve, sep } from 'node:path';
import {
  type BundleDocument,
  CodedError,
  hashVolume,
  mapOf,
  noProgress,
  type PlacedBlob,
  type Progress,
  planHashOf,
  VolumeJournal,
  type VolumeMap,
  volumeName,
  type WrittenVolume,
  withdraw,
  writeVolume,
} from '@omni-airgap/content';
import { Consumer, consumingInto } from './consume.ts';
import { isRight, requireContent, wrongBytes } from './content-check.ts';
import { type Draft, issuedDraft, type NewBundle, newDraft } from './draft.ts';
import type { Issued } from './issued.ts';
import { Medium } from './medium.ts';
import { BadStore, ReadBack } from './read-back.ts';
import { parseVolumeRange } from './volume-range.ts';

export interface BundleOptions extends NewBundle {
  /** Folder that becomes the bundle; made when it is not there. */
  readonly out: string;
  /** Id (8 characters at least) of a bundle that was issued before: its volumes are written, not those of a new one. */
  readonly issued?: string;
  /** Which volumes go there, such as `2-5`; default all. Volume 000 goes to every medium. */
  readonly volumes?: string;
  /** Read each volume back after writing; default true. */
  readonly readBack?: boolean;
  /** Remove content from the store once it is safe on the medium. */
  readonly consume?: boolean;
  readonly progress?: Progress;
}

export interface BundleReport {
  readonly id: string;
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
  readonly signed: boolean;
  /** False when the folder held this very bundle already. */
  readonly written: boolean;
  /** Bytes that have left the store in this run. */
  readonly consumedBytes: number;
}

/**
 * @throws NO_INPUT, INCOMPLETE, MISSING_CONTENT for the store; USAGE when content has left it; SECRET; CONFLICT when
 * the folder holds another bundle; DISK; BAD_VOLUME when what was read back is not what was written; DIGEST_MISMATCH
 * when the store is damaged
 */
export async function bundle(options: BundleOptions): Promise<BundleReport> {
  const { store, out, signKey, progress = noProgress } = options;
  await refuseInStore(out, store);
  const draft =
    options.issued === undefined
      ? await newDraft(options)
      : await issuedDraft(store, options.issued, signKey);
  const { map, layout } = draft;
  const all = [...map.sizes.keys()];
  const chosen = parseVolumeRange(options.volumes, all.length);
  const journal = await VolumeJournal.open(store, draft.hash);
  for (const [volume, { sha256 }] of (draft.volumes ?? []).entries()) await journal.hashed(volume, sha256);
  const medium = await Medium.open(out, draft.hash, map.sizes);
  await refuseOther(medium, draft);
  const toWrite = [...new Set([0, ...chosen])].filter((volume) => !medium.has(volume));
  // What goes to several media, or leaves the store, is described and signed before anything is written.
  const isIssuedFirst = chosen.length < all.length || options.consume === true;
  const toHash = isIssuedFirst ? all.filter((volume) => journal.sha256Of(volume) === undefined) : [];
  await requireContent(layout, blobsIn(map, new Set([...toWrite, ...toHash])));
  const isReadBack = options.readBack !== false;
  const work: Work = { options, draft, medium, journal, progress };
  progress.expect(sizeOf(map, toHash) + (isReadBack ? 2 : 1) * sizeOf(map, toWrite));
  const { issued, consumedBytes } = await writeAll(toWrite, toHash, isIssuedFirst, work).finally(() =>
    medium.close(),
  );
  const { document, files } = issued;
  return {
    id: document.id,
    sequence: document.sequence,
    volumes: document.volumes,
    here: all.filter((volume) => medium.has(volume)).map(volumeName),
    bytes: sizeOf(map, all),
    blobs: document.blobs.length,
    names: document.roots.length,
    bases: (document.base ?? []).map(({ id }) => id),
    changes: document.changes,
    signed: files.some(({ name }) => name === 'bundle.json.sig'),
    written: toWrite.length > 0,
    consumedBytes,
  };
}

/** From the first byte on the medium to its bundle.json. */
async function writeAll(
  toWrite: readonly number[],
  toHash: readonly number[],
  isIssuedFirst: boolean,
  work: Work,
): Promise<{ readonly issued: Issued; readonly consumedBytes: number }> {
  const { options, draft, medium, journal, progress } = work;
  const { map, layout } = draft;
  if (toWrite.length > 0) await medium.begin(await spaceFor(toWrite, work));
  for (const volume of toHash) {
    const { sha256 } = await hashVolume(map, volume, layout, watchOf(progress, options.signal));
    await journal.hashed(volume, sha256);
  }
  const issuedFirst = isIssuedFirst ? await draft.issue(volumesOf(map, journal)) : undefined;
  const consumer =
    options.consume === true && issuedFirst !== undefined
      ? await Consumer.open(draft, issuedFirst.document.id, journal)
      : undefined;
  try {
    await write(toWrite, consumer, work);
  } catch (error) {
    // Only a read-back finds that; by then the bundle has been signed.
    const isWrong = error instanceof BadStore && issuedFirst !== undefined;
    if (isWrong) await withdraw(options.store, issuedFirst.document.id);
    throw error;
  }
  const issued = issuedFirst ?? (await draft.issue(volumesOf(map, journal)));
  await medium.finish(issued.document, issued.bytes, issued.files);
  return { issued, consumedBytes: consumer?.bytes ?? 0 };
}

/** What bundle.json and the report take for each blob, names among it; bytes, rather too many. */
const documentBytes = 500;

interface Work {
  readonly options: BundleOptions;
  readonly draft: Draft;
  readonly medium: Medium;
  readonly journal: VolumeJournal;
  readonly progress: Progress;
}

/** Writes volumes, reads them back, and lets content go that is safe by then. */
async function write(toWrite: readonly number[], consumer: Consumer | undefined, work: Work): Promise<void> {
  const { options, draft, medium, journal, progress } = work;
  const { map, layout } = draft;
  const { signal } = options;
  const readBack =
    options.readBack === false
      ? undefined
      : new ReadBack(
          { map, medium, journal, layout, progress, ...(signal === undefined ? {} : { signal }) },
          toWrite,
        );
  const pending = new Set(toWrite);
  await consumer?.consume(pending);
  const groups = readBack === undefined ? toWrite.map((volume) => [volume]) : groupsOf(map, toWrite);
  for (const group of groups) {
    for (const volume of group) {
      const { sha256 } = await writeVolume(map, volume, layout, options.out, watchOf(progress, signal));
      await refuseChanged(volume, sha256, work);
      await journal.hashed(volume, sha256);
      await readBack?.check(volume);
    }
    for (const volume of group) {
      await journal.written(volume);
      await medium.done(volume);
      pending.delete(volume);
    }
    await consumer?.consume(pending);
  }
}

/** Volumes that share a blob belong together: its digest is known when the last of them has been read back. */
function groupsOf(map: VolumeMap, volumes: readonly number[]): readonly (readonly number[])[] {
  const groups: number[][] = [];
  for (const volume of volumes) {
    const last = groups.at(-1);
    const goesOn = map.cutBlobsOf(volume).some((blob) => blob.volume < volume && last?.at(-1) === volume - 1);
    if (goesOn && last !== undefined) last.push(volume);
    else groups.push([volume]);
  }
  return groups;
}

/** @throws DIGEST_MISMATCH */
async function refuseChanged(volume: number, sha256: string, work: Work): Promise<void> {
  const { journal, medium, draft, options } = work;
  const before = journal.sha256Of(volume);
  if (before === undefined || before === sha256) return;
  await journal.forget(volume);
  await medium.remove(volume);
  for (const blob of blobsIn(draft.map, new Set([volume]))) {
    if (!(await isRight(draft.layout, blob, options.signal)))
      throw new CodedError('DIGEST_MISMATCH', wrongBytes(draft.layout, blob));
  }
  throw new CodedError(
    'DIGEST_MISMATCH',
    `${volumeName(volume)}: the store gives other bytes than when it was laid out; check it with verify --store`,
  );
}

/** Content that leaves the store must not stay in its folder. @throws USAGE */
export async function refuseInStore(out: string, store: string): Promise<void> {
  const inside = relative(await realpath(store).catch(() => store), resolve(out));
  if (inside === '..' || inside.startsWith(`..${sep}`) || isAbsolute(inside)) return;
  throw new CodedError('USAGE', `--out ${out}: is in the store; name a folder on the medium`);
}

/** @throws CONFLICT */
async function refuseOther({ document, folder, begun }: Medium, { hash, layout }: Draft): Promise<void> {
  if (document !== undefined && planHashOf(document, mapOf(document)) !== hash) {
    throw new CodedError('CONFLICT', `${folder}: holds another bundle (${document.id}); use an empty folder`);
  }
  const id = begun === undefined ? undefined : await consumingInto(layout.root, folder);
  if (id !== undefined) {
    throw new CodedError(
      'CONFLICT',
      `${folder}: bundle ${id} is being written here, and its content has begun to leave the store; finish it first: bundle --issued ${id.slice(0, 12)} --out ${folder} --consume`,
    );
  }
}

/** Bytes that must be free: what is consumed on the same disk makes room for the next volume. */
async function spaceFor(toWrite: readonly number[], { options, draft, medium }: Work): Promise<number> {
  const { map } = draft;
  const documents = documentBytes * [...map.blobs].length;
  const sizes = toWrite.map((volume) => map.sizes[volume] ?? 0);
  const isOneAtATime = options.consume === true && (await medium.sharesDiskWith(options.store));
  return documents + (isOneAtATime ? Math.max(0, ...sizes) : sizeOf(map, toWrite));
}

function sizeOf({ sizes }: VolumeMap, volumes: readonly number[]): number {
  return volumes.reduce((sum, volume) => sum + (sizes[volume] ?? 0), 0);
}

function blobsIn(map: VolumeMap, volumes: ReadonlySet<number>): readonly PlacedBlob[] {
  return [...map.blobs].filter((blob) => map.runsOf(blob).some(({ volume }) => volumes.has(volume)));
}

/** All volumes with the hashes that are known by now. */
function volumesOf({ sizes }: VolumeMap, journal: VolumeJournal): readonly WrittenVolume[] {
  return sizes.map((size, volume): WrittenVolume => {
    const sha256 = journal.sha256Of(volume);
    if (sha256 === undefined) throw new CodedError('INTERNAL', `volume ${volume} was never hashed`);
    return { name: volumeName(volume), size, sha256 };
  });
}

function watchOf(
  progress: Progress,
  signal: AbortSignal | undefined,
): { readonly onBytes: (bytes: number) => void; readonly signal?: AbortSignal } {
  const onBytes = (bytes: number): void => progress.advance(bytes);
  return signal === undefined ? { onBytes } : { onBytes, signal };
}
