import { descriptorOf, MediaType, openerOf } from '@omni-airgap/oci/model';
import { buildManifest } from '@omni-airgap/oci/testing';
import { expect, test } from 'vitest';
import type { ContentSource } from '../src/source.ts';
import { newLayout, putImage, putIndex, start } from './support.ts';

async function digestAt(base: string, path: string): Promise<string | number | null> {
  const response = await fetch(`${base}/v2/${path}`, { method: 'HEAD' });
  return response.ok ? response.headers.get('docker-content-digest') : response.status;
}

test('two names that meet without their host are found with it, and reported', async () => {
  const layout = await newLayout();
  const one = await putImage(layout, 'ghcr.io/dexidp/dex:v1', Buffer.from('one'));
  const two = await putImage(layout, 'docker.io/dexidp/dex:v1', Buffer.from('two'));
  await putImage(layout, 'docker.io/dexidp/dex:v2', Buffer.from('two'));
  const { url, unreachable } = await start({ source: layout });
  expect(await digestAt(url, 'dexidp/dex/manifests/v1')).toBe(404);
  expect(await digestAt(url, 'ghcr.io/dexidp/dex/manifests/v1')).toBe(one.manifest.digest);
  expect(await digestAt(url, 'docker.io/dexidp/dex/manifests/v1')).toBe(two.manifest.digest);
  expect(await digestAt(url, 'dexidp/dex/manifests/v1?ns=ghcr.io')).toBe(one.manifest.digest);
  expect(await digestAt(url, 'dexidp/dex/manifests/v1?ns=docker.io')).toBe(two.manifest.digest);
  expect(await digestAt(url, 'dexidp/dex/manifests/v1?ns=quay.io')).toBe(404);
  expect(await digestAt(url, 'dexidp/dex/manifests/v2')).toMatch(/^sha256:/);
  expect(
    unreachable()
      .map(({ name }) => name)
      .sort(),
  ).toEqual(['docker.io/dexidp/dex:v1', 'ghcr.io/dexidp/dex:v1']);
});

test('two names for the same digest do not collide', async () => {
  const layout = await newLayout();
  const { manifest } = await putImage(layout, 'ghcr.io/dexidp/dex:v1', Buffer.from('one'));
  await layout.tag(manifest, 'docker.io/dexidp/dex:v1');
  const { url, unreachable } = await start({ source: layout });
  expect(await digestAt(url, 'dexidp/dex/manifests/v1')).toBe(manifest.digest);
  expect(unreachable()).toEqual([]);
});

test('T18 a name that leads to forty nested indexes is reported and not served, what it shares with others is', async () => {
  const layout = await newLayout();
  const good = await putImage(layout, 'ghcr.io/a/good:v1', Buffer.from('good'));
  let index = good.manifest;
  for (let level = 0; level < 40; level++) {
    const { descriptor, bytes } = buildManifest(MediaType.ociIndex, { manifests: [index] });
    await layout.push(descriptor, openerOf(bytes));
    index = descriptor;
  }
  await layout.tag(index, 'ghcr.io/a/deep:v1');
  const { url, unreachable } = await start({ source: layout });
  expect(unreachable()).toEqual([
    { name: 'ghcr.io/a/deep:v1', reason: expect.stringContaining('nested deeper') },
  ]);
  expect(await digestAt(url, 'a/good/manifests/v1')).toBe(good.manifest.digest);
  // As of each child of an index, one can ask for it by its digest only where it is.
  expect(await digestAt(url, `a/deep/manifests/${good.manifest.digest}`)).toBe(404);
});

test('a name of content that is no manifest is reported', async () => {
  const layout = await newLayout();
  const odd = descriptorOf(MediaType.octetStream, Buffer.from('{}'));
  const source: ContentSource = {
    fetch: (descriptor) => layout.fetch(descriptor),
    locate: (descriptor) => layout.locate(descriptor),
    stat: (digest) => layout.stat(digest),
    names: async function* () {
      yield ['ghcr.io/a/odd:v1', odd];
    },
  };
  const { unreachable } = await start({ source });
  expect(unreachable()).toEqual([
    { name: 'ghcr.io/a/odd:v1', reason: 'application/octet-stream is not a manifest type' },
  ]);
});

