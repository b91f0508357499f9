/**
 * Memory of received bytes, given back as soon as they are used. Left to the garbage collector, what comes off the
 * sockets piles up to some hundred megabytes, and collecting it costs a third of the time that receiving takes.
 */

/** Less is not worth the call. */
const least = 16 * 1024;
/** Memory that came from a socket and belongs to whoever reads the answer: nobody else keeps a view of it. */
const received = new WeakSet<ArrayBufferLike>();

/** Says that a chunk came from a socket. */
export function markReceived(chunk: Uint8Array): void {
  // Where several records of TLS lie in one memory, the first to be used up may be the one at its end.
  if (chunk.byteLength >= least && chunk.byteLength === chunk.buffer.byteLength) received.add(chunk.buffer);
}

/** Gives the memory of a chunk back, if it came from a socket and is all its own; afterwards the chunk is empty. */
export function giveBack(chunk: Uint8Array): void {
  const { buffer } = chunk;
  if (received.delete(buffer) && buffer instanceof ArrayBuffer) buffer.transfer(0);
}
