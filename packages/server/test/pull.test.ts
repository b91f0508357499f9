import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { MediaType } from '@omni-airgap/oci/model';
import { describe, expect, test } from 'vitest';
import { codeOf, newLayout, nowhere, putImage, putIndex, start, temporaryFolder } from './support.ts';

const name = 'ghcr.io/siderolabs/omni:v1.10.4';
const layerBytes = Buffer.from('0123456789'.repeat(300));

async function served() {
  const layout = await newLayout();
  const image = await putImage(layout, undefined, layerBytes);
  const index = await putIndex(layout, name, [image.manifest]);
  const server = await start({ source: layout });
  return { layout, image, index, server, base: `${server.url}/v2/siderolabs/omni` };
}

describe('manifests', () => {
  test('come by tag and by digest, byte for byte, with their media type, digest and ETag', async () => {
    const { base, index, image } = await served();
    for (const reference of ['v1.10.4', index.digest]) {
      const response = await fetch(`${base}/manifests/${reference}`);
      expect(response.status).toBe(200);
      expect(response.headers.get('content-type')).toBe(MediaType.ociIndex);
      expect(response.headers.get('docker-content-digest')).toBe(index.digest);
      expect(response.headers.get('etag')).toBe(`"${index.digest}"`);
      expect((await response.bytes()).byteLength).toBe(index.size);
    }
    const child = await fetch(`${base}/manifests/${image.manifest.digest}`);
    expect(Buffer.from(await child.bytes())).toEqual(image.bytes);
  });

  test('HEAD says the same and sends nothing', async () => {
    const { base, index } = await served();
    const response = await fetch(`${base}/manifests/v1.10.4`, { method: 'HEAD' });
    expect(response.status).toBe(200);
    expect(response.headers.get('content-length')).toBe(String(index.size));
    expect(response.headers.get('docker-content-digest')).toBe(index.digest);
  });

  test('are found with the original host in the path, and ?ns= is ignored', async () => {
    const { server, index } = await served();
    const withHost = await fetch(`${server.url}/v2/ghcr.io/siderolabs/omni/manifests/v1.10.4`);
    expect(withHost.headers.get('docker-content-digest')).toBe(index.digest);
    const mirrored = await fetch(`${server.url}/v2/siderolabs/omni/manifests/v1.10.4?ns=ghcr.io`);
    expect(mirrored.status).toBe(200);
  });

  test('If-None-Match with the ETag is answered 304', async () => {
    const { base, index } = await served();
    const headers = { 'If-None-Match': `"${index.digest}"` };
    expect((await fetch(`${base}/manifests/v1.10.4`, { headers })).status).toBe(304);
  });

  test.each([
    ['manifests/v9', 404, 'MANIFEST_UNKNOWN'],
    [`manifests/${nowhere}`, 404, 'MANIFEST_UNKNOWN'],
    ['manifests/sha256:bad', 400, 'DIGEST_INVALID'],
    [`manifests/sha512:${'0'.repeat(128)}`, 404, 'MANIFEST_UNKNOWN'],
    [`blobs/sha512:${'0'.repeat(128)}`, 404, 'BLOB_UNKNOWN'],
    [`referrers/sha512:${'0'.repeat(128)}`, 200, undefined],
    ['blobs/sha512:', 400, 'DIGEST_INVALID'],
    ['manifests/-bad', 400, 'MANIFEST_INVALID'],
    [`blobs/${nowhere}`, 404, 'BLOB_UNKNOWN'],
    ['blobs/sha256:bad', 400, 'DIGEST_INVALID'],
    ['tags/list?n=x', 400, 'UNSUPPORTED'],
    ['referrers/sha256:bad', 400, 'DIGEST_INVALID'],
    ['nothing', 404, 'UNSUPPORTED'],
  ])('%s: %i %s', async (path, status, code) => {
    const { base } = await served();
    const response = await fetch(`${base}/${path}`);
    expect(response.status).toBe(status);
    expect(await codeOf(response)).toBe(code);
  });

  test('an unknown or malformed repository is 404 or 400', async () => {
    const { server, image } = await served();
    const unknown = await fetch(`${server.url}/v2/siderolabs/other/manifests/v1`);
    expect([unknown.status, await codeOf(unknown)]).toEqual([404, 'NAME_UNKNOWN']);
    const blob = await fetch(`${server.url}/v2/siderolabs/other/blobs/${image.layer.digest}`);
    expect([blob.status, await codeOf(blob)]).toEqual([404, 'NAME_UNKNOWN']);
    const bad = await fetch(`${server.url}/v2/Sidero_/manifests/v1`);
    expect([bad.status, await codeOf(bad)]).toEqual([400, 'NAME_INVALID']);
  });
});

