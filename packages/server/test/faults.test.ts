import { createHash } from 'node:crypto';
import { chmod, readdir, readlink, rename, rm, truncate, writeFile } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import bcrypt from 'bcryptjs';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import type { ContentSource, ServerOptions } from '../src/index.ts';
import { newLayout, putImage, raw, start } from './support.ts';

const size = 3 * 1024 * 1024;

async function served(bytes: Buffer = Buffer.alloc(size, 'layer data '), options: ServerOptions = {}) {
  const layout = await newLayout();
  const image = await putImage(layout, 'ghcr.io/a/b:v1', bytes);
  const server = await start({ source: layout, ...options });
  const path = layout.pathOf(image.layer.digest);
  await chmod(path, 0o644);
  return { server, path, blob: `${server.url}/v2/a/b/blobs/${image.layer.digest}`, image };
}

/** How a site runs it: what holds for the one holds for the other. */
const settings: readonly { readonly how: string; readonly options: ServerOptions }[] = [
  { how: 'open to anyone', options: {} },
  {
    how: 'with log-ins and metrics',
    options: { access: { logIns: new Map([['site', bcrypt.hashSync('password', 4)]]) }, metrics: {} },
  },
];

/** Open descriptors of this process that point at files whose path holds `part`. */
async function openFiles(part: string): Promise<number> {
  const links = await Promise.all(
    (await readdir('/proc/self/fd')).map((fd) => readlink(`/proc/self/fd/${fd}`).catch(() => '')),
  );
  return links.filter((link) => link.includes(part)).length;
}

describe('damaged content', () => {
  test('F49 T55 serve.bitrot: a flipped byte ends in a cut connection, then in 500; others are fine, health is red', async () => {
    const { server, path, blob, image } = await served();
    const bytes = Buffer.alloc(size, 'layer data ');
    bytes[size - 5] = 0;
    await writeFile(path, bytes);
    const response = await fetch(blob);
    expect(response.status).toBe(200);
    await expect(response.bytes()).rejects.toThrow();
    const next = await fetch(blob);
    expect(next.status).toBe(500);
    expect(await next.text()).not.toContain(path);
    expect((await fetch(`${server.url}/v2/a/b/blobs/${image.config.digest}`)).status).toBe(200);
    const health = await fetch(`${server.url}/healthz`);
    expect(health.status).toBe(503);
    expect(await health.json()).toMatchObject({
      status: 'damaged',
      damaged: [{ digest: image.layer.digest }],
    });
    expect((await fetch(`${server.url}/readyz`)).status).toBe(200);
    await expect.poll(() => server.log.filter(({ error }) => error !== undefined).length).toBe(2);
  });

  test('T55: a part of an unverified blob starts a check of all of it', async () => {
    const { server, path, blob } = await served();
    const bytes = Buffer.alloc(size, 'layer data ');
    bytes[size - 5] = 0;
    await writeFile(path, bytes);
    const part = await fetch(blob, { headers: { range: 'bytes=0-99' } });
    expect([part.status, (await part.bytes()).byteLength]).toEqual([206, 100]);
    await expect.poll(async () => (await fetch(`${server.url}/healthz`)).status).toBe(503);
    expect((await fetch(blob, { headers: { range: 'bytes=0-99' } })).status).toBe(500);
  });

  test('T55: of many that ask at once one is hashed while it is sent; the others wait for a verdict, not for its client', async () => {
    const bytes = Buffer.alloc(16 * 1024 * 1024, 'x');
    for (const isRight of [true, false]) {
      const { path, blob, image } = await served(bytes);
      if (!isRight) {
        const wrong = Buffer.from(bytes);
        wrong[5] = 0;
        await writeFile(path, wrong);
      }
      const first = await stalled(blob);
      const others = await Promise.allSettled(
        Array.from({ length: 5 }, async () => (await fetch(blob)).bytes()),
      );
      first.destroy();
      for (const other of others) {
        if (isRight) expect(other).toMatchObject({ value: { byteLength: image.layer.size } });
        else expect(other.status).toBe('rejected');
      }
    }
  });

  test('damage that is asked for again and again is tried again after half a minute', async () => {
    const { path, blob } = await served();
    await writeFile(path, Buffer.alloc(size, 'another'));
    await expect((await fetch(blob)).bytes()).rejects.toThrow();
    const now = vi.spyOn(Date, 'now');
    onTestFinished(() => now.mockRestore());
    const start = Date.now();
    for (const seconds of [10, 20, 29]) {
      now.mockReturnValue(start + seconds * 1000);
      expect((await fetch(blob)).status).toBe(500);
    }
    now.mockReturnValue(start + 31_000);
    expect((await fetch(blob)).status).toBe(200);
  });

  test('F50: content that is right again is served, and health is green', async () => {
    const { server, path, blob } = await served();
    const right = Buffer.alloc(size, 'layer data ');
    expect(right.equals(await (await fetch(blob)).bytes())).toBe(true);
    const wrong = Buffer.from(right);
    wrong[0] = 0;
    // Another medium in its place: what was verified before does not count for it.
    await rm(path);
    await writeFile(path, wrong);
    await expect((await fetch(blob)).bytes()).rejects.toThrow();
    await rm(path);
    expect((await fetch(blob)).status).toBe(404);
    await writeFile(path, right);
    expect(right.equals(await (await fetch(blob)).bytes())).toBe(true);
    expect((await fetch(`${server.url}/healthz`)).status).toBe(200);
  });

  test('a file that is too short when asked for is 500, not a short answer', async () => {
    const { path, blob } = await served();
    await truncate(path, size - 1);
    expect((await fetch(blob)).status).toBe(500);
    expect((await fetch(blob, { method: 'HEAD' })).status).toBe(500);
  });

  test('a file that becomes too short while it is sent ends in a cut connection', async () => {
    const { server, path, blob } = await served(Buffer.alloc(64 * 1024 * 1024, 'x'));
    const { hostname, port, pathname } = new URL(blob);
    const outcome = await new Promise<{ got: number; error: string | undefined }>((resolve) => {
      const socket = connect(Number(port), hostname, () =>
        socket.write(`GET ${pathname} HTTP/1.1\r\nHost: x\r\n\r\n`),
      );
      let got = 0;
      let error: string | undefined;
      socket.once('data', () => {
        socket.pause();
        void truncate(path, 1024 * 1024).then(() => socket.resume());
      });
      socket.on('data', (chunk) => {
        got += chunk.length;
      });
      socket.on('error', (e) => {
        error = e.message;
      });
      socket.on('close', () => resolve({ got, error }));
    });
    expect(outcome.got).toBeLessThan(64 * 1024 * 1024);
    expect(outcome.error).toMatch(/ECONNRESET/);
    await expect.poll(() => server.log[0]?.error).toMatch(/ends at byte/);
  });
});

