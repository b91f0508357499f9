/**
 * Reads every byte of a bundle once, in order, and says what is damaged and what can still be loaded. What cannot
 * be read counts as wrong; the rest is read on.
 */

import { lstat } from 'node:fs/promises';
import { join } from 'node:path';
import { contentKey, type Fetcher, type Presence, walk } from '@omni-airgap/oci';
import { isCoded, messageOf, systemCodeOf } from '@omni-airgap/oci/base';
import { eachBlock } from '@omni-airgap/oci/fs';
import { childrenOf, type Descriptor, type Digest, Hasher, isManifestType } from '@omni-airgap/oci/model';
import type { BundleStore } from './bundle-store.ts';
import type { BundleDocument } from './documents/bundle-document.ts';
import { volumeName } from './volumes/volume-map.ts';
import { type Damage, VolumeVerifier } from './volumes/volume-verifier.ts';

/** With the names that need the damaged blob, where it is one. */
export interface NamedDamage extends Damage {
  readonly names?: readonly string[];
}

export interface BundleCheck {
  /** Bytes read. */
  readonly bytes: number;
  readonly blobs: number;
  readonly damages: readonly NamedDamage[];
  /** README.txt, report.html and bom.cdx.json, where they are not what was signed. */
  readonly fileDamages: readonly FileDamage[];
  /** Volumes that are in none of the folders. */
  readonly absent: readonly string[];
  /** Names whose content is not all there and right. */
  readonly unusable: readonly string[];
}

interface VerifyBundleOptions {
  /** `structure`: only what opening and the manifests show; no blob is read. Default `everything`. */
  readonly depth?: 'everything' | 'structure';
  /** Called with the number of bytes just read. */
  readonly onBytes?: (bytes: number) => void;
  readonly signal?: AbortSignal;
}

/** How much is left out at a place that cannot be read, and the double each time the next place cannot be either. */
const skipSize = 64 * 1024;
/** A disk that answers nothing but errors takes seconds for each. */
const maxUnreadable = 100;

/**
 * @param bundle may be opened with `volumes: 'present'`
 * @throws DISK when a medium is gone; damage is in the answer
 */
export async function verifyBundle(
  bundle: BundleStore,
  options: VerifyBundleOptions = {},
): Promise<BundleCheck> {
  const { depth = 'everything', onBytes, signal } = options;
  const here = new Set(bundle.map.sizes.keys());
  const absent: string[] = [];
  for (const { volume, size } of bundle.problems) {
    if (size !== undefined) continue;
    here.delete(volume);
    absent.push(volumeName(volume));
  }
  const verifier = new VolumeVerifier(bundle.map, here, (volume) => bundle.document.volumes[volume]?.sha256);
  for (const { volume, size } of bundle.problems) {
    if (size === undefined) continue;
    const should = bundle.map.sizes[volume] ?? 0;
    const end = size < should ? 'cut off' : 'more behind its end';
    verifier.damage(volume, Math.min(size, should), `${end}: ${size} bytes instead of ${should}`);
  }
  if (depth === 'everything') {
    for (const volume of here) {
      await verifier.verify(volume, (use) => readVolume(bundle, volume, verifier, use, { onBytes, signal }));
    }
  }
  const { unusable, needing } = await findUnusable(bundle, verifier, signal);
  const { bytes, blobs } = verifier;
  const damages = verifier.damages.map((damage): NamedDamage => {
    const { digest } = damage;
    return digest === undefined ? damage : { ...damage, names: needing.get(digest) ?? [] };
  });
  const fileDamages = await verifyFiles(bundle.folders, bundle.document, signal);
  return { bytes, blobs, damages, fileDamages, absent, unusable };
}

/** Hands on a volume to its full length; zeros stand for what is not there or cannot be read. */
async function readVolume(
  bundle: BundleStore,
  volume: number,
  verifier: VolumeVerifier,
  use: (block: Buffer) => void,
  options: {
    readonly onBytes: ((bytes: number) => void) | undefined;
    readonly signal: AbortSignal | undefined;
  },
): Promise<void> {
  const { onBytes, signal } = options;
  const path = bundle.volumePath(volume);
  const size = bundle.map.sizes[volume] ?? 0;
  const real = bundle.problems.find((problem) => problem.volume === volume)?.size ?? size;
  const end = Math.min(size, real);
  let at = 0;
  const pass = (block: Buffer): void => {
    use(block);
    at += block.byteLength;
    onBytes?.(block.byteLength);
  };
  let skip = skipSize;
  for (let unreadable = 0; at < end; unreadable++) {
    const from = at;
    try {
      await eachBlock([{ path, offset: at, size: end - at }], pass, signal);
    } catch (error) {
      if (systemCodeOf(error) !== 'EIO' || unreadable >= maxUnreadable) throw error;
      const goesOn = unreadable > 0 && at === from;
      if (!goesOn) verifier.damage(volume, at, 'cannot be read (input/output error)');
      skip = goesOn ? skip * 2 : skipSize;
      for (let left = Math.min(skip, end - at); left > 0; left -= skipSize) {
        pass(Buffer.alloc(Math.min(skipSize, left)));
      }
    }
  }
  while (at < size) pass(Buffer.alloc(Math.min(skipSize, size - at)));
}

