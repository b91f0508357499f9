/**
 * The names of a layout, shared by every process that has it open: changes are queued, and written together
 * under a lock over whatever another process has written meanwhile.
 */
import { lstat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { CodedError, systemCodeOf } from '../base/errors.ts';
import { byText } from '../base/text.ts';
import { diskError } from '../fs/disk-error.ts';
import { fileIdentity, readSmallFile, removeTemporaries, writeFileAtomic } from '../fs/files.ts';
import { acquireLock, type Lock } from '../fs/lock.ts';
import type { Descriptor } from '../model/descriptor.ts';
import { formatIndexFile, layoutMarker, maxIndexBytes, type Names, parseIndexFile } from './index-file.ts';

/** A process holds the lock for one small write; this is long enough for the slowest disk. */
const lockTimeoutMs = 30_000;
const markerName = 'oci-layout';
/** Each write formats all names: so much longer than that takes, names gather for the next. */
const pauseFactor = 4;

/** What index.json holds, and which file that is. */
interface Written {
  readonly identity: string | undefined;
  readonly text: string;
  readonly names: Names;
}

/** Undefined removes the name. */
type Changes = ReadonlyMap<string, Descriptor | undefined>;

export class NameTable {
  readonly #root: string;
  readonly #path: string;
  #names = new Map<string, Descriptor>();
  /** Waiting for the next write. */
  #changes = new Map<string, Descriptor | undefined>();
  /** In the write that is under way. */
  #writing: Changes = new Map();
  #write: Promise<void> | undefined;

  /** Whether temporary files of killed processes are gone. */
  #isClean = false;
  #written: Written | undefined;
  /** Milliseconds that the next write waits, so that more names gather for it. */
  #pauseMs = 0;
  readonly #beforeWrite: () => Promise<void>;

  /** @param beforeWrite makes what the names stand for durable */
  constructor(root: string, beforeWrite: () => Promise<void> = async () => {}) {
    this.#root = root;
    this.#path = join(root, 'index.json');
    this.#beforeWrite = beforeWrite;
  }

  /** Reads what is on disk. @throws BAD_DOCUMENT, NO_INPUT when there is no index.json */
  async load(): Promise<void> {
    const bytes = await readSmallFile(this.#path, maxIndexBytes);
    if (bytes === undefined)
      throw new CodedError('NO_INPUT', `${this.#path}: not found, so this is not an OCI layout`);
    this.#names = parseIndexFile(bytes, this.#path);
  }

  /** Makes the folder a layout: writes an empty index.json unless there is one, then the marker. @throws BUSY, DISK */
  async create(): Promise<void> {
    const lock = await this.#lock();
    try {
      await removeTemporaries(this.#root, markerName);
      await this.#apply(new Map());
      await writeFileAtomic(join(this.#root, markerName), layoutMarker);
    } finally {
      await lock.release();
    }
  }

  /** Removes the names on disk that stand for no manifest. @returns them @throws BAD_DOCUMENT, BUSY, DISK */
  async removeForeign(): Promise<Names> {
    if ((await this.#readLeniently()).foreign.size === 0) return new Map();
    const lock = await this.#lock();
    try {
      const { names, foreign } = await this.#readLeniently();
      await writeFileAtomic(this.#path, formatIndexFile(names));
      return foreign;
    } finally {
      await lock.release();
    }
  }

  async #readLeniently(): Promise<{ readonly names: Names; readonly foreign: Names }> {
    const foreign = new Map<string, Descriptor>();
    const bytes = await readSmallFile(this.#path, maxIndexBytes);
    const names = bytes === undefined ? new Map() : parseIndexFile(bytes, this.#path, foreign);
    return { names, foreign };
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
    if (this.#pauseMs > 0) await sleep(this.#pauseMs);
    const lock = await this.#lock().catch((error: unknown) => {
      this.#takeChanges();
      throw error;
    });
    this.#writing = this.#takeChanges();
    try {
      await this.#beforeWrite();
      await this.#apply(this.#writing);
    } finally {
      // What could not be written is forgotten: whoever set it was told, and may try again.
      this.#writing = new Map();
      await lock.release();
    }
  }

  #lock(): Promise<Lock> {
    return acquireLock(`${this.#path}.lock`, 'exclusive', {
      purpose: 'an update of index.json',
      waitMs: lockTimeoutMs,
      temporary: true,
    });
  }

  /** Over what is on disk by now; under the lock. */
  async #apply(changes: Changes): Promise<void> {
    if (!this.#isClean) await removeTemporaries(this.#root, 'index.json');
    this.#isClean = true;
    const before = await this.#onDisk();
    const names = new Map(before.names);
    apply(names, changes);
    const began = performance.now();
    const text = formatIndexFile(names);
    // Where names come one at a time, nothing gathers.
    this.#pauseMs = changes.size > 1 ? pauseFactor * (performance.now() - began) : 0;
    if (text !== before.text) {
      // What we could not read again must not take the place of what we can.
      parseIndexFile(Buffer.from(formatIndexFile(changedNames(changes))), this.#path);
      await writeFileAtomic(this.#path, text);
    }
    this.#written = { identity: await identityOf(this.#path), text, names };
    this.#names = names;
  }

  /** What this process wrote last, unless another one has written since. */
  async #onDisk(): Promise<{ readonly text: string | undefined; readonly names: Names }> {
    if (this.#written !== undefined && this.#written.identity === (await identityOf(this.#path)))
      return this.#written;
    const bytes = await readSmallFile(this.#path, maxIndexBytes);
    if (bytes === undefined) return { text: undefined, names: new Map() };
    return { text: Buffer.from(bytes).toString(), names: parseIndexFile(bytes, this.#path) };
  }

  /** Changes that come from now on wait for the next write. */
  #takeChanges(): Changes {
    const changes = this.#changes;
    this.#changes = new Map();
    this.#write = undefined;
    return changes;
  }
}

/** Undefined where there is none. @throws DISK */
async function identityOf(path: string): Promise<string | undefined> {
  try {
    return fileIdentity(await lstat(path, { bigint: true }));
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT') return undefined;
    throw diskError(error, path);
  }
}

function changedNames(changes: Changes): Names {
  const names = new Map<string, Descriptor>();
  apply(names, changes);
  return names;
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
