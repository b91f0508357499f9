/** Images into a store: their content, what hangs on them, platforms, catalogs; and what goes wrong on the way. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { collectGraph, hexOf, Layout, MediaType, noProgress } from '@omni-airgap/content';
import { buildManifest } from '@omni-airgap/content/testing';
import { describe, expect, test } from 'vitest';
import { attach, publishImage, type Site, startSite } from './site.ts';

const dex = 'ghcr.io/dexidp/dex:v1';

/** An archive with one file, as tar writes it. */
function tarOf(name: string, text: string): Buffer {
  const header = Buffer.alloc(512);
  header.write(name, 0);
  header.write('0000644\0', 100);
  header.write('0000000\0', 108);
  header.write('0000000\0', 116);
  header.write(`${text.length.toString(8).padStart(11, '0')}\0`, 124);
  header.write('00000000000\0', 136);
  header.write('        ', 148);
  header.write('0', 156);
  header.write('ustar\x0000', 257);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  const body = Buffer.alloc(Math.ceil(text.length / 512) * 512);
  body.write(text);
  return Buffer.concat([header, body, Buffer.alloc(1024)]);
}

function publishCatalog(site: Site, path: string, tag: string, name: string, text: string): void {
  const repository = site.registry('ghcr.io').repository(path);
  const layer = repository.addBlob(
    gzipSync(tarOf(name, text)),
    'application/vnd.oci.image.layer.v1.tar+gzip',
  );
  const config = repository.addBlob(Buffer.from('{"os":"linux"}'), MediaType.ociConfig);
  const { bytes } = buildManifest(MediaType.ociManifest, { config, layers: [layer] });
  const child = repository.addManifest(bytes, MediaType.ociManifest);
  const index = buildManifest(MediaType.ociIndex, {
    manifests: [{ ...child, platform: { os: 'linux', architecture: 'amd64' } }],
  });
  repository.addManifest(index.bytes, MediaType.ociIndex, tag);
}

