/**
 * Where content is while it is not yet content: `ingest/` inside the layout. A download that broke off stays
 * here and goes on at its last byte, also after a crash; nothing here is ever read as content.
 *
 * File names: `<key>.part` is free to be continued by anybody; `<key>.<run>.<n>.part` belongs to a run (fs/run.ts) and
 * becomes free when that run is gone. A rename claims it, so two processes never write one file.
 */
import { constants } from 'node:fs';
import { chmod, type FileHandle, lstat, open, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { giveBack } from '../base/chunk-memory.ts';
import { CodedError, isCoded, systemCodeOf } from '../base/errors.ts';
import { BlockWriter } from '../fs/block-writer.ts';
import { diskError } from '../fs/disk-error.ts';
import { eachBlock } from '../fs/pieces.ts';
import { Runs, runPattern } from '../fs/run.ts';
import { Hasher } from '../model/digest.ts';
import type { OpenBytes } from '../storage.ts';

const partPattern = new RegExp(`^([a-f0-9]{64})(?:\\.(${runPattern})\\.[0-9]+)?\\.part$`);
/** Less than this is fetched again sooner than it is found again. */
const worthKeeping = 256 * 1024;

let counter = 0;

export interface Expected {
  /** 64 hex characters. */
  readonly key: string;
  /** For messages. */
  readonly what: string;
  /** Bytes after which the sender is lying. */
  readonly maxSize: number;
  /** False: nothing will tell whether what came still fits, so a failed attempt leaves nothing. Default true. */
  readonly resumable?: boolean;
  /** True: what an earlier attempt left is not used. */
  readonly fresh?: boolean;
}

/** A file that has received all bytes and is synced, not yet under its final name. */
export interface Ingested {
  readonly path: string;
  readonly hasher: Hasher;
}

export class Ingest {
  readonly folder: string;
  readonly #runs: Runs;

  constructor(root: string) {
    this.folder = join(root, 'ingest');
    this.#runs = new Runs(this.folder);
  }

  /**
   * Receives bytes under a key. On failure what came is kept for the next attempt, unless the content itself was
   * refused (DIGEST_MISMATCH, BAD_DOCUMENT).
   * @param use gives the file its final name, or discards it; until then nobody else takes it
   * @throws DIGEST_MISMATCH when there are more bytes than expected, DISK, and whatever the stream and `use` throw
   */
  async receive<T>(
    expected: Expected,
    open: OpenBytes,
    use: (file: Ingested) => Promise<T>,
    signal?: AbortSignal,
  ): Promise<T> {
    const run = await this.#runs.begin();
    try {
      return await use(await this.#receive(run, expected, open, signal));
    } finally {
      await this.#runs.end();
    }
  }

  async #receive(
    run: string,
    expected: Expected,
    open: OpenBytes,
    signal: AbortSignal | undefined,
  ): Promise<Ingested> {
    const { key, what, maxSize, resumable = true, fresh = false } = expected;
    const part = await this.#claim(key, run);
    let file: FileHandle | undefined;
    let writer: BlockWriter | undefined;
    try {
      file = await openPart(part.path);
      const hasher = new Hasher();
      if (part.size > maxSize || !resumable || fresh) await file.truncate();
      else if (part.size > 0) {
        const piece = { path: part.path, offset: 0, size: part.size };
        await eachBlock([piece], (block) => hasher.update(block), signal);
      }
      writer = new BlockWriter(file, hasher.size);
      for await (const chunk of open(hasher.size)) {
        signal?.throwIfAborted();
        hasher.update(chunk);
        if (hasher.size > maxSize) {
          throw new CodedError('DIGEST_MISMATCH', `${what}: more than ${maxSize} bytes`);
        }
        await writer.write(chunk);
        giveBack(chunk);
      }
      await writer.drain();
      await file.sync();
      return { path: part.path, hasher };
    } catch (error) {
      await writer?.drain().catch(() => {});
      await this.#leave(key, part.path, !resumable || isCoded(error, 'DIGEST_MISMATCH', 'BAD_DOCUMENT'));
      throw systemCodeOf(error) === undefined || isCoded(error) ? error : diskError(error, part.path);
    } finally {
      await writer?.release();
      await file?.close();
    }
  }

  /** Removes what receive() gave, where it turned out to be wrong. */
  async discard(path: string): Promise<void> {
    await rm(path, { force: true });
  }

  /** Takes over what a killed process or a failed attempt left, or begins a new file. */
  async #claim(key: string, run: string): Promise<{ readonly path: string; readonly size: number }> {
    const mine = join(this.folder, `${key}.${run}.${counter++}.part`);
    for (const name of await readdir(this.folder).catch(() => [])) {
      const [, hex, other] = partPattern.exec(name) ?? [];
      if (hex !== key || (other !== undefined && !(await this.#runs.isAbandoned(other)))) continue;
      try {
        await rename(join(this.folder, name), mine);
        const info = await lstat(mine);
        if (info.isFile() && info.nlink === 1) {
          // A process that was killed just before the last rename had made it read-only.
          await chmod(mine, 0o600);
          return { path: mine, size: info.size };
        }
        // Writing to it would change a file that is known by another name, or no file at all.
        await rm(mine);
      } catch (error) {
        if (systemCodeOf(error) !== 'ENOENT') throw diskError(error, mine);
      }
    }
    return { path: mine, size: 0 };
  }

  async #leave(key: string, path: string, refused: boolean): Promise<void> {
    try {
      const { size } = await lstat(path);
      if (refused || size < worthKeeping) await rm(path, { force: true });
      else await rename(path, join(this.folder, `${key}.part`));
    } catch {
      // The first error is the one to report; what is left here is taken over or removed by the next run.
    }
  }
}

function openPart(path: string): Promise<FileHandle> {
  return open(path, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o600);
}
