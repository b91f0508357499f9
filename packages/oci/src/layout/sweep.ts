/** Removing from a layout what nothing needs any more: blobs, and what broken downloads left. */
import { lstat, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { systemCodeOf } from '../base/errors.ts';
import { diskError } from '../fs/disk-error.ts';
import { type Digest, digestFromHex, isHex64 } from '../model/digest.ts';

const anyPart = /^[a-f0-9]{64}(?:\..+)?\.(?:part|json)$/;
/**
 * Locks of runs, and files that were being written: of killed processes, since no other works here. And marks of commands
 * at work, as version 0.1 left them.
 */
const anyLeftover = /^(?:[a-f0-9]{16}\.run|\..+\.tmp|[0-9]+-[a-f0-9]{8}\.[a-f0-9]{8}\.(?:fetch|gc))$/;

/** What a sweep removed. */
export interface Removed {
  readonly blobs: number;
  /** Bytes of all that was removed. */
  readonly bytes: number;
  /** Partial downloads and their journals. */
  readonly partial: number;
}

/**
 * Removes every blob but those to keep, and all downloads that broke off; whoever calls it has seen to it that nothing
 * is being brought.
 * @param options.dryRun only counts
 * @throws DISK
 */
export async function removeGarbage(
  root: string,
  keep: ReadonlySet<Digest>,
  options: { readonly dryRun: boolean; readonly signal?: AbortSignal | undefined },
): Promise<Removed> {
  const ingest = join(root, 'ingest');
  const blobs = join(root, 'blobs', 'sha256');
  const counts = { blobs: 0, bytes: 0, partial: 0 };
  for (const name of await filesIn(blobs)) {
    if (!isHex64(name) || keep.has(digestFromHex(name))) continue;
    options.signal?.throwIfAborted();
    counts.bytes += await remove(join(blobs, name), options.dryRun);
    counts.blobs++;
  }
  for (const name of await filesIn(ingest)) {
    if (anyLeftover.test(name)) await remove(join(ingest, name), options.dryRun);
    if (!anyPart.test(name)) continue;
    counts.bytes += await remove(join(ingest, name), options.dryRun);
    counts.partial++;
  }
  return counts;
}

async function filesIn(folder: string): Promise<readonly string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT') return [];
    throw diskError(error, folder);
  }
}

/** @returns its bytes */
async function remove(path: string, dryRun: boolean): Promise<number> {
  try {
    const { size } = await lstat(path);
    if (!dryRun) await rm(path, { force: true });
    return size;
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT') return 0;
    throw diskError(error, path);
  }
}
