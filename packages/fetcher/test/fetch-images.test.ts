/** Images into a store: whole or in part, by tag and by digest; and what goes wrong on the way. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { graphOf, noProgress, walk } from '@omni-airgap/oci';
import { Layout } from '@omni-airgap/oci/layout';
import { MediaType } from '@omni-airgap/oci/model';
import { buildManifest } from '@omni-airgap/oci/testing';
import { describe, expect, test } from 'vitest';
import { publishImage, startSite } from './site.ts';

const dex = 'ghcr.io/dexidp/dex:v1';

describe('an image', () => {
  test('comes whole, is named and locked; the second fetch asks for the tag and moves no blob', async () => {
    const site = await startSite();
    const { root } = await publishImage(site.registry('ghcr.io'), 'dexidp/dex', 'v1');
    await site.mirror(`images: ['${dex}']`);
    const report = await site.fetch();
    expect(report).toMatchObject({ items: 1, changed: [dex], storedBlobs: 8 });
    const layout = await Layout.open(site.store);
    expect((await layout.resolve(dex))?.digest).toBe(root.digest);
    for (const descriptor of (await graphOf(walk(layout, [root]))).values())
      expect(await layout.has(descriptor)).toBe(true);
    const lock = await site.lock();
    expect(lock.items).toMatchObject([{ name: dex, kind: 'image', source: 'https://ghcr.io' }]);
    const asked = site.asked('ghcr.io').length;
    expect(await site.fetch()).toMatchObject({ changed: [], storedBlobs: 0 });
    const again = site.asked('ghcr.io').slice(asked);
    expect(again.filter((line) => line.includes('/blobs/'))).toEqual([]);
    expect(await site.lock()).toEqual(lock);
  });

  test('by tag and digest is the digest, whatever the tag says by now (F13)', async () => {
    const site = await startSite();
    const { root } = await publishImage(site.registry('ghcr.io'), 'dexidp/dex', 'v1');
    await publishImage(site.registry('ghcr.io'), 'dexidp/dex', 'v1', { seed: 2 });
    await site.mirror(`images: ['${dex}@${root.digest}']`);
    await site.fetch();
    expect((await site.lock()).items[0]?.descriptor.digest).toBe(root.digest);
  });

  test('whose tag moves between HEAD and GET is the one that was named first, whole (F13)', async () => {
    const site = await startSite();
    const registry = site.registry('ghcr.io');
    const first = await publishImage(registry, 'dexidp/dex', 'v1');
    const later = await publishImage(registry, 'dexidp/dex', 'v1', { seed: 2 });
    // The HEAD is answered as it was before the tag moved.
    const headers = {
      'docker-content-digest': first.root.digest,
      'content-length': String(first.root.size),
      'content-type': first.root.mediaType,
    };
    registry.fault({ match: { method: 'HEAD', path: /manifests\/v1$/ }, do: { status: 200, headers } });
    await site.mirror(`images: ['${dex}']`);
    await site.fetch();
    const layout = await Layout.open(site.store);
    expect((await layout.resolve(dex))?.digest).toBe(first.root.digest);
    expect(await Promise.all(first.children.map((child) => layout.has(child)))).toEqual([true, true]);
    expect(await Promise.all(later.children.map((child) => layout.has(child)))).toEqual([false, false]);
  });

  test('whose registry gives another manifest for its digest is refused, never mixed (F13)', async () => {
    const site = await startSite();
    const registry = site.registry('ghcr.io');
    const { children } = await publishImage(registry, 'dexidp/dex', 'v1');
    const other = await publishImage(registry, 'dexidp/dex', 'v2', { seed: 2 });
    const [child] = children;
    const [instead] = other.children;
    if (child === undefined || instead === undefined) throw new Error('no children');
    const bytes = registry.repository('dexidp/dex').manifests.get(instead.digest)?.bytes;
    registry.fault({
      match: { method: 'GET', path: new RegExp(`manifests/${child.digest}`) },
      do: { status: 200, headers: { 'content-type': child.mediaType }, ...(bytes ? { body: bytes } : {}) },
    });
    await site.mirror(`images: ['${dex}']`);
    await expect(site.fetch()).rejects.toMatchObject({ code: 'DIGEST_MISMATCH' });
    expect(await (await Layout.open(site.store)).resolve(dex)).toBeUndefined();
  });

  test('of some platforms keeps its index byte for byte and leaves the rest out', async () => {
    const site = await startSite();
    const { root, children } = await publishImage(site.registry('ghcr.io'), 'dexidp/dex', 'v1');
    await site.mirror(`images: ['${dex}']\nplatforms: [linux/arm64]`);
    await site.fetch();
    const layout = await Layout.open(site.store);
    expect(await layout.has(root)).toBe(true);
    expect(await Promise.all(children.map((child) => layout.has(child)))).toEqual([false, true]);
    expect((await site.lock()).items[0]).toMatchObject({ platforms: ['linux/arm64'] });
  });

  test('U minor 5 of several that fail each has one line, and the error has the count', async () => {
    const site = await startSite();
    await publishImage(site.registry('ghcr.io'), 'dexidp/dex', 'v1');
    const none = Array.from({ length: 7 }, (_, i) => `ghcr.io/dexidp/none-${i}:v1`);
    await site.mirror(`images: ${JSON.stringify([dex, ...none])}`);
    const notes: string[] = [];
    const progress = { ...noProgress, note: (text: string) => void notes.push(text) };
    const why = 'does not exist upstream; check its spelling in mirror.yaml';
    await expect(site.fetch({ progress })).rejects.toMatchObject({
      message: `7 of 8 items failed, first ${none[0]}: ${why}`,
    });
    expect(notes.toSorted()).toEqual(none.map((name) => `failed: ${name}: ${why}`));
    expect((await site.lock()).missing).toEqual(none);
  });

  test('U minor 5 what follows from another failure is counted with it, and has no line', async () => {
    const site = await startSite();
    const id = 'f'.repeat(64);
    await site.mirror(
      `talos: {versions: [v1.13.9]}\nmedia: [{schematic: '${id}', files: [kernel-amd64], installers: [metal]}]`,
    );
    const notes: string[] = [];
    const progress = { ...noProgress, note: (text: string) => void notes.push(text) };
    await site.fetch({ progress }).catch(() => undefined);
    const about = notes.filter((text) => text.includes(id));
    expect(about).toEqual([
      expect.stringMatching(new RegExp(`^failed: schematic ${id}: .*; 2 items need it$`)),
    ]);
  });

  test('U minor 6 that mirror.yaml does not name itself: what of it asks for the image', async () => {
    const site = await startSite({ 'ghcr.io': {}, 'registry.k8s.io': {} });
    await site.mirror('talos: {versions: [v1.13.9]}\nkubernetes: {versions: [v1.36.99]}');
    const notes: string[] = [];
    await site
      .fetch({ progress: { ...noProgress, note: (text) => void notes.push(text) } })
      .catch(() => undefined);
    expect(notes).toContain(
      'failed: registry.k8s.io/kube-apiserver:v1.36.99: does not exist upstream; kubernetes.versions v1.36.99 of mirror.yaml asks for it',
    );
  });

  test('that does not exist is named; the others are there, and the next run does what is left', async () => {
    const site = await startSite();
    await publishImage(site.registry('ghcr.io'), 'dexidp/dex', 'v1');
    await site.mirror(`images: ['${dex}', 'ghcr.io/dexidp/none:v1']`);
    await expect(site.fetch()).rejects.toMatchObject({
      code: 'NOT_FOUND',
      message: expect.stringContaining('ghcr.io/dexidp/none:v1: does not exist upstream'),
    });
    expect(await site.lock()).toMatchObject({ items: [{ name: dex }], missing: ['ghcr.io/dexidp/none:v1'] });
    await publishImage(site.registry('ghcr.io'), 'dexidp/none', 'v1');
    await site.fetch();
    expect((await site.lock()).missing).toEqual([]);
  });

  test('with one wrong byte, once: comes on the second try, with a note (F05)', async () => {
    const site = await startSite();
    await publishImage(site.registry('ghcr.io'), 'dexidp/dex', 'v1');
    site.registry('ghcr.io').fault({ match: { path: /blobs/, nth: 1 }, do: { flipByteAt: 10 } });
    await site.mirror(`images: ['${dex}']`);
    const notes: string[] = [];
    const progress = { expect: () => {}, advance: () => {}, note: (text: string) => notes.push(text) };
    await site.fetch({ progress });
    expect(notes.join()).toContain('trying again');
  });

  test('with one wrong byte, always: refused, nothing of it stored, the item missing (F04, T13)', async () => {
    const site = await startSite();
    const { root } = await publishImage(site.registry('ghcr.io'), 'dexidp/dex', 'v1');
    site.registry('ghcr.io').fault({ match: { path: /blobs/ }, do: { flipByteAt: 10 } });
    await site.mirror(`images: ['${dex}']`);
    await expect(site.fetch()).rejects.toMatchObject({ code: 'DIGEST_MISMATCH' });
    const layout = await Layout.open(site.store);
    expect(await layout.has(root)).toBe(false);
    expect(await layout.resolve(dex)).toBeUndefined();
    expect((await site.lock()).missing).toEqual([dex]);
  });

  test('whose manifest is an image and an index at once is refused (F14, T20)', async () => {
    const site = await startSite();
    const repository = site.registry('ghcr.io').repository('dexidp/dex');
    const { bytes } = buildManifest(MediaType.ociIndex, { manifests: [], layers: [] });
    repository.addManifest(bytes, MediaType.ociIndex, 'v1');
    await site.mirror(`images: ['${dex}']`);
    await expect(site.fetch()).rejects.toMatchObject({ code: 'BAD_DOCUMENT' });
  });

  test('whose index names ten thousand children and more is refused (F15, T18)', async () => {
    const site = await startSite();
    const { children } = await publishImage(site.registry('ghcr.io'), 'dexidp/dex', 'v0');
    const repository = site.registry('ghcr.io').repository('dexidp/dex');
    const manifests = Array.from({ length: 10_001 }, () => children[0]);
    const { bytes } = buildManifest(MediaType.ociIndex, { manifests });
    repository.addManifest(bytes, MediaType.ociIndex, 'v1');
    await site.mirror(`images: ['${dex}']`);
    await expect(site.fetch()).rejects.toMatchObject({ code: 'BAD_DOCUMENT' });
  });

  test('redirected to a host that is not allowed is refused, the host named, no connection made (F10, T29)', async () => {
    const site = await startSite();
    await publishImage(site.registry('ghcr.io'), 'dexidp/dex', 'v1');
    site.registry('ghcr.io').fault({
      match: { path: /blobs/ },
      do: { status: 307, headers: { location: 'https://evil.example/blob' } },
    });
    await site.mirror(`images: ['${dex}']`);
    await expect(site.fetch()).rejects.toMatchObject({
      code: 'EGRESS_DENIED',
      message: expect.stringContaining('evil.example'),
    });
    expect((await site.egress()).find(({ host }) => host === 'evil.example')).toMatchObject({
      address: '',
      refused: expect.stringContaining('allow-list'),
    });
  });

  test('behind a log-in of another host is refused before any request there (F12, T32)', async () => {
    const site = await startSite();
    site.registry('ghcr.io').fault({
      match: { path: /./ },
      do: { status: 401, headers: { 'www-authenticate': 'Bearer realm="https://evil.example/token"' } },
    });
    await writeFile(
      join(site.folder, 'auth.json'),
      JSON.stringify({ auths: { 'ghcr.io': { auth: Buffer.from('me:hunter2').toString('base64') } } }),
    );
    await site.mirror(`images: ['${dex}']`);
    const error = await site.fetch().catch((e: unknown) => e);
    expect(error).toMatchObject({ code: expect.stringMatching(/EGRESS_DENIED|DENIED/) });
    expect(String(error)).not.toContain('hunter2');
    expect((await site.egress()).filter(({ host, refused }) => host === 'evil.example' && !refused)).toEqual(
      [],
    );
  });
});

test('a registry that is busy is left alone as long as it asks, by all requests, and that is said (F08)', async () => {
  const site = await startSite();
  await publishImage(site.registry('ghcr.io'), 'dexidp/dex', 'v1');
  site
    .registry('ghcr.io')
    .fault({ match: { path: /blobs/, nth: 1 }, do: { status: 429, headers: { 'retry-after': '1' } } });
  await site.mirror(`images: ['${dex}']`);
  const notes: string[] = [];
  const note = (text: string): void => void notes.push(text);
  await site.fetch({ concurrency: 2, progress: { ...noProgress, note } });
  expect(notes.join()).toMatch(/trying again: .*429/);
  const blobs = (await site.egress()).filter(({ path }) => path.includes('/blobs/'));
  const refused = Date.parse(blobs.find(({ status }) => status === 429)?.time ?? '');
  const meanwhile = blobs.filter(({ time }) => Date.parse(time) < refused + 1000);
  // It, and the one that was on its way beside it.
  expect(meanwhile.length).toBeLessThanOrEqual(2);
  expect(blobs.length).toBeGreaterThan(5);
});
