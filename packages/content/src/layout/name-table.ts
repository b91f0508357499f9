/**
 * The names of a layout, shared by every process that has it open: changes are queued, and written together
 * under a lock file over whatever another process has written meanwhile.
 */
import { randomBytes } from 'node:crypto';
import { type FileHandle, open, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { byText } from '../by-text.ts';
import type { Descriptor } from '../descriptor.ts';
import { CodedError, systemCodeOf } from '../errors.ts';
import { diskError } from '../fs/disk-error.ts';
import { readSmallFile, writeFileAtomic } from '../fs/files.ts';
import { isRunning, markPattern, processMark } from '../fs/process-mark.ts';
import { formatIndexFile, maxIndexBytes, parseIndexFile } from './index-file.ts';

/** A live process holds the lock for one small write; this is long enough for the slowest disk. */
const lockTimeoutMs = 30_000;
const wholeMark = new RegExp(`^${markPattern}$`);

/** Undefined removes the name. */
type Changes = ReadonlyMap<string, Descriptor | undefined>;

export class NameTable {
  readonly #path: string;
  #names = new Map<string, Descriptor>();
  /** Waiting for the next write. */
  #changes = new Map<string, Descriptor | undefined>();
  /** In the write that is under way. */
  #writing: Changes = new Map();
  #write: Promise<void> | undefined;

  constructor(root: string) {
    this.#path = join(root, 'index.json');
  }

  /** Reads what is on disk. @throws BAD_DOCUMENT, NO_INPUT when there is no index.json */
  async load(): Promise<void> {
    const bytes = await readSmallFile(this.#path, maxIndexBytes);
    if (bytes === undefined)
      throw new CodedError('NO_INPUT', `${this.#path}: not there, so this is no OCI layout`);
    this.#names = parseIndexFile(bytes, this.#path);
  }

  /** Writes an empty index.json unless there is one. */
  async create(): Promise<void> {
    await this.#flush();
  }

  get(name: string): Descriptor | undefined {
    for (const changes of [this.#changes, this.#writing]) if (changes.has(name)) return changes.get(name);
    return this.#names.get(name);
  }

  /** A copy, sorted by name. */
  entries(): [string, Descriptor][] {
    const all = new Map(this.#names);
    apply(all, this.#writing);
    apply(all, this.#changes);
    return [...all].sort(([a], [b]) => byText(a, b));
  }

  /** Sets (or with undefined removes) a name; resolves when that is on disk. */
  async set(name: string, descriptor: Descriptor | undefined): Promise<void> {
    const isPending = this.#changes.has(name) || this.#writing.has(name);
    if (!isPending && isSame(this.#names.get(name), descriptor)) return;
    this.#changes.set(name, descriptor);
    this.#write ??= Promise.resolve().then(() => this.#flush());
    await this.#write;
  }

  async #flush(): Promise<void> {
    let release: () => Promise<void>;
    try {
      release = await lock(`${this.#path}.lock`);
    } catch (error) {
      this.#takeChanges();
      throw error;
    }
    const changes = this.#takeChanges();
    this.#writing = changes;
    try {
      const bytes = await readSmallFile(this.#path, maxIndexBytes);
      const names = bytes === undefined ? new Map<string, Descriptor>() : parseIndexFile(bytes, this.#path);
      apply(names, changes);
      const text = formatIndexFile(names);
      if (bytes === undefined || text !== Buffer.from(bytes).toString())
        await writeFileAtomic(this.#path, text);
      this.#names = names;
    } finally {
      // What could not be written is forgotten: whoever set it was told, and may try again.
      this.#writing = new Map();
      await release();
    }
  }

  /** Changes that come from now on wait for the next write. */
  #takeChanges(): Changes {
    const changes = this.#changes;
    this.#changes = new Map();
    this.#write = undefined;
    return changes;
  }
}

function apply(names: Map<string, Descriptor>, changes: Changes): void {
  for (const [name, descriptor] of changes) {
    if (descriptor === undefined) names.delete(name);
    else names.set(name, descriptor);
  }
}

function isSame(a: Descriptor | undefined, b: Descriptor | undefined): boolean {
  return a?.digest === b?.digest && a?.mediaType === b?.mediaType && a?.size === b?.size;
}

/** Takes a lock file that names our process; one whose process is gone is taken over. */
async function lock(path: string): Promise<() => Promise<void>> {
  const deadline = Date.now() + lockTimeoutMs;
  for (;;) {
    if (await create(path)) return () => rm(path, { force: true });
    if (await isStale(path)) await removeStale(path);
    else if (Date.now() > deadline) {
      throw new CodedError('DISK', `${path}: another process holds this lock; if none runs, remove the file`);
    } else await sleep(10 + Math.random() * 20);
  }
}

/** False when the file is there. @throws DISK */
async function create(path: string): Promise<boolean> {
  let handle: FileHandle | undefined;
  try {
    handle = await open(path, 'wx');
    await handle.writeFile(processMark);
    await handle.close();
    return true;
  } catch (error) {
    if (systemCodeOf(error) === 'EEXIST') return false;
    if (handle !== undefined) {
      await handle.close().catch(() => {});
      await rm(path, { force: true }).catch(() => {});
    }
    throw diskError(error, path);
  }
}

async function isStale(path: string): Promise<boolean> {
  try {
    const bytes = await readSmallFile(path, 4096);
    if (bytes === undefined) return false;
    const mark = Buffer.from(bytes).toString('latin1');
    // A file without a mark is a lock just being written, unless it has been so for a while.
    if (!wholeMark.test(mark)) return Date.now() - (await stat(path)).mtimeMs > 5_000;
    return !isRunning(mark);
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT') return false;
    throw diskError(error, path);
  }
}

/** Moves it aside before looking again: it may by now be the fresh lock of a process that was faster. */
async function removeStale(path: string): Promise<void> {
  const aside = `${path}.${processMark}.${randomBytes(4).toString('hex')}`;
  try {
    await rename(path, aside);
    if (await isStale(aside)) await rm(aside);
    else await rename(aside, path);
  } catch (error) {
    if (systemCodeOf(error) !== 'ENOENT') throw diskError(error, path);
  }
}
