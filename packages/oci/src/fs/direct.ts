/**
 * Reads a file past the page cache (O_DIRECT), so that what is seen is what the medium holds and not what was
 * written a moment ago.
 * Source: Linux open(2), O_DIRECT.
 */
import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { CodedError, systemCodeOf } from '../base/errors.ts';
import { alignedBlockSize, giveAligned, takeAligned } from './aligned.ts';
import { diskError } from './disk-error.ts';
import { openForReading } from './pieces.ts';

/**
 * Every byte of the file, in order, in lent buffers.
 * @param size bytes the file must have
 * @returns whether caches were bypassed; false on file systems that cannot
 * @throws DISK; BAD_VOLUME when the file ends early
 */
export async function eachBlockDirect(
  path: string,
  size: number,
  use: (block: Buffer) => void,
  signal?: AbortSignal,
): Promise<boolean> {
  const buffers = [takeAligned(), takeAligned()] as const;
  let file: FileHandle | undefined;
  let reading: Promise<Buffer> | undefined;
  try {
    let direct = true;
    try {
      file = await openDirect(path);
    } catch (error) {
      if (systemCodeOf(error) !== 'EINVAL') throw diskError(error, path);
      direct = false;
      file = await openForReading(path);
    }
    const [even, odd] = buffers;
    reading = size > 0 ? fill(file, even, 0, size, path) : undefined;
    for (let at = 0, turn = 1; at < size; turn ^= 1) {
      signal?.throwIfAborted();
      const block: Buffer = (await reading) ?? Buffer.alloc(0);
      at += block.byteLength;
      reading = at < size ? fill(file, turn === 1 ? odd : even, at, size, path) : undefined;
      reading?.catch(() => {});
      use(block);
    }
    return direct;
  } finally {
    await reading?.catch(() => {});
    await file?.close().catch(() => {});
    for (const buffer of buffers) giveAligned(buffer);
  }
}

function openDirect(path: string): Promise<FileHandle> {
  return open(path, constants.O_RDONLY | constants.O_DIRECT | constants.O_NOFOLLOW | constants.O_NONBLOCK);
}

/** Offsets and lengths stay multiples of the block; only the end of the file makes a read short. */
async function fill(
  file: FileHandle,
  buffer: Buffer,
  at: number,
  size: number,
  path: string,
): Promise<Buffer> {
  const wanted = Math.min(alignedBlockSize, size - at);
  let done = 0;
  while (done < wanted) {
    let bytesRead: number;
    try {
      ({ bytesRead } = await file.read(buffer, done, alignedBlockSize - done, at + done));
    } catch (error) {
      throw diskError(error, path);
    }
    if (bytesRead === 0) throw new CodedError('BAD_VOLUME', `${path}: ends at byte ${at + done}`);
    done += bytesRead;
  }
  return buffer.subarray(0, wanted);
}
