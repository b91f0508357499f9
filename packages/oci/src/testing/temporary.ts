/** Folders for tests, removed when the test is over. */
import { chmod, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { Layout } from '../layout/layout.ts';

/** An empty folder; call inside a test. */
export async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'omni-airgap-content-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true, maxRetries: 3 }));
  return folder;
}

/** An empty layout; call inside a test. */
export async function temporaryLayout(): Promise<Layout> {
  return Layout.open(join(await temporaryFolder(), 'store'), { create: true });
}

/** File names in the ingest folder of a layout. */
export function partsOf(layout: Layout): Promise<string[]> {
  return readdir(join(layout.root, 'ingest'));
}

/** Writes over a file of the layout as bit-rot would. */
export async function makeWritable(path: string): Promise<string> {
  await chmod(path, 0o644);
  return path;
}
