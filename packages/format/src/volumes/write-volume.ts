/**
 * Writes a volume of a bundle, under a temporary name until it is whole and synced, and hashes it on the way: the content
 * is read once.
 */

import { type FileHandle, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Located, Piece } from '@omni-airgap/oci';
import { CodedError, settleAll } from '@omni-airgap/oci/base';
import {
  alignedBlockSize,
  BlockHasher,
  diskError,
  giveAligned,
  openForReading,
  SyncedWriter,
  slicePieces,
  syncFolder,
  takeAligned,
} from '@omni-airgap/oci/fs';
import { hexOf } from '@omni-airgap/oci/model';
import { type VolumeMap, type VolumePart, volumeName } from './volume-map.ts';

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
  readonly signal?: AbortSignal | undefined;
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
  const size = map.sizes[volume] ?? 0;
  const hasher = new BlockHasher(size);
  try {
    await rm(temporary, { force: true });
    const writer = await SyncedWriter.create(temporary);
    const put = async (block: Buffer): Promise<void> => {
      await settleAll([writer.write(block), hasher.update(block)]);
      onBytes?.(block.byteLength);
    };
    try {
      await eachVolumeBlock(map, volume, source, put, signal);
      await writer.sync();
    } finally {
      await writer.close();
    }
    const sha256 = hexOf(await hasher.digest());
    await rename(temporary, path);
    await syncFolder(folder);
    return { name, size, sha256 };
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => {});
    if (signal?.aborted === true) throw error;
    throw diskError(error, path);
  } finally {
    hasher.end();
  }
}

/** What writing the volume would give, without writing it. @throws MISSING_CONTENT, DISK */
export async function hashVolume(
  map: VolumeMap,
  volume: number,
  source: Located,
  options: WriteVolumeOptions = {},
): Promise<WrittenVolume> {
  const size = map.sizes[volume] ?? 0;
  const hasher = new BlockHasher(size);
  const use = async (block: Buffer): Promise<void> => {
    await hasher.update(block);
    options.onBytes?.(block.byteLength);
  };
  try {
    await eachVolumeBlock(map, volume, source, use, options.signal);
    return { name: volumeName(volume), size, sha256: hexOf(await hasher.digest()) };
  } finally {
    hasher.end();
  }
}

/** One is read, one used, one written. */
const blocks = 3;

/**
 * The bytes of a volume, made from the store in large blocks: content is read straight into the memory that it is
 * hashed in and written from. While one block is being used the next is read.
 * Every byte of a volume, in order, in blocks of alignedBlockSize (the last may be shorter), lent until the promise
 * of `use` settles; `use` is called with the next block before that.
 * @throws MISSING_CONTENT when the source lacks a blob, DISK, and what `use` throws
 */
async function eachVolumeBlock(
  map: VolumeMap,
  volume: number,
  source: Located,
  use: (block: Buffer) => Promise<void>,
  signal?: AbortSignal,
): Promise<void> {
  const parts = new PartReader(map.parts(volume), source);
  const buffers = Array.from({ length: blocks }, takeAligned);
  /** Each buffer comes back here, in the order they were lent in. */
  const free: Promise<Buffer>[] = buffers.map((buffer) => Promise.resolve(buffer));
  const fill = async (): Promise<Buffer> => {
    const buffer = await free.shift();
    if (buffer === undefined) throw new CodedError('INTERNAL', 'all blocks are lent');
    return buffer.subarray(0, await parts.fill(buffer));
  };
  const lend = async (block: Buffer): Promise<Buffer> => {
    await use(block);
    return Buffer.from(block.buffer);
  };
  let filling: Promise<Buffer> | undefined;
  try {
    for (let isLast = false; !isLast; ) {
      signal?.throwIfAborted();
      const block: Buffer = await (filling ?? fill());
      isLast = block.byteLength < alignedBlockSize;
      // The next block is read meanwhile.
      filling = isLast ? undefined : fill();
      filling?.catch(() => {});
      const lent = lend(block);
      lent.catch(() => {});
      free.push(lent);
    }
    await Promise.all(free);
  } finally {
    await Promise.allSettled([filling, ...free]);
    await parts.close();
    for (const buffer of buffers) giveAligned(buffer);
  }
}

/** Fills memory from the parts of a volume, one after the other. */
class PartReader {
  readonly #parts: Iterator<VolumePart>;
  readonly #source: Located;
  /** What is left of the current part: bytes in memory, or pieces of files. */
  #fixed: Uint8Array = new Uint8Array(0);
  #pieces: readonly Piece[] = [];
  #open: { readonly path: string; readonly file: FileHandle } | undefined;

  constructor(parts: Iterable<VolumePart>, source: Located) {
    this.#parts = parts[Symbol.iterator]();
    this.#source = source;
  }

  /** @returns how many bytes were put into the buffer; fewer than it has only at the end of the volume */
  async fill(buffer: Buffer): Promise<number> {
    let done = 0;
    while (done < buffer.byteLength) {
      if (this.#fixed.byteLength > 0) {
        const n = Math.min(this.#fixed.byteLength, buffer.byteLength - done);
        buffer.set(this.#fixed.subarray(0, n), done);
        this.#fixed = this.#fixed.subarray(n);
        done += n;
      } else if (this.#pieces.length > 0) {
        done += await this.#read(buffer, done);
      } else if (!(await this.#next())) break;
    }
    return done;
  }

  async close(): Promise<void> {
    const open = this.#open;
    this.#open = undefined;
    await open?.file.close().catch(() => {});
  }

  /** Goes on to the next part; false after the last. */
  async #next(): Promise<boolean> {
    const next = this.#parts.next();
    if (next.done === true) return false;
    if (next.value.kind === 'fixed') {
      this.#fixed = next.value.bytes;
      return true;
    }
    const { blob, from, size } = next.value;
    const pieces = await this.#source.locate(blob);
    if (pieces === undefined) {
      throw new CodedError(
        'MISSING_CONTENT',
        `${blob.digest}: not in the store any more, or of another size; run fetch again`,
      );
    }
    this.#pieces = slicePieces(pieces, from, size);
    return true;
  }

  async #read(buffer: Buffer, at: number): Promise<number> {
    const [piece] = this.#pieces;
    if (piece === undefined) return 0;
    const { path, offset, size } = piece;
    if (this.#open?.path !== path) {
      await this.close();
      this.#open = { path, file: await openForReading(path) };
    }
    const { file } = this.#open;
    const wanted = Math.min(size, buffer.byteLength - at);
    const { bytesRead } = await file.read(buffer, at, wanted, offset).catch((error: unknown) => {
      throw diskError(error, path);
    });
    if (bytesRead === 0) throw new CodedError('MISSING_CONTENT', `${path}: ends at byte ${offset}`);
    this.#pieces = slicePieces(this.#pieces, bytesRead);
    return bytesRead;
  }
}
