/**
 * bundle: what a store is locked to, packed into volumes, described, signed, and read back. The folder is a bundle
 * only once bundle.json is in it, and that comes last.
 */
import { createHash, type KeyObject } from 'node:crypto';
import { readdir, rm, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import {
  type BundleDocument,
  BundleStore,
  bundleIdOf,
  CodedError,
  checksumLines,
  ensureFolder,
  maxBundleDocumentBytes,
  noProgress,
  type PlacedBlob,
  type Progress,
  parseBundleDocument,
  planVolumes,
  readSmallFile,
  serializeDocument,
  signBytes,
  syncFolder,
  VolumeMap,
  verifyBundle,
  verifyBytes,
  type WrittenVolume,
  writeFileAtomic,
  writeVolumes,
} from '@omni-airgap/content';
import { type Contents, readContents } from './contents.ts';
import { summarizeEgress } from './egress-summary.ts';
import { nextOrigin, readOrigin } from './origin.ts';
import { readmeText } from './readme.ts';

export interface BundleOptions {
  readonly store: string;
  /** Folder that becomes the bundle; made when it is not there. */
  readonly out: string;
  /** Most bytes a volume may have. */
  readonly volumeSize: number;
  readonly signKey?: KeyObject;
  /** Read everything back after writing; default true. */
  readonly readBack?: boolean;
  /** Name and version of this program, for the record. */
  readonly tool: string;
  /** When the bundle is made, in ms since 1970; SOURCE_DATE_EPOCH for reproducible ones. */
  readonly now: number;
  readonly progress?: Progress;
  readonly signal?: AbortSignal;
}

export interface BundleReport {
  readonly id: string;
  readonly sequence: number;
  readonly volumes: readonly WrittenVolume[];
  /** Bytes of all volumes. */
  readonly bytes: number;
  readonly blobs: number;
  readonly names: number;
  readonly signed: boolean;
  /** False when the folder held this very bundle already. */
  readonly written: boolean;
}

/**
 * @throws NO_INPUT, INCOMPLETE, MISSING_CONTENT for the store; CONFLICT when the folder holds another bundle; DISK;
 * BAD_VOLUME when what was read back is not what was written
 */
export async function bundle(options: BundleOptions): Promise<BundleReport> {
  const { store, out, signKey, signal, progress = noProgress } = options;
  const contents = await readContents(store, signal);
  const names = new Map(contents.items.map((item) => [item.name, item.descriptor]));
  const plan = planVolumes(names, contents.blobs, options.volumeSize);
  const map = new VolumeMap(names, plan);
  await ensureFolder(out);
  const there = await readBundleDocument(out);
  if (there !== undefined) {
    if (!isSame(there.document, contents, plan.blobs, plan.sizes)) {
      throw new CodedError(
        'CONFLICT',
        `${out}: holds another bundle (${there.document.id}); use an empty folder`,
      );
    }
    await sign(out, there.bytes, signKey);
    return report(there.document, signKey, false);
  }
  const total = plan.sizes.reduce((sum, size) => sum + size, 0);
  await checkSpace(out, total);
  progress.expect(options.readBack === false ? total : 2 * total);
  const watch = {
    onBytes: (bytes: number) => progress.advance(bytes),
    ...(signal === undefined ? {} : { signal }),
  };
  await removeStrays(out, plan.sizes.length);
  const volumes = await writeVolumes(map, contents.layout, out, watch);
  const readme = Buffer.from(readmeFor(contents, volumes));
  const document = await issue(options, contents, plan.blobs, volumes, readme);
  const bytes = Buffer.from(serializeDocument(document));
  await writeFileAtomic(join(out, 'README.txt'), readme);
  await sign(out, bytes, signKey);
  const sums = [
    ...volumes,
    { name: 'README.txt', sha256: sha256(readme) },
    { name: 'bundle.json', sha256: sha256(bytes) },
  ];
  await writeFileAtomic(join(out, 'SHA256SUMS'), checksumLines(sums));
  await writeFileAtomic(join(out, 'bundle.json'), bytes);
  await syncFolder(out);
  if (options.readBack !== false) {
    progress.note('reading back what was written');
    const check = await verifyBundle(await BundleStore.open([out], { mode: 'any' }), watch);
    const [damage] = check.damages;
    if (damage !== undefined) {
      await rm(join(out, 'bundle.json'));
      throw new CodedError(
        'BAD_VOLUME',
        `${join(out, damage.volume)}: ${damage.what} at byte ${damage.offset} is not what the store should hold; the medium is bad, or the store was changed (check it with verify --store)`,
      );
    }
  }
  return report(document, signKey, true);
}

/** The bundle.json for these volumes: the one issued before for the same content, or a new one with a new number. */
async function issue(
  options: BundleOptions,
  contents: Contents,
  blobs: readonly PlacedBlob[],
  volumes: readonly WrittenVolume[],
  readme: Uint8Array,
): Promise<BundleDocument> {
  const id = bundleIdOf(volumes);
  const folder = join(options.store, 'bundles', id);
  const before = await readBundleDocument(folder);
  if (before !== undefined) return before.document;
  const { origin, sequence } = await nextOrigin(options.store, await readOrigin(options.store));
  const document: BundleDocument = {
    kind: 'omni-airgap/bundle',
    schema: 1,
    id,
    origin,
    sequence,
    createdAt: new Date(options.now).toISOString(),
    tool: options.tool,
    roots: contents.items.map(({ name, descriptor }) => ({ name, descriptor })),
    blobs: [...blobs],
    volumes: [...volumes],
    files: [{ name: 'README.txt', size: readme.byteLength, sha256: sha256(readme) }],
    ...(contents.sparse.length === 0 ? {} : { sparse: [...contents.sparse] }),
    egress: [...(await summarizeEgress(options.store))],
  };
  await ensureFolder(join(options.store, 'bundles'));
  await ensureFolder(folder);
  const bytes = Buffer.from(serializeDocument(document));
  await sign(folder, bytes, options.signKey);
  await writeFileAtomic(join(folder, 'bundle.json'), bytes);
  return document;
}

async function sign(folder: string, bytes: Uint8Array, key: KeyObject | undefined): Promise<void> {
  if (key === undefined) return;
  const path = join(folder, 'bundle.json.sig');
  const before = await readSmallFile(path, 4096);
  if (before !== undefined) {
    try {
      verifyBytes(bytes, Buffer.from(before).toString('latin1'), key, path);
      return;
    } catch (error) {
      if (!(error instanceof CodedError)) throw error;
    }
  }
  await writeFileAtomic(path, signBytes(bytes, key));
}

async function readBundleDocument(
  folder: string,
): Promise<{ readonly bytes: Uint8Array; readonly document: BundleDocument } | undefined> {
  const path = join(folder, 'bundle.json');
  const bytes = await readSmallFile(path, maxBundleDocumentBytes);
  return bytes === undefined ? undefined : { bytes, document: parseBundleDocument(bytes, path) };
}

function isSame(
  document: BundleDocument,
  contents: Contents,
  blobs: readonly PlacedBlob[],
  sizes: readonly number[],
): boolean {
  const roots = contents.items.map(({ name, descriptor }) => `${name} ${descriptor.digest}`);
  const places = (list: readonly PlacedBlob[]): string =>
    list.map((b) => `${b.digest} ${b.size} ${b.volume} ${b.offset}`).join('\n');
  return (
    document.roots.map(({ name, descriptor }) => `${name} ${descriptor.digest}`).join('\n') ===
      roots.join('\n') &&
    document.volumes.map((v) => v.size).join() === sizes.join() &&
    places(document.blobs) === places(blobs)
  );
}

/** Volumes and parts of volumes that an interrupted run left and this one does not write. */
async function removeStrays(out: string, volumes: number): Promise<void> {
  for (const name of await readdir(out)) {
    const [, index, partial] = /^content\.tar\.([0-9]{3,})(\.partial)?$/.exec(name) ?? [];
    if (index !== undefined && (partial !== undefined || Number(index) >= volumes)) await rm(join(out, name));
  }
}

async function checkSpace(out: string, needed: number): Promise<void> {
  const { bavail, bsize } = await statfs(out);
  const free = bavail * bsize;
  if (free < needed) {
    throw new CodedError(
      'DISK',
      `${out}: ${needed} bytes are needed and ${free} are free; use another disk, or write fewer items`,
    );
  }
}

function readmeFor(contents: Contents, volumes: readonly WrittenVolume[]): string {
  const images = contents.items.filter((item) => item.kind === 'image');
  return readmeText({
    id: bundleIdOf(volumes),
    volumes: volumes.length,
    bytes: volumes.reduce((sum, volume) => sum + volume.size, 0),
    images: images.length,
    media: contents.items.filter((item) => item.kind === 'media').length,
    example: images[0]?.name ?? 'NAME',
  });
}

function report(document: BundleDocument, signKey: KeyObject | undefined, written: boolean): BundleReport {
  return {
    id: document.id,
    sequence: document.sequence,
    volumes: document.volumes,
    bytes: document.volumes.reduce((sum, volume) => sum + volume.size, 0),
    blobs: document.blobs.length,
    names: document.roots.length,
    signed: signKey !== undefined,
    written,
  };
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
