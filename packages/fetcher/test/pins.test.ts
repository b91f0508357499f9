/** What is pinned is looked at first, and a pin is replaced only on purpose (F10, C3). */

import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Layout } from '@omni-airgap/oci/layout';
import { digestOf } from '@omni-airgap/oci/model';
import type { LockedFile } from '@omni-airgap/store';
import { describe, expect, test } from 'vitest';
import { plan } from '../src/plan.ts';
import { factoryHost, storageHost } from './factory-double.ts';
import { filesOf, mediaSite, mirrorOf, setName, vanilla } from './media-site.ts';
import { assetBytes, type Site, talosVersion } from './site.ts';

const page = '<!doctype html><title>log in</title>';
const talosctlSet = `${factoryHost}/talos-catalog/talosctl:${talosVersion}`;
const pathOf = (file: string): string =>
  file.startsWith('talosctl-')
    ? `talosctl/${talosVersion}/${file}`
    : `image/${vanilla.id}/${talosVersion}/${file}`;
const setOf = (file: string): string => (file.startsWith('talosctl-') ? talosctlSet : setName);
const wishFor = (file: string): string =>
  file.startsWith('talosctl-') ? mirrorOf(['kernel-amd64']) : mirrorOf([file]);

async function siteWith(file: string): Promise<Site> {
  const site = await mediaSite();
  site.factory.files.set(pathOf(file), await assetBytes(file, 6, 60_000));
  await site.mirror(wishFor(file));
  return site;
}

const pinOf = async (site: Site, file: string): Promise<LockedFile | undefined> =>
  (await site.lock()).items.flatMap(({ files = [] }) => files).find(({ name }) => name === file);

const files = [
  'kernel-amd64',
  'initramfs-amd64.xz',
  'metal-amd64.iso',
  'metal-amd64-secureboot-uki.efi',
  'aws-amd64.raw.xz',
  'metal-amd64.raw.zst',
  'cmdline-metal-amd64',
  'talosctl-linux-amd64',
];

describe.each(files)('%s', (file) => {
  test.each([
    ['a page', page, { 'content-type': 'application/octet-stream' }],
    ['a page that says so', page, { 'content-type': 'text/html' }],
    ['a long page', page.padEnd(50_000), { 'content-type': 'application/octet-stream' }],
    ['lines of text', 'blocked\n'.repeat(8000), { 'content-type': 'application/octet-stream' }],
  ])(
    'that is %s is refused, not pinned, not kept, and comes when it is right',
    async (_what, body, headers) => {
      const site = await siteWith(file);
      site.factory.rules.push({
        path: new RegExp(`/${file}(?:\\?|$)`),
        answer: (request, response) => {
          response.writeHead(200, { ...headers, 'content-length': Buffer.byteLength(body) });
          response.end(request.method === 'HEAD' ? undefined : body);
        },
      });
      await expect(site.fetch()).rejects.toMatchObject({
        code: 'UPSTREAM',
        message: expect.stringMatching(/captive portal, web filter or log-in page/),
      });
      expect(await pinOf(site, file)).toBeUndefined();
      const layout = await Layout.open(site.store);
      expect(await layout.stat(digestOf(Buffer.from(body)))).toBeUndefined();
      site.factory.rules.splice(0);
      await site.fetch();
      expect((await pinOf(site, file))?.digest).toBe(
        digestOf(site.factory.files.get(pathOf(file)) ?? Buffer.alloc(0)),
      );
    },
  );

  test('that an earlier version pinned as a page is named, and replaced by --repin', async () => {
    const site = await siteWith(file);
    await site.fetch();
    await pinPage(site, file);
    const pin = `${setOf(file)}/${file}`;
    await expect(site.fetch()).rejects.toMatchObject({
      code: 'UPSTREAM',
      message: expect.stringMatching(new RegExp(`${file}: lock.json pins sha256:.*web page.*--repin ${pin}`)),
    });
    const { config, store, network } = site;
    const before = site.asked(storageHost).length;
    const problems = (await plan({ config, store, network })).items.flatMap(({ problem }) => problem ?? []);
    expect(problems).toEqual([expect.stringMatching(new RegExp(`web page.*--repin ${pin}`))]);
    expect(site.asked(storageHost)).toHaveLength(before);
    await site.fetch({ repin: [pin], by: 'ops@outside' });
    const right = digestOf(site.factory.files.get(pathOf(file)) ?? Buffer.alloc(0));
    expect(await pinOf(site, file)).toMatchObject({
      digest: right,
      replaced: [{ digest: digestOf(Buffer.from(page)), size: page.length, replacedBy: 'ops@outside' }],
    });
    expect((await filesOf(site, setOf(file)))[file]).toEqual(site.factory.files.get(pathOf(file)));
    // The record stays, and nothing is asked for again.
    const asked = site.asked(storageHost).length;
    expect(await site.fetch()).toMatchObject({ changed: [] });
    expect(site.asked(storageHost)).toHaveLength(asked);
    expect((await pinOf(site, file))?.replaced).toHaveLength(1);
  });
});

