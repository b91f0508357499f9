/**
 * Writes a stream to a file in blocks of 1 MiB: one block fills while the other is being written. Network
 * chunks are 64 KiB; awaiting a write for each of them halves the rate. Blocks that come from the network whole are
 * written as they are.
 */
import type { FileHandle } from 'node:fs/promises';
import { blockSize, giveBuffer, takeBuffer } from '../base/buffers.ts';
import { giveBack } from '../base/chunk-memory.ts';
import { SyncBehind } from './sync-behind.ts';

/** Bytes after which the next sync may begin; with 8 MiB, half of the time that it spares is lost. */
const syncEvery = 4 * 1024 * 1024;
/** Bytes of content that gets a buffer of its own size. */
const smallSize = 64 * 1024;

/** A writer to an open file: sync() has all of it on the disk, release() gives the buffers back. */
export class BlockWriter {
  readonly #file: FileHandle;
  readonly #alongside: ((block: Uint8Array) => Promise<void>) | undefined;
  /** Where the next block goes, in bytes from the start of the file. */
  #position: number;
  /** Undefined until there are bytes for it. */
  #filling: Buffer | undefined;
  /** The block that was written last. */
  #spare: Buffer | undefined;
  #used = 0;
  #inFlight: Promise<Buffer | undefined> | undefined;
  #closed = false;
  readonly #behind: SyncBehind;

  /**
   * @param position byte offset to write from
   * @param expected bytes that will be written, where that is known: little takes no whole block, so that dozens of
   * manifests on their way do not take a megabyte each; more or less of them does no harm
   * @param alongside what else is done with each block, in order, while it is written: hashing it
   */
  constructor(
    file: FileHandle,
    position = 0,
    expected = blockSize,
    alongside?: (block: Uint8Array) => Promise<void>,
  ) {
    this.#alongside = alongside;
    if (expected > 0 && expected <= smallSize) this.#filling = Buffer.allocUnsafeSlow(expected);
    this.#file = file;
    this.#behind = new SyncBehind(file, syncEvery);
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

  /**
   * Like write, for a chunk that is the writer's from now on. What lies in memory that threads share is not copied; its
   * memory is given back once it is written.
   */
  async take(chunk: Uint8Array): Promise<void> {
    if (chunk.byteLength < smallSize || !(chunk.buffer instanceof SharedArrayBuffer)) {
      await this.write(chunk);
      giveBack(chunk);
      return;
    }
    if (this.#used > 0) await this.#flush();
    await this.#settle();
    this.#begin(chunk, () => void giveBack(chunk));
  }

  /** Everything written so far is in the file (not yet synced). */
  async drain(): Promise<void> {
    if (this.#used > 0) await this.#flush();
    await this.#settle();
  }

  /** Everything written so far is on the disk. Rejects with the file system's error, also of an earlier sync. */
  async sync(): Promise<void> {
    await this.drain();
    await this.#behind.settled();
    await this.#file.sync();
  }

  /** Ends it and gives the buffers back; call once, also after an error. Does not close the file. */
  async release(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#settle().catch(() => {});
    await this.#behind.settled().catch(() => {});
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
    this.#begin(block.subarray(0, this.#used), () => block);
    this.#filling = undefined;
    this.#used = 0;
  }

  /** @param done called when the bytes are not needed any more @returns what it gives is the next block to fill */
  #begin(bytes: Uint8Array, done: () => Buffer | undefined): void {
    const at = this.#position;
    this.#position += bytes.byteLength;
    const uses = Promise.all([this.#writeAll(bytes, at), this.#alongside?.(bytes)]);
    this.#inFlight = uses.then(done);
    // The rejection is seen by the next settle; without a handler now, Node would call it unhandled.
    this.#inFlight.catch(() => {});
  }

  async #writeAll(bytes: Uint8Array, at: number): Promise<void> {
    for (let done = 0; done < bytes.byteLength; ) {
      const { bytesWritten } = await this.#file.write(bytes, done, bytes.byteLength - done, at + done);
      done += bytesWritten;
    }
    await this.#behind.wrote(bytes.byteLength);
  }

  async #settle(): Promise<void> {
    if (this.#inFlight === undefined) return;
    // A failed write stays here: nothing may be written after it, or the file would have a hole.
    this.#spare = (await this.#inFlight) ?? this.#spare;
    this.#inFlight = undefined;
  }
}
