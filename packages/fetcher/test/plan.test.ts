/** plan: what is to come, to the byte where that is known, without changing anything. */
import { existsSync } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { noProgress } from '@omni-airgap/oci';
import { digestOf, MediaType } from '@omni-airgap/oci/model';
import { buildManifest } from '@omni-airgap/oci/testing';
import { schematicFrom } from '@omni-airgap/talos';
import { expect, test } from 'vitest';
import { listName } from '../src/factory/lists.ts';
import { schematicName } from '../src/factory/media.ts';
import { plan, planFailure } from '../src/plan.ts';
import { factoryHost } from './factory-double.ts';
import { assetBytes, attach, publishImage, startSite, talosVersion } from './site.ts';

const vanilla = schematicFrom('customization: {}\n').id;

async function planSite() {
  const site = await startSite({ 'ghcr.io': {}, 'registry.k8s.io': {} });
  const registry = site.registry('ghcr.io');
  await publishImage(registry, 'dexidp/dex', 'v1');
  await publishImage(registry, 'dexidp/other', 'v1', { seed: 2, layerBytes: 5000 });
  site.factory.files.set(
    `image/${vanilla}/${talosVersion}/metal-amd64.iso`,
    await assetBytes('metal-amd64.iso', 1, 700_000),
  );
  site.factory.files.set('versions', Buffer.from(`["${talosVersion}"]`));
  await site.mirror(`talos: {versions: [${talosVersion}], talosctl: []}
media: [{schematic: {customization: {}}, files: [metal-amd64.iso], installers: [metal]}]
images: ['ghcr.io/dexidp/dex:v1', 'ghcr.io/dexidp/other:v1']`);
  return { site, plan: (build = false) => plan({ ...site, build }) };
}

test('says sizes by item, kind and platform, shared content once; asks the factory for its versions alone, writes nothing', async () => {
  const { site, plan: run } = await planSite();
  const result = await run();
  const images = result.items.filter((item) => item.kind === 'image');
  expect(images.map((item) => [item.name, item.bytes === item.missing && item.bytes])).toEqual([
    ['ghcr.io/dexidp/dex:v1', expect.any(Number)],
    ['ghcr.io/dexidp/other:v1', expect.any(Number)],
    [`${factoryHost}/metal-installer/${vanilla}:${talosVersion}`, undefined],
  ]);
  const [dex = 0, other = 0] = images.map((item) => item.bytes);
  // Both have the same base layer.
  expect(result.kinds.image).toMatchObject({ items: 3, bytes: dex + other - 500, unknown: 1 });
  expect(result.kinds.media).toMatchObject({ items: 1, bytes: 0, unknown: 1 });
  expect(result.bytesToFetch).toBe(result.bytes);
  expect(result.unknown).toBe(2);
  expect(Object.keys(result.platforms)).toEqual(['linux/amd64', 'linux/arm64']);
  expect(result.freeBytes).toBeGreaterThan(0);
  expect(result.hosts.map((host) => host.pattern)).toContain('ghcr.io');
  expect(site.asked(factoryHost)).toEqual(['GET /versions']);
  expect(existsSync(site.store)).toBe(false);
  expect(site.asked('ghcr.io').some((line) => line.startsWith('GET') && line.includes('/blobs/'))).toBe(
    false,
  );
});

test('counts signatures as fetch brings them, of children and of each other; the bytes to get are those that come', async () => {
  const { site, plan: run } = await planSite();
  const registry = site.registry('ghcr.io');
  const { root, children } = await publishImage(registry, 'dexidp/dex', 'v1');
  const [child] = children;
  if (child === undefined) throw new Error('no child');
  const signature = attach(registry, 'dexidp/dex', root, '.sig');
  attach(registry, 'dexidp/dex', child, '.att');
  attach(registry, 'dexidp/dex', signature, '.sbom');
  await site.mirror("images: ['ghcr.io/dexidp/dex:v1', 'ghcr.io/dexidp/other:v1']");
  const result = await run();
  expect(result.kinds.signature.items).toBe(3);
  expect(result.kinds.signature.bytes).toBeGreaterThan(0);
  expect(result.bytesToFetch).toBe(result.bytes);
  await site.fetch();
  const { items } = await site.lock();
  const named = (list: readonly { name: string; kind: string }[]) =>
    list.map(({ name, kind }) => `${kind} ${name}`).sort();
  expect(named(result.items)).toEqual(named(items));
  const stored = await readdir(join(site.store, 'blobs', 'sha256'));
  const sizes = await Promise.all(stored.map((name) => stat(join(site.store, 'blobs', 'sha256', name))));
  expect(sizes.reduce((sum, { size }) => sum + size, 0)).toBe(result.bytesToFetch);
  expect(await run()).toMatchObject({ bytesToFetch: 0, kinds: { signature: { items: 3, missing: 0 } } });
});

test('a registry that does not say whether there are signatures is a problem of the image', async () => {
  const { site, plan: run } = await planSite();
  site.registry('ghcr.io').fault({ match: { path: /\.sig/ }, do: { status: 403 } });
  await site.mirror("images: ['ghcr.io/dexidp/dex:v1']");
  expect((await run()).items[0]?.problem).toContain('403');
});

