/**
 * bundle: what a store is locked to, or what of it is not inside yet, laid out in volumes, described and signed in
 * the store, and written to a medium. Any step can be interrupted: the same command goes on after the last volume
 * that is whole.
 */
import { createHash, type KeyObject } from 'node:crypto';
import {
  type BundleDocument,
  byText,
  CodedError,
  type Descriptor,
  hashVolume,
  isCoded,
  noProgress,
  type Progress,
  planVolumes,
  VolumeMap,
  type VolumePlan,
  volumeName,
  type WrittenVolume,
  writeVolume,
} from '@omni-airgap/content';
import { Consumer } from './consume.ts';
import { type Contents, readContents } from './contents.ts';
import { issue } from './issue.ts';
import { Medium } from './medium.ts';
import { readBack } from './read-back.ts';
import { checkSecrets } from './secrets.ts';
import { select } from './selection.ts';
import { type Inside, readInside } from './since.ts';
import { VolumeJournal } from './volume-journal.ts';
import { parseVolumeRange } from './volume-range.ts';

export interface BundleOptions {
  readonly store: string;
  /** Folder that becomes the bundle; made when it is not there. */
  readonly out: string;
  /** Most bytes a volume may have. */
  readonly volumeSize: number;
  /** Which volumes go there, such as `2-5`; default all. Volume 000 goes to every medium. */
  readonly volumes?: string;
  /** What is inside already: see readInside. */
  readonly since?: readonly string[];
  readonly signKey?: KeyObject;
  /** Read each volume back after writing; default true. */
  readonly readBack?: boolean;
  /** Remove content from the store once it is safe on the medium. */
  readonly consume?: boolean;
  /** Carry schematics with secrets in them. */
  readonly allowSecrets?: boolean;
  /** Name and version of this program, for the record. */
  readonly tool: string;
  /** Account and machine, for the record. */
  readonly by?: string;
  /** When the bundle is made, in ms since 1970; SOURCE_DATE_EPOCH for reproducible ones. */
  readonly now: number;
  readonly progress?: Progress;
  readonly signal?: AbortSignal;
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
}

/** A bundle as it will be, before a byte of it is written. */
interface Layout {
  readonly contents: Contents;
  readonly inside: Inside | undefined;
  readonly relies: ReturnType<typeof select>['relies'];
  readonly plan: VolumePlan;
  readonly map: VolumeMap;
  /** Hex hash of all that decides the bytes of the volumes. */
  readonly hash: string;
}

/**
 * @throws NO_INPUT, INCOMPLETE, MISSING_CONTENT for the store; SECRET; CONFLICT when the folder holds another bundle;
 * DISK; BAD_VOLUME when what was read back is not what was written; DIGEST_MISMATCH when the store is damaged
 */
export async function bundle(options: BundleOptions): Promise<BundleReport> {
  const { store, out, signKey, signal, progress = noProgress } = options;
  const layout = await layOut(options);
  const { contents, plan, map, inside } = layout;
  const secrets = await checkSecrets(contents, options.allowSecrets === true);
  const chosen = parseVolumeRange(options.volumes, plan.sizes.length);
  const journal = await VolumeJournal.open(store, layout.hash);
  const medium = await Medium.open(out, layout.hash, plan.sizes);
  refuseOther(medium, layout, inside);
  const consumer =
    options.consume === true ? await Consumer.open(contents, layout.hash, map, journal) : undefined;
  const toWrite = [...new Set([0, ...chosen])].filter((volume) => !medium.has(volume));
  const isPart = chosen.length < plan.sizes.length;
  const toHash = isPart ? [...map.sizes.keys()].filter((v) => journal.sha256Of(v) === undefined) : [];
  const sizeOf = (volumes: readonly number[]): number =>
    volumes.reduce((sum, volume) => sum + (plan.sizes[volume] ?? 0), 0);
  const isReadBack = options.readBack !== false;
  progress.expect(sizeOf(toHash) + (isReadBack ? 2 : 1) * sizeOf(toWrite));
  const watch = {
    onBytes: (bytes: number) => progress.advance(bytes),
    ...(signal === undefined ? {} : { signal }),
  };
  if (toWrite.length > 0) await medium.begin(await spaceFor(toWrite, plan, medium, options));
  const pending = new Set(toWrite);
  await consumer?.consume(pending);
  for (const volume of toHash) {
    const { sha256 } = await hashVolume(map, volume, contents.layout, watch);
    await journal.hashed(volume, sha256);
  }
  for (const volume of toWrite) {
    const { sha256 } = await writeVolume(map, volume, contents.layout, out, watch);
    const before = journal.sha256Of(volume);
    if (before !== undefined && before !== sha256) {
      await journal.forget(volume);
      await medium.remove(volume);
      throw new CodedError(
        'DIGEST_MISMATCH',
        `${volumeName(volume)}: the store gives other bytes than when it was laid out; check it with verify --store`,
      );
    }
    await journal.hashed(volume, sha256);
    if (isReadBack)
      await readBack({ volume, map, medium, journal, layout: contents.layout, progress }, watch);
    await journal.written(volume);
    await medium.done(volume);
    pending.delete(volume);
    await consumer?.consume(pending);
  }
  const hashes = journal.hashes();
  const volumes = plan.sizes.map((size, i): WrittenVolume => {
    const sha256 = hashes[i]?.sha256;
    if (sha256 === undefined) throw new CodedError('INTERNAL', `volume ${i} was never hashed`);
    return { name: volumeName(i), size, sha256 };
  });
  const issued = await issue({
    contents,
    blobs: plan.blobs,
    volumes,
    bases: inside?.bases ?? [],
    relies: layout.relies,
    changes: inside === undefined ? undefined : changesOf(contents, inside),
    secrets,
    signKey,
    tool: options.tool,
    by: options.by,
    now: options.now,
  });
  await medium.finish(issued.document, issued.bytes, issued.files);
  return {
    id: issued.document.id,
    sequence: issued.document.sequence,
    volumes,
    here: [...map.sizes.keys()].filter((volume) => medium.has(volume)).map(volumeName),
    bytes: sizeOf([...map.sizes.keys()]),
    blobs: plan.blobs.length,
    names: contents.items.length,
    bases: (inside?.bases ?? []).map(({ id }) => id),
    changes: issued.document.changes,
    signed: issued.files.some(({ name }) => name === 'bundle.json.sig'),
    written: toWrite.length > 0,
  };
}

