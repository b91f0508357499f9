/**
 * A small pool of 1 MiB buffers for reading and writing files. Reusing them keeps peak memory flat and spares
 * the page faults of fresh memory, which cost more than the copy into them. The thread that hashes sees them, too.
 */

/** Large enough that system calls do not count; measured flat from 1 MiB on. */
export const blockSize: number = 1024 * 1024;

const free: Buffer[] = [];
const keepAtMost = 64;

export function takeBuffer(): Buffer {
  return free.pop() ?? Buffer.from(new SharedArrayBuffer(blockSize));
}

/** Gives a buffer back; one of another size is left to the garbage collector. The caller must hold no view of it any more. */
export function giveBuffer(buffer: Buffer): void {
  if (buffer.byteLength === blockSize && free.length < keepAtMost) free.push(buffer);
}
