/**
 * SHA-256 of blocks while they are read or written: large content on a thread of its own, so that hashing one block
 * overlaps with receiving the next. Both threads see the memory of a block; nothing is copied.
 */
import { createHash, type Hash } from 'node:crypto';
import { Worker } from 'node:worker_threads';
import { CodedError } from '../base/errors.ts';
import { Thread } from '../base/thread.ts';
import { type Digest, isDigest } from '../model/digest.ts';

/** Bytes of content for which the thread is worth its start. */
const leastForThread = 1024 * 1024;

/**
 * Plain JavaScript in a string: a release is one file, and has none beside it to start the thread from. Without import
 * and require, since flags of Node.js decide which of them a string may have.
 */
const program = `
const { parentPort } = process.getBuiltinModule('node:worker_threads');
const { createHash } = process.getBuiltinModule('node:crypto');
const hashes = new Map();
const steps = {
  begin: ({ id }) => void hashes.set(id, createHash('sha256')),
  update: ({ id, memory, offset, length }) => void hashes.get(id).update(new Uint8Array(memory, offset, length)),
  copy: ({ id, to }) => void hashes.set(to, hashes.get(id).copy()),
  digest: ({ id }) => 'sha256:' + hashes.get(id).copy().digest('hex'),
  end: ({ id }) => void hashes.delete(id),
};
parentPort.on('message', (message) => {
  const known = message.step === 'begin' || message.step === 'end' || hashes.has(message.id);
  parentPort.postMessage(known ? { digest: steps[message.step](message) } : { lost: true });
});`;

type Message = { readonly id: number } & (
  | { readonly step: 'begin' | 'digest' | 'end' }
  | {
      readonly step: 'update';
      readonly memory: SharedArrayBuffer;
      readonly offset: number;
      readonly length: number;
    }
  | { readonly step: 'copy'; readonly to: number }
);

interface Reply {
  readonly digest?: string | undefined;
  /** The hash was begun in a thread that has ended since. */
  readonly lost?: true;
}

const thread = new Thread<Message, Reply>(
  'the thread that hashes',
  () => new Worker(program, { eval: true, execArgv: [], resourceLimits: { maxOldGenerationSizeMb: 32 } }),
);
let lastId = 0;

/** A running hash of blocks. End it: what is not ended stays in the thread. */
export class BlockHasher {
  /** Undefined where it runs on the thread, and before the first bytes. */
  #here: Hash | undefined;
  #isBegun = false;
  readonly #expected: number;
  readonly #id = ++lastId;
  #size = 0;
  /** Its thread was lost, and what it had seen with it. */
  #failure: unknown;

  /** @param expected bytes to come at most: little is hashed sooner than another thread is asked */
  constructor(expected: number) {
    this.#expected = expected;
  }

  /** Bytes seen so far, those included that are still being hashed. */
  get size(): number {
    return this.#size;
  }

  /**
   * Whether the next bytes are hashed here, so while they are still in the caches. The first bytes decide: those in memory
   * that threads cannot share are hashed sooner than copied for another thread.
   */
  isHere(next: Uint8Array): boolean {
    if (!this.#isBegun) {
      this.#isBegun = true;
      if (this.#expected < leastForThread || !(next.buffer instanceof SharedArrayBuffer))
        this.#here = createHash('sha256');
      else this.#tell({ id: this.#id, step: 'begin' });
    }
    return this.#here !== undefined;
  }

  /**
   * Calls may overlap: blocks are hashed in the order of the calls.
   * @param block unchanged until this resolves; memory that threads can share is not copied
   * @throws INTERNAL when the thread is lost
   */
  async update(block: Uint8Array): Promise<void> {
    const { buffer, byteOffset: offset, byteLength: length } = block;
    this.#size += length;
    if (this.isHere(block)) {
      this.#here?.update(block);
      return;
    }
    await this.#ask(
      buffer instanceof SharedArrayBuffer
        ? { id: this.#id, step: 'update', memory: buffer, offset, length }
        : { id: this.#id, step: 'update', memory: sharedCopy(block), offset: 0, length },
    );
  }

  /** One that has seen the same bytes; the two go on by themselves. */
  copy(): BlockHasher {
    const copy = new BlockHasher(this.#expected);
    copy.#size = this.#size;
    copy.#isBegun = this.#isBegun;
    copy.#here = this.#here?.copy();
    if (this.#isBegun && copy.#here === undefined) copy.#tell({ id: this.#id, step: 'copy', to: copy.#id });
    return copy;
  }

  /** Of the bytes seen so far; more may follow. @throws INTERNAL when the thread is lost */
  async digest(): Promise<Digest> {
    const here = this.#isBegun ? this.#here : createHash('sha256');
    if (here !== undefined) return `sha256:${here.copy().digest('hex')}` as Digest;
    const { digest } = await this.#ask({ id: this.#id, step: 'digest' });
    if (isDigest(digest)) return digest;
    throw new CodedError('INTERNAL', 'the thread that hashes gave no digest');
  }

  /** Ends it. */
  end(): void {
    if (this.#isBegun && this.#here === undefined && this.#failure === undefined)
      this.#tell({ id: this.#id, step: 'end' });
  }

  async #ask(message: Message): Promise<Reply> {
    if (this.#failure !== undefined) throw this.#failure;
    try {
      const reply = await thread.ask(message);
      if (reply.lost === undefined) return reply;
      throw new CodedError('INTERNAL', 'the thread that hashes was started again');
    } catch (error) {
      this.#failure ??= error;
      throw error;
    }
  }

  /** A failure is what the next question is answered with. */
  #tell(message: Message): void {
    this.#ask(message).catch(() => {});
  }
}

function sharedCopy(block: Uint8Array): SharedArrayBuffer {
  const memory = new SharedArrayBuffer(block.byteLength);
  new Uint8Array(memory).set(block);
  return memory;
}
