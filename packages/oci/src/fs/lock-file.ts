/** Lock files: one process at a time writes there. The file names the process, so that what was killed locks nothing. */
import { randomBytes } from 'node:crypto';
import { type FileHandle, open, rename, rm, stat } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { CodedError, systemCodeOf } from '../base/errors.ts';
import { diskError } from './disk-error.ts';
import { readSmallFile } from './files.ts';
import { isRunning, markPattern, processMark } from './process-mark.ts';

/** How long a process may take to write its mark. */
const unmarkedMs = 5_000;
const wholeMark = new RegExp(`^${markPattern}$`);

/**
 * Takes the lock; one whose process is gone is taken over.
 * @param waitMs how long it is waited for
 * @returns gives it back
 * @throws DISK, also when another process keeps it
 */
export async function lockFile(path: string, waitMs: number): Promise<() => Promise<void>> {
  const deadline = Date.now() + waitMs;
  for (;;) {
    if (await create(path)) {
      return () =>
        rm(path, { force: true }).catch((error: unknown) => {
          throw diskError(error, path);
        });
    }
    const holder = await holderOf(path);
    if (holder === 'gone') await removeStale(path);
    // Whether it is just being written, or was being when its process was killed, shows soon.
    else if (Date.now() >= deadline + (holder === 'running' ? 0 : 2 * unmarkedMs)) {
      throw new CodedError(
        'DISK',
        `${path}: another process is writing here; wait for it, or remove the file if there is none`,
      );
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

/** Removes the lock of a process that is gone. @throws DISK */
export async function removeAbandonedLock(path: string): Promise<void> {
  if ((await holderOf(path)) === 'gone') await removeStale(path);
}

/** What became of the process that made it; `unknown` while there is none, or it does not say. @throws DISK */
async function holderOf(path: string): Promise<'running' | 'gone' | 'unknown'> {
  try {
    const bytes = await readSmallFile(path, 4096);
    if (bytes === undefined) return 'unknown';
    const mark = Buffer.from(bytes).toString('latin1');
    // A file without a mark is a lock just being written, unless it has been so for a while.
    if (!wholeMark.test(mark))
      return Date.now() - (await stat(path)).mtimeMs > unmarkedMs ? 'gone' : 'unknown';
    return isRunning(mark) ? 'running' : 'gone';
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT') return 'unknown';
    throw diskError(error, path);
  }
}

/** Moves it aside before looking again: it may by now be the fresh lock of a process that was faster. */
async function removeStale(path: string): Promise<void> {
  const aside = `${path}.${processMark}.${randomBytes(4).toString('hex')}`;
  try {
    await rename(path, aside);
    if ((await holderOf(aside)) === 'gone') await rm(aside);
    else await rename(aside, path);
  } catch (error) {
    if (systemCodeOf(error) !== 'ENOENT') throw diskError(error, path);
  }
}
