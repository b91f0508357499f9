/**
 * A small pool of buffers for reading and writing files and large bodies. Reusing them keeps peak memory flat and spares
 * the page faults of fresh memory, which cost more than the copy into them. The thread that hashes sees them, too.
 */

/** Large enough that system calls do not count; measured flat from 1 MiB on. */
export const blockSize: number = 1024 * 1024;

/** By size in bytes. */
const free = new Map<number, Buffer[]>();
const keepAtMost = 64;

/** @param size bytes; all who want buffers of a size share them */
export function takeBuffer(size: number = blockSize): Buffer {
  const pool = free.get(size);
  if (pool === undefined) free.set(size, []);
  return pool?.pop() ?? Buffer.from(new SharedArrayBuffer(size));
}

/** Gives a buffer back; one that was not taken is left to the garbage collector. The caller must hold no view of it any more. */
export function giveBuffer(buffer: Buffer): void {
  const pool = free.get(buffer.byteLength);
  if (pool !== undefined && pool.length < keepAtMost) pool.push(buffer);
}
