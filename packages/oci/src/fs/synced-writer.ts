/**
 * Writes a new file in large blocks and has it on the medium soon after (sync-behind.ts): with one sync at the end, a stick
 * would take gigabytes into memory first, and the rate shown would be that of the memory. Writing past the page cache
 * (O_DIRECT) is slower: the kernel lets one such write at a time make a file longer.
 * Source: Linux open(2); measured by `scripts/bench bundle`.
 */
import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { SyncBehind } from './sync-behind.ts';

/**
 * Bytes of one call. Larger ones are given page cache in larger units, which are rarely at hand: in a virtual machine
 * that hands unused memory back to its host that took half of the time.
 */
const pieceSize = 256 * 1024;
/** Bytes after which the next sync may begin. */
const syncEvery = 128 * 1024 * 1024;

/** A writer of one new file that syncs behind itself. */
export class SyncedWriter {
  readonly #file: FileHandle;
  readonly #behind: SyncBehind;
  /** Bytes given to be written. */
  #given = 0;

  private constructor(file: FileHandle) {
    this.#file = file;
    this.#behind = new SyncBehind(file, syncEvery);
  }

  /** Rejects with the file system's error, EEXIST when there is something of that name. */
  static async create(path: string): Promise<SyncedWriter> {
    const flags = constants.O_WRONLY | constants.O_NOFOLLOW | constants.O_CREAT | constants.O_EXCL;
    return new SyncedWriter(await open(path, flags, 0o644));
  }

  /**
   * Writes a block where the one before ends; calls may overlap. Rejects with the file system's error of this block
   * or of syncing earlier ones.
   * @param block untouched until this resolves
   */
  async write(block: Uint8Array): Promise<void> {
    const at = this.#given;
    this.#given += block.byteLength;
    for (let done = 0; done < block.byteLength; ) {
      const piece = Math.min(block.byteLength - done, pieceSize);
      const { bytesWritten } = await this.#file.write(block, done, piece, at + done);
      done += bytesWritten;
    }
    await this.#behind.wrote(block.byteLength);
  }

  /** Everything written is on the medium. */
  async sync(): Promise<void> {
    await this.#behind.settled();
    await this.#file.sync();
  }

  /** Never throws: what was to be on the medium is what `sync` has put there. */
  async close(): Promise<void> {
    await this.#behind.settled().catch(() => {});
    await this.#file.close().catch(() => {});
  }
}
