/** Media files of a schematic as one artifact: built, fetched, pinned; what the factory gives and must not. */

import { noProgress } from '@omni-airgap/oci';
import { Layout } from '@omni-airgap/oci/layout';
import type { Digest } from '@omni-airgap/oci/model';
import { describe, expect, test } from 'vitest';
import { factoryHost, storageHost } from './factory-double.ts';
import { filesOf, iso, mediaSite, mirrorOf, setName, text, vanilla } from './media-site.ts';
import { assetBytes, publishImage, startSite, talosVersion } from './site.ts';

describe('media', () => {
  test('become one artifact; the schematic lies as the factory keeps it; a second fetch asks for no file', async () => {
    const site = await mediaSite();
    await site.mirror(mirrorOf(['metal-amd64.iso', 'kernel-amd64']));
    await site.fetch();
    const files = await filesOf(site, setName);
    expect(Object.keys(files)).toEqual(['kernel-amd64', 'metal-amd64.iso']);
    expect(files['metal-amd64.iso']).toEqual(site.factory.files.get(iso));
    const layout = await Layout.open(site.store);
    expect(await layout.stat(`sha256:${vanilla.id}` as Digest)).toBe(vanilla.canonical.length);
    const { items } = await site.lock();
    expect(items.find((item) => item.name === setName)?.files).toMatchObject([
      { name: 'metal-amd64.iso', source: `https://${factoryHost}/${iso}`, size: 700_000 },
      { name: 'kernel-amd64' },
    ]);
    const asked = site.asked(factoryHost).length;
    expect(await site.fetch()).toMatchObject({ changed: [] });
    expect(
      site
        .asked(factoryHost)
        .slice(asked)
        .filter((line) => /image|POST|talosctl\/.*\//.test(line)),
    ).toEqual([]);
  });

  test('of one schematic and version in two entries are one artifact', async () => {
    const site = await mediaSite();
    await site.mirror(
      `talos: {versions: [${talosVersion}]}
media:
  - {schematic: {customization: {}}, files: [metal-amd64.iso]}
  - {schematic: ${vanilla.id}, files: [kernel-amd64]}`,
    );
    await site.fetch();
    expect(Object.keys(await filesOf(site, setName))).toEqual(['kernel-amd64', 'metal-amd64.iso']);
  });

  test('an installer is fetched once its schematic is known, and shown while it is built', async () => {
    const site = await startSite({ [factoryHost]: {} });
    const { root } = await publishImage(
      site.registry(factoryHost),
      `metal-installer/${vanilla.id}`,
      talosVersion,
    );
    site.registry(factoryHost).fault({
      match: { method: 'POST', path: /^\/schematics$/ },
      do: { status: 201, body: JSON.stringify({ id: vanilla.id, schematic: vanilla.canonical }) },
    });
    site
      .registry(factoryHost)
      .fault({ match: { path: /^\/versions$/ }, do: { status: 200, body: `["${talosVersion}"]` } });
    await site.mirror(
      `talos: {versions: [${talosVersion}]}\nmedia: [{schematic: {customization: {}}, installers: [metal]}]`,
    );
    const states: string[] = [];
    const item = (name: string, state?: { readonly doing: string }) =>
      void states.push(`${name}: ${state?.doing}`);
    // The registry double stands for the whole factory here.
    const upstreams = [`${factoryHost}=${site.registry(factoryHost).url}`];
    await site.fetch({ network: { ...site.network, upstreams }, progress: { ...noProgress, item } });
    expect(states[0]).toBe(
      `${factoryHost}/metal-installer/${vanilla.id}:${talosVersion}: building at the factory`,
    );
    const image = (await site.lock()).items.find((one) => one.kind === 'image');
    expect(image).toMatchObject({
      name: `${factoryHost}/metal-installer/${vanilla.id}:${talosVersion}`,
      descriptor: { digest: root.digest },
    });
    const asked = site.registry(factoryHost).requests.map(({ method, path }) => `${method} ${path}`);
    expect(asked).toContain('POST /schematics');
    expect(asked.indexOf('POST /schematics')).toBeLessThan(
      asked.findIndex((line) => line.includes('metal-installer')),
    );
  });

  test('a build that takes its time is waited for and shown; a broken line goes on at its byte', async () => {
    const site = await mediaSite();
    site.factory.rules.push(
      { path: /metal-amd64\.iso/, method: 'HEAD', delayMs: 150, times: 1 },
      { path: /metal-amd64\.iso\?X-Amz/, times: 2, cutAfter: 300_000 },
    );
    await site.mirror(mirrorOf(['metal-amd64.iso']));
    const states: string[] = [];
    const progress = {
      expect: () => {},
      advance: () => {},
      note: () => {},
      item: (name: string, state?: { readonly doing: string }) =>
        void states.push(`${name}: ${state?.doing}`),
    };
    await site.fetch({ progress });
    expect(states).toContain(`metal-amd64.iso ${talosVersion}: building at the factory`);
    const isoRequests = site.factory.storage.requests.filter(({ path }) => path.includes('metal-amd64.iso'));
    expect(isoRequests.map(({ headers }) => headers['range'])).toEqual([
      undefined,
      'bytes=300000-',
      'bytes=600000-',
    ]);
    expect(isoRequests[1]?.headers['if-range']).toBe(site.factory.etagOf(iso));
    // The storage's own address may have ended: the factory is asked each time.
    expect(site.asked(factoryHost).filter((line) => line === `GET /${iso}`)).toHaveLength(3);
  });

  test('what a run that failed had fetched is not fetched again, and is pinned (F06)', async () => {
    const site = await mediaSite();
    site.factory.rules.push({
      path: /kernel-amd64/,
      method: 'HEAD',
      times: 1,
      answer: (_, response) => text(response, 404, ''),
    });
    await site.mirror(mirrorOf(['metal-amd64.iso', 'kernel-amd64']));
    await expect(site.fetch()).rejects.toMatchObject({ code: 'NOT_FOUND' });
    expect((await site.lock()).missing).toEqual([setName]);
    const before = site.asked(storageHost).length;
    await site.fetch();
    expect(
      site
        .asked(storageHost)
        .slice(before)
        .filter((line) => line.includes('.iso')),
    ).toEqual([]);
    expect((await site.lock()).missing).toEqual([]);
  });
});

describe('what the factory gives is refused', () => {
  test('an empty file', async () => {
    const site = await mediaSite();
    site.factory.files.set(iso, Buffer.alloc(0));
    await site.mirror(mirrorOf(['metal-amd64.iso']));
    await expect(site.fetch()).rejects.toMatchObject({
      code: 'UPSTREAM',
      message: expect.stringContaining('empty file'),
    });
  });

  test('a file without a length', async () => {
    const site = await mediaSite();
    site.factory.rules.push({
      path: /\.iso/,
      method: 'HEAD',
      answer: (_, response) => void response.writeHead(200).end(),
    });
    await site.mirror(mirrorOf(['metal-amd64.iso']));
    await expect(site.fetch()).rejects.toMatchObject({
      code: 'UPSTREAM',
      message: expect.stringContaining('no length'),
    });
  });

  test('a file that GET gives shorter than HEAD announces', async () => {
    const site = await mediaSite();
    site.factory.rules.push({
      path: /\.iso\?X-Amz/,
      answer: (_, response, file) => void response.end(file.subarray(0, 1000)),
    });
    await site.mirror(mirrorOf(['metal-amd64.iso']));
    await expect(site.fetch()).rejects.toMatchObject({
      code: 'UPSTREAM',
      message: expect.stringContaining('HEAD says 700000 bytes and GET says 1000'),
    });
  });

  test('another file under a name that lock.json pins: a conflict, nothing overwritten (F22)', async () => {
    const site = await mediaSite();
    await site.mirror(mirrorOf(['metal-amd64.iso']));
    await site.fetch();
    const before = await site.lock();
    const pinned = before.items.find((item) => item.name === setName)?.files?.[0];
    if (pinned === undefined) throw new Error('not pinned');
    const { rm } = await import('node:fs/promises');
    await rm((await Layout.open(site.store)).pathOf(pinned.digest));
    site.factory.files.set(iso, await assetBytes('metal-amd64.iso', 9, 700_000));
    await expect(site.fetch()).rejects.toMatchObject({
      code: 'CONFLICT',
      message: expect.stringContaining(pinned.digest),
    });
    const after = await site.lock();
    expect(after.missing).toEqual([setName]);
    expect(after.items.find((item) => item.name === setName)?.files?.[0]).toEqual(pinned);
    site.factory.files.set(iso, await assetBytes('metal-amd64.iso', 1, 700_000));
    await site.fetch();
    expect((await site.lock()).missing).toEqual([]);
  });
});
