import { copyFile, readdir } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { CodedError } from '@omni-airgap/oci/base';
import { Layout } from '@omni-airgap/oci/layout';
import { digestOf, MediaType, maxManifestBytes } from '@omni-airgap/oci/model';
import { buildManifest } from '@omni-airgap/oci/testing';
import { describe, expect, test } from 'vitest';
import type { WritableSource } from '../src/index.ts';
import { codeOf, newLayout, nowhere, type Running, raw, start } from './support.ts';

const data = Buffer.from('layer bytes '.repeat(1000));
const digest = digestOf(data);
const half = data.byteLength / 2;

async function writable(options: Parameters<typeof start>[0] = {}) {
  const layout = await newLayout();
  const server = await start({ writable: layout, ...options });
  return { layout, server, repo: `${server.url}/v2/team/app` };
}

/** Absolute URL of an answer's Location. */
function locationOf(server: Running, response: Response, query = ''): string {
  return new URL((response.headers.get('location') ?? '') + query, server.url).href;
}

const partsOf = (layout: Layout) => readdir(join(layout.root, 'ingest'));
/** Files of uploads that are open. */
const uploadsOf = async (layout: Layout) => (await partsOf(layout)).filter((name) => name.endsWith('.part'));

const begin = (repo: string) => fetch(`${repo}/blobs/uploads/`, { method: 'POST' });
const patch = (url: string, body: Buffer, range?: string) =>
  fetch(url, { method: 'PATCH', body, headers: range === undefined ? {} : { 'Content-Range': range } });

/** Sends the first half of the bytes as a chunk of all of them. @returns once the server is taking it */
async function openChunk({ port, pathname, href }: URL): Promise<Socket> {
  const socket = connect(Number(port), '127.0.0.1');
  const head = `PATCH ${pathname} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: ${data.byteLength}\r\n\r\n`;
  socket.write(Buffer.concat([Buffer.from(head), data.subarray(0, half)]));
  socket.resume();
  // While a request is using it, others are answered with 409.
  await expect.poll(async () => (await fetch(href)).status).toBe(409);
  return socket;
}

async function pushBlob(repo: string, body: Uint8Array<ArrayBuffer>): Promise<void> {
  const url = `${repo}/blobs/uploads/?digest=${digestOf(body)}`;
  expect((await fetch(url, { method: 'POST', body })).status).toBe(201);
}

async function pushIndex(repo: string, tag: string, manifests: readonly object[]) {
  const mediaType = MediaType.ociIndex;
  const { descriptor, bytes } = buildManifest(mediaType, { manifests });
  const headers = { 'Content-Type': mediaType };
  const body = Buffer.from(bytes);
  return { response: await fetch(`${repo}/manifests/${tag}`, { method: 'PUT', body, headers }), descriptor };
}

async function pushImage(
  repo: string,
  reference: string,
  extra: object = {},
  type: string = MediaType.ociManifest,
) {
  const config = Buffer.from('{}');
  await pushBlob(repo, config);
  const bytes = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: MediaType.ociManifest,
      config: { mediaType: MediaType.empty, digest: digestOf(config), size: 2 },
      layers: [],
      ...extra,
    }),
  );
  const to = reference === 'digest' ? digestOf(bytes) : reference;
  const response = await fetch(`${repo}/manifests/${to}`, {
    method: 'PUT',
    body: bytes,
    headers: { 'Content-Type': type },
  });
  const descriptor = { mediaType: MediaType.ociManifest, digest: digestOf(bytes), size: bytes.byteLength };
  return { response, descriptor };
}

