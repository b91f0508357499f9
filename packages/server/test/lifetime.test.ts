/** Start, TLS, requests under way while it ends, several bundles. */
import { execFileSync } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { type RequestOptions, request } from 'node:https';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { createServer } from '../src/index.ts';
import { newLayout, putImage, start, temporaryFolder } from './support.ts';

async function selfSigned(): Promise<{ readonly cert: Buffer; readonly key: Buffer }> {
  const folder = await temporaryFolder();
  const [cert, key] = [join(folder, 'cert.pem'), join(folder, 'key.pem')];
  const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=IP:127.0.0.1'];
  const kind = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'];
  execFileSync('openssl', ['req', '-x509', ...kind, ...subject, '-keyout', key, '-out', cert], {
    stdio: 'ignore',
  });
  return { cert: await readFile(cert), key: await readFile(key) };
}

/** Of an answer on a connection of its own. */
function statusOf(url: string, options: RequestOptions): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const sent = request(url, { ...options, agent: false }, (response) => {
      response.resume();
      resolve(response.statusCode);
    });
    sent.on('error', reject).end();
  });
}

describe('TLS', () => {
  test('is spoken with the given certificate, and named in scripts', async () => {
    const tls = await selfSigned();
    const layout = await newLayout();
    await putImage(layout, 'ghcr.io/a/b:v1', Buffer.from('layer'));
    const server = await start({ source: layout, tls });
    expect(server.url).toMatch(/^https:/);
    const body = await new Promise<string>((resolve, reject) => {
      const sent = request(`${server.url}/`, { ca: tls.cert }, (response) => {
        let text = '';
        response.on('data', (chunk) => {
          text += chunk;
        });
        response.on('end', () => resolve(text));
      });
      sent.on('error', reject).end();
    });
    expect(body).toContain(`url: ${server.url}`);
    // Plain HTTP on the same port is cut, and the server goes on.
    await expect(fetch(server.url.replace('https', 'http'))).rejects.toThrow();
    expect(server.health().status).toBe('ok');
  });

  test('is changed for new connections; a request under way on an old one ends well', async () => {
    const [before, after] = [await selfSigned(), await selfSigned()];
    const layout = await newLayout();
    const { layer } = await putImage(layout, 'ghcr.io/a/b:v1', Buffer.alloc(16 * 1024 * 1024, 'x'));
    const server = await start({ source: layout, tls: before });
    const url = `${server.url}/v2/a/b/blobs/${layer.digest}`;
    const whole = new Promise<number>((resolve, reject) => {
      const sent = request(url, { ca: before.cert }, (response) => {
        let size = 0;
        response.pause();
        server.setTls(after);
        response.on('data', (chunk: Buffer) => {
          size += chunk.byteLength;
        });
        response.on('end', () => resolve(size));
        response.on('error', reject);
        response.resume();
      });
      sent.on('error', reject).end();
    });
    expect(await whole).toBe(layer.size);
    await expect(statusOf(`${server.url}/v2/`, { ca: before.cert })).rejects.toThrow();
    expect(await statusOf(`${server.url}/v2/`, { ca: after.cert })).toBe(200);
    expect(() => server.setTls({ ...after, key: before.key })).toThrow(/cannot be used/);
    expect(await statusOf(`${server.url}/v2/`, { ca: after.cert })).toBe(200);
  });

  test('with an authority of clients, only who has a certificate of it connects', async () => {
    const [own, client, stranger] = [await selfSigned(), await selfSigned(), await selfSigned()];
    const server = await start({ source: await newLayout(), tls: { ...own, clientCa: client.cert } });
    const url = `${server.url}/v2/`;
    expect(await statusOf(url, { ca: own.cert, ...client })).toBe(200);
    await expect(statusOf(url, { ca: own.cert })).rejects.toThrow();
    await expect(statusOf(url, { ca: own.cert, ...stranger })).rejects.toThrow();
    server.setTls({ ...own, clientCa: stranger.cert });
    await expect(statusOf(url, { ca: own.cert, ...client })).rejects.toThrow();
    expect(await statusOf(url, { ca: own.cert, ...stranger })).toBe(200);
    const bad = createServer({ source: await newLayout(), tls: { ...own, clientCa: 'no certificate' } });
    await expect(bad).rejects.toMatchObject({ code: 'CONFIG' });
  });

  test('a key that does not fit is CONFIG', async () => {
    const { cert } = await selfSigned();
    const { key } = await selfSigned();
    await expect(createServer({ source: await newLayout(), tls: { cert, key } })).rejects.toMatchObject({
      code: 'CONFIG',
    });
  });
});

