/**
 * Memory of chunks, given back as soon as they are used. Left to the garbage collector, what comes off sockets and disks
 * piles up to some hundred megabytes, and collecting it costs a third of the time that moving the bytes takes.
 */

/** Less is not worth the call. */
const least = 16 * 1024;
/** Takes the memory of a chunk back. By chunk, so that a view of a part of it gives nothing back. */
const takers = new WeakMap<Uint8Array, () => void>();

/** Says that a chunk came from a socket and belongs to whoever reads the answer: nobody else keeps a view of its memory. */
export function markReceived(chunk: Uint8Array): void {
  const { buffer } = chunk;
  // Where several records of TLS lie in one memory, the first to be used up may be the one at its end.
  if (chunk.byteLength < least || chunk.byteLength !== buffer.byteLength) return;
  if (buffer instanceof ArrayBuffer) markLent(chunk, () => void buffer.transfer(0));
}

/** Says what takes the memory of a chunk back. */
export function markLent(chunk: Uint8Array, takeBack: () => void): void {
  takers.set(chunk, takeBack);
}

/**
 * Gives the memory of a chunk back, if it came from a socket or a file. To be called by the consumer of the chunk, when
 * nobody holds a view of it any more: afterwards its bytes are gone, or those of another chunk.
 */
export function giveBack(chunk: Uint8Array): void {
  const takeBack = takers.get(chunk);
  takers.delete(chunk);
  takeBack?.();
}
