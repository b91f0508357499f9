/**
 * Reads every byte of a bundle once, in order: each blob must have its digest, every other byte must be the one
 * that bundle.json implies. Together they prove the volumes, with one hash for each byte.
 */
import type { Digest } from '../digest.ts';
import { Hasher } from '../digest.ts';
import { CodedError, isCoded, messageOf } from '../errors.ts';
import { eachBlock } from '../fs/pieces.ts';
import { childrenOf, fetchManifest } from '../manifest.ts';
import { isManifestType } from '../media-type.ts';
import type { BundleStore } from './bundle-store.ts';
import { volumeName } from './volume-map.ts';
import type { PlacedBlob } from './volume-plan.ts';

export interface Damage {
  /** File name of the volume. */
  readonly volume: string;
  /** Byte in the volume where the damaged part begins. */
  readonly offset: number;
  readonly what: string;
}

export interface BundleCheck {
  /** Bytes read. */
  readonly bytes: number;
  readonly blobs: number;
  readonly damages: readonly Damage[];
  /** Names whose content is not all there and right. */
  readonly unusable: readonly string[];
}

/** The most damages that are listed one by one. */
const maxDamages = 1000;

/** @throws DISK only when a medium cannot be read at all; damage is in the answer */
export async function verifyBundle(
  bundle: BundleStore,
  options: { readonly onBytes?: (bytes: number) => void; readonly signal?: AbortSignal } = {},
): Promise<BundleCheck> {
  const { onBytes, signal } = options;
  const damages: Damage[] = [];
  const bad = new Set<Digest>();
  const hashers = new Map<Digest, Hasher>();
  let bytes = 0;
  let blobs = 0;
  for (let volume = 0; volume < bundle.map.sizes.length; volume++) {
    const damage = (offset: number, what: string): void => {
      if (damages.length < maxDamages) damages.push({ volume: volumeName(volume), offset, what });
    };
    const size = bundle.map.sizes[volume] ?? 0;
    const parts = bundle.map.parts(volume)[Symbol.iterator]();
    let next = parts.next();
    let partStart = 0;
    let inPart = 0;
    let wrong = false;

    /** Takes what belongs to the current part off a block; answers how much that was. */
    const take = (block: Buffer): number => {
      if (next.done === true) throw new CodedError('INTERNAL', 'the volume map ends before the volume');
      const part = next.value;
      const partSize = part.kind === 'fixed' ? part.bytes.byteLength : part.size;
      const n = Math.min(block.byteLength, partSize - inPart);
      if (part.kind === 'fixed') {
        wrong ||= block.compare(part.bytes, inPart, inPart + n, 0, n) !== 0;
      } else {
        let hasher = hashers.get(part.blob.digest);
        if (hasher === undefined) {
          hasher = new Hasher();
          hashers.set(part.blob.digest, hasher);
        }
        hasher.update(block.subarray(0, n));
      }
      inPart += n;
      if (inPart < partSize) return n;
      if (part.kind === 'fixed') {
        if (wrong) damage(partStart, part.of);
      } else if (part.from + part.size === part.blob.size) {
        blobs++;
        const { digest } = part.blob;
        if (hashers.get(digest)?.finish() !== digest) {
          bad.add(digest);
          damage(partStart, part.from === 0 ? `blob ${digest}` : cutBlob(part.blob));
        }
        hashers.delete(digest);
      }
      partStart += partSize;
      inPart = 0;
      wrong = false;
      next = parts.next();
      return n;
    };

    await eachBlock(
      [{ path: bundle.volumePath(volume), offset: 0, size }],
      (block) => {
        for (let at = 0; at < block.byteLength; ) at += take(block.subarray(at));
        bytes += block.byteLength;
        onBytes?.(block.byteLength);
      },
      signal,
    );
    // A blob without bytes at the very end has its digest checked too.
    while (next.done !== true) take(Buffer.alloc(0));
  }
  const unusable = await findUnusable(bundle, bad, damages, signal);
  return { bytes, blobs, damages, unusable };
}

/** Its one digest cannot tell which of its volumes is damaged. */
function cutBlob({ digest, volume }: PlacedBlob): string {
  return `blob ${digest}, here or in an earlier volume from ${volumeName(volume)} on`;
}

/** Names whose graph is not complete, or touches a bad blob. */
async function findUnusable(
  bundle: BundleStore,
  bad: ReadonlySet<Digest>,
  damages: Damage[],
  signal?: AbortSignal,
): Promise<readonly string[]> {
  const sparse = new Set(bundle.document.sparse?.map((d) => d.digest));
  const known = new Map<Digest, boolean>();
  const isGood = async (descriptor: Parameters<typeof fetchManifest>[1], depth: number): Promise<boolean> => {
    const { digest, mediaType } = descriptor;
    const seen = known.get(digest);
    if (seen !== undefined) return seen;
    let good = !bad.has(digest) && (await bundle.has(descriptor)) && depth < 8;
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
        damages.push({ volume: volumeName(volume), offset, what: messageOf(error) });
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
