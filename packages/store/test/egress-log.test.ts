/** The egress record on disk. */
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { temporaryFolder } from '@omni-airgap/oci/testing';
import { expect, onTestFinished, test } from 'vitest';
import { openEgressLog } from '../src/egress-log.ts';

test('appends JSON lines to a private file', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'egress-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  const path = join(folder, 'egress.jsonl');
  const record = { time: 't', host: 'ghcr.io', address: '', method: 'GET', path: '/', bytes: 1 };
  for (const status of [200, 404]) {
    const log = await openEgressLog(path);
    log.record({ ...record, status });
    log.record({ ...record, refused: 'no' });
    await log.close();
  }
  const lines = (await readFile(path, 'utf8'))
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
  expect(lines.map((line) => line.status ?? line.refused)).toEqual([200, 'no', 404, 'no']);
  expect((await stat(path)).mode & 0o777).toBe(0o600);
});
test('a place that cannot be written is a DISK error', async () => {
  const missing = join(await temporaryFolder(), 'missing');
  await expect(openEgressLog(join(missing, 'egress.jsonl'))).rejects.toMatchObject({ code: 'DISK' });
});
