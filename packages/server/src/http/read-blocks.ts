/** Reads files into the blocks of a lease: while one block is used, the next is filled. */
import { read } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import type { Piece } from '@omni-airgap/oci';
import { CodedError } from '@omni-airgap/oci/base';
import { diskError, openForReading } from '@omni-airgap/oci/fs';
import type { Block, Lease } from './buffers.ts';

export interface BlockUse {
  /** Called when the first file is open, before any block. */
  readonly opened?: () => void;
  /**
   * Called with each block and its bytes. Tells the lease what uses the block; the next one is only read when this
   * has resolved. @param isLast no byte follows
   */
  readonly use: (block: Block, bytes: Buffer, isLast: boolean) => Promise<void> | void;
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
        await use(block, bytes, done === size);
      }
    } finally {
      await file.close();
    }
  }
  await lease.settled();
  if (done !== size)
    throw new CodedError('MISSING_CONTENT', `${size - done} bytes of the content are nowhere`);
}

async function readBlock(file: FileHandle, { buffer }: Block, piece: Piece, at: number): Promise<Buffer> {
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
