/** Several bundles of one store, and of others: which names there are, and which bundle each stands for. */
import { join } from 'node:path';
import { type TestBundleOptions, writeTestBundle } from '@omni-airgap/format/testing';
import type { Layout } from '@omni-airgap/oci/layout';
import { expect, test } from 'vitest';
import { type OpenedBundles, openBundles } from '../src/index.ts';
import { plain } from './carried.ts';
import {
  newLayout,
  putFiles,
  putImage,
  putSchematic,
  type Running,
  start,
  temporaryFolder,
} from './support.ts';

const omni = 'ghcr.io/siderolabs/omni';
const otherStore = 'b'.repeat(32);

/** A bundle of images by name and content. @returns its folder */
async function bundleOf(
  images: Readonly<Record<string, string>>,
  options: TestBundleOptions = {},
  fill: (layout: Layout) => Promise<unknown> = async () => {},
): Promise<string> {
  const layout = await newLayout();
  for (const [name, content] of Object.entries(images)) await putImage(layout, name, Buffer.from(content));
  await fill(layout);
  const folder = join(await temporaryFolder(), 'bundle');
  await writeTestBundle(layout, folder, options);
  return folder;
}

const open = (folders: readonly string[], newestOnly?: boolean): Promise<OpenedBundles> =>
  openBundles(folders, { mode: 'any' }, { newestOnly });

async function tagsOf({ url }: Running, repository: string): Promise<unknown> {
  const response = await fetch(`${url}/v2/${repository}/tags/list`);
  return response.ok ? ((await response.json()) as { tags: unknown }).tags : response.status;
}

/** Text of the layer of an image. */
async function contentOf({ url }: Running, repository: string, tag: string): Promise<string> {
  const manifest = await (await fetch(`${url}/v2/${repository}/manifests/${tag}`)).json();
  const { layers } = manifest as { layers: readonly [{ digest: string }] };
  return (await fetch(`${url}/v2/${repository}/blobs/${layers[0].digest}`)).text();
}

test('U-M9 names that a newer bundle no longer lists are served; of a moved tag the newest content', async () => {
  const first = await bundleOf({ [`${omni}:v1`]: 'one', [`${omni}:latest`]: 'one', 'quay.io/a/b:v1': 'b' });
  const second = await bundleOf({ [`${omni}:v2`]: 'two', [`${omni}:latest`]: 'two' }, { sequence: 2 });
  const third = await bundleOf({ [`${omni}:v3`]: 'three' }, { sequence: 3 });
  const opened = await open([second, first, third]);
  const server = await start(opened);
  expect(await tagsOf(server, 'siderolabs/omni')).toEqual(['latest', 'v1', 'v2', 'v3']);
  expect(await contentOf(server, 'siderolabs/omni', 'latest')).toBe('two');
  expect(await contentOf(server, 'a/b', 'v1')).toBe('b');
  expect(opened.warnings.filter((text) => !text.includes('days ago'))).toEqual([]);
  expect([...opened.olderNames].map(([name, { sequence }]) => [name, sequence])).toEqual([
    [`${omni}:latest`, 2],
    [`${omni}:v2`, 2],
    [`${omni}:v1`, 1],
    ['quay.io/a/b:v1', 1],
  ]);
  expect(opened.notes).toEqual([
    expect.stringMatching(
      /^2 names of bundle \w{12} \(number 2\) .* \(number 3\) does not list: .*omni:latest/,
    ),
    expect.stringMatching(
      /^2 names of bundle \w{12} \(number 1\) .*: ghcr.io\/siderolabs\/omni:v1, quay.io\/a\/b:v1;/,
    ),
  ]);
});

test('with newestOnly, the newest bundle alone says which names there are; content comes from all', async () => {
  const first = await bundleOf({ [`${omni}:v1`]: 'one' });
  const second = await bundleOf({ [`${omni}:v2`]: 'two' }, { sequence: 2 });
  const opened = await open([first, second], true);
  expect(await tagsOf(await start(opened), 'siderolabs/omni')).toEqual(['v2']);
  expect([opened.notes, [...opened.olderNames]]).toEqual([[], []]);
  expect(opened.provenance).toHaveLength(2);
});

