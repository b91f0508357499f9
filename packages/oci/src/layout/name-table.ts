/**
 * The names of a layout, shared by every process that has it open: changes are queued, and written together
 * under a lock file over whatever another process has written meanwhile.
 */
import { join } from 'node:path';
import { CodedError } from '../base/errors.ts';
import { byText } from '../base/text.ts';
import { readSmallFile, writeFileAtomic } from '../fs/files.ts';
import { lockFile } from '../fs/lock-file.ts';
import type { Descriptor } from '../model/descriptor.ts';
import { formatIndexFile, maxIndexBytes, parseIndexFile } from './index-file.ts';

/** A live process holds the lock for one small write; this is long enough for the slowest disk. */
const lockTimeoutMs = 30_000;

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
      release = await lockFile(`${this.#path}.lock`, lockTimeoutMs);
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