test('programs that nothing carries are named for a set with Omni, and for no other', async () => {
  const { site, plan: run } = await planSite();
  const tools = async () => (await run()).tools.map(({ name }) => name);
  await site.mirror("images: ['ghcr.io/dexidp/dex:v1']");
  expect(await tools()).toEqual([]);
  await site.mirror("images: ['ghcr.io/siderolabs/omni:v1.10.4']");
  expect(await tools()).toEqual([
    'docker with its plug-in compose, or podman 4.5 or later',
    'kubectl with its plug-in oidc-login (kubelogin)',
  ]);
});

test('talosctl is as large as its binaries, which no build is needed for', async () => {
  const { site, plan: run } = await planSite();
  const list = [`https://${factoryHost}/talosctl/${talosVersion}/talosctl-linux-amd64`];
  site.factory.files.set(`talosctl/${talosVersion}`, Buffer.from(JSON.stringify(list)));
  site.factory.files.set(
    `talosctl/${talosVersion}/talosctl-linux-amd64`,
    await assetBytes('talosctl-linux-amd64', 3, 40_000),
  );
  const mirror = (system: string): string =>
    `talos: {versions: [${talosVersion}], talosctl: [${system}]}\nmedia: [{schematic: {customization: {}}, files: [metal-amd64.iso]}]`;
  await site.mirror(mirror('linux-amd64'));
  const sizes = async () => (await run()).kinds.catalog;
  expect(await sizes()).toMatchObject({ bytes: 40_000, missing: 40_000 });
  expect(site.asked(factoryHost).toSorted()).toEqual([
    `GET /talosctl/${talosVersion}`,
    'GET /versions',
    `HEAD /talosctl/${talosVersion}/talosctl-linux-amd64`,
  ]);
  await site.mirror(mirror('plan9-amd64'));
  expect((await run()).items.find((item) => item.name.includes('/talosctl:'))?.problem).toContain(
    'none for plan9-amd64',
  );
  await site.mirror(mirror('linux-amd64'));
  await site.fetch();
  expect((await sizes()).missing).toBe(0);
});

test('--build makes the schematic known, has the files built, which is shown, and counts them', async () => {
  const { site } = await planSite();
  const doing: string[] = [];
  const item = (name: string, state?: { readonly doing: string }) =>
    void doing.push(`${name}: ${state?.doing}`);
  const result = await plan({ ...site, build: true, progress: { ...noProgress, item } });
  expect(doing).toContain(`metal-amd64.iso ${talosVersion}: building at the factory`);
  expect(result.items.find((item) => item.kind === 'media')).toMatchObject({
    bytes: 700_000,
    missing: 700_000,
  });
  expect(result.kinds.media).toMatchObject({ bytes: 700_000, unknown: 0 });
  expect(site.asked(factoryHost)).toContain('POST /schematics');
  expect(existsSync(site.store)).toBe(false);
});

test('after a fetch nothing is left to fetch, and what lock.json pins has its size without a build', async () => {
  const { site, plan: run } = await planSite();
  await site.mirror(`talos: {versions: [${talosVersion}], talosctl: []}
media: [{schematic: {customization: {}}, files: [metal-amd64.iso]}]
images: ['ghcr.io/dexidp/dex:v1']`);
  await site.fetch();
  const result = await run();
  expect(result).toMatchObject({ bytesToFetch: 0, unknown: 0 });
  expect(result.items.find((item) => item.kind === 'media')).toMatchObject({ bytes: 700_000, missing: 0 });
});

test('what cannot be asked is a problem of its item, not of the plan', async () => {
  const { site, plan: run } = await planSite();
  await site.mirror("images: ['ghcr.io/dexidp/dex:v1', 'ghcr.io/dexidp/none:v1']");
  const result = await run();
  expect(result.items[1]).toMatchObject({
    name: 'ghcr.io/dexidp/none:v1',
    problem: expect.stringContaining('does not exist'),
  });
  expect(result.items[0]?.bytes).toBeGreaterThan(0);
});

test.each([
  ["images: ['ghcr.io/dexidp/dex:v1', 'ghcr.io/dexidp/none:v1']", 'NOT_FOUND', 'ghcr.io/dexidp/none:v1'],
  ["images: [{image: 'ghcr.io/dexidp/dex:v1', platforms: [linux/s390x]}]", 'CONFIG', 'ghcr.io/dexidp/dex:v1'],
  [
    `talos: {versions: [v1.13.99], talosctl: []}\nmedia: [{schematic: {customization: {}}, files: [metal-amd64.iso]}]`,
    'NOT_FOUND',
    listName('versions'),
  ],
  [
    `talos: {versions: [${talosVersion}], talosctl: []}\nmedia: [{schematic: '${'f'.repeat(64)}', files: [metal-amd64.iso], installers: [metal]}]`,
    'NOT_FOUND',
    schematicName('f'.repeat(64)),
  ],
])('what fetch would fail for is a problem with its code: %s', async (mirror, code, name) => {
  const { site, plan: run } = await planSite();
  await site.mirror(mirror);
  const result = await run();
  const [first] = result.problems;
  expect(first).toMatchObject({
    name,
    code,
    message: result.items.find((one) => one.name === name)?.problem,
  });
  // The message of a fetch names what hangs on it by set, that of a plan by file.
  const failed = await site.fetch().catch((error: unknown) => error);
  expect(planFailure(result)).toMatchObject({ code });
  expect(failed).toMatchObject({ code });
  expect((failed as Error).message).toContain(first?.message);
});