describe('blobs', () => {
  test('come whole, twice, and in ranges', async () => {
    const { base, image } = await served();
    const url = `${base}/blobs/${image.layer.digest}`;
    for (let i = 0; i < 2; i++) {
      const whole = await fetch(url);
      expect(whole.headers.get('accept-ranges')).toBe('bytes');
      expect(whole.headers.get('docker-content-digest')).toBe(image.layer.digest);
      expect(Buffer.from(await whole.bytes())).toEqual(layerBytes);
    }
    const part = await fetch(url, { headers: { Range: 'bytes=10-19' } });
    expect([part.status, part.headers.get('content-range'), await part.text()]).toEqual([
      206,
      'bytes 10-19/3000',
      '0123456789',
    ]);
    const tail = await fetch(url, { headers: { Range: 'bytes=-3' } });
    expect([tail.status, await tail.text()]).toEqual([206, '789']);
    const beyond = await fetch(url, { headers: { Range: 'bytes=3000-' } });
    expect([beyond.status, beyond.headers.get('content-range')]).toEqual([416, 'bytes */3000']);
    const several = await fetch(url, { headers: { Range: 'bytes=0-1,5-6' } });
    expect([several.status, (await several.bytes()).byteLength]).toEqual([200, 3000]);
  });

  test('a range is only given while If-Range fits (T37)', async () => {
    const { base, image } = await served();
    const url = `${base}/blobs/${image.layer.digest}`;
    const ask = (etag: string) => fetch(url, { headers: { Range: 'bytes=0-9', 'If-Range': etag } });
    expect((await ask(`"${image.layer.digest}"`)).status).toBe(206);
    expect((await ask('"another"')).status).toBe(200);
  });

  test('an empty blob and a blob larger than the buffers come right', async () => {
    const layout = await newLayout();
    const large = Buffer.alloc(5 * 1024 * 1024 + 17, 'large layer ');
    const images = [
      await putImage(layout, 'ghcr.io/a/empty:v1', Buffer.alloc(0)),
      await putImage(layout, 'ghcr.io/a/large:v1', large),
    ];
    const server = await start({ source: layout });
    const [empty, big] = await Promise.all(
      images.map(async ({ layer }, i) => {
        const response = await fetch(
          `${server.url}/v2/a/${i === 0 ? 'empty' : 'large'}/blobs/${layer.digest}`,
        );
        return Buffer.from(await response.bytes());
      }),
    );
    expect(empty?.byteLength).toBe(0);
    expect(big?.equals(large)).toBe(true);
  });

  test('a blob that lies in several files comes as one, also in ranges across them', async () => {
    const layout = await newLayout();
    const { layer } = await putImage(layout, 'ghcr.io/a/b:v1', layerBytes);
    const folder = await temporaryFolder();
    // As in volumes: the bytes stand between others.
    await writeFile(join(folder, 'one'), Buffer.concat([Buffer.alloc(512), layerBytes.subarray(0, 1000)]));
    await writeFile(join(folder, 'two'), Buffer.concat([layerBytes.subarray(1000), Buffer.alloc(512)]));
    const server = await start({
      source: {
        stat: (digest) => layout.stat(digest),
        fetch: (descriptor) => layout.fetch(descriptor),
        names: () => layout.names(),
        locate: async () => [
          { path: join(folder, 'one'), offset: 512, size: 1000 },
          { path: join(folder, 'two'), offset: 0, size: 2000 },
        ],
      },
    });
    const url = `${server.url}/v2/a/b/blobs/${layer.digest}`;
    expect(Buffer.from(await (await fetch(url)).bytes()).equals(layerBytes)).toBe(true);
    for (const [first, last] of [
      [990, 1009],
      [0, 999],
      [1000, 2999],
      [999, 1000],
    ] as const) {
      const response = await fetch(url, { headers: { Range: `bytes=${first}-${last}` } });
      expect(Buffer.from(await response.bytes()).equals(layerBytes.subarray(first, last + 1))).toBe(true);
    }
  });

  test('many clients at once all get the right bytes', async () => {
    const layout = await newLayout();
    const large = Buffer.alloc(3 * 1024 * 1024, 'abcdefgh-');
    const { layer } = await putImage(layout, 'ghcr.io/a/large:v1', large);
    const server = await start({ source: layout });
    const url = `${server.url}/v2/a/large/blobs/${layer.digest}`;
    const answers = await Promise.all(
      Array.from({ length: 40 }, async () => Buffer.from(await (await fetch(url)).bytes())),
    );
    expect(answers.every((bytes) => bytes.equals(large))).toBe(true);
  });
});

