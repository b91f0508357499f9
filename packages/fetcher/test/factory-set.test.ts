/** The set of a self-hosted Image Factory: its sources, its catalogs, and the images that those name. */
import { gzipSync } from 'node:zlib';
import { MediaType } from '@omni-airgap/oci/model';
import { buildManifest } from '@omni-airgap/oci/testing';
import { expect, test } from 'vitest';
import { publishImage, type Site, startSite } from './site.ts';

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