test('names of other tools and damaged content are reported, the rest is served', async () => {
  const layout = await newLayout();
  const good = await putImage(layout, 'ghcr.io/a/good:v1', Buffer.from('good'));
  const bad = await putImage(layout, 'ghcr.io/a/bad:v1', Buffer.from('bad'));
  await layout.tag(good.manifest, 'not a reference');
  await overwrite(layout.pathOf(bad.manifest.digest), 'x'.repeat(bad.manifest.size));
  const { url, unreachable } = await start({ source: layout });
  expect(await digestAt(url, 'a/good/manifests/v1')).toBe(good.manifest.digest);
  expect((await fetch(`${url}/v2/a/bad/manifests/v1`)).status).toBe(500);
  expect(
    unreachable()
      .map(({ name }) => name)
      .sort(),
  ).toEqual(['ghcr.io/a/bad:v1', 'not a reference']);
});

test('repositories are listed without their host where that finds them, in pages', async () => {
  const layout = await newLayout();
  await putImage(layout, 'ghcr.io/dexidp/dex:v1', Buffer.from('one'));
  await putImage(layout, 'docker.io/dexidp/dex:v1', Buffer.from('two'));
  await putImage(layout, 'docker.io/dexidp/dex:v2', Buffer.from('two'));
  await putImage(layout, 'ghcr.io/siderolabs/omni:v1', Buffer.from('omni'));
  const { url } = await start({ source: layout });
  const list = async (query: string) => {
    const response = await fetch(`${url}/v2/_catalog${query}`);
    return [(await response.json()) as unknown, response.headers.get('link')];
  };
  const all = ['dexidp/dex', 'docker.io/dexidp/dex', 'ghcr.io/dexidp/dex', 'siderolabs/omni'];
  expect(await list('')).toEqual([{ repositories: all }, null]);
  expect(await list('?n=3')).toEqual([
    { repositories: all.slice(0, 3) },
    '</v2/_catalog?n=3&last=ghcr.io%2Fdexidp%2Fdex>; rel="next"',
  ]);
  expect(await list('?n=3&last=ghcr.io/dexidp/dex')).toEqual([{ repositories: all.slice(3) }, null]);
  expect((await fetch(`${url}/v2/_catalog`, { method: 'DELETE' })).status).toBe(405);
});

test('a sparse index is served without its missing children', async () => {
  const layout = await newLayout();
  const here = await putImage(layout, undefined, Buffer.from('amd64'));
  const missing = { ...here.manifest, digest: `sha256:${'1'.repeat(64)}` as const };
  const index = await putIndex(layout, 'ghcr.io/a/b:v1', [here.manifest, missing as typeof here.manifest]);
  const { url } = await start({ source: layout });
  expect(await digestAt(url, 'a/b/manifests/v1')).toBe(index.digest);
  expect(await digestAt(url, `a/b/manifests/${here.manifest.digest}`)).toBe(here.manifest.digest);
  expect(await digestAt(url, `a/b/manifests/${missing.digest}`)).toBe(404);
});

test('what is pushed lies over what was carried, and both are found', async () => {
  const [carried, site] = [await newLayout(), await newLayout()];
  const old = await putImage(carried, 'ghcr.io/a/b:v1', Buffer.from('carried'));
  const other = await putImage(carried, 'ghcr.io/a/b:v2', Buffer.from('carried too'));
  const pushed = await putImage(site, 'registry.local/a/b:v1', Buffer.from('pushed'));
  const { url } = await start({ source: carried, writable: site });
  expect(await digestAt(url, 'a/b/manifests/v1')).toBe(pushed.manifest.digest);
  expect(await digestAt(url, 'ghcr.io/a/b/manifests/v1')).toBe(old.manifest.digest);
  expect(await digestAt(url, 'a/b/manifests/v2')).toBe(other.manifest.digest);
  for (const { layer } of [old, pushed]) {
    expect((await fetch(`${url}/v2/a/b/blobs/${layer.digest}`)).status).toBe(200);
  }
});

async function overwrite(path: string, text: string): Promise<void> {
  const { chmod, writeFile } = await import('node:fs/promises');
  await chmod(path, 0o644);
  await writeFile(path, text);
}
