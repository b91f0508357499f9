/** Folders of the test services: each its own, below the system's folder for temporary files. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const open = new Set<string>();
process.once('exit', () => {
  for (const folder of open) remove(folder);
});

/** A new empty folder; it is gone when the process ends, if not before by `remove`. */
export function temporaryFolder(purpose: string): string {
  const folder = mkdtempSync(join(tmpdir(), `omni-airgap-${purpose}-`));
  open.add(folder);
  return folder;
}

export function remove(folder: string): void {
  rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
  open.delete(folder);
}
