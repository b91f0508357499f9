/** The egress record on disk. */
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { run, temporaryFolder } from '@omni-airgap/oci/testing';
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
test('A18 fires at the first line that cannot be written, and keeps nothing of the rest', async (context) => {
  const folder = await temporaryFolder();
  try {
    run('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', folder]);
  } catch {
    return context.skip('mounting a small tmpfs needs root');
  }
  onTestFinished(() => void run('umount', [folder]));
  const log = await openEgressLog(join(folder, 'egress.jsonl'));
  const stopped = new Promise((resolve) => log.failed.addEventListener('abort', resolve));
  const line = {
    time: 't',
    host: 'ghcr.io',
    address: '',
    method: 'GET',
    path: `/${'x'.repeat(1000)}`,
    bytes: 1,
  };
  for (let i = 0; i < 100; i++) log.record(line);
  await stopped;
  const reason = {
    code: 'DISK',
    message: expect.stringMatching(
      /egress\.jsonl \(the egress record; 0 B free\): no space left on this disk; free some and run the same command again$/,
    ),
  };
  expect(log.failed.reason).toMatchObject(reason);
  for (let i = 0; i < 100; i++) log.record(line);
  await expect(log.close()).rejects.toMatchObject(reason);
});
test('a place that cannot be written is a DISK error', async () => {
  const missing = join(await temporaryFolder(), 'missing');
  await expect(openEgressLog(join(missing, 'egress.jsonl'))).rejects.toMatchObject({ code: 'DISK' });
});
