/**
 * Memory to send files from, lent and taken back, never given up: memory that two threads see is not freed soon. An
 * answer begins with one small block. One that has sent more than any socket buffers has a client that reads: it gets
 * large blocks, as long as they last. So a thousand clients that read nothing hold a thousand small blocks, and none
 * of what makes others fast.
 */

import { read } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import type { Piece } from '@omni-airgap/oci';
import { CodedError } from '@omni-airgap/oci/base';
import { BlockHasher, diskError, openForReading } from '@omni-airgap/oci/fs';
import type { Digest } from '@omni-airgap/oci/model';

export const largeBlock: number = 1024 * 1024;
const smallBlock = 32 * 1024;
/** Large blocks at most: 16 MiB. */
const maxLarge = 16;
/** Bytes. Linux buffers up to 4 MiB at the sender, and as much at a client on the same machine that reads. */
const readerProvenAt = 4 * 1024 * 1024;

const large: Buffer[] = [];
const small: Buffer[] = [];
let largeLent = 0;

/** Memory that the thread that hashes sees, too. */
function blockOf(pool: Buffer[], size: number): Buffer {
  return pool.pop() ?? Buffer.from(new SharedArrayBuffer(size));
}

function takeBack(blocks: readonly Buffer[]): void {
  for (const block of blocks) {
    const isLarge = block.byteLength === largeBlock;
    if (isLarge) largeLent--;
    (isLarge ? large : small).push(block);
  }
}

/** The blocks of one answer, used in turn. */
export class Lease {
  readonly #most: number;
  #blocks: readonly Buffer[] = [blockOf(small, smallBlock)];
  /** What still uses each block. */
  #uses: Promise<unknown>[] = [];
  #turn = 0;

  /** @param most large blocks that the answer can work with */
  constructor(most: number) {
    this.#most = most;
  }

  /**
   * The next block, once nothing uses it any more.
   * @param sent bytes of the answer so far @param left bytes to come
   * @throws what a use of it was rejected with
   */
  async next(sent: number, left: number): Promise<Buffer> {
    if (sent >= readerProvenAt) await this.#enlarge(left);
    this.#turn = (this.#turn + 1) % this.#blocks.length;
    await this.#uses[this.#turn];
    return this.#blocks[this.#turn] as Buffer;
  }

  /** The block that `next` gave is in use until all of these have settled. */
  use(...uses: readonly Promise<unknown>[]): void {
    const all = Promise.all(uses);
    all.catch(() => {});
    this.#uses[this.#turn] = all;
  }

  /** Resolves when nothing uses any block. @throws what a use was rejected with */
  async settled(): Promise<void> {
    await Promise.all(this.#uses);
  }

  /** Gives all blocks back, when nothing uses them any more. */
  async end(): Promise<void> {
    await Promise.allSettled(this.#uses);
    takeBack(this.#blocks);
    this.#blocks = [];
  }

  async #enlarge(left: number): Promise<void> {
    const isLarge = this.#blocks[0]?.byteLength === largeBlock;
    const wanted = Math.min(this.#most, Math.ceil(left / largeBlock));
    if (isLarge || largeLent + wanted > maxLarge) return;
    largeLent += wanted;
    const blocks = Array.from({ length: wanted }, () => blockOf(large, largeBlock));
    const before = this.#blocks;
    this.#blocks = blocks;
    await Promise.allSettled(this.#uses);
    takeBack(before);
    await this.settled();
    this.#uses = [];
  }
}

interface BlockUse {
  /** Called when the first file is open, before any block. */
  readonly opened?: () => void;
  /**
   * Called with the bytes of each block. Tells the lease what uses the block; the next one is only read when this
   * has resolved. @param isLast no byte follows
   */
  readonly use: (bytes: Buffer, isLast: boolean) => Promise<void> | void;
}

/** @param size bytes of all pieces together @throws DISK, MISSING_CONTENT when there are fewer; what a use was rejected with */
export async function readBlocks(
  pieces: readonly Piece[],
  size: number,
  lease: Lease,
  { opened = () => {}, use }: BlockUse,
): Promise<void> {
  let done = 0;
  if (size === 0) opened();
  for (const piece of pieces) {
    const file = await openForReading(piece.path);
    try {
      if (done === 0) opened();
      for (let at = 0; at < piece.size; ) {
        const block = await lease.next(done, size - done);
        const bytes = await readBlock(file, block, piece, at);
        at += bytes.byteLength;
        done += bytes.byteLength;
        await use(bytes, done === size);
      }
    } finally {
      await file.close().catch(() => {});
    }
  }
  await lease.settled();
  if (done !== size)
    throw new CodedError('MISSING_CONTENT', `${size - done} bytes of the content are nowhere`);
}

/** One is read into, one is hashed. */
const blocksToHash = 2;

/** The digest of content in files. @param size bytes of all pieces together @throws DISK, MISSING_CONTENT */
export async function hashPieces(pieces: readonly Piece[], size: number): Promise<Digest> {
  const hasher = new BlockHasher(size);
  const lease = new Lease(blocksToHash);
  try {
    await readBlocks(pieces, size, lease, { use: (bytes) => lease.use(hasher.update(bytes)) });
    return await hasher.digest();
  } finally {
    hasher.end();
    await lease.end();
  }
}

async function readBlock(file: FileHandle, buffer: Buffer, piece: Piece, at: number): Promise<Buffer> {
  const size = Math.min(buffer.byteLength, piece.size - at);
  for (let done = 0; done < size; ) {
    const bytesRead = await readSome(file, buffer.subarray(done, size), piece, at + done);
    if (bytesRead === 0) {
      throw new CodedError('MISSING_CONTENT', `${piece.path}: ends at byte ${piece.offset + at + done}`);
    }
    done += bytesRead;
  }
  return buffer.subarray(0, size);
}

/** By the callback API: its promise counterpart leaves much more to collect behind. */
function readSome(file: FileHandle, into: Buffer, piece: Piece, at: number): Promise<number> {
  return new Promise((resolve, reject) => {
    read(file.fd, into, 0, into.byteLength, piece.offset + at, (cause, bytesRead) => {
      if (cause === null) resolve(bytesRead);
      else reject(diskError(cause, piece.path));
    });
  });
}
