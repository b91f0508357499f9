/**
 * Where content is while it is not yet content: `ingest/` inside the layout. A download that broke off stays
 * here and resumes; nothing here is ever read as content. What has a digest resumes at its last byte, also after a
 * crash, since a wrong byte shows at the end. What has none resumes at its last checkpoint: bytes that were synced, and
 * whose hash is on record. A power cut may leave zeros behind that point, a bad sector before it.
 *
 * File names: `<key>.part` is free to be continued by anybody; `<key>.<run>.<n>.part` belongs to a run (fs/run.ts) and
 * becomes free when that run is gone. A rename claims it, so two processes never write one file.
 * `<key>.<run>.<n>.once.part` will never be continued: when its run is gone, it is removed.
 */
import { constants } from 'node:fs';
import { chmod, type FileHandle, lstat, open, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { CodedError, isCoded, systemCodeOf } from '../base/errors.ts';
import { BlockHasher } from '../fs/block-hasher.ts';
import { BlockWriter } from '../fs/block-writer.ts';
import { diskError } from '../fs/disk-error.ts';
import { eachBlock } from '../fs/pieces.ts';
import { Runs, runPattern } from '../fs/run.ts';
import type { Digest } from '../model/digest.ts';
import type { OpenBytes } from '../storage.ts';

const partPattern = new RegExp(`^([a-f0-9]{64})(?:\\.(${runPattern})\\.[0-9]+)?\\.part$`);
const oncePattern = new RegExp(`^[a-f0-9]{64}\\.(${runPattern})\\.[0-9]+\\.once\\.part$`);
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
  /**
   * How much of what an earlier attempt left is used. `all`: `use` compares the whole with a digest. Checkpoints: up to
   * the last of them that fits. `none`: nothing, and a failed attempt leaves nothing.
   */
  readonly resume: 'all' | 'none' | Checkpoints;
  /** True: begin at byte 0 this time. */
  readonly fresh?: boolean;
}

/** The first bytes of a download, which were synced when this was recorded. */
export interface Checkpoint {
  /** Bytes. */
  readonly size: number;
  /** Of these bytes. */
  readonly digest: Digest;
}

/** The checkpoints of one download, kept by whoever knows that the rest will belong to the same content. */
export interface Checkpoints {
  /** Bytes from one to the next; default 64 MiB: half a second of a fast line, and as much comes again after a crash. */
  readonly every?: number;
  /** In any order. @throws DISK */
  read(): Promise<readonly Checkpoint[]>;
  /** Records one; on the disk when this resolves. @throws DISK */
  add(checkpoint: Checkpoint): Promise<void>;
}

const defaultEvery = 64 * 1024 * 1024;

/** A file that has received all bytes and is synced, not yet under its final name. */
export interface Ingested {
  readonly path: string;
  /** Bytes. */
  readonly size: number;
  /** Of these bytes. */
  readonly digest: Digest;
}

