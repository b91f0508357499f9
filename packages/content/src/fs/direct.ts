/**
 * Reads a file past the page cache (O_DIRECT), so that what is seen is what the medium holds and not what was
 * written a moment ago. It needs memory aligned to the device's blocks: a WebAssembly memory begins on a page
 * boundary, Node's own buffers do not.
 * Source: Linux open(2), O_DIRECT.
 */
import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { CodedError, systemCodeOf } from '../errors.ts';
import { diskError } from './disk-error.ts';
import { openForReading } from './pieces.ts';

/** Large, since the kernel does not read ahead here. */
const blockSize = 4 * 1024 * 1024;
const wasmPage = 64 * 1024;

/** The types of Node.js leave the name out. */
const { WebAssembly: wasm } = globalThis as unknown as {
  readonly WebAssembly: {
    readonly Memory: new (size: { readonly initial: number }) => { readonly buffer: ArrayBuffer };
  };
};

/** Kept for the next call: WebAssembly memory is given back late. */
const free: (readonly [Buffer, Buffer])[] = [];

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
  const buffers = free.pop() ?? makeBuffers();
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
    await file?.close();
    free.push(buffers);
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
  const wanted = Math.min(blockSize, size - at);
  let done = 0;
  while (done < wanted) {
    let bytesRead: number;
    try {
      ({ bytesRead } = await file.read(buffer, done, blockSize - done, at + done));
    } catch (error) {
      throw diskError(error, path);
    }
    if (bytesRead === 0) throw new CodedError('BAD_VOLUME', `${path}: ends at byte ${at + done}`);
    done += bytesRead;
  }
  return buffer.subarray(0, wanted);
}

function makeBuffers(): readonly [Buffer, Buffer] {
  const memory = new wasm.Memory({ initial: (2 * blockSize) / wasmPage });
  return [Buffer.from(memory.buffer, 0, blockSize), Buffer.from(memory.buffer, blockSize, blockSize)];
}
