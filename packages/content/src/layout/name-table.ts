/**
 * The names of a layout, shared by every process that has it open: changes are queued, and written together
 * under a lock file over whatever another process has written meanwhile.
 */
import { open, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Descriptor } from '../descriptor.ts';
import { CodedError, systemCodeOf } from '../errors.ts';
import { diskError } from '../fs/disk-error.ts';
import { readSmallFile, writeFileAtomic } from '../fs/files.ts';
import { formatIndexFile, maxIndexBytes, parseIndexFile } from './index-file.ts';

/** A live process holds the lock for one small write; this is long enough for the slowest disk. */
const lockTimeoutMs = 30_000;

export class NameTable {
  readonly #path: string;
  #names = new Map<string, Descriptor>();
  #changes = new Map<string, Descriptor | undefined>();
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
    return this.#changes.has(name) ? this.#changes.get(name) : this.#names.get(name);
  }

  /** A copy, sorted by name. */
  entries(): [string, Descriptor][] {
    const all = new Map(this.#names);
    apply(all, this.#changes);
    return [...all].sort(([a], [b]) => (a < b ? -1 : 1));
  }

  /** Sets (or with undefined removes) a name; resolves when that is on disk. */
  set(name: string, descriptor: Descriptor | undefined): Promise<void> {
    this.#changes.set(name, descriptor);
    // Changes that come while a write is under way wait for the next one, all together.
    this.#write ??= Promise.resolve().then(() => this.#flush());
    return this.#write;
  }

  async #flush(): Promise<void> {
    let release: () => Promise<void>;
    try {
      release = await lock(`${this.#path}.lock`);
    } finally {
      this.#write = undefined;
    }
    try {
      const changes = this.#changes;
      this.#changes = new Map();
      apply(this.#names, changes);
      const bytes = await readSmallFile(this.#path, maxIndexBytes);
      const names = bytes === undefined ? new Map<string, Descriptor>() : parseIndexFile(bytes, this.#path);
      apply(names, changes);
      const text = formatIndexFile(names);
      if (bytes === undefined || text !== Buffer.from(bytes).toString())
        await writeFileAtomic(this.#path, text);
      this.#names = names;
    } finally {
      await release();
    }
  }
}

function apply(names: Map<string, Descriptor>, changes: ReadonlyMap<string, Descriptor | undefined>): void {
  for (const [name, descriptor] of changes) {
    if (descriptor === undefined) names.delete(name);
    else names.set(name, descriptor);
  }
}

/** Takes a lock file that holds our process id; one whose process is gone is taken over. */
async function lock(path: string): Promise<() => Promise<void>> {
  const deadline = Date.now() + lockTimeoutMs;
  for (;;) {
    try {
      const handle = await open(path, 'wx');
      await handle.writeFile(String(process.pid));
      await handle.close();
      return () => rm(path, { force: true });
    } catch (error) {
      if (systemCodeOf(error) !== 'EEXIST') throw diskError(error, path);
    }
    if (await isStale(path)) await rm(path, { force: true });
    else if (Date.now() > deadline) {
      throw new CodedError('DISK', `${path}: another process holds this lock; if none runs, remove the file`);
    } else await sleep(10 + Math.random() * 20);
  }
}

async function isStale(path: string): Promise<boolean> {
  try {
    const pid = Number(await readFile(path, 'utf8'));
    // An empty file is a lock just being written, unless it has been so for a while.
    if (pid === 0) return Date.now() - (await stat(path)).mtimeMs > 5_000;
    return !isAlive(pid);
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT') return false;
    throw diskError(error, path);
  }
}

/** True when a process of this id runs on this machine. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return systemCodeOf(error) === 'EPERM';
  }
}
