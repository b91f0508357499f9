/**
 * The files beside the volumes that people read: README.txt and report.html. bundle.json states their hashes, so a
 * page that somebody rewrote on the way is told from the one that was signed.
 */
import { lstat } from 'node:fs/promises';
import { join } from 'node:path';
import { Hasher } from '@omni-airgap/oci';
import { isCoded, messageOf, printable, systemCodeOf } from '@omni-airgap/oci/base';
import { eachBlock } from '@omni-airgap/oci/fs';
import type { BundleDocument } from './documents/bundle-document.ts';

/** A file that is not what bundle.json says. */
export interface FileDamage {
  readonly path: string;
  readonly what: string;
}

const namePattern = /^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/;

/** @param folders each has its own copy; one that is not there can mislead nobody */
export async function verifyFiles(
  folders: readonly string[],
  { files }: Pick<BundleDocument, 'files'>,
  signal?: AbortSignal,
): Promise<readonly FileDamage[]> {
  const damages: FileDamage[] = [];
  for (const folder of folders) {
    for (const file of files) {
      const what = await problemOf(folder, file, signal);
      if (what !== undefined) damages.push({ path: join(folder, printable(file.name)), what });
    }
  }
  return damages;
}

async function problemOf(
  folder: string,
  { name, size, sha256 }: BundleDocument['files'][number],
  signal?: AbortSignal,
): Promise<string | undefined> {
  // The document may be anybody's: nothing outside the folder is looked at.
  if (!namePattern.test(name)) return 'is no name of a file beside the volumes';
  const path = join(folder, name);
  try {
    const info = await lstat(path);
    if (!info.isFile()) return 'is not a regular file';
    const hasher = new Hasher();
    if (info.size === size) {
      await eachBlock([{ path, offset: 0, size }], (block) => hasher.update(block), signal);
      if (hasher.finish() === `sha256:${sha256}`) return undefined;
    }
    return 'is not what bundle.json says';
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT') return undefined;
    if (!isCoded(error, 'DISK', 'MISSING_CONTENT') && systemCodeOf(error) === undefined) throw error;
    return `cannot be read: ${messageOf(error)}`;
  }
}