test('what hangs on a schematic that cannot be had is a problem too, and no size that a build would tell', async () => {
  const { site, plan: run } = await planSite();
  await site.mirror(
    `talos: {versions: [${talosVersion}], talosctl: []}\nmedia: [{schematic: '${'f'.repeat(64)}', files: [metal-amd64.iso], installers: [metal]}]`,
  );
  const { problems, unknown, kinds } = await run(true);
  expect(problems.map(({ code }) => code)).toEqual(['NOT_FOUND', 'INCOMPLETE', 'INCOMPLETE']);
  expect({ unknown, image: kinds.image.failed, media: kinds.media.failed }).toEqual({
    unknown: 0,
    image: 1,
    media: 1,
  });
  expect(site.asked(factoryHost).some((line) => line.includes('/image/'))).toBe(false);
});

test('a plan without problems has no failure', async () => {
  const { plan: run } = await planSite();
  const result = await run();
  expect(result.problems).toEqual([]);
  expect(planFailure(result)).toBeUndefined();
});

test('warns of versions that do not fit, and of what registry:2 makes of a sparse index', async () => {
  const { site, plan: run } = await planSite();
  await site.mirror(`talos: {versions: [v1.13.9]}
kubernetes: {versions: [v1.20.0]}
images: ['ghcr.io/dexidp/dex:v1']
platforms: [linux/amd64]
inside: {registry: distribution}`);
  const { warnings, platforms } = await run();
  expect(warnings).toEqual([
    'Talos v1.13.9 takes Kubernetes 1.31 to 1.36, not v1.20.0',
    expect.stringMatching(/2\.8 has no such setting; .* load with --trim-indexes \(--flatten where one/),
  ]);
  expect(Object.keys(platforms)).toEqual(['linux/amd64']);
  await site.mirror("images: ['ghcr.io/dexidp/dex:v1']\nplatforms: [linux/amd64, linux/arm64]");
  const two = await run();
  expect(two.warnings).toEqual([]);
  expect(two.inside).toEqual([
    {
      level: 'confirm',
      message: expect.stringContaining('Distribution refuses an index of which only some'),
    },
  ]);
});

test('of an index within an index too, only the platforms that are carried count', async () => {
  const { site, plan: run } = await planSite();
  const registry = site.registry('ghcr.io');
  const { root } = await publishImage(registry, 'dexidp/dex', 'inner');
  const { bytes } = buildManifest(MediaType.ociIndex, { manifests: [root] });
  registry.repository('dexidp/dex').addManifest(bytes, MediaType.ociIndex, 'outer');
  await site.mirror("images: ['ghcr.io/dexidp/dex:outer']\nplatforms: [linux/amd64]");
  const { bytesToFetch } = await run();
  await site.fetch();
  const stored = await readdir(join(site.store, 'blobs', 'sha256'));
  const sizes = await Promise.all(stored.map((name) => stat(join(site.store, 'blobs', 'sha256', name))));
  expect(bytesToFetch).toBe(sizes.reduce((sum, { size }) => sum + size, 0));
});

test('T18 an index with more than ten thousand descriptors below all its images is a problem of its item', async () => {
  const { site, plan: run } = await planSite();
  const repository = site.registry('ghcr.io').repository('dexidp/endless');
  const config = repository.addBlob(Buffer.from('{}'), MediaType.ociConfig);
  const manifests = ['a', 'b', 'c'].map((name) => {
    const layers = Array.from({ length: 4000 }, (_, i) => ({
      mediaType: MediaType.octetStream,
      digest: digestOf(Buffer.from(`${name} ${i}`)),
      size: 1,
    }));
    const image = buildManifest(MediaType.ociManifest, { config, layers });
    return repository.addManifest(image.bytes, MediaType.ociManifest);
  });
  const index = buildManifest(MediaType.ociIndex, { manifests });
  repository.addManifest(index.bytes, MediaType.ociIndex, 'v1');
  await site.mirror("images: ['ghcr.io/dexidp/endless:v1', 'ghcr.io/dexidp/dex:v1']");
  const { items } = await run();
  expect(items[0]?.problem).toBe(`${index.descriptor.digest}: more than 10000 descriptors below it`);
  expect(items[1]?.problem).toBeUndefined();
});

test('a schematic with a secret is refused before any request', async () => {
  const { site, plan: run } = await planSite();
  await site.mirror(
    `media: [{schematic: {customization: {extraKernelArgs: ["x=?jointoken=abc"]}}, versions: [${talosVersion}], files: [kernel-amd64]}]`,
  );
  await expect(run(true)).rejects.toMatchObject({ code: 'SECRET' });
  expect(site.asked(factoryHost)).toEqual([]);
});
