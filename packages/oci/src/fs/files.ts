/**
 * Files that are right or not there: written under a temporary name beside the destination, synced, renamed,
 * and the folder synced. Folders we make are real folders, never links.
 */
import { randomBytes } from 'node:crypto';
import { type BigIntStats, constants } from 'node:fs';
import { link, lstat, mkdir, open, readdir, rename, rm, stat, statfs } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { CodedError, isCoded, systemCodeOf } from '../base/errors.ts';
import { diskError } from './disk-error.ts';

/** Of the name of a file, what its temporary names begin with: a name may have 255 bytes. */
const longestStem = 60;
const temporaryPattern = /^(\..+)\.[a-f0-9]{16}\.tmp$/s;

function stemOf(name: string): string {
  return `.${name.slice(0, longestStem)}`;
}

function temporaryOf(path: string): string {
  return join(dirname(path), `${stemOf(basename(path))}.${randomBytes(8).toString('hex')}.tmp`);
}

/** Makes a folder durable, so that names in it survive a power cut. */
export async function syncFolder(path: string): Promise<void> {
  const handle = await open(path, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    await handle.sync();
  } catch (error) {
    // Some file systems (vfat, network) cannot sync a folder; there is nothing more that can be done for them.
    if (systemCodeOf(error) !== 'EINVAL') throw error;
  } finally {
    await handle.close().catch(() => {});
  }
}

/**
 * Makes the folder unless it is there. A link or file in its place is refused.
 * @throws DISK
 */
export async function ensureFolder(path: string): Promise<void> {
  try {
    await makeFolders(path);
    const info = await lstat(path);
    if (!info.isDirectory()) {
      throw new CodedError('DISK', `${path}: must be a real folder, not a link or a file`);
    }
  } catch (error) {
    throw diskError(error, path);
  }
}

/**
 * With the folders above it. Not by mkdir's `recursive`: where a folder is there that takes no new names (an automounter's
 * whose medium is gone, /proc) it tries for ever, and on a read-only file system it says that there is no such folder.
 */
export async function makeFolders(path: string): Promise<void> {
  try {
    await mkdir(path);
  } catch (error) {
    const code = systemCodeOf(error);
    if (code === 'EEXIST') return;
    // Some file systems refuse before they look whether it is there.
    if (code !== 'ENOENT' && (await isThere(path))) return;
    if (code !== 'ENOENT') throw error;
    const parent = dirname(path);
    const isParentThere = await isThere(parent);
    if (parent === path) throw error;
    if (!isParentThere) await makeFolders(parent);
    // Also where the parent is there: somebody may have made it since.
    await mkdir(path).catch((again: unknown) => {
      const code = systemCodeOf(again);
      if (code === 'EEXIST') return;
      if (code !== 'ENOENT' || !isParentThere) throw again;
      throw new CodedError('DISK', `${path}: ${parent} takes no new folders; is the medium mounted?`, {
        cause: again,
      });
    });
  }
}

async function isThere(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

/**
 * Writes a whole small file: readers see the old one or the new one, also after a crash.
 * @throws DISK
 */
export async function writeFileAtomic(path: string, data: string | Uint8Array, mode = 0o644): Promise<void> {
  const temporary = temporaryOf(path);
  try {
    await writeSynced(temporary, data, mode);
    await rename(temporary, path);
    await syncFolder(dirname(path));
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => {});
    throw diskError(error, path);
  }
}

/**
 * Writes a whole small file that must not be there yet.
 * @returns false when something of that name is there; it stays as it is
 * @throws NO_INPUT when its folder does not exist; DISK
 */
export async function writeNewFile(path: string, data: string | Uint8Array, mode = 0o644): Promise<boolean> {
  const temporary = temporaryOf(path);
  try {
    if (await isNamed(path)) return false;
    await writeSynced(temporary, data, mode);
    const isOurs = await giveName(temporary, path);
    await rm(temporary, { force: true }).catch(() => {});
    if (isOurs) await syncFolder(dirname(path));
    return isOurs;
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => {});
    if (systemCodeOf(error) === 'ENOENT')
      throw new CodedError(
        'NO_INPUT',
        `${path}: the folder ${dirname(path)} does not exist; create it first`,
      );
    throw diskError(error, path);
  }
}

/** What file systems without hard links, such as vfat, say to one. */
const noLinks = new Set(['EPERM', 'ENOSYS', 'ENOTSUP', 'EOPNOTSUPP']);

