/**
 * Files that a process has not finished: their names carry the id of its run, and for as long as it works on any of them
 * it holds the lock file `<id>.run`. Without that lock they are what a killed process left, and anybody may take them
 * over or remove them. An id is never used twice.
 */
import { randomBytes } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { diskError } from './disk-error.ts';
import { acquireLock, isLocked, type Lock, removeFreeLock } from './lock.ts';

/** An id, for use inside a pattern; no group. */
export const runPattern = '[a-f0-9]{16}';

/** The runs of one process in one folder: one at a time, for all files that it works on at once. */
export class Runs {
  readonly #folder: string;
  readonly #prefix: string;
  #users = 0;
  #current: Promise<{ readonly id: string; readonly lock: Lock }> | undefined;

  /** @param prefix of the names of lock files: `.` hides them */
  constructor(folder: string, prefix: '' | '.' = '') {
    this.#folder = folder;
    this.#prefix = prefix;
  }

  /**
   * Begins the work on a file in an existing folder; `end` must follow, once the file has its final name or is gone.
   * @returns the id that its name must carry until then
   * @throws DISK
   */
  async begin(): Promise<string> {
    this.#users++;
    this.#current ??= this.#start();
    const current = this.#current;
    try {
      return (await current).id;
    } catch (error) {
      this.#users--;
      if (this.#current === current) this.#current = undefined;
      throw error;
    }
  }

  /** Never throws. */
  async end(): Promise<void> {
    if (--this.#users > 0) return;
    const current = this.#current;
    this.#current = undefined;
    await (await current)?.lock.release();
  }

  /** True when no process works on the files of that run any more, nor ever will. @throws DISK */
  async isAbandoned(id: string): Promise<boolean> {
    return !(await isLocked(this.#pathOf(id)));
  }

  async #start(): Promise<{ readonly id: string; readonly lock: Lock }> {
    await this.#removeAbandoned();
    const id = randomBytes(8).toString('hex');
    return { id, lock: await acquireLock(this.#pathOf(id), 'exclusive', { temporary: true }) };
  }

  /** The lock files of killed processes; what else they left is found without them. */
  async #removeAbandoned(): Promise<void> {
    try {
      for (const name of await readdir(this.#folder)) {
        const id = name.slice(this.#prefix.length, -'.run'.length);
        if (name === `${this.#prefix}${id}.run` && new RegExp(`^${runPattern}$`).test(id)) {
          await removeFreeLock(join(this.#folder, name));
        }
      }
    } catch (error) {
      throw diskError(error, this.#folder);
    }
  }

  #pathOf(id: string): string {
    return join(this.#folder, `${this.#prefix}${id}.run`);
  }
}
