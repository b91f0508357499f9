/**
 * Writes a volume of a bundle, under a temporary name until it is whole and synced, and hashes it on the way: the content
 * is read once.
 */
import { createHash } from 'node:crypto';
import { rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Located } from '@omni-airgap/oci';
import { diskError, SyncedWriter, syncFolder } from '@omni-airgap/oci/fs';
import { eachVolumeBlock } from './volume-blocks.ts';
import { type VolumeMap, volumeName } from './volume-map.ts';

export interface WrittenVolume {
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  /** 64 hex characters. */
  readonly sha256: string;
}

export interface WriteVolumeOptions {
  /** Called with the number of bytes just written. */
  readonly onBytes?: (bytes: number) => void;
  readonly signal?: AbortSignal;
}

/**
 * One volume, as `content.tar.NNN` into a folder; it has that name only once it is whole and on the disk.
 * @throws MISSING_CONTENT when the source lacks a blob; DISK
 */
export async function writeVolume(
  map: VolumeMap,
  volume: number,
  source: Located,
  folder: string,
  options: WriteVolumeOptions = {},
): Promise<WrittenVolume> {
  const { onBytes, signal } = options;
  const name = volumeName(volume);
  const path = join(folder, name);
  const temporary = `${path}.partial`;
  const hash = createHash('sha256');
  try {
    await rm(temporary, { force: true });
    const writer = await SyncedWriter.create(temporary);
    const put = async (block: Buffer): Promise<void> => {
      hash.update(block);
      await writer.write(block);
      onBytes?.(block.byteLength);
    };
    try {
      await eachVolumeBlock(map, volume, source, put, signal);
      await writer.sync();
    } finally {
      await writer.close();
    }
    await rename(temporary, path);
    await syncFolder(folder);
    return { name, size: map.sizes[volume] ?? 0, sha256: hash.digest('hex') };
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => {});
    if (signal?.aborted === true) throw error;
    throw diskError(error, path);
  }
}

/** What writing the volume would give, without writing it. @throws MISSING_CONTENT, DISK */
export async function hashVolume(
  map: VolumeMap,
  volume: number,
  source: Located,
  options: WriteVolumeOptions = {},
): Promise<WrittenVolume> {
  const hash = createHash('sha256');
  const use = (block: Buffer): void => {
    hash.update(block);
    options.onBytes?.(block.byteLength);
  };
  await eachVolumeBlock(map, volume, source, use, options.signal);
  return { name: volumeName(volume), size: map.sizes[volume] ?? 0, sha256: hash.digest('hex') };
}
