/**
 * Writes the volumes of a bundle into a folder, each under a temporary name until it is whole and synced, and
 * hashes them on the way: the content is read once.
 */
import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { open, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { CodedError } from '../errors.ts';
import { BlockWriter } from '../fs/block-writer.ts';
import { diskError } from '../fs/disk-error.ts';
import { syncFolder } from '../fs/files.ts';
import { eachBlock, slicePieces } from '../fs/pieces.ts';
import type { Located } from '../storage.ts';
import { type VolumeMap, volumeName } from './volume-map.ts';

export interface WrittenVolume {
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  /** 64 hex characters. */
  readonly sha256: string;
}

export interface WriteVolumesOptions {
  /** Called with the number of bytes just written. */
  readonly onBytes?: (bytes: number) => void;
  readonly signal?: AbortSignal;
}

/**
 * @throws MISSING_CONTENT when the source lacks a blob; DISK
 */
export async function writeVolumes(
  map: VolumeMap,
  source: Located,
  folder: string,
  options: WriteVolumesOptions = {},
): Promise<readonly WrittenVolume[]> {
  const written: WrittenVolume[] = [];
  for (const [volume, size] of map.sizes.entries()) {
    const name = volumeName(volume);
    const sha256 = await writeVolume(map, volume, source, join(folder, name), options);
    written.push({ name, size, sha256 });
  }
  await syncFolder(folder);
  return written;
}

async function writeVolume(
  map: VolumeMap,
  volume: number,
  source: Located,
  path: string,
  { onBytes, signal }: WriteVolumesOptions,
): Promise<string> {
  const temporary = `${path}.partial`;
  const hash = createHash('sha256');
  try {
    await rm(temporary, { force: true });
    const file = await open(
      temporary,
      constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW,
      0o644,
    );
    const writer = new BlockWriter(file);
    const put = async (bytes: Uint8Array): Promise<void> => {
      hash.update(bytes);
      await writer.write(bytes);
      onBytes?.(bytes.byteLength);
    };
    try {
      for (const part of map.parts(volume)) {
        signal?.throwIfAborted();
        if (part.kind === 'fixed') {
          await put(part.bytes);
          continue;
        }
        const { blob, from, size } = part;
        const pieces = await source.locate(blob);
        if (pieces === undefined) {
          throw new CodedError(
            'MISSING_CONTENT',
            `${blob.digest}: not in the store any more, or of another size; run fetch again`,
          );
        }
        await eachBlock(slicePieces(pieces, from, size), put, signal);
      }
      await writer.drain();
      await file.sync();
    } finally {
      await writer.release();
      await file.close();
    }
    await rename(temporary, path);
    return hash.digest('hex');
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => {});
    if (signal?.aborted === true) throw error;
    throw diskError(error, path);
  }
}
