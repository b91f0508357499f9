/**
 * vitest set-up of a run: all temporary files of the tests and of the programs they start go into one folder,
 * which is removed at the end even when a worker was killed.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export default function setup(): () => void {
  const before = tmpdir();
  const folder = mkdtempSync(join(before, 'omni-airgap-tests-'));
  process.env['TMPDIR'] = folder;
  return () => {
    process.env['TMPDIR'] = before;
    rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
  };
}