/** Names whose graph is not complete, or touches a bad blob; and for each such blob the names that need it. */
async function findUnusable(
  bundle: BundleStore,
  verifier: VolumeVerifier,
  signal?: AbortSignal,
): Promise<{
  readonly unusable: readonly string[];
  readonly needing: ReadonlyMap<Digest, readonly string[]>;
}> {
  const names: (readonly [string, Descriptor])[] = [];
  for await (const entry of bundle.names()) names.push(entry);
  const needs = await needsOf(
    bundle,
    names.map(([, root]) => root),
    verifier,
    signal,
  );
  const known = new Map<string, ReadonlySet<Digest>>();
  // Calls itself as deep as a walk goes.
  const badBelow = (key: string): ReadonlySet<Digest> => {
    const before = known.get(key);
    if (before !== undefined) return before;
    const found = new Set<Digest>();
    const { bad, children = [] } = needs.get(key) ?? {};
    if (bad !== undefined) found.add(bad);
    for (const child of children) for (const one of badBelow(child)) found.add(one);
    known.set(key, found);
    return found;
  };
  const unusable: string[] = [];
  const needing = new Map<Digest, string[]>();
  for (const [name, root] of names) {
    const bad = badBelow(contentKey(root));
    if (bad.size > 0) unusable.push(name);
    for (const one of bad) {
      const list = needing.get(one) ?? [];
      list.push(name);
      needing.set(one, list);
    }
  }
  return { unusable, needing };
}

interface Needs {
  /** Its digest, when it is not there or not right. */
  readonly bad?: Digest;
  /** Keys of the manifests that it points at, and of the blobs that are bad. */
  readonly children?: readonly string[];
}

/** By key of content: what is bad below these roots, and what leads to it. What a base brought counts as there. */
async function needsOf(
  bundle: BundleStore,
  roots: readonly Descriptor[],
  verifier: VolumeVerifier,
  signal: AbortSignal | undefined,
): Promise<ReadonlyMap<string, Needs>> {
  const sparse = new Set(bundle.document.sparse?.map((d) => d.digest));
  const isLeftOut = async (child: Descriptor, { digest }: Descriptor): Promise<boolean> =>
    sparse.has(digest) && !(await bundle.has(child));
  const source: Fetcher & Presence = {
    fetch: (descriptor, signal) => bundle.fetch(descriptor, signal),
    has: async (descriptor) => !verifier.bad.has(descriptor.digest) && (await bundle.has(descriptor)),
  };
  const isBad = async (descriptor: Descriptor): Promise<boolean> =>
    !bundle.reliesOn(descriptor) && !(await source.has(descriptor));
  const needs = new Map<string, Needs>();
  const visits = walk(source, roots, {
    select: async (child, index) => !(await isLeftOut(child, index)),
    missing: 'skip',
    unusable: 'report',
    signal,
  });
  for await (const visited of visits) {
    const { kind, descriptor } = visited;
    const { digest } = descriptor;
    const key = contentKey(descriptor);
    if (kind === 'manifest') {
      const children: string[] = [];
      for (const child of childrenOf(visited.manifest)) {
        if (await isLeftOut(child, descriptor)) continue;
        if (isManifestType(child.mediaType) || (await isBad(child))) children.push(contentKey(child));
      }
      needs.set(key, { children });
    } else if (kind === 'unusable') {
      const { error } = visited;
      if (!isCoded(error, 'BAD_DOCUMENT', 'DIGEST_MISMATCH', 'MISSING_CONTENT')) throw error;
      const { volume, offset } = bundle.map.place(digest) ?? { volume: 0, offset: 0 };
      verifier.damage(volume, offset, messageOf(error), digest);
      needs.set(key, { bad: digest });
    } else if (await isBad(descriptor)) needs.set(key, { bad: digest });
  }
  return needs;
}

/** A file that is not what bundle.json says. */
interface FileDamage {
  readonly path: string;
  readonly what: string;
}

/**
 * The files beside the volumes that bundle.json lists, such as README.txt and report.html. It states their hashes, so a
 * page that somebody rewrote on the way is told from the one that was signed.
 * @param folders each has its own copy; one that is not there can mislead nobody
 */
export async function verifyFiles(
  folders: readonly string[],
  { files }: Pick<BundleDocument, 'files'>,
  signal?: AbortSignal,
): Promise<readonly FileDamage[]> {
  const damages: FileDamage[] = [];
  for (const folder of folders) {
    for (const file of files) {
      const what = await problemOf(folder, file, signal);
      if (what !== undefined) damages.push({ path: join(folder, file.name), what });
    }
  }
  return damages;
}

async function problemOf(
  folder: string,
  { name, size, sha256 }: BundleDocument['files'][number],
  signal?: AbortSignal,
): Promise<string | undefined> {
  const path = join(folder, name);
  try {
    const info = await lstat(path);
    if (!info.isFile()) return 'is not a regular file';
    const hasher = new Hasher();
    if (info.size === size) {
      await eachBlock([{ path, offset: 0, size }], (block) => hasher.update(block), signal);
      if (hasher.finish() === `sha256:${sha256}`) return undefined;
    }
    return 'is not what bundle.json says';
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT') return undefined;
    if (!isCoded(error, 'DISK', 'MISSING_CONTENT') && systemCodeOf(error) === undefined) throw error;
    return `cannot be read: ${messageOf(error)}`;
  }
}
