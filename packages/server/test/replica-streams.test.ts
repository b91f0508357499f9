/** Content that passes through a replica: whole and right, or a connection that ends; never more of it held than a few chunks. */
import { createHash } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import { get } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { collect } from '@omni-airgap/oci/model';
import { generatedBytes, startHttpServer } from '@omni-airgap/oci/testing';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { openReplica } from '../src/index.ts';
import { v } from './carried.ts';
import { asked, putObject, replicaSite } from './replica-support.ts';
import { start } from './support.ts';

const mebibyte = 1024 * 1024;
const sha256 = (bytes: Uint8Array): `sha256:${string}` =>
  `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
const blob = Buffer.from(await collect(generatedBytes(24, 3 * mebibyte)(), 4 * mebibyte, 'blob'));

/** Bytes that a client got before its connection ended, and whether it was ended in order. */
async function bytesOf(url: string): Promise<{ readonly bytes: Buffer; readonly isWhole: boolean }> {
  const response = await fetch(url);
  const chunks: Uint8Array[] = [];
  try {
    for await (const chunk of response.body ?? []) chunks.push(chunk as Uint8Array);
    return { bytes: Buffer.concat(chunks), isWhole: true };
  } catch {
    return { bytes: Buffer.concat(chunks), isWhole: false };
  }
}

async function withBlob() {
  const site = await replicaSite();
  const { digest } = site.registry.repository('app').addBlob(blob);
  putObject(site.bucket, `image/${site.id}/${v}/metal-amd64.iso`, blob);
  return { site, path: `/v2/app/blobs/${digest}`, iso: `/image/${site.id}/${v}/metal-amd64.iso` };
}

test('a blob with wrong bytes: the connection ends before the last of them, and health says so', async () => {
  const { site, path } = await withBlob();
  site.registry.fault({ match: { method: 'GET', path: /blobs/ }, do: { flipByteAt: 10 } });
  const server = await site.replica();
  const got = await bytesOf(`${server.url}${path}`);
  expect(got.isWhole).toBe(false);
  expect(got.bytes.byteLength).toBeLessThan(blob.byteLength);
  expect(await (await fetch(`${server.url}/healthz`)).json()).toMatchObject({
    status: 'damaged',
    damaged: [{ digest: sha256(blob) }],
  });
  expect(site.problems.join()).toContain('other bytes came');
  expect(server.log.find((entry) => entry.path === path)?.error).toContain(
    'DIGEST' in {} ? '' : sha256(blob),
  );
});

test('a small blob with wrong bytes is an error answer', async () => {
  const { site } = await withBlob();
  const { digest } = site.registry.repository('app').addBlob(Buffer.from('small'));
  site.registry.fault({ match: { method: 'GET', path: /blobs/ }, do: { flipByteAt: 1 } });
  const { url } = await site.replica();
  expect((await fetch(`${url}/v2/app/blobs/${digest}`)).status).toBe(500);
});

test('an object with other bytes than its metadata says: not given as whole', async () => {
  const { site, iso } = await withBlob();
  const key = `talos/site${iso}`;
  const object = site.bucket.objects.get(key);
  if (object === undefined) throw new Error('no object');
  const wrong = Buffer.from(blob);
  wrong[blob.byteLength - 1] = ~(wrong[blob.byteLength - 1] ?? 0);
  site.bucket.objects.set(key, { ...object, bytes: wrong });
  const { url } = await site.replica();
  expect((await bytesOf(`${url}${iso}`)).isWhole).toBe(false);
});

test('a manifest with wrong bytes is not sent', async () => {
  const { site } = await withBlob();
  const { url } = await site.replica();
  const path = `/v2/metal-installer/${site.id}/manifests/${v}`;
  const digest = (await fetch(`${url}${path}`)).headers.get('docker-content-digest') ?? '';
  site.registry.fault({ match: { path: /manifests\/sha256/ }, do: { flipByteAt: 1 } });
  const other = await site.replica();
  const answer = await fetch(`${other.url}${path.replace(v, digest)}`);
  expect(answer.status).toBe(500);
});

describe.each(['registry', 'bucket'] as const)('a transfer of the %s that breaks off', (source) => {
  test('is resumed where it ended, and the client sees nothing of it', async () => {
    const { site, path, iso } = await withBlob();
    let cuts = 2;
    site.registry.fault({ match: { method: 'GET', path: /blobs/ }, do: { cutAfter: mebibyte }, times: 2 });
    site.bucket.fault = ({ method, path: key }) =>
      method === 'GET' && key.endsWith('.iso') && cuts-- > 0 ? 'cut' : undefined;
    const { url } = await site.replica();
    const got = await bytesOf(`${url}${source === 'registry' ? path : iso}`);
    expect([got.isWhole, sha256(got.bytes)]).toEqual([true, sha256(blob)]);
    const ranges = (source === 'registry' ? site.registry : site.bucket).requests
      .filter(({ method, path: at }) => method === 'GET' && /blobs|iso/.test(at))
      .map(({ headers }) => headers['range']);
    expect(ranges).toHaveLength(3);
    expect(ranges.at(-1)).toMatch(/^bytes=[1-9][0-9]*-/);
  });

  test('and never goes on: the client’s connection ends, and no short answer looks whole', async () => {
    const { site, path, iso } = await withBlob();
    let isFirst = true;
    site.registry.fault({ match: { method: 'GET', path: /blobs/, nth: 1 }, do: { cutAfter: mebibyte } });
    site.registry.fault({ match: { method: 'GET', path: /blobs/ }, do: { drop: true } });
    site.bucket.fault = ({ method, path: key }) => {
      if (method !== 'GET' || !key.endsWith('.iso')) return undefined;
      const fault = isFirst ? 'cut' : 'drop';
      isFirst = false;
      return fault;
    };
    const { url } = await site.replica();
    const got = await bytesOf(`${url}${source === 'registry' ? path : iso}`);
    expect(got.isWhole).toBe(false);
    expect(got.bytes.byteLength).toBeGreaterThan(0);
    expect(got.bytes.byteLength).toBeLessThan(blob.byteLength);
  });
});

/** A registry with one blob of any size that counts what it sends. */
async function endlessRegistry(size: number) {
  const chunk = Buffer.alloc(64 * 1024);
  const seen = { sent: 0, closed: 0 };
  const send = (response: ServerResponse): void => {
    while (seen.sent < size && !response.destroyed) {
      seen.sent += chunk.byteLength;
      if (!response.write(chunk)) {
        response.once('drain', () => send(response));
        return;
      }
    }
    response.end();
  };
  const server = await startHttpServer((request, response) => {
    response.writeHead(200, { 'content-length': size });
    if (request.method === 'HEAD') response.end();
    else {
      response.once('close', () => seen.closed++);
      send(response);
    }
  });
  onTestFinished(() => server.close());
  const replica = await openReplica({
    registry: { host: server.host, prefix: '', keepHost: false },
    network: { upstreams: [], allowHosts: [], plainHttp: [server.host], env: {} },
  });
  return { seen, ...(await start({ replica })), path: `/v2/app/blobs/sha256:${'a'.repeat(64)}` };
}

describe('a blob of 512 MiB', () => {
  test('is not read ahead of a client that does not read, and its request ends with the client', async () => {
    const { seen, url, path } = await endlessRegistry(512 * mebibyte);
    const before = process.memoryUsage();
    const request = get(`${url}${path}`, (response) => response.pause());
    request.on('error', () => {});
    await vi.waitFor(() => expect(seen.sent).toBeGreaterThan(mebibyte), { timeout: 5_000 });
    let last = -1;
    // What the sockets of the system take, and a few chunks here.
    while (seen.sent !== last) {
      last = seen.sent;
      await sleep(300);
    }
    expect(seen.sent).toBeLessThan(64 * mebibyte);
    const after = process.memoryUsage();
    expect(after.arrayBuffers + after.external - before.arrayBuffers - before.external).toBeLessThan(
      32 * mebibyte,
    );
    request.destroy();
    await vi.waitFor(() => expect(seen.closed).toBe(1), { timeout: 5_000 });
  });
});

describe('machines that boot at once', () => {
  test('ask the registry once for the same tag and the same manifest', async () => {
    const { site } = await withBlob();
    const { url } = await site.replica();
    const path = `/v2/metal-installer/${site.id}/manifests/${v}`;
    const answers = await Promise.all(
      Array.from({ length: 100 }, (_, i) => fetch(`${url}${path}`, { method: i % 2 === 0 ? 'HEAD' : 'GET' })),
    );
    expect(answers.every(({ status }) => status === 200)).toBe(true);
    await Promise.all(answers.map((answer) => answer.arrayBuffer()));
    expect(asked(site.registry, 'GET', /manifests/)).toBe(1);
    expect(asked(site.registry, 'HEAD', /manifests/)).toBe(0);
  });

  test('when all of them go away, the question ends too, and the next one asks anew', async () => {
    const { site } = await withBlob();
    let isHeld = true;
    site.registry.fault({ match: { path: /manifests/ }, do: { until: () => !isHeld }, times: 1 });
    const { url } = await site.replica();
    const path = `${url}/v2/metal-installer/${site.id}/manifests/${v}`;
    const leaving = new AbortController();
    const gone = [1, 2].map(() => fetch(path, { signal: leaving.signal }).catch(() => 'gone'));
    await vi.waitFor(() => expect(asked(site.registry, 'GET', /manifests/)).toBe(1));
    leaving.abort();
    expect(await Promise.all(gone)).toEqual(['gone', 'gone']);
    await vi.waitFor(async () => expect((await fetch(path)).status).toBe(200), { timeout: 5_000 });
    expect(asked(site.registry, 'GET', /manifests/)).toBe(2);
    isHeld = false;
  });

  test('what is not there is asked for again: it may have been pushed', async () => {
    const { site } = await withBlob();
    const { url } = await site.replica();
    const late = Buffer.from('late');
    const path = `${url}/v2/app/blobs/${sha256(late)}`;
    expect((await fetch(path)).status).toBe(404);
    site.registry.repository('app').addBlob(late);
    expect((await fetch(path)).status).toBe(200);
  });
});

describe('--redirect', () => {
  const elsewhere = (response: Response): string => response.headers.get('location') ?? '';
  const ask = (url: string, init: RequestInit = {}): Promise<Response> =>
    fetch(url, { redirect: 'manual', ...init });

  test('a blob that anyone may read is read at the registry; HEAD and conditions are answered here', async () => {
    const { site, path } = await withBlob();
    const { url } = await site.replica({ redirect: {} });
    const answer = await ask(`${url}${path}`);
    expect([answer.status, elsewhere(answer)]).toEqual([307, `${site.registry.url}${path}`]);
    expect(sha256(Buffer.from(await (await fetch(`${url}${path}`)).arrayBuffer()))).toBe(sha256(blob));
    const part = await fetch(`${url}${path}`, { headers: { range: 'bytes=5-9' } });
    expect(Buffer.from(await part.arrayBuffer())).toEqual(blob.subarray(5, 10));
    expect((await ask(`${url}${path}`, { method: 'HEAD' })).status).toBe(200);
    const known = { 'if-none-match': `"${sha256(blob)}"` };
    expect((await ask(`${url}${path}`, { headers: known })).status).toBe(304);
    // Without a log-in, once for each blob.
    expect(site.registry.requests.filter(({ headers }) => headers['range'] === 'bytes=0-0')).toHaveLength(1);
  });

  test('one that needs a log-in, or lies where nobody may go, passes through here', async () => {
    for (const fault of [
      { status: 401 },
      { status: 307, headers: { location: 'https://elsewhere.invalid/x' } },
      { status: 307, headers: { location: 'http://elsewhere.invalid/x' } },
      { status: 404 },
    ]) {
      const { site, path } = await withBlob();
      site.registry.fault({ match: { method: 'GET', path: /blobs/, nth: 1 }, do: fault });
      const { url } = await site.replica({ redirect: {} });
      const answer = await ask(`${url}${path}`);
      expect([answer.status, sha256(Buffer.from(await answer.arrayBuffer()))]).toEqual([200, sha256(blob)]);
    }
  });

  test('a boot asset is read from the store by a URL that holds for some minutes', async () => {
    const { site, iso } = await withBlob();
    const publicEndpoint = new URL(site.bucket.url);
    const { url } = await site.replica({ redirect: { publicEndpoint } });
    const answer = await ask(`${url}${iso}?filename=site.iso`);
    expect(answer.status).toBe(307);
    const location = new URL(elsewhere(answer));
    expect(`${location.origin}${location.pathname}`).toBe(`${site.bucket.url}/talos/site${iso}`);
    expect(location.searchParams.get('X-Amz-Expires')).toBe('900');
    expect(location.searchParams.get('response-content-disposition')).toBe('attachment; filename="site.iso"');
    expect(location.search).not.toContain('secret');
    expect((await ask(`${url}${iso}`, { method: 'HEAD' })).status).toBe(200);
  });

  test.each([
    ['http', 'https', 'http://factory.site'],
    ['https', 'http', 'https://factory.site'],
  ])('a client that came by %s is never sent to %s', async (came, _, externalUrl) => {
    const { site, path, iso } = await withBlob();
    const publicEndpoint = new URL(came === 'http' ? 'https://s3.site' : 'http://s3.site');
    const { url } = await site.replica({ redirect: { publicEndpoint } }, { externalUrl });
    const host = new URL(externalUrl).host;
    // The registry speaks http here.
    const results = [await raw(`${url}${path}`, host), await raw(`${url}${iso}`, host)];
    expect(results).toEqual([came === 'http' ? 307 : 200, 200]);
  });

  test('without --s3-public-endpoint, boot assets pass through here', async () => {
    const { site, iso } = await withBlob();
    const { url } = await site.replica({ redirect: {} });
    expect((await ask(`${url}${iso}`)).status).toBe(200);
  });
});

/** The status for a client that names this host. */
function raw(url: string, host: string): Promise<number> {
  return new Promise((resolve, reject) => {
    get(url, { headers: { host } }, (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    }).on('error', reject);
  });
}

test('a replica that ends is not ready, and answers who comes nevertheless', async () => {
  const { site, path } = await withBlob();
  const server = await site.replica();
  expect((await fetch(`${server.url}/readyz`)).status).toBe(200);
  server.drain();
  expect((await fetch(`${server.url}/readyz`)).status).toBe(503);
  const answer = await fetch(`${server.url}${path}`);
  expect([answer.status, answer.headers.get('connection')]).toEqual([200, 'close']);
  expect((await answer.arrayBuffer()).byteLength).toBe(blob.byteLength);
});

test('a registry that does not answer holds a health check for five seconds, and the next one for none', async () => {
  const { site } = await withBlob();
  let isHeld = true;
  site.registry.fault({ match: { path: /^\/v2\/$/ }, do: { until: () => !isHeld } });
  const { url } = await site.replica();
  for (let i = 0; i < 3; i++) {
    expect(await (await fetch(`${url}/healthz`)).json()).toMatchObject({
      status: 'unreachable',
      targets: [{ ok: false }, { ok: true }],
    });
    // The bucket is of use without the registry.
    expect((await fetch(`${url}/readyz`)).status).toBe(200);
  }
  expect(asked(site.registry, 'GET', /^\/v2\/$/)).toBe(1);
  isHeld = false;
}, 20_000);

test('metrics count what was asked of registry and bucket, and no label names content', async () => {
  const { site, path, iso } = await withBlob();
  const server = await site.replica({}, { metrics: {} });
  const metricsUrl = await server.listenForMetrics('127.0.0.1', 0);
  await (await fetch(`${server.url}${path}`)).arrayBuffer();
  await (await fetch(`${server.url}${iso}`)).arrayBuffer();
  site.registry.fault({ match: { path: /./ }, do: { drop: true } });
  await fetch(`${server.url}/v2/app/manifests/v1`);
  const text = await (await fetch(`${metricsUrl}/metrics`)).text();
  expect(text).toMatch(/omni_airgap_upstream_requests_total\{target="registry",status="200"\} [1-9]/);
  expect(text).toMatch(/omni_airgap_upstream_requests_total\{target="object_store",status="200"\} [1-9]/);
  expect(text).toMatch(/omni_airgap_upstream_requests_total\{target="registry",status="none"\} [1-9]/);
  expect(text).toMatch(/omni_airgap_verifications_total\{result="passed"\} 2/);
  expect(text).not.toContain(site.id);
  expect(text).not.toContain(site.registry.host);
});
