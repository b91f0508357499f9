/** verify --store: every blob that lock.json leads to, read and hashed. */
import { eachBlock, Hasher, noProgress, type Progress } from '@omni-airgap/content';
import { readContents } from './contents.ts';

export interface StoreCheck {
  /** Bytes read. */
  readonly bytes: number;
  readonly blobs: number;
  /** Paths of files whose bytes are not what their name says. */
  readonly damaged: readonly string[];
}

/** @throws NO_INPUT, INCOMPLETE, MISSING_CONTENT, DISK */
export async function verifyStore(
  store: string,
  progress: Progress = noProgress,
  signal?: AbortSignal,
): Promise<StoreCheck> {
  const { layout, blobs } = await readContents(store, signal);
  const damaged: string[] = [];
  let bytes = 0;
  progress.expect(blobs.reduce((sum, blob) => sum + blob.size, 0));
  for (const blob of blobs) {
    const hasher = new Hasher();
    const use = (block: Uint8Array): void => {
      hasher.update(block);
      progress.advance(block.byteLength);
    };
    await eachBlock((await layout.locate(blob)) ?? [], use, signal);
    bytes += hasher.size;
    if (hasher.finish() !== blob.digest) damaged.push(layout.pathOf(blob.digest));
  }
  return { bytes, blobs: blobs.length, damaged };
}
