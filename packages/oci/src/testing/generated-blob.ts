/**
 * Pseudo-random content of any size that is never held whole: the same seed gives the same bytes, from any offset.
 * One random block is made; every block of the stream is a copy of it with its number written in front, which runs
 * at memory speed.
 */
import type { Descriptor } from '../model/descriptor.ts';
import { Hasher } from '../model/digest.ts';
import { MediaType } from '../model/media-type.ts';
import type { Bytes, OpenBytes } from '../storage.ts';

const blockSize = 256 * 1024;

export interface GeneratedBlob {
  readonly descriptor: Descriptor;
  readonly open: OpenBytes;
}

/** Numbers from 0 up to 1, the same for the same seed. Algorithm: mulberry32, by Tommy Ettinger, public domain. */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Opens the bytes of a seed, without a digest. @param size bytes */
export function generatedBytes(seed: number, size: number): OpenBytes {
  let block: Buffer | undefined;
  const makeBlock = (): Buffer => {
    const random = seededRandom(seed);
    const made = Buffer.allocUnsafe(Math.min(blockSize, Math.max(8, size + 3)) & ~3);
    for (let at = 0; at < made.byteLength; at += 4) made.writeUInt32LE(random() * 2 ** 32, at);
    return made;
  };
  return async function* (offset = 0): Bytes {
    block ??= makeBlock();
    for (let at = offset; at < size; ) {
      const number = Math.floor(at / blockSize);
      const start = number * blockSize;
      // A copy: chunks belong to the consumer.
      const copy = Buffer.from(block);
      copy.writeUInt32LE(number, 0);
      const chunk = copy.subarray(at - start, Math.min(copy.byteLength, size - start));
      at += chunk.byteLength;
      yield chunk;
    }
  };
}

/** @param size bytes; making the descriptor reads them once, at about 1 GiB in a second */
export async function generatedBlob(
  seed: number,
  size: number,
  mediaType: string = MediaType.octetStream,
): Promise<GeneratedBlob> {
  const open = generatedBytes(seed, size);
  const hasher = new Hasher();
  for await (const chunk of open()) hasher.update(chunk);
  return { descriptor: { mediaType, digest: hasher.finish(), size }, open };
}
