/**
 * Files of a medium: who may read them, and whether one is right already, as far as the medium itself says.
 */
import { chmod, lstat, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { documentName, maxBundleDocumentBytes } from '@omni-airgap/format';
import { systemCodeOf } from '@omni-airgap/oci/base';
import {
  diskError,
  eachBlockDirect,
  ensureFolder,
  readSmallFile,
  writeFileAtomic,
} from '@omni-airgap/oci/fs';
import { Hasher, hexOf } from '@omni-airgap/oci/model';

/**
 * Who may read a medium, whatever the umask: inside, it is read by another account than the one that wrote it (C16).
 * Modes protect nothing on a medium that someone carries away; private ones protect it on this host.
 */
export const readable = {
  everyone: { file: 0o644, folder: 0o755, program: 0o755 },
  owner: { file: 0o600, folder: 0o700, program: 0o700 },
} as const;
export type Modes = (typeof readable)[keyof typeof readable];

/** What file systems without modes of their own say, and those that belong to somebody else. */
const fixedModes = new Set(['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EROFS']);

/** @throws DISK */
export async function setMode(path: string, mode: number): Promise<void> {
  try {
    const info = await lstat(path);
    // What a link leads to is not part of the medium.
    if (!info.isSymbolicLink() && (info.mode & 0o777) !== mode) await chmod(path, mode);
  } catch (error) {
    if (!fixedModes.has(systemCodeOf(error) ?? '')) throw diskError(error, path);
  }
}

/** Lets a file that was added to a medium be read by whoever can read its bundle.json. @throws DISK */
export async function readableAsDocument(folder: string, name: string): Promise<void> {
  const info = await stat(join(folder, documentName)).catch((error: unknown) => {
    throw diskError(error, folder);
  });
  await setMode(join(folder, name), info.mode & 0o777);
}

/** Makes the folder with those above it, and lets those that are new be entered. @throws DISK */
export async function makeFolder(folder: string, mode: number): Promise<void> {
  const missing: string[] = [];
  for (let path = resolve(folder); !(await isThere(path)); path = dirname(path)) missing.push(path);
  await ensureFolder(folder);
  for (const path of missing) await setMode(path, mode);
}

export async function isThere(path: string): Promise<boolean> {
  return lstat(path).then(
    () => true,
    () => dirname(path) === path,
  );
}

/** Whether a file has these bytes, read past the page cache. @param sha256 64 hex characters @throws DISK */
export async function isFile(
  path: string,
  size: number,
  sha256: string,
  signal?: AbortSignal,
  onBytes?: (bytes: number) => void,
): Promise<boolean> {
  if (!(await hasSize(path, size))) return false;
  const hasher = new Hasher();
  const use = (block: Buffer): void => {
    hasher.update(block);
    onBytes?.(block.byteLength);
  };
  await eachBlockDirect(path, size, use, signal);
  return hexOf(hasher.finish()) === sha256;
}

export async function hasSize(path: string, size: number): Promise<boolean> {
  try {
    const info = await lstat(path);
    return info.isFile() && info.size === size;
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT') return false;
    throw diskError(error, path);
  }
}

/** Leaves a file alone that is right already. */
export async function writeChanged(path: string, bytes: Uint8Array): Promise<void> {
  if (!(await holds(path, bytes))) await writeFileAtomic(path, bytes);
}

export async function holds(path: string, bytes: Uint8Array): Promise<boolean> {
  const before = await readSmallFile(path, maxBundleDocumentBytes);
  return before !== undefined && Buffer.compare(before, bytes) === 0;
}