describe.each(settings)('clients that go away, $how', ({ options }) => {
  test('F54 serve.abort: no file stays open', async () => {
    const { server, path, blob } = await served(Buffer.alloc(16 * 1024 * 1024, 'x'), options);
    const { pathname } = new URL(blob);
    for (let i = 0; i < 100; i++) {
      await raw(server.url, `GET ${pathname} HTTP/1.1\r\nHost: x\r\n\r\n`, 'xxxx');
    }
    await expect.poll(() => server.log.length, { timeout: 5_000 }).toBe(100);
    expect(await openFiles(path)).toBe(0);
    expect((await (await fetch(blob)).bytes()).byteLength).toBe(16 * 1024 * 1024);
  });

  test('F53 serve.slowclient: two hundred stalled readers hold up nobody and take little memory', async () => {
    const { blob } = await served(Buffer.alloc(16 * 1024 * 1024, 'x'), options);
    const before = process.memoryUsage().arrayBuffers;
    const sockets = await Promise.all(Array.from({ length: 200 }, () => stalled(blob)));
    try {
      // The stalled sockets of this process are counted too.
      expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(50 * 1024 * 1024);
      expect((await (await fetch(blob)).bytes()).byteLength).toBe(16 * 1024 * 1024);
    } finally {
      for (const socket of sockets) socket.destroy();
    }
  });

  test('a reader that stalls and goes on gets the right bytes', async () => {
    const bytes = Buffer.alloc(64 * 1024 * 1024);
    for (let i = 0; i < bytes.byteLength; i += 4096) bytes.writeUInt32LE(i, i);
    const { blob } = await served(bytes, options);
    const socket = await stalled(blob, true);
    await sleep(200);
    const hash = createHash('sha256');
    let size = 0;
    for await (const chunk of socket as AsyncIterable<Buffer>) {
      hash.update(chunk);
      size += chunk.byteLength;
      if (size === bytes.byteLength) break;
    }
    expect(hash.digest('hex')).toBe(createHash('sha256').update(bytes).digest('hex'));
  });
});

/** A connection that has asked for the blob, has its headers, and reads no further. */
function stalled(blob: string, keep = false): Promise<Socket> {
  const { hostname, port, pathname } = new URL(blob);
  return new Promise((resolve, reject) => {
    const socket = connect(Number(port), hostname);
    socket.on('error', reject);
    socket.write(`GET ${pathname} HTTP/1.1\r\nHost: x\r\n\r\n`);
    socket.once('data', (chunk: Buffer) => {
      socket.pause();
      const end = chunk.indexOf('\r\n\r\n');
      expect(chunk.toString('latin1', 0, end)).toMatch(/^HTTP\/1\.1 200 /);
      if (keep) socket.unshift(chunk.subarray(end + 4));
      resolve(socket);
    });
  });
}

