/** gc: what lock.json names stays, the rest goes, and nothing while it is not clear what is needed. */
import { readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { graphOf, walk } from '@omni-airgap/oci';
import { Layout } from '@omni-airgap/oci/layout';
import { gc } from '@omni-airgap/store';
import { expect, test } from 'vitest';
import { attach, publishImage, startSite } from './site.ts';

test('removes what was dropped from mirror.yaml, names first, and keeps the rest whole', async () => {
  const site = await startSite();
  const registry = site.registry('ghcr.io');
  const dex = await publishImage(registry, 'dexidp/dex', 'v1');
  const old = await publishImage(registry, 'dexidp/old', 'v1', { seed: 2 });
  attach(registry, 'dexidp/dex', dex.root, '.sig');
  await site.mirror("images: ['ghcr.io/dexidp/dex:v1', 'ghcr.io/dexidp/old:v1']");
  await site.fetch();
  await site.mirror("images: ['ghcr.io/dexidp/dex:v1']");
  await site.fetch();
  await writeFile(join(site.store, 'ingest', `${'a'.repeat(64)}.part`), Buffer.alloc(1000));
  const before = await readdir(join(site.store, 'blobs', 'sha256'));

  const said = await gc({ store: site.store, dryRun: true });
  expect(await readdir(join(site.store, 'blobs', 'sha256'))).toEqual(before);
  const done = await gc({ store: site.store });
  expect(done).toEqual(said);
  // Root, children, configs and own layers; the base layer is shared.
  expect(done).toMatchObject({ names: ['ghcr.io/dexidp/old:v1'], blobs: 7, partial: 1 });

  const layout = await Layout.open(site.store);
  expect(await layout.has(old.root)).toBe(false);
  expect(await layout.resolve('ghcr.io/dexidp/old:v1')).toBeUndefined();
  for (const { descriptor } of (await site.lock()).items)
    for (const one of (await graphOf(walk(layout, [descriptor]))).values())
      expect(await layout.has(one)).toBe(true);
  expect(await gc({ store: site.store })).toMatchObject({ names: [], blobs: 0, bytes: 0 });
});

test('keeps a sparse index and what is there of it', async () => {
  const site = await startSite();
  await publishImage(site.registry('ghcr.io'), 'dexidp/dex', 'v1');
  await site.mirror("images: ['ghcr.io/dexidp/dex:v1']\nplatforms: [linux/amd64]");
  await site.fetch();
  expect(await gc({ store: site.store })).toMatchObject({ blobs: 0 });
});

test('is refused while the last fetch is not complete', async () => {
  const site = await startSite();
  await publishImage(site.registry('ghcr.io'), 'dexidp/dex', 'v1');
  await site.mirror("images: ['ghcr.io/dexidp/dex:v1', 'ghcr.io/dexidp/none:v1']");
  await site.fetch().catch(() => undefined);
  await expect(gc({ store: site.store })).rejects.toMatchObject({
    code: 'INCOMPLETE',
    message: expect.stringContaining('dexidp/none'),
  });
});

test('is refused while a process fetches, waiting for its first byte too', async () => {
  const site = await startSite();
  await publishImage(site.registry('ghcr.io'), 'dexidp/dex', 'v1');
  await site.mirror("images: ['ghcr.io/dexidp/dex:v1']");
  await site.fetch();
  await writeFile(join(site.store, 'ingest', '1-0123abcd.01234567.fetch'), '');
  await expect(gc({ store: site.store })).rejects.toMatchObject({
    code: 'CONFLICT',
    message: expect.stringContaining('fetch is running here (process 1)'),
  });
  expect(await readdir(join(site.store, 'ingest'))).toEqual(['1-0123abcd.01234567.fetch']);
});

test("excludes fetch; what was killed is in nobody's way", async () => {
  const site = await startSite();
  await publishImage(site.registry('ghcr.io'), 'dexidp/dex', 'v1');
  await site.mirror("images: ['ghcr.io/dexidp/dex:v1']");
  await site.fetch();
  const marks = ['1-0123abcd.01234567.gc', '4194305-0123abcd.01234567.gc', '4194305-0123abcd.76543210.fetch'];
  const [running = '', ...killed] = marks.map((name) => join(site.store, 'ingest', name));
  for (const path of killed) await writeFile(path, '');
  await Promise.all([site.fetch(), site.fetch()]);
  await gc({ store: site.store });
  expect(await readdir(join(site.store, 'ingest'))).toEqual([]);
  await writeFile(running, '');
  await expect(site.fetch()).rejects.toMatchObject({ code: 'CONFLICT' });
  await expect(gc({ store: site.store })).rejects.toMatchObject({ code: 'CONFLICT' });
});

test('is refused where nothing was ever fetched', async () => {
  const site = await startSite();
  await expect(gc({ store: site.store })).rejects.toMatchObject({ code: 'NO_INPUT' });
});
