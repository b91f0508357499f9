/** A download of a file that has no digest upstream, broken off and continued. */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { openNetwork } from '@omni-airgap/oci/registry';
import { Store } from '@omni-airgap/store';
import { describe, expect, onTestFinished, test } from 'vitest';
import { download } from '../src/factory/download.ts';
import { factoryHost } from './factory-double.ts';
import { filesOf, iso, mediaSite, mirrorOf, setName, text } from './media-site.ts';
import { type Site, someBytes } from './site.ts';

describe('a download that is continued', () => {
  /** Cuts the first run after 400 kB and gives up, so that a second run finds a part. */
  async function broken(): Promise<Site> {
    const site = await mediaSite();
    site.factory.rules.push(
      { path: /metal-amd64\.iso\?X-Amz/, times: 1, cutAfter: 400_000 },
      { path: /metal-amd64\.iso\?X-Amz/, times: 1, answer: (_, response) => text(response, 403, 'expired') },
    );
    await site.mirror(mirrorOf(['metal-amd64.iso']));
    await expect(site.fetch()).rejects.toMatchObject({ code: 'DENIED' });
    return site;
  }
  const rangesOf = (site: Site) =>
    site.factory.storage.requests
      .filter(({ path }) => path.includes('.iso'))
      .map(({ headers }) => headers['range']);

  test('goes on at its byte in the next run', async () => {
    const site = await broken();
    await site.fetch();
    expect(rangesOf(site).slice(2)).toEqual(['bytes=400000-']);
    expect((await filesOf(site, setName))['metal-amd64.iso']).toEqual(site.factory.files.get(iso));
  });

  test('begins again when the file has changed meanwhile: 200 and all of it (F07, T37)', async () => {
    const site = await broken();
    site.factory.files.set(iso, await someBytes(7, 700_000));
    await site.fetch();
    expect(rangesOf(site).slice(2)).toEqual(['bytes=400000-']);
    expect((await filesOf(site, setName))['metal-amd64.iso']).toEqual(site.factory.files.get(iso));
  });

  test.each([
    ['another range', { 'content-range': 'bytes 0-299999/700000' }],
    [
      'the range of another file, by its ETag',
      { 'content-range': 'bytes 400000-699999/700000', etag: '"other"' },
    ],
  ])('begins again after a 206 of %s (F07, T37)', async (_what, headers) => {
    const site = await broken();
    site.factory.rules.push({
      path: /metal-amd64\.iso\?X-Amz/,
      times: 1,
      answer: (_, response) =>
        void response.writeHead(206, { 'content-length': 300_000, ...headers }).end(Buffer.alloc(300_000)),
    });
    await site.fetch();
    expect(rangesOf(site).slice(2)).toEqual(['bytes=400000-', undefined]);
    expect((await filesOf(site, setName))['metal-amd64.iso']).toEqual(site.factory.files.get(iso));
  });

  test('goes on where a body ended early whose only mark was the end of the connection (F03, T14)', async () => {
    const site = await mediaSite();
    site.factory.rules.push({
      path: /metal-amd64\.iso\?X-Amz/,
      times: 1,
      answer: (_, response, file) => {
        response.useChunkedEncodingByDefault = false;
        response.writeHead(200, { connection: 'close', etag: site.factory.etagOf(iso) ?? '' });
        response.end(file.subarray(0, 400_000));
      },
    });
    await site.mirror(mirrorOf(['metal-amd64.iso']));
    await site.fetch();
    expect(rangesOf(site)).toEqual([undefined, 'bytes=400000-']);
    expect((await filesOf(site, setName))['metal-amd64.iso']).toEqual(site.factory.files.get(iso));
  });

  test('is given up when nothing more comes, time after time, and is kept for later (F03)', async () => {
    const site = await mediaSite();
    site.factory.rules.push({
      path: /metal-amd64\.iso\?X-Amz/,
      answer: (request, response, file) => {
        response.useChunkedEncodingByDefault = false;
        const isRest = request.headers.range !== undefined;
        response.writeHead(isRest ? 206 : 200, {
          connection: 'close',
          etag: site.factory.etagOf(iso) ?? '',
          ...(isRest ? { 'content-range': 'bytes 400000-699999/700000' } : {}),
        });
        response.end(isRest ? undefined : file.subarray(0, 400_000));
      },
    });
    const store = await Store.open(site.store, { access: 'shared', purpose: 'test', create: true });
    onTestFinished(() => store.close());
    const layout = await store.openLayout();
    const network = await openNetwork(site.network, {
      hosts: [factoryHost, '*.r2.cloudflarestorage.com'],
      allowPrivate: false,
    });
    onTestFinished(() => network.close());
    const context = {
      gate: network.gate,
      layout,
      journal: store.downloads,
      retry: { tries: 3, sleep: async () => {} },
    };
    const url = `https://${factoryHost}/${iso}`;
    await expect(
      download(context, { url, mediaType: 'application/x-iso9660-image', size: 700_000, onBytes: () => {} }),
    ).rejects.toMatchObject({ code: 'NETWORK', message: expect.stringContaining('400000 of 700000 bytes') });
    expect(await context.journal.read(url)).toMatchObject({ state: 'partial', size: 700_000 });
    expect(await readdir(join(site.store, 'blobs', 'sha256'))).toEqual([]);
  });

  test('begins again where upstream names no version of the file, and leaves no part behind', async () => {
    const site = await mediaSite();
    site.factory.etagOf = () => undefined;
    site.factory.rules.push({ path: /metal-amd64\.iso\?X-Amz/, times: 1, cutAfter: 400_000 });
    await site.mirror(mirrorOf(['metal-amd64.iso']));
    await expect(site.fetch()).rejects.toMatchObject({ code: 'NETWORK' });
    await site.fetch();
    expect(rangesOf(site)).toEqual([undefined, undefined]);
    expect((await filesOf(site, setName))['metal-amd64.iso']).toEqual(site.factory.files.get(iso));
  });
});
