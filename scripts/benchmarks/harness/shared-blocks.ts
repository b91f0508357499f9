/** Blocks in memory that two threads share: one fills them in turn, the other takes them in the same order. */

const blockSize = 1024 ** 2;
const blockCount = 8;

export class SharedBlocks {
  readonly memory: SharedArrayBuffer;
  /** How many were filled and how many hashed, then the bytes in each block. */
  readonly #numbers: Int32Array;

  constructor(memory = new SharedArrayBuffer(blockCount * (blockSize + 4) + 8)) {
    this.memory = memory;
    this.#numbers = new Int32Array(memory, blockCount * blockSize);
  }

  /** The next block to fill, once it is hashed. */
  free(): Uint8Array {
    const filled = Atomics.load(this.#numbers, 0);
    for (let done = this.#hashed(); filled - done >= blockCount; done = this.#hashed())
      Atomics.wait(this.#numbers, 1, done);
    return this.#block(filled, blockSize);
  }

  /** Hands over the block that `free` gave. @param length 0 for the end */
  fill(length: number): void {
    const filled = Atomics.load(this.#numbers, 0);
    this.#numbers[2 + (filled % blockCount)] = length;
    this.#advance(0);
  }

  /** Calls back with each block as it is filled, until the end. */
  take(update: (block: Uint8Array) => void): void {
    for (let n = 0; ; n++) {
      Atomics.wait(this.#numbers, 0, n);
      const length = this.#numbers[2 + (n % blockCount)] ?? 0;
      if (length === 0) return;
      update(this.#block(n, length));
      this.#advance(1);
    }
  }

  #hashed(): number {
    return Atomics.load(this.#numbers, 1);
  }

  #block(n: number, length: number): Uint8Array {
    return new Uint8Array(this.memory, (n % blockCount) * blockSize, length);
  }

  #advance(which: 0 | 1): void {
    Atomics.add(this.#numbers, which, 1);
    Atomics.notify(this.#numbers, which);
  }
}