describe('an image', () => {
  test('comes whole, is named and locked; the second fetch asks for the tag and moves no blob', async () => {
    const site = await startSite();
    const { root } = await publishImage(site.registry('ghcr.io'), 'dexidp/dex', 'v1');
    await site.mirror(`images: ['${dex}']`);
    const report = await site.fetch();
    expect(report).toMatchObject({ items: 1, changed: [dex], storedBlobs: 8 });
    const layout = await Layout.open(site.store);
    expect((await layout.resolve(dex))?.digest).toBe(root.digest);
    for (const descriptor of (await collectGraph(layout, root)).values())
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

  test('of several that fail each is named in the error', async () => {
    const site = await startSite();
    await publishImage(site.registry('ghcr.io'), 'dexidp/dex', 'v1');
    const none = Array.from({ length: 7 }, (_, i) => `ghcr.io/dexidp/none-${i}:v1`);
    await site.mirror(`images: ${JSON.stringify([dex, ...none])}`);
    await expect(site.fetch()).rejects.toMatchObject({
      message: expect.stringMatching(
        /7 of 8 items failed, also (ghcr\.io\/dexidp\/none-\d:v1, ){4}\S+ and 1 more$/,
      ),
    });
    expect((await site.lock()).missing).toEqual(none);
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

describe('what hangs on an image', () => {
  test('comes along: tags of cosign 2 for the index and its children, referrers, signatures of signatures', async () => {
    const site = await startSite();
    const registry = site.registry('ghcr.io');
    const { root, children } = await publishImage(registry, 'dexidp/dex', 'v1');
    const [child] = children;
    if (child === undefined) throw new Error('no child');
    const signature = attach(registry, 'dexidp/dex', root, '.sig');
    const attestation = attach(registry, 'dexidp/dex', child, '.att');
    const sbom = attach(registry, 'dexidp/dex', signature, '.sbom');
    const config = registry.repository('dexidp/dex').addBlob(Buffer.from('{}'), MediaType.empty);
    const referrer = registry
      .repository('dexidp/dex')
      .addManifest(
        buildManifest(MediaType.ociManifest, { config, layers: [config], subject: root }).bytes,
        MediaType.ociManifest,
      );
    await site.mirror(`images: ['${dex}']`);
    await site.fetch();
    const tag = (digest: typeof root.digest, suffix: string): string =>
      `ghcr.io/dexidp/dex:sha256-${hexOf(digest)}${suffix}`;
    const signatures = (await site.lock()).items.filter((item) => item.kind === 'signature');
    expect(signatures.map((item) => [item.name, item.descriptor.digest]).sort()).toEqual(
      [
        [tag(root.digest, '.sig'), signature.digest],
        [tag(child.digest, '.att'), attestation.digest],
        [tag(signature.digest, '.sbom'), sbom.digest],
        [`ghcr.io/dexidp/dex@${referrer.digest}`, referrer.digest],
      ].sort(),
    );
    const layout = await Layout.open(site.store);
    expect((await layout.resolve(tag(root.digest, '.sig')))?.digest).toBe(signature.digest);
  });

  test.each([
    ['404 at the referrers API, with the fallback tag (F18)', 404],
    ['a 303 to somewhere else there (F18)', 303],
  ])('%s', async (_what, status) => {
    const site = await startSite();
    const registry = site.registry('ghcr.io');
    const { root } = await publishImage(registry, 'dexidp/dex', 'v1');
    const repository = registry.repository('dexidp/dex');
    const config = repository.addBlob(Buffer.from('{}'), MediaType.empty);
    const manifest = buildManifest(MediaType.ociManifest, { config, layers: [config], subject: root });
    const referrer = repository.addManifest(manifest.bytes, MediaType.ociManifest);
    const { bytes } = buildManifest(MediaType.ociIndex, { manifests: [referrer] });
    repository.addManifest(bytes, MediaType.ociIndex, `sha256-${hexOf(root.digest)}`);
    registry.fault({
      match: { path: /referrers/ },
      do: { status, ...(status === 303 ? { headers: { location: 'https://github.com/x' } } : {}) },
    });
    await site.mirror(`images: ['${dex}']`);
    await site.fetch();
    expect((await site.lock()).items.map((item) => item.name)).toContain(
      `ghcr.io/dexidp/dex@${referrer.digest}`,
    );
  });

  test('a fallback tag that is the image itself names no referrers (F19)', async () => {
    const site = await startSite({ 'ghcr.io': { referrersApi: false } });
    const registry = site.registry('ghcr.io');
    const { root } = await publishImage(registry, 'dexidp/dex', 'v1');
    registry.repository('dexidp/dex').tags.set(`sha256-${hexOf(root.digest)}`, root.digest);
    await site.mirror(`images: ['${dex}']`);
    await site.fetch();
    expect((await site.lock()).items).toHaveLength(1);
  });

  test('referrers that refer to each other end, each fetched once (T19)', async () => {
    const site = await startSite();
    const registry = site.registry('ghcr.io');
    const { root } = await publishImage(registry, 'dexidp/dex', 'v1');
    const repository = registry.repository('dexidp/dex');
    const config = repository.addBlob(Buffer.from('{}'), MediaType.empty);
    const manifest = buildManifest(MediaType.ociManifest, { config, layers: [config], subject: root });
    const referrer = repository.addManifest(manifest.bytes, MediaType.ociManifest);
    const loop = JSON.stringify({ schemaVersion: 2, mediaType: MediaType.ociIndex, manifests: [referrer] });
    registry.fault({
      match: { path: /referrers/ },
      do: { status: 200, headers: { 'content-type': MediaType.ociIndex }, body: loop },
    });
    await site.mirror(`images: ['${dex}']`);
    await site.fetch();
    expect((await site.lock()).items.filter((item) => item.kind === 'signature')).toHaveLength(1);
  });

  test.each([
    [4, true],
    [5, false],
  ])(
    'referrers of referrers, %i levels: a chain without end is refused (T19, F15)',
    async (levels, comes) => {
      const site = await startSite();
      const registry = site.registry('ghcr.io');
      const { root } = await publishImage(registry, 'dexidp/dex', 'v1');
      const repository = registry.repository('dexidp/dex');
      const config = repository.addBlob(Buffer.from('{}'), MediaType.empty);
      let subject = root;
      for (let level = 1; level < levels; level++) {
        const { bytes } = buildManifest(MediaType.ociManifest, { config, layers: [config], subject });
        subject = repository.addManifest(bytes, MediaType.ociManifest);
      }
      await site.mirror(`images: ['${dex}']`);
      if (comes) await site.fetch();
      else {
        await expect(site.fetch()).rejects.toMatchObject({
          code: 'BAD_DOCUMENT',
          message: expect.stringContaining('without end'),
        });
      }
    },
  );

  test.each([401, 403, 429, 500])(
    'a %i is no "not found": the image fails, its signature is not lost silently',
    async (status) => {
      const site = await startSite();
      const registry = site.registry('ghcr.io');
      await publishImage(registry, 'dexidp/dex', 'v1');
      registry.fault({
        match: { path: /\.sig/ },
        do: { status, headers: { 'retry-after': '0' } },
      });
      await site.mirror(`images: ['${dex}']`);
      await expect(site.fetch()).rejects.toMatchObject({ code: expect.stringMatching(/DENIED|UPSTREAM/) });
      expect((await site.lock()).missing).toEqual([dex]);
    },
  );
});

describe('the set of a self-hosted Image Factory', () => {
  const set = (more: string): string =>
    `talos: {versions: [v1.13.9], imageFactory: {version: v1.5.0, ${more}}}`;

  async function factorySite(): Promise<Site> {
    const site = await startSite({ 'ghcr.io': {}, 'registry.k8s.io': {} });
    const registry = site.registry('ghcr.io');
    const names = [
      'image-factory:v1.5.0',
      'imager:v1.13.9',
      'installer-base:v1.13.9',
      'installer:v1.13.9',
      'talosctl-all:v1.13.9',
    ];
    for (const [i, name] of names.entries()) {
      const [repository = '', tag = ''] = name.split(':');
      await publishImage(registry, `siderolabs/${repository}`, tag, { seed: 20 + i });
    }
    const tools = await publishImage(registry, 'siderolabs/iscsi-tools', 'v0.2.0', { seed: 30 });
    const agent = await publishImage(registry, 'siderolabs/qemu-guest-agent', '10.1', { seed: 31 });
    const overlay = await publishImage(registry, 'siderolabs/sbc-raspberrypi', 'v0.2.1', { seed: 32 });
    publishCatalog(
      site,
      'siderolabs/extensions',
      'v1.13.9',
      'image-digests',
      `ghcr.io/siderolabs/iscsi-tools:v0.2.0@${tools.root.digest}\nghcr.io/siderolabs/qemu-guest-agent:10.1@${agent.root.digest}\n`,
    );
    publishCatalog(
      site,
      'siderolabs/overlays',
      'v1.13.9',
      'overlays.yaml',
      `overlays:\n  - name: rpi_generic\n    image: ghcr.io/siderolabs/sbc-raspberrypi:v0.2.1\n    digest: ${overlay.root.digest}\n`,
    );
    return site;
  }

  test('all extensions and overlays, by the digests of the catalogs', async () => {
    const site = await factorySite();
    await site.mirror(`${set('extensions: all, overlays: all')}\nplatforms: [linux/amd64]`);
    await site.fetch();
    const { items } = await site.lock();
    expect(items.filter((item) => item.kind === 'image').map((item) => item.name.split('@')[0])).toEqual([
      'ghcr.io/siderolabs/extensions:v1.13.9',
      'ghcr.io/siderolabs/image-factory:v1.5.0',
      'ghcr.io/siderolabs/imager:v1.13.9',
      'ghcr.io/siderolabs/installer-base:v1.13.9',
      'ghcr.io/siderolabs/installer:v1.13.9',
      'ghcr.io/siderolabs/iscsi-tools:v0.2.0',
      'ghcr.io/siderolabs/overlays:v1.13.9',
      'ghcr.io/siderolabs/qemu-guest-agent:10.1',
      'ghcr.io/siderolabs/sbc-raspberrypi:v0.2.1',
      'ghcr.io/siderolabs/talosctl-all:v1.13.9',
    ]);
    // The factory builds for both architectures, whatever was asked.
    expect(items.some((item) => item.platforms !== undefined)).toBe(false);
  });

  test('a chosen extension alone', async () => {
    const site = await factorySite();
    await site.mirror(set('extensions: [siderolabs/iscsi-tools]'));
    await site.fetch();
    const names = (await site.lock()).items.map((item) => item.name).join();
    expect(names).toContain('iscsi-tools');
    expect(names).not.toMatch(/qemu-guest-agent|raspberrypi/);
  });

  test('what a catalog names is fetched while other images are still on their way', async () => {
    const site = await factorySite();
    const slow = site.registry('registry.k8s.io');
    await publishImage(slow, 'pause', '3.10', { seed: 40 });
    slow.fault({ match: { path: /blobs/, nth: 1 }, do: { status: 503, headers: { 'retry-after': '2' } } });
    await site.mirror(`${set('extensions: all')}\nimages: ['registry.k8s.io/pause:3.10']`);
    await site.fetch();
    const records = await site.egress();
    const named = records.filter(({ path }) => path.includes('iscsi-tools/blobs')).map(({ time }) => time);
    const last = records.filter(({ host }) => host === 'registry.k8s.io').map(({ time }) => time);
    expect(named.length).toBeGreaterThan(0);
    expect(named.every((time) => time < (last.at(-1) ?? ''))).toBe(true);
  });

  test('an unknown name is refused with the nearest there is', async () => {
    const site = await factorySite();
    await site.mirror(set('extensions: [iscsi-tool]'));
    await expect(site.fetch()).rejects.toMatchObject({
      code: 'CONFIG',
      message: expect.stringContaining('has no iscsi-tool; did you mean siderolabs/iscsi-tools?'),
    });
  });

  test('a catalog whose layer unpacks to too much is refused', async () => {
    const site = await factorySite();
    publishCatalog(site, 'siderolabs/extensions', 'v1.13.9', 'other', '0'.repeat(80 * 1024 * 1024));
    await site.mirror(set('extensions: all'));
    await expect(site.fetch()).rejects.toMatchObject({
      code: 'BAD_DOCUMENT',
      message: expect.stringContaining('unpacks to too much'),
    });
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
