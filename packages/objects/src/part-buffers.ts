/**
 * Memory for parts that are on their way, the same over and over: a part is read into it, hashed there and sent from
 * there. Its count bounds how much is under way, whatever is sent; memory made anew for each part would cost a good
 * part of the time that sending takes.
 */
export class PartBuffers {
  readonly #free: Buffer[] = [];
  readonly #waiting: ((buffer: Buffer) => void)[] = [];
  #unmade: number;

  constructor(count: number) {
    this.#unmade = count;
  }

  /** Runs the task with memory of this size, which is lent until it settles. @param size bytes */
  async lend<T>(size: number, task: (buffer: Buffer) => Promise<T>): Promise<T> {
    let buffer = await this.#take();
    try {
      // Larger ones are rare: objects of more than ten thousand parts.
      if (buffer.byteLength < size) buffer = Buffer.allocUnsafeSlow(size);
      return await task(buffer.subarray(0, size));
    } finally {
      this.#give(buffer);
    }
  }

  #take(): Promise<Buffer> | Buffer {
    const buffer = this.#free.pop();
    if (buffer !== undefined) return buffer;
    if (this.#unmade === 0) return new Promise((resolve) => void this.#waiting.push(resolve));
    this.#unmade--;
    return Buffer.alloc(0);
  }

  #give(buffer: Buffer): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#free.push(buffer);
    else next(buffer);
  }
}