describe('close', () => {
  const size = 64 * 1024 * 1024;

  async function underWay() {
    const layout = await newLayout();
    const { layer } = await putImage(layout, 'ghcr.io/a/b:v1', Buffer.alloc(size, 'x'));
    const server = await start({ source: layout });
    const response = await fetch(`${server.url}/v2/a/b/blobs/${layer.digest}`);
    return { server, response };
  }

  test('lets an answer under way end, and takes no new connection', async () => {
    const { server, response } = await underWay();
    const { url } = server;
    const closed = server.close(10_000);
    await sleep(50);
    await expect(fetch(`${url}/v2/`)).rejects.toThrow();
    expect((await response.bytes()).byteLength).toBe(size);
    await closed;
  });

  test('cuts it when the time is over: never a short answer that looks whole', async () => {
    const { server, response } = await underWay();
    // The answer is not read, so it does not end by itself.
    await server.close(200);
    await expect(response.bytes()).rejects.toThrow();
  });

  test('is quick when nothing is under way, kept connections or not', async () => {
    const server = await start({ source: await newLayout() });
    await (await fetch(`${server.url}/v2/`)).text();
    // Far longer than this test may take.
    await server.close(24 * 3_600_000);
  });
});

test.each(['ftp://x', 'https://user:pw@x', 'nonsense', 'https://x/?a=b'])(
  'externalUrl %s is USAGE',
  async (externalUrl) => {
    await expect(createServer({ source: await newLayout(), externalUrl })).rejects.toMatchObject({
      code: 'USAGE',
    });
  },
);

test('the access log: who asked what when, how it ended, under which ID', async () => {
  const server = await start({ source: await newLayout() });
  await (await fetch(`${server.url}/v2/%20?token=geheim`, { headers: { 'x-request-id': 'r-1' } })).text();
  await expect.poll(() => server.log).toHaveLength(1);
  expect(server.log[0]).toMatchObject({
    remote: '127.0.0.1',
    method: 'GET',
    path: '/v2/%20',
    status: 404,
    requestId: 'r-1',
  });
  expect(JSON.stringify(server.log)).not.toContain('geheim');
});

test.each(['1970-01-01T00:00:00Z', '2099-12-31T00:00:00Z'])(
  'F58 a clock at %s: content, page and health are served all the same',
  async (time) => {
    vi.useFakeTimers({ toFake: ['Date'], now: new Date(time) });
    onTestFinished(() => void vi.useRealTimers());
    const layout = await newLayout();
    const { layer } = await putImage(layout, 'ghcr.io/a/b:v1', Buffer.from('layer'));
    const createdAt = '2026-11-24T00:00:00.000Z';
    const provenance = [{ id: 'x', origin: 'y', sequence: 3, createdAt, signedBy: undefined }];
    const { url } = await start({ source: layout, provenance });
    expect(await (await fetch(`${url}/v2/a/b/blobs/${layer.digest}`)).text()).toBe('layer');
    expect((await fetch(`${url}/version/v1.99.0/extensions/official`)).status).toBe(404);
    for (const path of ['/', '/readyz', '/wants.json'])
      expect((await fetch(`${url}${path}`)).status).toBe(200);
    const health = (await (await fetch(`${url}/healthz`)).json()) as { bundles: { days: number }[] };
    const days = (Date.parse(time) - Date.parse(createdAt)) / 86_400_000;
    expect(Math.abs((health.bundles[0]?.days ?? 0) - days)).toBeLessThan(2);
  },
);
