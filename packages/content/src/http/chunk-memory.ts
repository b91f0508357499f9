/**
 * Memory of received bytes, given back as soon as they are used. Left to the garbage collector, what comes off the
 * sockets piles up to some hundred megabytes, and collecting it costs a third of the time that receiving takes.
 */

/** Less is not worth the call. */
const least = 16 * 1024;
/** Memory that came from a socket and belongs to whoever reads the answer: nobody else keeps a view of it. */
const received = new WeakSet<ArrayBufferLike>();

/** Says that a chunk came from a socket. Chunks must be used in the order in which they came. */
export function markReceived(chunk: Uint8Array): void {
  // Whoever sees the end of the memory is the last to see any of it.
  const reachesEnd = chunk.byteOffset + chunk.byteLength === chunk.buffer.byteLength;
  if (reachesEnd && chunk.byteLength >= least) received.add(chunk.buffer);
}

/**
 * Gives the memory of a chunk back, if it came from a socket; afterwards the chunk is empty. Only for who has used up
 * a chunk and every one before it.
 */
export function giveBack(chunk: Uint8Array): void {
  const { buffer } = chunk;
  if (received.delete(buffer) && buffer instanceof ArrayBuffer) buffer.transfer(0);
}
