/** The folder a demo works in: made by it, marked as its own, and taken up again by a later run of the same kind. */
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

const marker = '.omni-airgap-demo';

export type DemoKind = 'sample' | 'online';

/** A folder that the demo must not use. The message says why and what to do. */
export class FolderRefused extends Error {}

/**
 * @returns whether an earlier demo of this kind has been here
 * @throws FolderRefused for a folder with other things in it, or of the other kind
 */
export async function claimFolder(folder: string, kind: DemoKind): Promise<boolean> {
  await mkdir(folder, { recursive: true });
  const entries = await readdir(folder);
  if (entries.length === 0) {
    await writeFile(join(folder, marker), `${kind}\n`);
    return false;
  }
  const other = `name another folder with --dir`;
  if (!entries.includes(marker)) throw new FolderRefused(`${folder} was not made by the demo; ${other}`);
  const made = (await readFile(join(folder, marker), 'utf8')).trim();
  if (made !== kind) throw new FolderRefused(`${folder} belongs to a demo of the kind "${made}"; ${other}`);
  return true;
}