describe('tags', () => {
  test('are listed in byte order, in pages with a relative Link', async () => {
    const layout = await newLayout();
    for (const tag of ['b', 'a', 'B', 'c.1']) {
      await putImage(layout, `ghcr.io/x/y:${tag}`, Buffer.from(tag));
    }
    const server = await start({ source: layout });
    const list = async (query: string) => {
      const response = await fetch(`${server.url}/v2/x/y/tags/list${query}`);
      return [(await response.json()) as unknown, response.headers.get('link')] as const;
    };
    expect(await list('')).toEqual([{ name: 'x/y', tags: ['B', 'a', 'b', 'c.1'] }, null]);
    expect(await list('?n=2')).toEqual([
      { name: 'x/y', tags: ['B', 'a'] },
      '</v2/x/y/tags/list?n=2&last=a>; rel="next"',
    ]);
    expect(await list('?n=2&last=a')).toEqual([{ name: 'x/y', tags: ['b', 'c.1'] }, null]);
    expect(await list('?n=0')).toEqual([{ name: 'x/y', tags: [] }, null]);
    expect(await list('?last=zz')).toEqual([{ name: 'x/y', tags: [] }, null]);
  });
});

describe('referrers', () => {
  test('are listed with artifactType, filtered when asked, and never 404', async () => {
    const layout = await newLayout();
    const subject = await putImage(layout, 'ghcr.io/x/y:v1', Buffer.from('image'));
    const sbom = await putImage(layout, undefined, Buffer.from('sbom'), {
      subject: subject.manifest,
      artifactType: 'application/spdx+json',
    });
    await layout.tag(sbom.manifest, `ghcr.io/x/y@${sbom.manifest.digest}`);
    const signature = await putImage(layout, 'ghcr.io/x/y:signature', Buffer.from('signature'), {
      subject: subject.manifest,
    });
    const server = await start({ source: layout });
    const list = async (path: string) => {
      const response = await fetch(`${server.url}/v2/${path}`);
      const { manifests } = (await response.json()) as {
        manifests: { digest: string; artifactType: string }[];
      };
      const found = manifests.map(({ digest, artifactType }) => `${artifactType} ${digest}`).sort();
      return [response.status, response.headers.get('oci-filters-applied'), found];
    };
    const one = `application/spdx+json ${sbom.manifest.digest}`;
    const two = `${MediaType.ociConfig} ${signature.manifest.digest}`;
    const path = `x/y/referrers/${subject.manifest.digest}`;
    expect(await list(path)).toEqual([200, null, [one, two]]);
    expect(await list(`${path}?artifactType=application/spdx%2Bjson`)).toEqual([200, 'artifactType', [one]]);
    expect(await list(`x/y/referrers/${nowhere}`)).toEqual([200, null, []]);
    expect(await list(`z/referrers/${nowhere}`)).toEqual([200, null, []]);
    const manifest = await fetch(`${server.url}/v2/x/y/manifests/${sbom.manifest.digest}`);
    expect(manifest.status).toBe(200);
  });
});

describe('read-only', () => {
  test.each([
    ['POST', 'blobs/uploads/'],
    ['PATCH', 'blobs/uploads/1'],
    ['PUT', 'manifests/v2'],
    ['DELETE', 'manifests/v1.10.4'],
    ['DELETE', `blobs/${nowhere}`],
  ])('%s %s is 405 UNSUPPORTED', async (method, path) => {
    const { base } = await served();
    const response = await fetch(`${base}/${path}`, { method });
    expect(response.status).toBe(405);
    expect(response.headers.get('allow')).not.toMatch(/PUT|POST|DELETE|PATCH/);
    expect(await codeOf(response)).toBe('UNSUPPORTED');
  });

  test('the version check says what it is', async () => {
    const { server } = await served();
    const response = await fetch(`${server.url}/v2/`);
    expect([response.status, await response.text()]).toEqual([200, '{}']);
    expect(response.headers.get('docker-distribution-api-version')).toBe('registry/2.0');
    expect((await fetch(`${server.url}/elsewhere`)).status).toBe(404);
  });
});

test('the access log has one line a request, without the query', async () => {
  const { server, image } = await served();
  await (await fetch(`${server.url}/v2/siderolabs/omni/blobs/${image.layer.digest}?token=secret`)).bytes();
  await expect.poll(() => server.log.length).toBe(1);
  const [entry] = server.log;
  expect(entry).toMatchObject({ method: 'GET', status: 200, remote: '127.0.0.1' });
  expect(entry?.path).toBe(`/v2/siderolabs/omni/blobs/${image.layer.digest}`);
  expect(entry?.bytes).toBeGreaterThan(3000);
});