describe('blob uploads', () => {
  test('POST, then PUT with everything', async () => {
    const { server, repo } = await writable();
    const started = await begin(repo);
    expect(started.status).toBe(202);
    const done = await fetch(locationOf(server, started, `?digest=${digest}`), { method: 'PUT', body: data });
    expect([done.status, done.headers.get('docker-content-digest')]).toEqual([201, digest]);
    const back = await fetch(locationOf(server, done));
    expect(Buffer.from(await back.bytes()).equals(data)).toBe(true);
  });

  test('in chunks, with status, and 416 with Range and Location out of order', async () => {
    const { server, repo } = await writable();
    const url = locationOf(server, await begin(repo));
    const first = await patch(url, data.subarray(0, half), `0-${half - 1}`);
    expect([first.status, first.headers.get('range')]).toEqual([202, `0-${half - 1}`]);
    const again = await patch(url, data.subarray(0, half), `0-${half - 1}`);
    expect([again.status, again.headers.get('range')]).toEqual([416, `0-${half - 1}`]);
    expect(again.headers.get('location')).toBe(new URL(url).pathname);
    const status = await fetch(url);
    expect([status.status, status.headers.get('range')]).toEqual([204, `0-${half - 1}`]);
    const skipped = await fetch(`${url}?digest=${digest}`, {
      method: 'PUT',
      body: data.subarray(half + 1),
      headers: { 'Content-Range': `${half + 1}-${data.byteLength - 1}` },
    });
    expect(skipped.status).toBe(416);
    expect((await patch(url, data.subarray(half), `${half}-${data.byteLength - 1}`)).status).toBe(202);
    expect((await fetch(`${url}?digest=${digest}`, { method: 'PUT' })).status).toBe(201);
  });

  test('a Content-Range that is malformed or disagrees with the length is 400', async () => {
    const { server, repo } = await writable();
    const url = locationOf(server, await begin(repo));
    expect(await codeOf(await patch(url, data, 'bytes 0-11999/*'))).toBe('BLOB_UPLOAD_INVALID');
    expect(await codeOf(await patch(url, data, '0-5'))).toBe('SIZE_INVALID');
    expect((await fetch(url)).headers.get('range')).toBe('0-0');
  });

  test('bytes with another digest are refused and not found under the one that was claimed', async () => {
    const { server, repo, layout } = await writable();
    const started = await begin(repo);
    const response = await fetch(locationOf(server, started, `?digest=${nowhere}`), {
      method: 'PUT',
      body: data,
    });
    expect([response.status, await codeOf(response)]).toEqual([400, 'DIGEST_INVALID']);
    expect((await fetch(`${repo}/blobs/${nowhere}`, { method: 'HEAD' })).status).toBe(404);
    expect(await partsOf(layout)).toEqual([]);
    expect(await readdir(join(layout.root, 'blobs', 'sha256'))).toEqual([]);
  });

  test('a missing or unsupported digest is refused before the bytes', async () => {
    const { server, repo } = await writable();
    const url = locationOf(server, await begin(repo));
    expect(await codeOf(await fetch(url, { method: 'PUT' }))).toBe('DIGEST_INVALID');
    const sha512 = `${repo}/blobs/uploads/?digest=sha512:${'0'.repeat(128)}`;
    expect(await codeOf(await fetch(sha512, { method: 'POST', body: data }))).toBe('DIGEST_INVALID');
  });

  test('DELETE gives it up and leaves nothing on disk', async () => {
    const { server, repo, layout } = await writable();
    const url = locationOf(server, await begin(repo));
    await patch(url, Buffer.alloc(2 * 1024 * 1024, 'x'));
    expect((await fetch(url, { method: 'DELETE' })).status).toBe(204);
    expect(await codeOf(await fetch(url))).toBe('BLOB_UPLOAD_UNKNOWN');
    expect(await partsOf(layout)).toEqual([]);
  });

  test('an idle upload is given up, and so are those open when the server ends', async () => {
    const { server, repo, layout } = await writable({ uploads: { idleMs: 60 } });
    const url = locationOf(server, await begin(repo));
    await patch(url, Buffer.alloc(1024 * 1024, 'x'));
    await expect.poll(() => partsOf(layout)).toEqual([]);
    expect((await fetch(url)).status).toBe(404);
    await begin(repo);
    await server.close();
    expect(await partsOf(layout)).toEqual([]);
  });

  test('P6 where too many are open, the longest idle one gives way and leaves nothing', async () => {
    const { server, repo, layout } = await writable({ uploads: { maxOpen: 2 } });
    const first = locationOf(server, await begin(repo));
    const second = locationOf(server, await begin(repo));
    for (const url of [second, first]) await patch(url, Buffer.alloc(1024 * 1024, 'x'));
    expect((await begin(repo)).status).toBe(202);
    expect(await codeOf(await fetch(second))).toBe('BLOB_UPLOAD_UNKNOWN');
    expect((await fetch(first)).status).toBe(204);
    await expect.poll(() => uploadsOf(layout)).toHaveLength(2);
  });

  test('P6 an upload is not idle while it takes a chunk, however long ago that began', async () => {
    const { server, repo } = await writable({ uploads: { maxOpen: 2 } });
    const long = new URL(locationOf(server, await begin(repo)));
    const other = locationOf(server, await begin(repo));
    const chunk = await openChunk(long);
    expect((await fetch(other)).status).toBe(204);
    chunk.end(data.subarray(half));
    await expect.poll(() => chunk.readyState).toBe('closed');
    await begin(repo);
    expect([(await fetch(other)).status, (await fetch(long)).status]).toEqual([404, 204]);
  });

  test('P6 any number of abandoned uploads lock nobody out', async () => {
    const { repo } = await writable();
    for (let i = 0; i < 150; i++) expect((await begin(repo)).status).toBe(202);
    expect((await pushImage(repo, 'v1')).response.status).toBe(201);
  });

  test('P6 where every open upload is in use, a new one is 429 with Retry-After', async () => {
    const { server, repo } = await writable({ uploads: { maxOpen: 1 } });
    const url = new URL(locationOf(server, await begin(repo)));
    const chunk = await openChunk(url);
    const refused = await begin(repo);
    expect([refused.status, await codeOf(refused)]).toEqual([429, 'TOOMANYREQUESTS']);
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
    chunk.end(data.subarray(half));
    await expect.poll(async () => (await fetch(url)).status).toBe(204);
    expect((await fetch(`${url}?digest=${digest}`, { method: 'PUT' })).status).toBe(201);
    expect((await begin(repo)).status).toBe(202);
  });

  test.each([
    ['another digest', `?digest=${nowhere}`, {}],
    ['a digest of another algorithm', `?digest=sha512:${'0'.repeat(128)}`, {}],
    ['no digest', '', {}],
    ['a malformed Content-Range', `?digest=${digest}`, { 'Content-Range': 'bytes 0-11999/*' }],
    ['a Content-Range of another size', `?digest=${digest}`, { 'Content-Range': '0-5' }],
  ])('P6 a PUT that is refused for %s closes its upload', async (_what, query, headers) => {
    const { server, repo, layout } = await writable();
    const url = locationOf(server, await begin(repo));
    const refused = await fetch(`${url}${query}`, { method: 'PUT', body: data, headers });
    expect(refused.status).toBe(400);
    expect(await codeOf(await fetch(url))).toBe('BLOB_UPLOAD_UNKNOWN');
    await fetch(`${repo}/blobs/uploads/${query}`, { method: 'POST', body: data, headers });
    if (query !== '') expect(await partsOf(layout)).toEqual([]);
  });

  test('F3 what uploads of a killed server left is removed at the start, and while another runs', async () => {
    const { server, repo, layout } = await writable();
    await patch(locationOf(server, await begin(repo)), Buffer.alloc(2 * 1024 * 1024, 'x'));
    // The same file where no process has its run, as after a kill.
    const [part = ''] = await uploadsOf(layout);
    const next = await newLayout();
    const leave = () => copyFile(join(layout.root, 'ingest', part), join(next.root, 'ingest', part));
    await leave();
    const kept = `${'a'.repeat(64)}.part`;
    await copyFile(join(layout.root, 'ingest', part), join(next.root, 'ingest', kept));
    const again = await start({ writable: next });
    expect(await partsOf(next)).toEqual([kept]);
    await leave();
    await pushBlob(`${again.url}/v2/team/app`, data);
    expect(await partsOf(next)).toEqual([kept]);
    expect(await uploadsOf(layout)).toEqual([part]);
  });

  test('an upload belongs to its repository', async () => {
    const { server, repo } = await writable();
    const { pathname } = new URL(locationOf(server, await begin(repo)));
    const elsewhere = `${server.url}${pathname.replace('team/app', 'team/other')}`;
    expect(await codeOf(await fetch(elsewhere))).toBe('BLOB_UPLOAD_UNKNOWN');
  });

  test('mount takes what is there, and starts an upload otherwise', async () => {
    const { server, repo } = await writable();
    await pushBlob(repo, data);
    const other = `${server.url}/v2/team/other/blobs/uploads/`;
    const mounted = await fetch(`${other}?mount=${digest}&from=team/app`, { method: 'POST' });
    expect([mounted.status, mounted.headers.get('location')]).toEqual([
      201,
      `/v2/team/other/blobs/${digest}`,
    ]);
    expect((await fetch(`${other}?mount=${nowhere}&from=team/app`, { method: 'POST' })).status).toBe(202);
  });

  test('a client that breaks off in a chunk can go on where the status says', async () => {
    const { server, repo } = await writable();
    const url = new URL(locationOf(server, await begin(repo)));
    (await openChunk(url)).destroy();
    await expect.poll(async () => (await fetch(url)).headers.get('range')).toBe(`0-${half - 1}`);
    const rest = await fetch(`${url}?digest=${digest}`, { method: 'PUT', body: data.subarray(half) });
    expect(rest.status).toBe(201);
  });

  test('a full disk is 503 in the middle of an upload, which is then gone (F02)', async () => {
    const layout = await newLayout();
    const full: WritableSource = {
      root: layout.root,
      stat: (d) => layout.stat(d),
      locate: (d) => layout.locate(d),
      fetch: (d) => layout.fetch(d),
      names: () => layout.names(),
      has: (d) => layout.has(d),
      push: (d, open) => layout.push(d, open),
      tag: (d, name) => layout.tag(d, name),
      untag: (name) => layout.untag(name),
      removeAbandoned: () => layout.removeAbandoned(),
      renew: (d) => layout.renew(d),
      ingest: async (open) => {
        let got = 0;
        for await (const chunk of open()) {
          got += chunk.byteLength;
          if (got > half) throw new CodedError('DISK', `${layout.root}: no space left on this disk`);
        }
        throw new Error('the whole body came');
      },
    };
    const server = await start({ writable: full });
    const repo = `${server.url}/v2/team/app`;
    const url = locationOf(server, await begin(repo));
    expect((await patch(url, data.subarray(0, half))).status).toBe(202);
    const large = Buffer.alloc(8 * 1024 * 1024);
    const response = await patch(url, large);
    expect(response.status).toBe(503);
    expect(await response.text()).not.toContain(layout.root);
    expect((await fetch(url)).status).toBe(404);
    const posted = await fetch(`${repo}/blobs/uploads/?digest=${digestOf(large)}`, {
      method: 'POST',
      body: large,
    });
    expect(posted.status).toBe(503);
    // What was not read of a body does not stand in the way of the next request on the connection.
    const size = 4 * 1024 * 1024;
    const { pathname } = new URL(locationOf(server, await begin(repo)));
    const first = `PATCH ${pathname} HTTP/1.1\r\nHost: x\r\nContent-Length: ${size}\r\n\r\n${'x'.repeat(size)}`;
    const answers = await raw(
      server.url,
      `${first}GET /v2/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`,
    );
    expect(answers.match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 503', 'HTTP/1.1 200']);
  });

  test('blobs cannot be deleted', async () => {
    const { repo } = await writable();
    await pushBlob(repo, data);
    const response = await fetch(`${repo}/blobs/${digest}`, { method: 'DELETE' });
    expect([response.status, await codeOf(response)]).toEqual([405, 'UNSUPPORTED']);
  });
});

describe('manifest pushes', () => {
  test('by tag and by digest; all is found again by a new server over the same folder', async () => {
    const { repo, layout, server } = await writable();
    const tagged = await pushImage(repo, 'v1');
    expect(tagged.response.status).toBe(201);
    expect(tagged.response.headers.get('docker-content-digest')).toBe(tagged.descriptor.digest);
    expect(tagged.response.headers.get('location')).toBe(
      `/v2/team/app/manifests/${tagged.descriptor.digest}`,
    );
    const subject = tagged.descriptor;
    const referrer = await pushImage(repo, 'digest', { subject, artifactType: 'application/spdx+json' });
    expect(referrer.response.headers.get('oci-subject')).toBe(subject.digest);
    const moved = await pushImage(repo, 'v1', { annotations: { moved: 'yes' } });
    await server.close();

    const again = await start({ writable: await Layout.open(layout.root) });
    const base = `${again.url}/v2/team/app`;
    const byTag = await fetch(`${base}/manifests/v1`, { method: 'HEAD' });
    expect(byTag.headers.get('docker-content-digest')).toBe(moved.descriptor.digest);
    expect(byTag.headers.get('content-type')).toBe(MediaType.ociManifest);
    const old = await fetch(`${base}/manifests/${subject.digest}`, { method: 'HEAD' });
    expect(old.status).toBe(200);
    const referrers = (await (await fetch(`${base}/referrers/${subject.digest}`)).json()) as {
      manifests: object[];
    };
    expect(referrers.manifests).toMatchObject([{ digest: referrer.descriptor.digest }]);
  });

  test('a body over 4 MiB is 413, announced or not, and the server goes on', async () => {
    const { repo } = await writable();
    const large = Buffer.alloc(maxManifestBytes + 1, ' ');
    const announced = await fetch(`${repo}/manifests/v1`, { method: 'PUT', body: large });
    expect([announced.status, await codeOf(announced)]).toEqual([413, 'SIZE_INVALID']);
    const chunked = await fetch(`${repo}/manifests/v1`, {
      method: 'PUT',
      body: new Blob([large, large]).stream(),
      duplex: 'half',
    } as RequestInit);
    expect(chunked.status).toBe(413);
    expect((await pushImage(repo, 'v1')).response.status).toBe(201);
  });

  test('a digest that is not the body’s is refused', async () => {
    const { repo } = await writable();
    const { response } = await pushImage(repo, nowhere);
    expect([response.status, await codeOf(response)]).toEqual([400, 'DIGEST_INVALID']);
  });

  test('missing children are refused by name, a missing subject is not', async () => {
    const { repo } = await writable();
    const lost = { mediaType: MediaType.octetStream, digest: nowhere, size: 1 };
    const { response } = await pushImage(repo, 'v1', { layers: [lost] });
    expect([response.status, await codeOf(response)]).toEqual([404, 'MANIFEST_BLOB_UNKNOWN']);
    const subject = { mediaType: MediaType.ociManifest, digest: nowhere, size: 1 };
    expect((await pushImage(repo, 'v1', { subject })).response.status).toBe(201);
  });

  test('an index without its children is only taken with allowSparse', async () => {
    const index = Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        mediaType: MediaType.ociIndex,
        manifests: [{ mediaType: MediaType.ociManifest, digest: nowhere, size: 10 }],
      }),
    );
    for (const allowSparse of [false, true]) {
      const { repo } = await writable({ allowSparse });
      const response = await fetch(`${repo}/manifests/v1`, {
        method: 'PUT',
        body: index,
        headers: { 'Content-Type': MediaType.ociIndex },
      });
      expect(response.status).toBe(allowSparse ? 201 : 404);
    }
  });

  test('T18 indexes nested four levels deep, not five; a new server finds the same', async () => {
    const { repo, layout, server } = await writable();
    let child: object = (await pushImage(repo, 'v1')).descriptor;
    for (let level = 0; level <= 5; level++) {
      const { response, descriptor } = await pushIndex(repo, `nested-${level}`, [child]);
      expect(response.status).toBe(level < 5 ? 201 : 400);
      if (level === 5) expect(await codeOf(response)).toBe('MANIFEST_INVALID');
      child = descriptor;
    }
    await server.close();
    const again = await start({ writable: await Layout.open(layout.root) });
    expect(again.unreachable()).toEqual([]);
    const statuses = [4, 5].map(async (level) => {
      const path = `${again.url}/v2/team/app/manifests/nested-${level}`;
      return (await fetch(path, { method: 'HEAD' })).status;
    });
    expect(await Promise.all(statuses)).toEqual([200, 404]);
  });

  test('T23 foreign layers may be missing, and are never followed; any other layer must be pushed, whatever its urls', async () => {
    const { layout, repo } = await writable();
    const urls = ['http://169.254.169.254/layer'];
    const mediaType = 'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip';
    const foreign = { mediaType, digest: nowhere, size: 1, urls };
    const { response, descriptor } = await pushImage(repo, 'v1', { layers: [foreign] });
    expect(response.status).toBe(201);
    const again = await start({ writable: await Layout.open(layout.root) });
    const manifest = await fetch(`${again.url}/v2/team/app/manifests/v1`);
    expect(manifest.headers.get('docker-content-digest')).toBe(descriptor.digest);
    expect((await fetch(`${again.url}/v2/team/app/blobs/${nowhere}`)).status).toBe(404);
    const other = { ...foreign, mediaType: MediaType.octetStream };
    const refused = (await pushImage(repo, 'v2', { layers: [other] })).response;
    expect([refused.status, await codeOf(refused)]).toEqual([404, 'MANIFEST_BLOB_UNKNOWN']);
  });

  test.each([
    ['a Content-Type that is not the document’s (T20)', {}, MediaType.ociIndex],
    ['no manifest type', {}, 'text/plain'],
    ['image and index at once (T20)', { manifests: [] }, MediaType.ociManifest],
    ['a wrong schemaVersion', { schemaVersion: 1 }, MediaType.ociManifest],
  ])('%s is MANIFEST_INVALID', async (_what, extra, type) => {
    const { repo } = await writable();
    const { response } = await pushImage(repo, 'v1', extra, type);
    expect([response.status, await codeOf(response)]).toEqual([400, 'MANIFEST_INVALID']);
  });
});

