/**
 * Writes a stream to a file in blocks of 1 MiB: one block fills while the other is being written. Network
 * chunks are 64 KiB; awaiting a write for each of them halves the rate.
 */
import type { FileHandle } from 'node:fs/promises';
import { blockSize, giveBuffer, takeBuffer } from './buffers.ts';

/** Bytes of content that gets a buffer of its own size. */
const smallSize = 64 * 1024;

/** A writer to an open file: drain() writes the last block, release() gives the buffers back. */
export class BlockWriter {
  readonly #file: FileHandle;
  /** Where the next block goes, in bytes from the start of the file. */
  #position: number;
  /** Undefined until there are bytes for it. */
  #filling: Buffer | undefined;
  /** The block that was written last. */
  #spare: Buffer | undefined;
  #used = 0;
  #inFlight: Promise<Buffer> | undefined;
  #closed = false;

  /**
   * @param position byte offset to write from
   * @param expected bytes that will be written, where that is known: little takes no whole block, so that dozens of
   * manifests on their way do not take a megabyte each; more or less of them does no harm
   */
  constructor(file: FileHandle, position = 0, expected = blockSize) {
    if (expected > 0 && expected <= smallSize) this.#filling = Buffer.allocUnsafeSlow(expected);
    this.#file = file;
    this.#position = position;
  }

  /** Takes a copy of the chunk. Rejects with the file system's error of this or an earlier block. */
  async write(chunk: Uint8Array): Promise<void> {
    let from = 0;
    while (from < chunk.byteLength) {
      const block = this.#next();
      const n = Math.min(chunk.byteLength - from, block.byteLength - this.#used);
      block.set(chunk.subarray(from, from + n), this.#used);
      this.#used += n;
      from += n;
      if (this.#used === block.byteLength) await this.#flush();
    }
  }

  /** Everything written so far is in the file (not yet synced). */
  async drain(): Promise<void> {
    if (this.#used > 0) await this.#flush();
    await this.#settle();
  }

  /** Ends it and gives the buffers back; call once, also after an error. Does not close the file. */
  async release(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#settle().catch(() => {});
    for (const block of [this.#filling, this.#spare]) if (block !== undefined) giveBuffer(block);
  }

  /** The block that takes the next bytes. */
  #next(): Buffer {
    if (this.#filling === undefined) {
      this.#filling = this.#spare ?? takeBuffer();
      this.#spare = undefined;
    }
    return this.#filling;
  }

  async #flush(): Promise<void> {
    await this.#settle();
    const block = this.#next();
    const size = this.#used;
    const at = this.#position;
    this.#inFlight = this.#writeAll(block, size, at);
    // The rejection is seen by the next settle; without a handler now, Node would call it unhandled.
    this.#inFlight.catch(() => {});
    this.#position += size;
    this.#filling = undefined;
    this.#used = 0;
  }

  async #writeAll(block: Buffer, size: number, at: number): Promise<Buffer> {
    for (let done = 0; done < size; ) {
      const { bytesWritten } = await this.#file.write(block, done, size - done, at + done);
      done += bytesWritten;
    }
    return block;
  }

  async #settle(): Promise<void> {
    if (this.#inFlight === undefined) return;
    // A failed write stays here: nothing may be written after it, or the file would have a hole.
    this.#spare = await this.#inFlight;
    this.#inFlight = undefined;
  }
}
