/** gc: what lock.json names stays, the rest goes, and nothing while it is not clear what is needed. */
import { readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { graphOf, walk } from '@omni-airgap/oci';
import { Layout } from '@omni-airgap/oci/layout';
import { type GcReport, Store } from '@omni-airgap/store';
import { expect, test } from 'vitest';
import { attach, publishImage, startSite } from './site.ts';

/** As the command does it. */
function gc(root: string, dryRun = false): Promise<GcReport> {
  return Store.use(root, { access: dryRun ? 'read' : 'exclusive', purpose: 'omni-airgap gc' }, (store) =>
    store.collectGarbage({ dryRun }),
  );
}

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

  const said = await gc(site.store, true);
  expect(await readdir(join(site.store, 'blobs', 'sha256'))).toEqual(before);
  const done = await gc(site.store);
  expect(done).toEqual(said);
  // Root, children, configs and own layers; the base layer is shared.
  expect(done).toMatchObject({ names: ['ghcr.io/dexidp/old:v1'], blobs: 7, partial: 1 });

  const layout = await Layout.open(site.store);
  expect(await layout.has(old.root)).toBe(false);
  expect(await layout.resolve('ghcr.io/dexidp/old:v1')).toBeUndefined();
  for (const { descriptor } of (await site.lock()).items)
    for (const one of (await graphOf(walk(layout, [descriptor]))).values())
      expect(await layout.has(one)).toBe(true);
  expect(await gc(site.store)).toMatchObject({ names: [], blobs: 0, bytes: 0 });
});

test('keeps a sparse index and what is there of it', async () => {
  const site = await startSite();
  await publishImage(site.registry('ghcr.io'), 'dexidp/dex', 'v1');
  await site.mirror("images: ['ghcr.io/dexidp/dex:v1']\nplatforms: [linux/amd64]");
  await site.fetch();
  expect(await gc(site.store)).toMatchObject({ blobs: 0 });
});

test('is refused while the last fetch is not complete', async () => {
  const site = await startSite();
  await publishImage(site.registry('ghcr.io'), 'dexidp/dex', 'v1');
  await site.mirror("images: ['ghcr.io/dexidp/dex:v1', 'ghcr.io/dexidp/none:v1']");
  await site.fetch().catch(() => undefined);
  await expect(gc(site.store)).rejects.toMatchObject({
    code: 'INCOMPLETE',
    message: expect.stringContaining('dexidp/none'),
  });
});

test.each(['shared', 'read'] as const)(
  'F8: BUSY while another command has the store open (%s)',
  async (access) => {
    const site = await startSite();
    await publishImage(site.registry('ghcr.io'), 'dexidp/dex', 'v1');
    await site.mirror("images: ['ghcr.io/dexidp/dex:v1']");
    await site.fetch();
    await Store.use(site.store, { access, purpose: 'omni-airgap other' }, async () => {
      await expect(gc(site.store)).rejects.toMatchObject({
        code: 'BUSY',
        message: expect.stringMatching(/in use by omni-airgap other \(process \d+ .*content\.lock\)/),
      });
    });
    await gc(site.store);
  },
);

test('F8: a fetch is BUSY while content is removed', async () => {
  const site = await startSite();
  await publishImage(site.registry('ghcr.io'), 'dexidp/dex', 'v1');
  await site.mirror("images: ['ghcr.io/dexidp/dex:v1']");
  await site.fetch();
  await Store.use(site.store, { access: 'exclusive', purpose: 'omni-airgap gc' }, async () => {
    await expect(site.fetch()).rejects.toMatchObject({ code: 'BUSY' });
  });
  await site.fetch();
});

test('A3 F2: marks that version 0.1 left, of recycled process ids too, stop nobody and are removed', async () => {
  const site = await startSite();
  await publishImage(site.registry('ghcr.io'), 'dexidp/dex', 'v1');
  await site.mirror("images: ['ghcr.io/dexidp/dex:v1']");
  await site.fetch();
  for (const name of ['1-0123abcd.01234567.gc', '1-0123abcd.76543210.fetch', '4194305-0123abcd.01234567.gc'])
    await writeFile(join(site.store, 'ingest', name), '');
  await Promise.all([site.fetch(), site.fetch()]);
  await gc(site.store);
  expect(await readdir(join(site.store, 'ingest'))).toEqual([]);
});

test('is refused where nothing was ever fetched', async () => {
  const site = await startSite();
  await expect(gc(site.store)).rejects.toMatchObject({ code: 'NO_INPUT' });
});