describe('deleting', () => {
  test('a tag goes alone; a manifest goes with its tags', async () => {
    const { repo } = await writable();
    const { descriptor } = await pushImage(repo, 'v1');
    await pushImage(repo, 'v2');
    const url = (reference: string) => `${repo}/manifests/${reference}`;
    expect((await fetch(url('v1'), { method: 'DELETE' })).status).toBe(202);
    expect((await fetch(url('v1'))).status).toBe(404);
    expect((await fetch(url(descriptor.digest))).status).toBe(200);
    expect((await fetch(url(descriptor.digest), { method: 'DELETE' })).status).toBe(202);
    expect((await fetch(url('v2'))).status).toBe(404);
    expect((await fetch(url(descriptor.digest), { method: 'DELETE' })).status).toBe(404);
  });

  test('what an index still holds is kept', async () => {
    const { repo } = await writable();
    const { descriptor } = await pushImage(repo, 'digest');
    const index = Buffer.from(
      JSON.stringify({ schemaVersion: 2, mediaType: MediaType.ociIndex, manifests: [descriptor] }),
    );
    const headers = { 'Content-Type': MediaType.ociIndex };
    await fetch(`${repo}/manifests/all`, { method: 'PUT', body: index, headers });
    const response = await fetch(`${repo}/manifests/${descriptor.digest}`, { method: 'DELETE' });
    expect([response.status, await codeOf(response)]).toEqual([403, 'DENIED']);
    expect((await fetch(`${repo}/manifests/${descriptor.digest}`)).status).toBe(200);
  });
});
