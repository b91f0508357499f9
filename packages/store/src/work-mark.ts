/**
 * Which processes are at work in a layout, so that none removes what another just counts on: what is brought and what is
 * removed exclude each other. A mark is an empty file in `ingest/` that names its process; it is made before the others
 * are looked for, so that of two that begin at once at least one sees the other.
 */
import { randomBytes } from 'node:crypto';
import { readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { CodedError } from '@omni-airgap/oci/base';
import { diskError, isRunning, markPattern, processMark } from '@omni-airgap/oci/fs';

/** Content is brought, by as many as like; or what nothing needs is removed, by one alone. */
export type Work = 'fetch' | 'gc';

const workMark = new RegExp(`^${markPattern}\\.[a-f0-9]{8}\\.(fetch|gc)$`);

/**
 * @param root of a layout that is there
 * @returns ends it; what a killed process left is in nobody's way
 * @throws CONFLICT while others do what this excludes, DISK
 */
export async function beginWork(root: string, work: Work): Promise<() => Promise<void>> {
  const folder = join(root, 'ingest');
  const own = `${processMark}.${randomBytes(4).toString('hex')}.${work}`;
  const path = join(folder, own);
  const end = (): Promise<void> => rm(path, { force: true });
  try {
    await writeFile(path, '', { flag: 'wx' });
    for (const name of await readdir(folder)) {
      const [, mark = '', other] = workMark.exec(name) ?? [];
      if (other === undefined || name === own) continue;
      if (!isRunning(mark)) await rm(join(folder, name), { force: true });
      else if (work === 'gc' || other === 'gc') {
        const [pid] = mark.split('-');
        throw new CodedError('CONFLICT', `${root}: ${other} is running here (process ${pid}); wait for it`);
      }
    }
    return end;
  } catch (error) {
    await end().catch(() => {});
    throw diskError(error, folder);
  }
}