/** As earlier versions left it: the page has the place of the file in lock.json, manifest and content. */
async function pinPage(site: Site, file: string): Promise<void> {
  const pinned = await pinOf(site, file);
  if (pinned === undefined) throw new Error(`${file} is not pinned`);
  const digest = digestOf(Buffer.from(page));
  await writeFile(join(site.store, 'blobs/sha256', digest.slice(7)), page);
  const path = join(site.store, 'lock.json');
  const lock = await readFile(path, 'utf8');
  const next = { ...pinned, digest, size: page.length };
  const document = JSON.parse(lock) as { items: { name: string; files?: LockedFile[] }[] };
  for (const item of document.items)
    if (item.files !== undefined) item.files = item.files.map((one) => (one.name === file ? next : one));
  await writeFile(path, JSON.stringify(document));
}

describe('--repin', () => {
  const kernel = 'kernel-amd64';
  const pin = `${setName}/${kernel}`;
  async function changed(): Promise<Site> {
    const site = await siteWith(kernel);
    await site.fetch();
    site.factory.files.set(pathOf(kernel), await assetBytes(kernel, 7, 60_000));
    return site;
  }
  const digestNow = (site: Site) => digestOf(site.factory.files.get(pathOf(kernel)) ?? Buffer.alloc(0));

  test.each([
    ['a file', pin],
    ['an item', setName],
  ])('of %s takes what the factory has now', async (_what, name) => {
    const site = await changed();
    await site.fetch();
    expect((await pinOf(site, kernel))?.digest).not.toBe(digestNow(site));
    expect(await site.fetch({ repin: [name] })).toMatchObject({ changed: [setName] });
    expect((await pinOf(site, kernel))?.digest).toBe(digestNow(site));
  });

  test('twice remembers both, the latest first', async () => {
    const site = await changed();
    await site.fetch({ repin: [pin] });
    const second = digestNow(site);
    site.factory.files.set(pathOf(kernel), await assetBytes(kernel, 8, 60_000));
    await site.fetch({ repin: [pin] });
    const { replaced = [] } = (await pinOf(site, kernel)) ?? {};
    expect(replaced).toHaveLength(2);
    expect(replaced[0]?.digest).toBe(second);
  });

  test('of a file that has not changed replaces nothing', async () => {
    const site = await siteWith(kernel);
    await site.fetch();
    await site.fetch({ repin: [pin] });
    expect((await pinOf(site, kernel))?.replaced).toBeUndefined();
  });

  test('to a page is refused, and the pin stays', async () => {
    const site = await changed();
    const before = await pinOf(site, kernel);
    site.factory.files.set(pathOf(kernel), Buffer.from(page));
    await expect(site.fetch({ repin: [pin] })).rejects.toMatchObject({ code: 'UPSTREAM' });
    expect(await pinOf(site, kernel)).toEqual(before);
  });

  test.each([
    ['a slip', `${setName}/kernel-amd46`, `did you mean ${pin}?`],
    ['a file alone', 'kernel-amd64', `did you mean ${pin}?`],
    ['an image', 'ghcr.io/a/b:v1', 'lock.json does not pin it'],
  ])('of %s is refused before any request', async (_what, name, message) => {
    const site = await changed();
    const asked = site.asked(factoryHost).length;
    await expect(site.fetch({ repin: [name] })).rejects.toMatchObject({
      code: 'USAGE',
      message: expect.stringContaining(message),
    });
    expect(site.asked(factoryHost)).toHaveLength(asked);
  });

  test('in a store without pins is refused', async () => {
    const site = await siteWith(kernel);
    await expect(site.fetch({ repin: [pin] })).rejects.toMatchObject({
      code: 'USAGE',
      message: expect.stringContaining('pins nothing'),
    });
  });
});
