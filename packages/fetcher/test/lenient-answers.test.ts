/** Answers that Go clients take, and that mean one thing: P10, P11, C9. What is carried is right by its digest. */
import { type Descriptor, hexOf, MediaType } from '@omni-airgap/oci/model';
import { buildManifest, type Fault, type RegistryDouble } from '@omni-airgap/oci/testing';
import { expect, test } from 'vitest';
import { publishImage, refer, someBytes, startSite } from './site.ts';

const path = 'acme/app';
const app = `ghcr.io/${path}:v1`;
const index = { 'content-type': MediaType.ociIndex };
const referrers = (manifests: unknown): Fault['do'] => ({
  status: 200,
  headers: index,
  body: JSON.stringify({ schemaVersion: 2, mediaType: MediaType.ociIndex, manifests }),
});

test.each<readonly [string, RegExp, Fault['do']]>([
  ['P10 referrers that are null', /referrers/, referrers(null)],
  ['P10 referrers that are not said', /referrers/, referrers(undefined)],
  ['P10 tags that are null', /tags\/list/, { body: '{"name": "acme/app", "tags": null}' }],
  ['C9 blobs labeled gzip', /blobs/, { headers: { 'content-encoding': 'gzip' } }],
  ['C9 blobs labeled x-gzip', /blobs/, { headers: { 'content-encoding': 'x-gzip' } }],
  ['C9 manifests labeled gzip', /manifests/, { headers: { 'content-encoding': 'gzip' } }],
])('taken: %s', async (_what, match, action) => {
  const site = await startSite();
  const registry = site.registry('ghcr.io');
  await publishImage(registry, path, 'v1');
  registry.fault({ match: { path: match }, do: action });
  await site.mirror(`images: ['${app}']`);
  await site.fetch();
  expect((await site.lock()).items).toHaveLength(1);
});

test('P10 a fallback index without a list', async () => {
  const site = await startSite({ 'ghcr.io': { referrersApi: false } });
  const registry = site.registry('ghcr.io');
  const { root } = await publishImage(registry, path, 'v1');
  refer(registry, path, root);
  const bytes = Buffer.from(
    JSON.stringify({ schemaVersion: 2, mediaType: MediaType.ociIndex, manifests: null }),
  );
  registry.repository(path).addManifest(bytes, MediaType.ociIndex, `sha256-${hexOf(root.digest)}`);
  await site.mirror(`images: ['${app}']`);
  await site.fetch();
  expect((await site.lock()).items).toHaveLength(1);
});

test.each([
  ['a layer that was packed on its way', /blobs/, /Content-Encoding gzip, which was not asked for/],
  ['a list that is labeled', /referrers/, /content encoding gzip was not asked for/],
])('C9 refused: %s', async (_what, match, message) => {
  const site = await startSite();
  const registry = site.registry('ghcr.io');
  await publishImage(registry, path, 'v1');
  const headers = { 'content-encoding': 'gzip' };
  registry.fault({ match: { path: match }, do: { headers, body: '\u001f packed' } });
  await site.mirror(`images: ['${app}']`);
  await expect(site.fetch()).rejects.toMatchObject({ message: expect.stringMatching(message) });
});

async function publishForeign(registry: RegistryDouble, type: string, isThere: boolean): Promise<Descriptor> {
  const repository = registry.repository(path);
  const bytes = await someBytes(5, 2000);
  const layer = repository.addBlob(bytes, type);
  if (!isThere) repository.blobs.delete(layer.digest);
  const config = repository.addBlob(
    Buffer.from('{"os":"windows","architecture":"amd64"}'),
    MediaType.ociConfig,
  );
  const layers = [{ ...layer, urls: ['https://store.example/layer'] }];
  const child = buildManifest(MediaType.ociManifest, { config, layers });
  const windows = repository.addManifest(child.bytes, MediaType.ociManifest);
  const { children } = await publishImage(registry, path, 'linux');
  const manifests = [...children, { ...windows, platform: { os: 'windows', architecture: 'amd64' } }];
  const { bytes: list } = buildManifest(MediaType.ociIndex, { manifests });
  repository.addManifest(list, MediaType.ociIndex, 'v1');
  return layer;
}

const types = [
  'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip',
  'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip',
  'application/vnd.oci.image.layer.v1.tar+gzip',
];

test.each(types)('P11 a layer with urls that the registry has is carried: %s', async (type) => {
  const site = await startSite();
  const layer = await publishForeign(site.registry('ghcr.io'), type, true);
  await site.mirror(`images: ['${app}']`);
  await site.fetch();
  expect(site.asked('ghcr.io')).toContain(`GET /v2/${path}/blobs/${layer.digest}`);
  const hosts = new Set((await site.egress()).map(({ host }) => host));
  expect(hosts).toEqual(new Set(['ghcr.io']));
});

test.each(types)('P11 one that it has not is named, with the way out: %s', async (type) => {
  const site = await startSite();
  await publishForeign(site.registry('ghcr.io'), type, false);
  await site.mirror(`images: ['${app}']`);
  await expect(site.fetch()).rejects.toMatchObject({
    code: 'NOT_FOUND',
    message: expect.stringMatching(/foreign layer.*platforms in mirror\.yaml/),
  });
  await site.mirror(`images: ['${app}']\nplatforms: [linux/amd64, linux/arm64]`);
  await site.fetch();
  expect((await site.lock()).missing).toEqual([]);
});
