/**
 * Reads every byte of a bundle once, in order, and says what is damaged and what can still be loaded. What cannot
 * be read counts as wrong; the rest is read on.
 */
import type { Digest } from '../digest.ts';
import { isCoded, messageOf, systemCodeOf } from '../errors.ts';
import { eachBlock } from '../fs/pieces.ts';
import { childrenOf, fetchManifest } from '../manifest.ts';
import { isManifestType } from '../media-type.ts';
import type { BundleStore } from './bundle-store.ts';
import { volumeName } from './volume-map.ts';
import { type Damage, VolumeVerifier } from './volume-verifier.ts';

export interface BundleCheck {
  /** Bytes read. */
  readonly bytes: number;
  readonly blobs: number;
  readonly damages: readonly Damage[];
  /** Volumes that are in none of the folders. */
  readonly absent: readonly string[];
  /** Names whose content is not all there and right. */
  readonly unusable: readonly string[];
}

export interface VerifyBundleOptions {
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
    verifier.damage(volume, Math.min(size, should), `its end: ${size} bytes instead of ${should}`);
  }
  if (depth === 'everything') {
    for (const volume of here) {
      await verifier.verify(volume, (use) => readVolume(bundle, volume, verifier, use, { onBytes, signal }));
    }
  }
  const unusable = await findUnusable(bundle, verifier, signal);
  const { bytes, blobs, damages } = verifier;
  return { bytes, blobs, damages, absent, unusable };
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

/** Names whose graph is not complete, or touches a bad blob. What a base brought counts as there. */
async function findUnusable(
  bundle: BundleStore,
  verifier: VolumeVerifier,
  signal?: AbortSignal,
): Promise<readonly string[]> {
  const sparse = new Set(bundle.document.sparse?.map((d) => d.digest));
  const known = new Map<Digest, boolean>();
  const isGood = async (descriptor: Parameters<typeof fetchManifest>[1], depth: number): Promise<boolean> => {
    const { digest, mediaType } = descriptor;
    if (bundle.reliesOn(descriptor)) return true;
    const seen = known.get(digest);
    if (seen !== undefined) return seen;
    let good = !verifier.bad.has(digest) && (await bundle.has(descriptor)) && depth < 8;
    if (good && isManifestType(mediaType)) {
      try {
        const { manifest } = await fetchManifest(bundle, descriptor, signal);
        for (const child of childrenOf(manifest)) {
          const leftOut = sparse.has(digest) && !(await bundle.has(child));
          if (!leftOut && !(await isGood(child, depth + 1))) good = false;
        }
      } catch (error) {
        if (!isCoded(error, 'BAD_DOCUMENT', 'DIGEST_MISMATCH', 'MISSING_CONTENT')) throw error;
        const { volume, offset } = bundle.map.place(digest) ?? { volume: 0, offset: 0 };
        verifier.damage(volume, offset, messageOf(error));
        good = false;
      }
    }
    known.set(digest, good);
    return good;
  };
  const unusable: string[] = [];
  for await (const [name, descriptor] of bundle.names()) {
    if (!(await isGood(descriptor, 0))) unusable.push(name);
  }
  return unusable;
}
