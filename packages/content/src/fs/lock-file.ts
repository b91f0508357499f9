/** Lock files: one process at a time writes there. The file names the process, so that what was killed locks nothing. */
import { randomBytes } from 'node:crypto';
import { type FileHandle, open, rename, rm, stat } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { CodedError, systemCodeOf } from '../errors.ts';
import { diskError } from './disk-error.ts';
import { readSmallFile } from './files.ts';
import { isRunning, markPattern, processMark } from './process-mark.ts';

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
    if (await isStale(path)) await removeStale(path);
    else if (Date.now() >= deadline) {
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