test('a withdrawn name is not served from older bundles, and again once a newer bundle lists it', async () => {
  const first = await bundleOf({ [`${omni}:v1`]: 'one', 'quay.io/a/b:v1': 'b' });
  const second = await bundleOf({ [`${omni}:v2`]: 'two' }, { sequence: 2, withdraws: [`${omni}:v1`] });
  const server = await start(await open([first, second]));
  expect(await tagsOf(server, 'siderolabs/omni')).toEqual(['v2']);
  expect(await tagsOf(server, 'a/b')).toEqual(['v1']);
  expect((await fetch(`${server.url}/v2/siderolabs/omni/manifests/v1`)).status).toBe(404);
  const again = await bundleOf({ [`${omni}:v1`]: 'one again' }, { sequence: 3 });
  const third = await start(await open([first, second, again]));
  expect(await tagsOf(third, 'siderolabs/omni')).toEqual(['v1', 'v2']);
  expect(await contentOf(third, 'siderolabs/omni', 'v1')).toBe('one again');
});

test('an older name of one store neither replaces a current one of another nor is withdrawn by it', async () => {
  const old = await bundleOf({ [`${omni}:v1`]: 'ours', 'quay.io/a/b:v1': 'b' }, { sequence: 8 });
  const ours = await bundleOf({ [`${omni}:v2`]: 'two' }, { sequence: 9 });
  const theirs = await bundleOf(
    { [`${omni}:v1`]: 'theirs', [`${omni}:v2`]: 'other two' },
    { sequence: 2, origin: otherStore, withdraws: ['quay.io/a/b:v1'] },
  );
  const opened = await open([old, ours, theirs]);
  const server = await start(opened);
  expect(await contentOf(server, 'siderolabs/omni', 'v1')).toBe('theirs');
  expect(await contentOf(server, 'siderolabs/omni', 'v2')).toBe('two');
  expect(await tagsOf(server, 'a/b')).toEqual(['v1']);
  const warnings = opened.warnings.filter((text) => text.includes('two stores'));
  expect(warnings).toEqual([
    expect.stringMatching(/\(number 9\) is served, not that of bundle \w{12} \(number 2\): .*omni:v2$/),
    expect.stringMatching(/\(number 2\) is served, not that of bundle \w{12} \(number 8\): .*omni:v1$/),
  ]);
  expect(opened.warnings.join()).toContain('several stores');
});

test('without its host, a name of the newest bundle wins over one of an older bundle from another registry', async () => {
  const first = await bundleOf({
    'docker.io/acme/tool:v1': 'old',
    'docker.io/acme/tool:v0': 'oldest',
  });
  const second = await bundleOf({ 'quay.io/acme/tool:v1': 'new' }, { sequence: 2 });
  const server = await start(await open([first, second]));
  expect(await contentOf(server, 'acme/tool', 'v1')).toBe('new');
  expect(await contentOf(server, 'acme/tool', 'v0')).toBe('oldest');
  expect(await contentOf(server, 'docker.io/acme/tool', 'v1')).toBe('old');
  expect(server.unreachable()).toEqual([
    {
      name: 'docker.io/acme/tool:v1',
      reason: 'only found with its host: without it, it would meet quay.io/acme/tool:v1',
    },
  ]);
  const page = await (await fetch(server.url)).text();
  expect(page).toMatch(
    /acme\/tool<\/code><ul class="tags"><li><code>v1<\/code><\/li><li><code>v0<\/code> <span/,
  );
});

