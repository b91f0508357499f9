/**
 * SHA-256 on a thread of its own, so that hashing what is sent for the first time does not hold up the sending.
 * Blocks lie in memory that both threads see; nothing is copied.
 */

import { Worker } from 'node:worker_threads';
import type { Piece } from '@omni-airgap/oci';
import { CodedError } from '@omni-airgap/oci/base';
import { type Digest, Hasher, isDigest } from '@omni-airgap/oci/model';
import { Thread } from '../thread.ts';
import { type Block, Lease, readBlocks } from './blocks.ts';

/** Plain JavaScript in a string: a release is one file, and has none beside it to start the thread from. */
const program = `
const { parentPort } = require('node:worker_threads');
const { createHash } = require('node:crypto');
const hashes = new Map();
parentPort.on('message', ({ id, memory, length }) => {
  if (memory !== undefined) {
    if (!hashes.has(id)) hashes.set(id, createHash('sha256'));
    hashes.get(id).update(new Uint8Array(memory, 0, length));
    parentPort.postMessage({ id });
  } else {
    const hash = hashes.get(id);
    hashes.delete(id);
    parentPort.postMessage({ id, digest: length === 0 ? 'sha256:' + hash.digest('hex') : undefined });
  }
});`;

interface Reply {
  readonly id: number;
  readonly digest?: string;
}

interface Message {
  readonly id: number;
  readonly memory?: SharedArrayBuffer;
  readonly length: number;
}

const thread = new Thread<Message, Reply>(
  'the thread that hashes',
  () => new Worker(program, { eval: true, resourceLimits: { maxOldGenerationSizeMb: 32 } }),
);
let lastId = 0;

/** One running hash. Must be finished or given up. */
class ThreadHasher {
  readonly #id = ++lastId;
  #isUsed = false;

  /** @param length bytes from the start of the memory, which must not change until this resolves */
  async update(memory: SharedArrayBuffer, length: number): Promise<void> {
    this.#isUsed = true;
    await thread.ask({ id: this.#id, memory, length });
  }

  /** After at least one block. */
  async finish(): Promise<Digest> {
    this.#isUsed = false;
    const { digest } = await thread.ask({ id: this.#id, length: 0 });
    if (isDigest(digest)) return digest;
    throw new CodedError('INTERNAL', 'the thread that hashes gave no digest');
  }

  /** Forgets what was hashed, unless it was finished. */
  giveUp(): void {
    if (!this.#isUsed) return;
    this.#isUsed = false;
    thread.ask({ id: this.#id, length: 1 }).catch(() => {});
  }
}

/** Bytes: what is smaller is hashed sooner than another thread is asked. */
const leastForThread = 1024 * 1024;

interface Check {
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

/** One is read into, one is hashed. */
const blocks = 2;

/** @param size bytes of all pieces together @throws DISK, MISSING_CONTENT */
export async function hashPieces(pieces: readonly Piece[], size: number): Promise<Digest> {
  const check = checkOf(size);
  const lease = new Lease(blocks);
  try {
    await readBlocks(pieces, size, lease, {
      use: (block, bytes) => lease.use(check.update(block, bytes.byteLength)),
    });
    return await check.finish();
  } finally {
    check.giveUp();
    await lease.end();
  }
}