/** By a link, since a rename replaces what another process has put there meanwhile. @returns false when it has */
async function giveName(temporary: string, path: string): Promise<boolean> {
  try {
    await link(temporary, path);
    return true;
  } catch (error) {
    const code = systemCodeOf(error) ?? '';
    if (code === 'EEXIST') return false;
    if (!noLinks.has(code)) throw error;
    await rename(temporary, path);
    return true;
  }
}

async function isNamed(path: string): Promise<boolean> {
  return lstat(path).then(
    () => true,
    (error: unknown) => {
      if (systemCodeOf(error) === 'ENOENT') return false;
      throw error;
    },
  );
}

/** On failure the caller removes it. */
async function writeSynced(path: string, data: string | Uint8Array, mode: number): Promise<void> {
  const handle = await open(path, 'wx', mode);
  try {
    await handle.writeFile(data);
    await handle.sync();
  } finally {
    await handle.close().catch(() => {});
  }
}

/**
 * Looks whether files can be created and written in a folder: creates one and removes it. Where the folder does not exist,
 * the nearest one above it is tried, so that nothing is left behind.
 * @param file name of the file that is to be written there later
 * @throws as the file system refuses it
 */
export async function tryFolder(folder: string, file: string): Promise<void> {
  let at = resolve(folder);
  while (dirname(at) !== at && !(await isThere(at))) at = dirname(at);
  const temporary = temporaryOf(join(at, file));
  try {
    await writeSynced(temporary, '\n', 0o600);
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => {});
    throw error;
  }
  await rm(temporary, { force: true });
}

/**
 * Removes what writeFileAtomic left in a folder when its process was killed. Only for the holder of the lock under which
 * these files are written: otherwise another process may be writing one.
 * @param folder nothing happens when it does not exist
 * @param file a name: only what was to become this file. Default: all
 * @throws DISK
 */
export async function removeTemporaries(folder: string, file?: string): Promise<void> {
  try {
    for (const name of await readdir(folder)) {
      const stem = temporaryPattern.exec(name)?.[1];
      if (stem === undefined || (file !== undefined && stem !== stemOf(file))) continue;
      await rm(join(folder, name), { force: true });
    }
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT') return;
    throw diskError(error, folder);
  }
}

/** Removes a file; one that is not there is no error. @throws DISK */
export async function removeFile(path: string): Promise<void> {
  await rm(path, { force: true }).catch((error: unknown) => {
    throw diskError(error, path);
  });
}

/**
 * A small regular file, whole; undefined when there is none.
 * @param max bytes
 * @throws BAD_DOCUMENT when it is larger or no regular file, DISK
 */
export async function readSmallFile(path: string, max: number): Promise<Uint8Array | undefined> {
  try {
    // Without O_NONBLOCK a FIFO in place of the file would hang the open.
    const handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      const info = await handle.stat();
      if (!info.isFile()) throw new CodedError('BAD_DOCUMENT', `${path}: not a regular file`);
      if (info.size > max) {
        throw new CodedError('BAD_DOCUMENT', `${path}: ${info.size} bytes, more than the ${max} it may have`);
      }
      return await handle.readFile();
    } finally {
      await handle.close().catch(() => {});
    }
  } catch (error) {
    if (!isCoded(error) && systemCodeOf(error) === 'ENOENT') return undefined;
    throw diskError(error, path);
  }
}

/** What tells one state of a file from any other, also from a new file that got the inode number of an old one. */
export function fileIdentity({ dev, ino, size, mtimeNs, ctimeNs }: BigIntStats): string {
  return `${dev}:${ino}:${size}:${mtimeNs}:${ctimeNs}`;
}

/** Bytes free at a folder, or at the nearest above it that exists. @throws DISK */
export async function freeBytes(folder: string): Promise<number> {
  for (let at = resolve(folder); ; at = dirname(at)) {
    try {
      const { bavail, bsize } = await statfs(at);
      return bavail * bsize;
    } catch (error) {
      if (systemCodeOf(error) !== 'ENOENT' || at === dirname(at)) throw diskError(error, at);
    }
  }
}

/** One folder sync for many files that were renamed into it at about the same time. */
export class FolderSync {
  readonly #path: string;
  #next: Promise<void> | undefined;
  #running: Promise<void> = Promise.resolve();

  constructor(path: string) {
    this.#path = path;
  }

  /** Resolves when a sync that started after this call is done. */
  sync(): Promise<void> {
    this.#next ??= this.#running.then(() => {
      this.#running = (this.#next as Promise<void>).catch(() => {});
      this.#next = undefined;
      return syncFolder(this.#path);
    });
    return this.#next;
  }
}
