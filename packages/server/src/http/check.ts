/** The running hash of an answer that nobody has seen right yet. */
import { type Digest, Hasher } from '@omni-airgap/oci';
import type { Block } from './buffers.ts';
import { ThreadHasher } from './hash-thread.ts';

/** Bytes: what is smaller is hashed sooner than another thread is asked. */
const leastForThread = 1024 * 1024;

export interface Check {
  /** Resolves when the block has been hashed; until then it must not change. @param length bytes of it */
  update(block: Block, length: number): Promise<void>;
  finish(): Promise<Digest>;
  /** Forgets what was hashed, unless it was finished. */
  giveUp(): void;
}

/** @param size bytes to come */
export function checkOf(size: number): Check {
  if (size > leastForThread) {
    const hasher = new ThreadHasher();
    return {
      update: ({ memory }, length) => hasher.update(memory, length),
      finish: () => hasher.finish(),
      giveUp: () => hasher.giveUp(),
    };
  }
  const hasher = new Hasher();
  return {
    update: async ({ buffer }, length) => hasher.update(buffer.subarray(0, length)),
    finish: async () => hasher.finish(),
    giveUp: () => {},
  };
}
