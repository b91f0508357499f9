/** What lies on a disk, for tests that compare or search it. */
import { createHash } from 'node:crypto';
import { createReadStream, existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';

/** Paths of all files and folders below a folder, relative to it, sorted; none when it is not there. */
export function listing(folder: string): readonly string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true, encoding: 'utf8' }).sort();
}

/** Each file with size and time of change: the same when nothing was written. */
export function snapshot(folder: string): readonly string[] {
  return listing(folder).map((path) => {
    const { size, mtimeMs } = statSync(join(folder, path));
    return `${path} ${size} ${mtimeMs}`;
  });
}

/** The texts of our own records below a folder: everything but volumes and blobs. */
export function records(folder: string): string {
  return listing(folder)
    .filter((path) => /\.(?:jsonl?|txt|html|sig)$|SHA256SUMS$/.test(path) && !path.includes('blobs/'))
    .map((path) => readFileSync(join(folder, path), 'utf8'))
    .join('\n');
}

/** `sha256:…` of a file of any size. */
export async function digestOfFile(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path, { highWaterMark: 1024 * 1024 })) hash.update(chunk);
  return `sha256:${hash.digest('hex')}`;
}
