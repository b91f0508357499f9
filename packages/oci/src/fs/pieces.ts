/**
 * Reads content that lies in files, block by block. `readPieces` hands out chunks; `eachBlock` lends one
 * of its own reused buffers to a callback, for hashing and copying at disk speed.
 */
import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { blockSize, giveBuffer, takeBuffer } from '../base/buffers.ts';
import { giveBack, markLent } from '../base/chunk-memory.ts';
import { CodedError } from '../base/errors.ts';
import type { Descriptor } from '../model/descriptor.ts';
import type { Bytes, Located, Piece } from '../storage.ts';
import { diskError } from './disk-error.ts';

/** Opens for reading without following a link and without hanging on a FIFO. @throws DISK */
export async function openForReading(path: string): Promise<FileHandle> {
  try {
    return await open(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW);
  } catch (error) {
    throw diskError(error, path);
  }
}

/** The pieces that hold bytes `offset` to `offset + size`, or to the end. */
export function slicePieces(
  pieces: readonly Piece[],
  offset: number,
  size: number = Number.MAX_SAFE_INTEGER,
): readonly Piece[] {
  const slice: Piece[] = [];
  let skip = offset;
  let left = size;
  for (const piece of pieces) {
    const take = Math.min(piece.size - skip, left);
    if (take > 0) {
      slice.push({ path: piece.path, offset: piece.offset + skip, size: take });
      left -= take;
    }
    skip = Math.max(0, skip - piece.size);
  }
  return slice;
}

/**
 * Every byte of the pieces, in order, in lent buffers: the block is only valid until the callback's promise
 * settles. The next block is read while the callback works.
 * @throws DISK, MISSING_CONTENT when a file ends early
 */
export async function eachBlock(
  pieces: readonly Piece[],
  use: (block: Buffer) => void | Promise<void>,
  signal?: AbortSignal,
): Promise<void> {
  for (const piece of pieces) {
    const file = await openForReading(piece.path);
    const buffers = [takeBuffer(), takeBuffer()] as const;
    let reading: Promise<Buffer> | undefined;
    try {
      let turn = 0;
      for (let at = 0; at < piece.size; ) {
        signal?.throwIfAborted();
        reading ??= fill(file, buffers[0], piece, at);
        const block = await reading;
        at += block.byteLength;
        turn ^= 1;
        reading = at < piece.size ? fill(file, turn === 1 ? buffers[1] : buffers[0], piece, at) : undefined;
        reading?.catch(() => {});
        await use(block);
      }
    } finally {
      await reading?.catch(() => {});
      await file.close().catch(() => {});
      for (const buffer of buffers) giveBuffer(buffer);
    }
  }
}

/**
 * The bytes of content in a store whose content lies in files, from byte `offset` on.
 * @param where what the store is called in "not in …"
 * @throws MISSING_CONTENT, DISK
 */
export async function* fetchLocated(
  store: Located,
  descriptor: Descriptor,
  offset: number,
  where: string,
  signal?: AbortSignal,
): Bytes {
  const pieces = await store.locate(descriptor);
  if (pieces === undefined) {
    throw new CodedError('MISSING_CONTENT', `${descriptor.digest}: not in ${where}`, { descriptor });
  }
  yield* readPieces(slicePieces(pieces, offset), signal);
}

/**
 * The bytes of the pieces as a stream of chunks of a block; the next is read while the consumer works. Whoever is done with
 * a chunk does well to give it back (`giveBack`): then its memory is used again.
 * @throws DISK, MISSING_CONTENT
 */
export async function* readPieces(pieces: readonly Piece[], signal?: AbortSignal): Bytes {
  for (const piece of pieces) {
    const file = await openForReading(piece.path);
    let reading: Promise<Buffer> | undefined;
    try {
      for (let at = 0; at < piece.size; ) {
        signal?.throwIfAborted();
        const chunk: Buffer = await (reading ?? readChunk(file, piece, at));
        at += chunk.byteLength;
        reading = at < piece.size ? readChunk(file, piece, at) : undefined;
        reading?.catch(() => {});
        yield chunk;
      }
    } finally {
      const unused = await reading?.catch(() => undefined);
      if (unused !== undefined) giveBack(unused);
      await file.close().catch(() => {});
    }
  }
}

/** Bytes at the end of content that get memory of their own size, not a block. */
const smallSize = 128 * 1024;

async function readChunk(file: FileHandle, piece: Piece, at: number): Promise<Buffer> {
  const left = piece.size - at;
  if (left <= smallSize) return fill(file, Buffer.allocUnsafeSlow(left), piece, at);
  const block = takeBuffer();
  try {
    const chunk = await fill(file, block, piece, at);
    markLent(chunk, () => giveBuffer(block));
    return chunk;
  } catch (error) {
    giveBuffer(block);
    throw error;
  }
}

/**
 * Fills memory with the bytes of pieces that are together as long as it is.
 * @throws DISK, MISSING_CONTENT when a file ends early
 */
export async function readInto(buffer: Buffer, pieces: readonly Piece[]): Promise<void> {
  let at = 0;
  for (const piece of pieces) {
    const file = await openForReading(piece.path);
    try {
      await readRun(file, buffer.subarray(at, at + piece.size), piece, 0);
    } finally {
      await file.close().catch(() => {});
    }
    at += piece.size;
  }
}

async function fill(file: FileHandle, buffer: Buffer, piece: Piece, at: number): Promise<Buffer> {
  const run = buffer.subarray(0, Math.min(buffer.byteLength, blockSize, piece.size - at));
  await readRun(file, run, piece, at);
  return run;
}

/** Fills the run from byte `at` of the piece on. */
async function readRun(file: FileHandle, run: Buffer, piece: Piece, at: number): Promise<void> {
  for (let done = 0; done < run.byteLength; ) {
    let bytesRead: number;
    try {
      ({ bytesRead } = await file.read(run, done, run.byteLength - done, piece.offset + at + done));
    } catch (error) {
      throw diskError(error, piece.path);
    }
    if (bytesRead === 0) {
      throw new CodedError('MISSING_CONTENT', `${piece.path}: ends at byte ${piece.offset + at + done}`);
    }
    done += bytesRead;
  }
}