describe('files that are gone', () => {
  test('HEAD opens no file; GET says 503 and the server goes on (F50 serve.yank)', async () => {
    const layout = await newLayout();
    const { layer } = await putImage(layout, 'ghcr.io/a/b:v1', Buffer.from('layer'));
    const source: ContentSource = {
      stat: (digest) => layout.stat(digest),
      fetch: (descriptor) => layout.fetch(descriptor),
      names: () => layout.names(),
      locate: async ({ size: bytes }) => [{ path: `${layout.root}/gone`, offset: 0, size: bytes }],
    };
    const server = await start({ source });
    const url = `${server.url}/v2/a/b/blobs/${layer.digest}`;
    const head = await fetch(url, { method: 'HEAD' });
    expect([head.status, head.headers.get('content-length')]).toEqual([200, '5']);
    const response = await fetch(url);
    expect(response.status).toBe(503);
    expect(await response.text()).not.toContain(layout.root);
    expect((await fetch(`${server.url}/v2/a/b/manifests/v1`)).status).toBe(200);
  });
});

test('F50 serve.yank: the medium is pulled: 503 for all, no crash; put back: all is well', async () => {
  const { server, path, blob } = await served();
  const root = dirname(dirname(dirname(path)));
  expect((await fetch(`${server.url}/readyz`)).status).toBe(200);
  await rename(root, `${root}.away`);
  expect((await fetch(blob)).status).toBe(503);
  expect((await fetch(`${server.url}/v2/a/b/manifests/v1`)).status).toBe(503);
  expect((await fetch(`${server.url}/readyz`)).status).toBe(503);
  expect((await fetch(`${server.url}/healthz`)).status).toBe(503);
  await rename(`${root}.away`, root);
  expect((await (await fetch(blob)).bytes()).byteLength).toBe(size);
  expect((await fetch(`${server.url}/v2/a/b/manifests/v1`)).status).toBe(200);
  expect((await fetch(`${server.url}/readyz`)).status).toBe(200);
  expect((await fetch(`${server.url}/healthz`)).status).toBe(200);
});

describe.each(settings)('hostile requests (T54, F51 serve.path.raw), $how', ({ options }) => {
  test.each([
    ['dot segments', 'GET /v2/../../etc/passwd HTTP/1.1\r\nHost: x\r\n'],
    ['encoded dots', 'GET /v2/%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\nHost: x\r\n'],
    ['doubly encoded dots', 'GET /v2/%252e%252e/blobs/x HTTP/1.1\r\nHost: x\r\n'],
    ['an encoded NUL', 'GET /v2/a%00/manifests/x HTTP/1.1\r\nHost: x\r\n'],
    ['an encoded slash', 'GET /v2/a%2fb/manifests/x HTTP/1.1\r\nHost: x\r\n'],
    ['empty segments', 'GET //v2//a/manifests/x HTTP/1.1\r\nHost: x\r\n'],
    ['absolute form', 'GET http://x/v2/ HTTP/1.1\r\nHost: x\r\n'],
    ['a digest with a path', 'GET /v2/a/b/blobs/sha256:..%2f..%2fetc HTTP/1.1\r\nHost: x\r\n'],
    ['a space in the target', 'GET /v2/ x HTTP/1.1\r\nHost: x\r\n'],
    ['huge headers', `GET /v2/ HTTP/1.1\r\nHost: x\r\nX-A: ${'a'.repeat(40_000)}\r\n`],
    ['a huge target', `GET /v2/${'a/'.repeat(20_000)} HTTP/1.1\r\nHost: x\r\n`],
    ['no host', 'GET /v2/ HTTP/1.1\r\n'],
    ['two lengths (T36)', 'PUT /v2/ HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n'],
    [
      'length and chunks (T36)',
      'PUT /v2/ HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n',
    ],
    ['no HTTP', '\u0016\u0003\u0001\u0002\u0000\u0001\r\n'],
  ])('%s: refused, and the server lives', async (_what, head) => {
    const { server } = await served(undefined, options);
    const answer = await raw(server.url, `${head}Connection: close\r\n\r\n`).catch((e: Error) => e.message);
    expect(answer).toMatch(/^HTTP\/1\.1 4\d\d |ECONNRESET|EPIPE/);
    expect((await fetch(`${server.url}/readyz`)).status).toBe(200);
  });

  test('an unknown method is refused', async () => {
    const { server } = await served(undefined, options);
    expect((await fetch(`${server.url}/v2/`, { method: 'PROPFIND' })).status).toBe(501);
    const connectAnswer = await raw(server.url, 'CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n').catch(() => '');
    expect(connectAnswer).not.toMatch(/ 200 /);
    expect((await fetch(`${server.url}/readyz`)).status).toBe(200);
  });

  test('T38 serve.header.inject: text of a request never makes a header', async () => {
    const { server } = await served(undefined, options);
    const response = await fetch(`${server.url}/v2/a/b/tags/list?n=1&last=%0d%0aX-Evil:%201`);
    expect(response.status).toBe(200);
    expect(response.headers.get('x-evil')).toBe(null);
  });
});

test('a server binds to what it is told, and says when it cannot', async () => {
  const { server } = await served();
  const other = await start({ source: await newLayout() });
  const { port } = new URL(server.url);
  await other.close();
  await expect(other.listen('127.0.0.1', Number(port))).rejects.toMatchObject({ code: 'NETWORK' });
});