/**
 * Whether a bundle with --consume into this folder was begun and the store has given content away: then it has to be
 * finished before anything is fetched again.
 */
export async function isConsuming(
  options: Pick<BundleOptions, 'store' | 'out' | 'volumeSize' | 'since'>,
): Promise<boolean> {
  try {
    const { hash, plan } = await layOut(options);
    const journal = await VolumeJournal.open(options.store, hash);
    const medium = await Medium.open(options.out, hash, plan.sizes);
    return [...plan.sizes.keys()].some((volume) => medium.has(volume) && journal.isWritten(volume));
  } catch (error) {
    // A store that a fetch left incomplete has nothing in a bundle yet.
    if (isCoded(error, 'INCOMPLETE', 'MISSING_CONTENT', 'NO_INPUT')) return false;
    throw error;
  }
}

async function layOut(
  options: Pick<BundleOptions, 'store' | 'volumeSize' | 'since' | 'signal'>,
): Promise<Layout> {
  const { store, since = [], signal } = options;
  const contents = await readContents(store, signal);
  const inside = since.length === 0 ? undefined : await readInside(store, contents.layout, since);
  const { carried, relies } = select(contents, inside);
  const names = new Map(contents.items.map((item) => [item.name, item.descriptor]));
  const plan = planVolumes(names, carried, options.volumeSize);
  const map = new VolumeMap(names, plan);
  return { contents, inside, relies, plan, map, hash: hashOf(names, plan) };
}

function hashOf(names: ReadonlyMap<string, Descriptor>, plan: VolumePlan): string {
  const hash = createHash('sha256');
  for (const [name, { digest, size, mediaType }] of [...names].sort(([a], [b]) => byText(a, b))) {
    hash.update(`${name} ${digest} ${size} ${mediaType}\n`);
  }
  for (const { digest, size, volume, offset } of plan.blobs)
    hash.update(`${digest} ${size} ${volume} ${offset}\n`);
  return hash.update(plan.sizes.join()).digest('hex');
}

/** @throws CONFLICT */
function refuseOther(
  { document, folder }: Medium,
  { contents, plan }: Layout,
  inside: Inside | undefined,
): void {
  if (document === undefined) return;
  const lines = (list: readonly (readonly (string | number)[])[]): string =>
    list.map((one) => one.join()).join('\n');
  const said = [
    lines(document.roots.map(({ name, descriptor }) => [name, descriptor.digest])),
    lines(document.blobs.map((b) => [b.digest, b.size, b.volume, b.offset])),
    document.volumes.map(({ size }) => size).join(),
    (document.base ?? []).map(({ id }) => id).join(),
  ];
  const wanted = [
    lines(contents.items.map(({ name, descriptor }) => [name, descriptor.digest])),
    lines(plan.blobs.map((b) => [b.digest, b.size, b.volume, b.offset])),
    plan.sizes.join(),
    (inside?.bases ?? []).map(({ id }) => id).join(),
  ];
  if (said.every((text, i) => text === wanted[i])) return;
  throw new CodedError('CONFLICT', `${folder}: holds another bundle (${document.id}); use an empty folder`);
}

/** Bytes that must be free: what is consumed on the same disk makes room for the next volume. */
async function spaceFor(
  toWrite: readonly number[],
  plan: VolumePlan,
  medium: Medium,
  { store, consume }: BundleOptions,
): Promise<number> {
  const sizes = toWrite.map((volume) => plan.sizes[volume] ?? 0);
  if (consume === true && (await medium.sharesDiskWith(store))) return Math.max(0, ...sizes);
  return sizes.reduce((sum, size) => sum + size, 0);
}

function changesOf({ items }: Contents, { names }: Inside): NonNullable<BundleDocument['changes']> {
  const now = new Set(items.map((item) => item.name));
  return {
    added: items.map((item) => item.name).filter((name) => !names.has(name)),
    moved: items.flatMap(({ name, descriptor }) => {
      const from = names.get(name);
      return from === undefined || from === descriptor.digest ? [] : [{ name, from }];
    }),
    removed: [...names.keys()].filter((name) => !now.has(name)).sort(byText),
  };
}