export class Ingest {
  readonly folder: string;
  readonly #runs: Runs;
  /** Names of parts by their key, listed once a run: with a listing for each file, the time would grow with its square. */
  #parts: { readonly run: string; readonly byKey: Promise<Map<string, Set<string>>> } | undefined;

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
    const { key, what, maxSize, resume, fresh = false } = expected;
    const checkpoints = typeof resume === 'object' ? resume : undefined;
    const part = resume === 'none' ? await this.#begin(key, run) : await this.#claim(key, run);
    let file: FileHandle | undefined;
    let writer: BlockWriter | undefined;
    let hasher: BlockHasher | undefined;
    let size = 0;
    try {
      file = await openPart(part.path);
      const hashing = await usable(fresh || part.size > maxSize ? 'none' : resume, part, maxSize, signal);
      hasher = hashing;
      size = hasher.size;
      if (size < part.size) await file.truncate(size);
      writer = new BlockWriter(file, size, maxSize - size, async (block) => {
        if (!hashing.isHere(block)) await hashing.update(block);
      });
      let next = size + (checkpoints?.every ?? defaultEvery);
      for await (const chunk of open(size)) {
        signal?.throwIfAborted();
        size += chunk.byteLength;
        if (size > maxSize) {
          throw new CodedError('DIGEST_MISMATCH', `${what}: more than ${maxSize} bytes`);
        }
        if (hashing.isHere(chunk)) await hashing.update(chunk);
        await writer.take(chunk);
        if (checkpoints === undefined || size < next) continue;
        await record(checkpoints, writer, hasher);
        next = size + (checkpoints.every ?? defaultEvery);
      }
      await writer.drain();
      const [digest] = await Promise.all([hasher.digest(), writer.sync()]);
      return { path: part.path, size, digest };
    } catch (error) {
      const refused = resume === 'none' || isCoded(error, 'DIGEST_MISMATCH', 'BAD_DOCUMENT');
      // The first error is the one to report: what cannot be recorded now comes again next time.
      if (writer !== undefined && hasher !== undefined) {
        const stopping =
          checkpoints === undefined || refused || size < worthKeeping
            ? writer.drain()
            : record(checkpoints, writer, hasher);
        await stopping.catch(() => {});
      }
      await this.#leave(key, part.path, refused);
      throw systemCodeOf(error) === undefined || isCoded(error) ? error : diskError(error, part.path);
    } finally {
      await writer?.release();
      hasher?.end();
      await file?.close().catch(() => {});
    }
  }

  /** Removes what receive() gave, where it turned out to be wrong. Never throws: why it is wrong is what is to be told. */
  async discard(path: string): Promise<void> {
    await rm(path, { force: true }).catch(() => {});
  }

  /**
   * Removes what killed processes left and nobody can continue. Never throws: what stays is removed the next time.
   * @param mine a run that is under way
   */
  async removeAbandoned(mine = ''): Promise<void> {
    const abandoned = new Map([[mine, false]]);
    for (const name of await readdir(this.folder).catch(() => [])) {
      const [, run] = oncePattern.exec(name) ?? [];
      if (run === undefined) continue;
      if (!abandoned.has(run)) abandoned.set(run, await this.#runs.isAbandoned(run).catch(() => false));
      if (abandoned.get(run) === true) await this.discard(join(this.folder, name));
    }
  }

  /** A new file that only this run writes to. */
  async #begin(key: string, run: string): Promise<{ readonly path: string; readonly size: number }> {
    await this.removeAbandoned(run);
    return { path: join(this.folder, `${key}.${run}.${counter++}.once.part`), size: 0 };
  }

  /** Takes over what a killed process or a failed attempt left, or begins a new file. */
  async #claim(key: string, run: string): Promise<{ readonly path: string; readonly size: number }> {
    const mine = join(this.folder, `${key}.${run}.${counter++}.part`);
    const parts = (await this.#partsOf(run)).get(key) ?? new Set();
    for (const name of parts) {
      const other = partPattern.exec(name)?.[2];
      if (other !== undefined && !(await this.#runs.isAbandoned(other))) continue;
      parts.delete(name);
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

  /** Parts that were there when the run began, and those that it has left since. */
  #partsOf(run: string): Promise<Map<string, Set<string>>> {
    if (this.#parts?.run !== run) this.#parts = { run, byKey: this.#list() };
    return this.#parts.byKey;
  }

  async #list(): Promise<Map<string, Set<string>>> {
    const byKey = new Map<string, Set<string>>();
    for (const name of await readdir(this.folder).catch(() => [])) {
      const [, key] = partPattern.exec(name) ?? [];
      if (key !== undefined) addPart(byKey, key, name);
    }
    return byKey;
  }

  async #leave(key: string, path: string, refused: boolean): Promise<void> {
    try {
      const { size } = await lstat(path);
      if (refused || size < worthKeeping) {
        await rm(path, { force: true });
        return;
      }
      const name = `${key}.part`;
      await rename(path, join(this.folder, name));
      const parts = await this.#parts?.byKey;
      if (parts !== undefined) addPart(parts, key, name);
    } catch {
      // The first error is the one to report; what is left here is taken over or removed by the next run.
    }
  }
}

function addPart(byKey: Map<string, Set<string>>, key: string, name: string): void {
  const names = byKey.get(key) ?? new Set();
  byKey.set(key, names.add(name));
}

/**
 * What of a part may be used, read and hashed.
 * @param expected bytes of the whole content
 * @returns has seen the bytes to keep, which may be none
 */
async function usable(
  resume: Expected['resume'],
  part: { readonly path: string; readonly size: number },
  expected: number,
  signal: AbortSignal | undefined,
): Promise<BlockHasher> {
  let good = new BlockHasher(expected);
  if (resume === 'none' || part.size === 0) return good;
  const all = resume === 'all' ? [{ size: part.size, digest: undefined }] : await resume.read();
  const fitting = all.filter(({ size }) => size <= part.size).sort((a, b) => a.size - b.size);
  for (const { size, digest } of fitting) {
    const hasher = good.copy();
    try {
      const piece = { path: part.path, offset: good.size, size: size - good.size };
      await eachBlock([piece], (block) => hasher.update(block), signal);
      // What follows a wrong byte is wrong too.
      if (digest !== undefined && (await hasher.digest()) !== digest) {
        hasher.end();
        break;
      }
    } catch (error) {
      hasher.end();
      good.end();
      throw error;
    }
    good.end();
    good = hasher;
  }
  return good;
}

/** Makes what came durable, then says so. */
async function record(checkpoints: Checkpoints, writer: BlockWriter, hasher: BlockHasher): Promise<void> {
  await writer.drain();
  const [digest] = await Promise.all([hasher.digest(), writer.sync()]);
  await checkpoints.add({ size: hasher.size, digest });
}

function openPart(path: string): Promise<FileHandle> {
  return open(path, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o600);
}