test('the Image Factory lists and serves Talos versions of older bundles, unless they are withdrawn', async () => {
  const factory = 'factory.talos.dev';
  let id = '';
  const talos = (version: string) => async (layout: Layout) => {
    id = await putSchematic(layout, plain);
    await putFiles(layout, `${factory}/talos-media/${id}:${version}`, { 'kernel-amd64': version });
    await putFiles(layout, `${factory}/talos-catalog/versions:latest`, { versions: `["${version}"]\n` });
    await putFiles(layout, `${factory}/talos-catalog/extensions:${version}`, { 'extensions.json': '[]\n' });
    await putFiles(layout, `${factory}/talos-catalog/talosctl:${version}`, { 'talosctl-linux-amd64': 'ELF' });
    await putImage(layout, `${factory}/metal-installer/${id}:${version}`, Buffer.from(version));
  };
  // Of v1.12.0 only a list of extensions is there.
  const oldest = await bundleOf({}, {}, (layout) =>
    putFiles(layout, `${factory}/talos-catalog/extensions:v1.12.0`, { 'extensions.json': '[]\n' }),
  );
  const old = await bundleOf({}, { sequence: 2 }, talos('v1.13.9'));
  const current = await bundleOf({}, { sequence: 3 }, talos('v1.14.0'));
  const server = await start(await open([oldest, old, current]));
  const json = async (path: string, { url } = server): Promise<unknown> => (await fetch(url + path)).json();
  expect(await json('/versions')).toEqual(['v1.12.0', 'v1.13.9', 'v1.14.0']);
  expect(await json('/version/v1.13.9/extensions/official')).toEqual([]);
  expect(await (await fetch(`${server.url}/image/${id}/v1.13.9/kernel-amd64`)).text()).toBe('v1.13.9');
  expect(await tagsOf(server, `metal-installer/${id}`)).toEqual(['v1.13.9', 'v1.14.0']);
  const page = await (await fetch(server.url)).text();
  const mark = (number: number) => ` <span class="soft">(from older bundle number ${number})</span>`;
  expect(page).toContain(`Talos v1.13.9, schematic <code>${id.slice(0, 12)}…</code>${mark(2)}</summary>`);
  expect(page).toContain(`metal-installer/${id}:v1.13.9</code>${mark(2)}</li>`);
  expect(page).toContain(`<h3>Talos v1.13.9${mark(2)}</h3>`);
  expect(page.split('(from older bundle')).toHaveLength(4);

  const withdraws = [
    ...['media', 'catalog/extensions', 'catalog/talosctl'].map((kind) =>
      kind === 'media' ? `${factory}/talos-media/${id}:v1.13.9` : `${factory}/talos-${kind}:v1.13.9`,
    ),
    `${factory}/metal-installer/${id}:v1.13.9`,
  ];
  const withdrawing = await bundleOf({}, { sequence: 4, withdraws }, talos('v1.14.0'));
  const later = await start(await open([oldest, old, withdrawing]));
  expect(await json('/versions', later)).toEqual(['v1.12.0', 'v1.14.0']);
  expect((await fetch(`${later.url}/image/${id}/v1.13.9/kernel-amd64`)).status).toBe(404);
});

test('the page marks names of older bundles, and counts them for each bundle; what was pushed is not older', async () => {
  const first = await bundleOf({ [`${omni}:v1`]: 'one', 'quay.io/a/b:v1': 'b' });
  const second = await bundleOf({ [`${omni}:v2`]: 'two' }, { sequence: 2 });
  const writable = await newLayout();
  await putImage(writable, 'registry.local/a/b:v1', Buffer.from('pushed'));
  const server = await start({ ...(await open([first, second])), writable });
  const page = await (await fetch(server.url)).text();
  expect(page).toContain('<code>v1</code> <span class="soft">(from older bundle number 1)</span>');
  expect(page).toContain('<code>v2</code></li>');
  const { host } = new URL(server.url);
  expect(page).toContain(`${host}/a/b</code><ul class="tags"><li><code>v1</code></li>`);
  expect(page).toContain(`${host}/quay.io/a/b</code><ul class="tags"><li><code>v1</code> <span`);
  expect(page.split('(from older bundle')).toHaveLength(3);
  expect(page.split('<dt>Names</dt><dd>2 that no newer bundle of its store lists</dd>')).toHaveLength(2);
  const found = await (await fetch(`${server.url}/?q=omni:v1`)).text();
  expect(found).toContain('(from older bundle number 1)');
});
