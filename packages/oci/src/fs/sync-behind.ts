/**
 * Has a file on the disk soon after it was written: while blocks are written, those before them are synced. One sync at the
 * end would wait for all of it at once, with nothing else to do for the processor.
 * Source: Linux fsync(2).
 */
import type { FileHandle } from 'node:fs/promises';

/** In this process, unless a file must wait for its own: each takes one of the four threads of Node.js for files. */
const syncsAtOnce = 2;
/** Of the bytes from one sync to the next, as many may wait to be on the disk. */
const intervalsAtMost = 4;
let syncs = 0;

/** The syncs of one open file, one at a time. */
export class SyncBehind {
  readonly #file: FileHandle;
  readonly #every: number;
  #written = 0;
  #synced = 0;
  #syncing: Promise<void> | undefined;

  /** @param every bytes after which the next sync may begin */
  constructor(file: FileHandle, every: number) {
    this.#file = file;
    this.#every = every;
  }

  /**
   * Says that so many bytes were written. Waits while four times `every` are not on the disk. Rejects with the file system's
   * error of an earlier sync, if it has waited for that one.
   */
  async wrote(bytes: number): Promise<void> {
    this.#written += bytes;
    const unsynced = this.#written - this.#synced;
    const mustWait = unsynced >= intervalsAtMost * this.#every;
    if (unsynced >= this.#every && (mustWait || syncs < syncsAtOnce)) this.#syncing ??= this.#sync();
    if (mustWait) await this.#syncing;
  }

  /** Waits for the sync under way. Rejects with the file system's error of this or an earlier one. */
  async settled(): Promise<void> {
    await this.#syncing;
  }

  #sync(): Promise<void> {
    const upTo = this.#written;
    syncs++;
    const syncing = this.#file
      .datasync()
      .finally(() => syncs--)
      .then(() => {
        this.#synced = upTo;
        this.#syncing = undefined;
      });
    // One that failed stays: the kernel tells of a lost write once, and the next sync would succeed. Whoever waits
    // next sees it; without a handler now, Node would call it unhandled.
    syncing.catch(() => {});
    return syncing;
  }
}
