/**
 * Reading a volume back from the medium it was just written to, past the caches: what counts is what the medium
 * holds. When it is wrong, whether the medium or the store is to blame is found out and said.
 */

import { join } from 'node:path';
import {
  CodedError,
  type Digest,
  eachBlock,
  eachBlockDirect,
  Hasher,
  type Layout,
  type Progress,
  type VolumeMap,
  VolumeVerifier,
  volumeName,
} from '@omni-airgap/content';
import type { Medium } from './medium.ts';
import type { VolumeJournal } from './volume-journal.ts';

export interface ReadBack {
  readonly volume: number;
  readonly map: VolumeMap;
  readonly medium: Medium;
  readonly journal: VolumeJournal;
  readonly layout: Layout;
  readonly progress: Progress;
}

/** @throws BAD_VOLUME when the medium is bad, DIGEST_MISMATCH when the store is, DISK */
export async function readBack(
  what: ReadBack,
  watch: { readonly onBytes: (bytes: number) => void; readonly signal?: AbortSignal },
): Promise<void> {
  const { volume, map, medium, journal, layout, progress } = what;
  const path = join(medium.folder, volumeName(volume));
  // One volume at a time: a blob that is cut is known by the hashes of its volumes.
  const verifier = new VolumeVerifier(map, new Set([volume]), (one) => journal.sha256Of(one));
  const unseen = new Set(verifier.bad);
  let direct = true;
  await verifier.verify(volume, async (use) => {
    const each = (block: Buffer): void => {
      use(block);
      watch.onBytes(block.byteLength);
    };
    direct = await eachBlockDirect(path, map.sizes[volume] ?? 0, each, watch.signal);
  });
  if (!direct && volume === 0) {
    progress.note(
      `${medium.folder}: this file system cannot be read past the caches; the read-back proves less`,
    );
  }
  const [damage] = verifier.damages;
  if (damage === undefined) return;
  await medium.remove(volume);
  for (const digest of verifier.bad) {
    if (unseen.has(digest) || (await isRight(layout, digest, map, watch.signal))) continue;
    await journal.forget(volume);
    throw new CodedError(
      'DIGEST_MISMATCH',
      `${layout.pathOf(digest)}: its bytes are not what its name says, the store was changed or its disk is bad; remove it and run fetch again`,
    );
  }
  throw new CodedError(
    'BAD_VOLUME',
    `${path}: ${damage.what} at byte ${damage.offset} reads back otherwise than it was written; the medium is bad, use another`,
  );
}

async function isRight(
  layout: Layout,
  digest: Digest,
  map: VolumeMap,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  const blob = map.place(digest);
  const pieces = blob === undefined ? undefined : await layout.locate(blob);
  if (pieces === undefined) return false;
  const hasher = new Hasher();
  await eachBlock(pieces, (block) => hasher.update(block), signal);
  return hasher.finish() === digest;
}
