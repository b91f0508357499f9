/** A download of a file that has no digest upstream, broken off and continued. */
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { noProgress } from '@omni-airgap/oci';
import { HttpGate, parseUpstream, TooSlow } from '@omni-airgap/oci/http';
import { openNetwork } from '@omni-airgap/oci/registry';
import { Store } from '@omni-airgap/store';
import { describe, expect, onTestFinished, test } from 'vitest';
import { type DownloadContext, download } from '../src/factory/download.ts';
import { factoryHost, storageHost } from './factory-double.ts';
import { filesOf, iso, mediaSite, mirrorOf, setName, text } from './media-site.ts';
import { assetBytes, type Site } from './site.ts';

/** A download by itself, which gives up after three tries and never waits. */
async function downloadContext(site: Site): Promise<DownloadContext> {
  const store = await Store.open(site.store, { access: 'shared', purpose: 'test', create: true });
  onTestFinished(() => store.close());
  const layout = await store.openLayout();
  const network = await openNetwork(site.network, {
    hosts: [factoryHost, '*.r2.cloudflarestorage.com'],
    allowPrivate: false,
  });
  onTestFinished(() => network.close());
  return {
    gate: network.gate,
    layout,
    journal: store.downloads,
    retry: { tries: 3, sleep: async () => {} },
  };
}

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
    site.factory.files.set(iso, await assetBytes('metal-amd64.iso', 7, 700_000));
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
    const context = await downloadContext(site);
    const url = `https://${factoryHost}/${iso}`;
    await expect(
      download(context, {
        url,
        file: 'metal-amd64.iso',
        mediaType: 'application/x-iso9660-image',
        size: 700_000,
        onBytes: () => {},
      }),
    ).rejects.toMatchObject({ code: 'NETWORK', message: expect.stringContaining('400000 of 700000 bytes') });
    expect(await context.journal.read(url)).toMatchObject({ state: 'partial', size: 700_000 });
    expect(await readdir(join(site.store, 'blobs', 'sha256'))).toEqual([]);
  });

  test.each([
    [
      'zeros at its end, as a power cut leaves them (A4)',
      (part: Buffer) => part.fill(0, part.byteLength - 256 * 1024),
    ],
    ['one wrong bit (A4)', (part: Buffer) => part.fill((part[77] ?? 0) ^ 4, 77, 78)],
  ])('begins again when its part has %s', async (_what, damage) => {
    const site = await broken();
    const ingest = join(site.store, 'ingest');
    const [part] = (await readdir(ingest)).filter((name) => name.endsWith('.part'));
    const path = join(ingest, part ?? '');
    await writeFile(path, damage(await readFile(path)));
    await site.fetch();
    expect(rangesOf(site).slice(2)).toEqual([undefined]);
    expect((await filesOf(site, setName))['metal-amd64.iso']).toEqual(site.factory.files.get(iso));
  });

  describe('where upstream names no version of the file (C4)', () => {
    async function unnamed(cuts?: number): Promise<Site> {
      const site = await mediaSite();
      site.factory.etagOf = () => undefined;
      site.factory.rules.push({
        path: /metal-amd64\.iso\?X-Amz/,
        cutAfter: 400_000,
        ...(cuts === undefined ? {} : { times: cuts }),
      });
      await site.mirror(mirrorOf(['metal-amd64.iso']));
      return site;
    }

    test('begins again at byte 0 in the same run', async () => {
      const site = await unnamed(1);
      let moved = 0;
      await site.fetch({
        progress: {
          ...noProgress,
          advance: (bytes) => {
            moved += bytes;
          },
        },
      });
      expect(rangesOf(site)).toEqual([undefined, undefined]);
      expect((await filesOf(site, setName))['metal-amd64.iso']).toEqual(site.factory.files.get(iso));
      // What came twice counts once.
      expect(moved).toBeLessThan(750_000);
    });
  });

  test('is given up after so many tries, and leaves nothing, where upstream names no version (C4)', async () => {
    const site = await mediaSite();
    site.factory.etagOf = () => undefined;
    site.factory.rules.push({ path: /metal-amd64\.iso\?X-Amz/, cutAfter: 400_000 });
    const context = await downloadContext(site);
    const url = `https://${factoryHost}/${iso}`;
    let counted = 0;
    const onBytes = (bytes: number): void => {
      counted += bytes;
    };
    const mediaType = 'application/x-iso9660-image';
    await expect(
      download(context, { url, file: 'metal-amd64.iso', mediaType, size: 700_000, onBytes }),
    ).rejects.toMatchObject({
      code: 'NETWORK',
    });
    expect(rangesOf(site)).toEqual([undefined, undefined, undefined]);
    expect(counted).toBeLessThanOrEqual(400_000);
    expect(await readdir(join(site.store, 'ingest'))).toEqual([]);
  });

  test('is given up after so many tries when it drips, though each brings a byte (F7)', async () => {
    const site = await mediaSite();
    const answers: (string | undefined)[] = [];
    site.factory.rules.push({
      path: /metal-amd64\.iso\?X-Amz/,
      answer: (request, response, file) => {
        answers.push(request.headers.range);
        const from = Number(/^bytes=([0-9]+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
        const range = { 'content-range': `bytes ${from}-${file.byteLength - 1}/${file.byteLength}` };
        response.writeHead(from === 0 ? 200 : 206, {
          'content-length': file.byteLength - from,
          etag: site.factory.etagOf(iso) ?? '',
          ...(from === 0 ? {} : range),
        });
        let at = from;
        const timer = setInterval(() => response.write(file.subarray(at, ++at)), 5);
        response.once('close', () => clearInterval(timer));
      },
    });
    const gate = new HttpGate({
      policy: {
        hosts: [factoryHost, storageHost],
        plainHttp: [],
        allowPrivate: false,
        upstreams: site.network.upstreams.map(parseUpstream),
      },
      rateFloor: { bytesPerSecond: 1024 * 1024, windowMs: 100 },
    });
    onTestFinished(() => gate.close());
    const context = { ...(await downloadContext(site)), gate };
    const job = {
      url: `https://${factoryHost}/${iso}`,
      file: 'metal-amd64.iso',
      mediaType: 'x/iso',
      size: 700_000,
      onBytes: () => {},
    };
    await expect(download(context, job)).rejects.toBeInstanceOf(TooSlow);
    expect(answers).toHaveLength(3);
    expect(answers.slice(1).every((range) => /^bytes=[1-9]/.test(range ?? ''))).toBe(true);
  });

  test.each([503, 429])('is tried again when the first answer is a %i', async (status) => {
    const site = await mediaSite();
    site.factory.rules.push({
      path: /metal-amd64\.iso\?X-Amz/,
      times: 1,
      answer: (_, response) =>
        void response.writeHead(status, { 'retry-after': '0', 'content-length': 0 }).end(),
    });
    await site.mirror(mirrorOf(['metal-amd64.iso']));
    await site.fetch();
    expect((await filesOf(site, setName))['metal-amd64.iso']).toEqual(site.factory.files.get(iso));
  });
});
