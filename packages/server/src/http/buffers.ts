/**
 * Memory to send files from, lent and taken back, never given up: memory that two threads see is not freed soon. Large
 * blocks for as many answers as fit into a fixed share, small ones for all others, so that a thousand slow clients do
 * not take gigabytes.
 */

export const largeBlock: number = 1024 * 1024;
const smallBlock = 16 * 1024;
/** Large blocks at most: 24 MiB. */
const maxLarge = 24;
/** Of small blocks an answer needs no more than one to fill and one to send. */
const mostSmall = 2;

export interface Block {
  readonly memory: SharedArrayBuffer;
  readonly buffer: Buffer;
}

const large: Block[] = [];
const small: Block[] = [];
let largeLent = 0;

function blockOf(pool: Block[], size: number): Block {
  const pooled = pool.pop();
  if (pooled !== undefined) return pooled;
  const memory = new SharedArrayBuffer(size);
  return { memory, buffer: Buffer.from(memory) };
}

/** @param most blocks that one answer can work with @param wanted bytes of that answer */
export function lend(most: number, wanted: number): readonly Block[] {
  const ofLarge = Math.max(1, Math.min(most, Math.ceil(wanted / largeBlock)));
  if (wanted > smallBlock && largeLent + ofLarge <= maxLarge) {
    largeLent += ofLarge;
    return Array.from({ length: ofLarge }, () => blockOf(large, largeBlock));
  }
  const ofSmall = wanted > smallBlock ? mostSmall : 1;
  return Array.from({ length: ofSmall }, () => blockOf(small, smallBlock));
}

export function takeBack(blocks: readonly Block[]): void {
  for (const block of blocks) {
    const isLarge = block.buffer.byteLength === largeBlock;
    if (isLarge) largeLent--;
    (isLarge ? large : small).push(block);
  }
}
