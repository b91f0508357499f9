/**
 * Writes the volumes of a bundle, each under a temporary name until it is whole and synced, and hashes them on the
 * way: the content is read once.
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
 * All volumes into one folder.
 * @throws MISSING_CONTENT when the source lacks a blob; DISK
 */
export async function writeVolumes(
  map: VolumeMap,
  source: Located,
  folder: string,
  options: WriteVolumesOptions = {},
): Promise<readonly WrittenVolume[]> {
  const written: WrittenVolume[] = [];
  for (const volume of map.sizes.keys())
    written.push(await writeVolume(map, volume, source, folder, options));
  return written;
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
  options: WriteVolumesOptions = {},
): Promise<WrittenVolume> {
  const name = volumeName(volume);
  const path = join(folder, name);
  const temporary = `${path}.partial`;
  const hash = createHash('sha256');
  try {
    await rm(temporary, { force: true });
    const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
    const file = await open(temporary, flags, 0o644);
    const writer = new BlockWriter(file);
    const put = async (bytes: Uint8Array): Promise<void> => {
      hash.update(bytes);
      await writer.write(bytes);
    };
    try {
      await eachVolumeBlock(map, volume, source, put, options);
      await writer.drain();
      await file.sync();
    } finally {
      await writer.release();
      await file.close();
    }
    await rename(temporary, path);
    await syncFolder(folder);
    return { name, size: map.sizes[volume] ?? 0, sha256: hash.digest('hex') };
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => {});
    if (options.signal?.aborted === true) throw error;
    throw diskError(error, path);
  }
}

/** What writing the volume would give, without writing it. @throws MISSING_CONTENT, DISK */
export async function hashVolume(
  map: VolumeMap,
  volume: number,
  source: Located,
  options: WriteVolumesOptions = {},
): Promise<WrittenVolume> {
  const hash = createHash('sha256');
  await eachVolumeBlock(map, volume, source, (bytes) => void hash.update(bytes), options);
  return { name: volumeName(volume), size: map.sizes[volume] ?? 0, sha256: hash.digest('hex') };
}

/** Every byte of a volume, in order, made from the source. */
async function eachVolumeBlock(
  map: VolumeMap,
  volume: number,
  source: Located,
  use: (bytes: Uint8Array) => void | Promise<void>,
  { onBytes, signal }: WriteVolumesOptions,
): Promise<void> {
  const count = async (bytes: Uint8Array): Promise<void> => {
    await use(bytes);
    onBytes?.(bytes.byteLength);
  };
  for (const part of map.parts(volume)) {
    signal?.throwIfAborted();
    if (part.kind === 'fixed') {
      await count(part.bytes);
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
    await eachBlock(slicePieces(pieces, from, size), count, signal);
  }
}
