/** What hangs on an image comes along, signatures of signatures included, and is never lost silently. */

import { noProgress, type Progress } from '@omni-airgap/oci';
import { Layout } from '@omni-airgap/oci/layout';
import { digestFromHex, hexOf, MediaType } from '@omni-airgap/oci/model';
import { buildManifest } from '@omni-airgap/oci/testing';
import { expect, test } from 'vitest';
import { attach, publishImage, refer, startSite } from './site.ts';

const dex = 'ghcr.io/dexidp/dex:v1';

test('comes along: tags of cosign 2 for the index and its children, referrers, signatures of signatures', async () => {
  const site = await startSite();
  const registry = site.registry('ghcr.io');
  const { root, children } = await publishImage(registry, 'dexidp/dex', 'v1');
  const [child] = children;
  if (child === undefined) throw new Error('no child');
  const signature = attach(registry, 'dexidp/dex', root, '.sig');
  const attestation = attach(registry, 'dexidp/dex', child, '.att');
  const sbom = attach(registry, 'dexidp/dex', signature, '.sbom');
  const referrer = refer(registry, 'dexidp/dex', root);
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

test('an unchanged image takes two round trips: its tag, then all that can hang on it at once', async () => {
  const site = await startSite();
  const registry = site.registry('ghcr.io');
  const { children } = await publishImage(registry, 'dexidp/dex', 'v1');
  await site.mirror(`images: ['${dex}']`);
  await site.fetch();
  const before = registry.requests.length;
  const asked = (): number => registry.requests.length - before;
  // Three tags of cosign, the referrers API and its fallback tag, for the index and each child; the list of tags.
  const all = 1 + 5 * (1 + children.length) + 1;
  registry.fault({
    match: { path: /sha256[-:]|tags\/list/ },
    do: { until: () => asked() >= all },
  });
  await site.fetch();
  expect(asked()).toBe(all);
});

test.each([
  ['404 at the referrers API, with the fallback tag (F18)', 404],
  ['a 303 to somewhere else there (F18)', 303],
])('%s', async (_what, status) => {
  const site = await startSite();
  const registry = site.registry('ghcr.io');
  const { root } = await publishImage(registry, 'dexidp/dex', 'v1');
  const repository = registry.repository('dexidp/dex');
  const referrer = refer(registry, 'dexidp/dex', root);
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
  const referrer = refer(registry, 'dexidp/dex', root);
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
])('referrers of referrers, %i levels: a chain without end is refused (T19, F15)', async (levels, comes) => {
  const site = await startSite();
  const registry = site.registry('ghcr.io');
  const { root } = await publishImage(registry, 'dexidp/dex', 'v1');
  let subject = root;
  for (let level = 1; level < levels; level++) subject = refer(registry, 'dexidp/dex', subject);
  await site.mirror(`images: ['${dex}']`);
  if (comes) await site.fetch();
  else {
    await expect(site.fetch()).rejects.toMatchObject({
      code: 'BAD_DOCUMENT',
      message: expect.stringContaining('without end'),
    });
  }
});

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

const dexRepository = 'dexidp/dex';
const notes = (): { readonly progress: Progress; readonly said: string[] } => {
  const said: string[] = [];
  return { said, progress: { ...noProgress, note: (text) => said.push(text) } };
};

test('P13 tags of other tools come along, with what refers to them; the tags are listed once, over pages', async () => {
  const site = await startSite({ 'ghcr.io': { pageSize: 3 } });
  const registry = site.registry('ghcr.io');
  const { root, children } = await publishImage(registry, dexRepository, 'v1');
  await publishImage(registry, dexRepository, 'v2', { seed: 2 });
  const [child] = children;
  if (child === undefined) throw new Error('no child');
  const suffixes = ['.imgpkg', '.image-locations.imgpkg', '.src', '.git', '.dockerfile'];
  const attached = suffixes.map((suffix) => attach(registry, dexRepository, root, suffix, `${suffix} of it`));
  attach(registry, dexRepository, child, '.src', 'source of one platform');
  const [imgpkg] = attached;
  if (imgpkg === undefined) throw new Error('no attachment');
  attach(registry, dexRepository, imgpkg, '.sig');
  // Of an image that nobody asked for.
  attach(registry, dexRepository, { ...root, digest: digestFromHex('7'.repeat(64)) }, '.src');
  await site.mirror("images: ['ghcr.io/dexidp/dex:v1', 'ghcr.io/dexidp/dex:v2']");
  await site.fetch();
  const name = (digest: string, suffix: string): string =>
    `ghcr.io/dexidp/dex:${digest.replace(':', '-')}${suffix}`;
  const found = (await site.lock()).items.filter((item) => item.kind === 'signature');
  expect(found.map((item) => item.name).sort()).toEqual(
    [
      ...suffixes.map((suffix) => name(root.digest, suffix)),
      name(child.digest, '.src'),
      name(imgpkg.digest, '.sig'),
    ].sort(),
  );
  const lists = site.asked('ghcr.io').filter((path) => path.includes('/tags/list'));
  // Eleven tags, in pages of three.
  expect(lists).toHaveLength(4);
  expect(new Set(lists).size).toBe(4);
});

test.each([
  ['refused to everyone', { status: 401 }, false],
  ['refused to us', { status: 403 }, false],
  ['unknown to the registry', { status: 404 }, false],
  ['no method of it', { status: 405 }, false],
  ['failing', { status: 500, headers: { 'retry-after': '0' } }, true],
  ['no list', { body: '{"tags": 7}' }, true],
  ['of pages that cannot be told', { headers: { link: 'next' } }, true],
] as const)(
  'P13 a list of tags that is %s: cosign and the specification hold, %s',
  async (_what, action, isNamed) => {
    const site = await startSite();
    const registry = site.registry('ghcr.io');
    const { root } = await publishImage(registry, dexRepository, 'v1');
    attach(registry, dexRepository, root, '.sig');
    registry.fault({ match: { path: /tags\/list/ }, do: action });
    await site.mirror(`images: ['${dex}']`);
    const { progress, said } = notes();
    await site.fetch({ progress });
    expect((await site.lock()).items).toHaveLength(2);
    const named = said.filter((text) => text.startsWith('cannot list the tags of ghcr.io/dexidp/dex'));
    expect(named).toHaveLength(isNamed ? 1 : 0);
  },
);

test('C2 a signature that only the fallback tag names comes along from a registry with the referrers API', async () => {
  const site = await startSite();
  const registry = site.registry('ghcr.io');
  const { root } = await publishImage(registry, dexRepository, 'v1');
  const repository = registry.repository(dexRepository);
  const referrer = refer(registry, dexRepository, root);
  const { bytes } = buildManifest(MediaType.ociIndex, { manifests: [referrer] });
  repository.addManifest(bytes, MediaType.ociIndex, `sha256-${hexOf(root.digest)}`);
  const body = JSON.stringify({ schemaVersion: 2, mediaType: MediaType.ociIndex, manifests: [] });
  const headers = { 'content-type': MediaType.ociIndex };
  registry.fault({ match: { path: /referrers/ }, do: { status: 200, headers, body } });
  await site.mirror(`images: ['${dex}']`);
  await site.fetch();
  expect((await site.lock()).items.map((item) => item.name)).toContain(
    `ghcr.io/dexidp/dex@${referrer.digest}`,
  );
});
