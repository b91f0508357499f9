import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { createServer as createTcpServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { bytesOf, collect } from '../src/bytes.ts';
import { type EgressRecord, openEgressLog } from '../src/http/egress-log.ts';
import { errorFromResponse } from '../src/http/error-response.ts';
import { type GateOptions, HttpGate } from '../src/http/gate.ts';
import type { EgressPolicy } from '../src/http/policy.ts';
import { type LoopbackServer, readBody, startHttpServer } from '../src/testing/http-server.ts';

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});
const server = async (listener: Parameters<typeof startHttpServer>[0]): Promise<LoopbackServer> => {
  const started = await startHttpServer(listener);
  cleanups.push(() => started.close());
  return started;
};
/** A gate whose logical hosts are mapped to loopback servers. */
function gateTo(
  mapped: Readonly<Record<string, LoopbackServer>>,
  options: Partial<GateOptions> & { readonly policy?: EgressPolicy } = {},
): { gate: HttpGate; records: EgressRecord[] } {
  const records: EgressRecord[] = [];
  const gate = new HttpGate({
    egressLog: { record: (record) => records.push(record) },
    policy: {
      hosts: Object.keys(mapped),
      plainHttp: [],
      allowPrivate: false,
      upstreams: Object.entries(mapped).map(([host, { url }]) => ({ host, url: new URL(url) })),
    },
    ...options,
  });
  cleanups.push(() => gate.close());
  return { gate, records };
}
const plainPolicy = (...hosts: string[]): EgressPolicy => ({
  hosts,
  plainHttp: hosts,
  allowPrivate: true,
  upstreams: [],
});

describe('requests', () => {
  test('carry what was asked, and are recorded without their query (T53)', async () => {
    const origin = await server(async (request, response) => {
      const body = await readBody(request);
      response.writeHead(201, { 'x-two': ['a', 'b'] }).end(`got ${body.length}`);
    });
    const { gate, records } = gateTo({ 'ghcr.io': origin });
    const response = await gate.request({
      method: 'PUT',
      url: 'https://ghcr.io/v2/x?digest=secret',
      headers: { 'Content-Type': 'text/plain', Host: 'evil', 'Accept-Encoding': 'gzip' },
      authorization: 'Bearer s3cret',
      body: { size: 6, open: () => bytesOf(Buffer.from('abc'), Buffer.from('def')) },
      digest: 'sha256:00',
    });
    expect(response.status).toBe(201);
    expect(response.headers['x-two']).toBe('a, b');
    expect(await response.text()).toBe('got 6');
    expect(origin.requests[0]).toMatchObject({
      method: 'PUT',
      path: '/v2/x?digest=secret',
      headers: {
        host: origin.host,
        'content-length': '6',
        'content-type': 'text/plain',
        'accept-encoding': 'identity',
        authorization: 'Bearer s3cret',
      },
    });
    expect(records).toMatchObject([
      {
        host: 'ghcr.io',
        address: '127.0.0.1',
        method: 'PUT',
        path: '/v2/x',
        status: 201,
        bytes: 11,
        digest: 'sha256:00',
      },
    ]);
    expect(JSON.stringify(records)).not.toContain('secret');
  });
  test('statuses are answers; several requests share a connection', async () => {
    const origin = await server((request, response) =>
      response.writeHead(request.method === 'HEAD' ? 200 : 503).end(),
    );
    const { gate } = gateTo({ 'ghcr.io': origin });
    for (const method of ['HEAD', 'HEAD', 'GET', 'DELETE'] as const) {
      const response = await gate.request({ method, url: 'https://ghcr.io/' });
      expect(response.status).toBe(method === 'HEAD' ? 200 : 503);
      await collect(response.body, 0, 'body');
    }
    // Undici frees a connection one turn after the answer has ended, so two take turns.
    expect(origin.connections).toBeLessThanOrEqual(2);
  });
  test('a slow reader is waited for: the body is not buffered whole', async () => {
    const chunk = Buffer.alloc(1024 * 1024);
    let written = 0;
    const origin = await server(async (_, response) => {
      for (let i = 0; i < 64; i++) {
        written += chunk.length;
        if (!response.write(chunk)) await new Promise((resolve) => response.once('drain', resolve));
      }
      response.end();
    });
    const { gate } = gateTo({ 'ghcr.io': origin });
    const response = await gate.request({ method: 'GET', url: 'https://ghcr.io/' });
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(written).toBeLessThan(20 * chunk.length);
    let size = 0;
    for await (const part of response.body) size += part.byteLength;
    expect(size).toBe(64 * chunk.length);
  });
  test('json() is strict and bounded', async () => {
    const origin = await server((request, response) =>
      response.end(request.url === '/dup' ? '{"a":1,"a":2}' : '{"a":1}'),
    );
    const { gate } = gateTo({ 'ghcr.io': origin });
    const get = async (path: string) => gate.request({ method: 'GET', url: `https://ghcr.io${path}` });
    expect(await (await get('/')).json('answer')).toEqual({ a: 1 });
    await expect((await get('/dup')).json('answer')).rejects.toMatchObject({ code: 'BAD_DOCUMENT' });
    await expect((await get('/')).json('answer', 3)).rejects.toMatchObject({ code: 'BAD_DOCUMENT' });
  });
});

describe('policy', () => {
  test('F10 T29 redirects to hosts that are not listed are refused, before any connection', async () => {
    const evil = await server((_, response) => response.end('evil'));
    for (const status of [301, 302, 303, 307, 308]) {
      for (const target of [
        'https://evil.net/',
        evil.url,
        `https://ghcr.io@${evil.host}/`,
        `//${evil.host}/`,
      ]) {
        const origin = await server((_, response) => response.writeHead(status, { location: target }).end());
        const { gate, records } = gateTo({ 'ghcr.io': origin });
        const request = gate.request({ method: 'GET', url: 'https://ghcr.io/' });
        await expect(request).rejects.toMatchObject({ code: 'EGRESS_DENIED' });
        expect(records.at(-1)?.refused).toMatch(/refused/);
      }
    }
    expect(evil.connections).toBe(0);
  });
  test('T33 a redirect from https to http is refused even where plain HTTP is allowed', async () => {
    const plain = await server((_, response) => response.end());
    const origin = await server((_, response) =>
      response.writeHead(307, { location: `${plain.url}/` }).end(),
    );
    const { gate } = gateTo(
      {},
      {
        policy: {
          ...plainPolicy(plain.host),
          hosts: ['ghcr.io', plain.host],
          upstreams: [{ host: 'ghcr.io', url: new URL(origin.url) }],
        },
      },
    );
    const request = gate.request({ method: 'GET', url: 'https://ghcr.io/' });
    await expect(request).rejects.toMatchObject({
      code: 'EGRESS_DENIED',
      message: /https may not become http/,
    });
    expect(plain.connections).toBe(0);
  });
  test('T30 nothing but harmless headers crosses an origin, and they do not come back', async () => {
    const b = await server((_, response) => response.writeHead(307, { location: 'https://a.io/end' }).end());
    const a = await server((request, response) => {
      if (request.url === '/end') response.end('ok');
      else response.writeHead(307, { location: 'https://b.io/mid' }).end();
    });
    const { gate } = gateTo({ 'a.io': a, 'b.io': b });
    const response = await gate.request({
      method: 'GET',
      url: 'https://a.io/start',
      authorization: 'Bearer s3cret',
      headers: { cookie: 's3cret', 'x-api-key': 's3cret', accept: 'x/y', range: 'bytes=1-' },
    });
    expect(await response.text()).toBe('ok');
    expect(response.url.href).toBe('https://a.io/end');
    expect(a.requests[0]?.headers).toMatchObject({ authorization: 'Bearer s3cret', 'x-api-key': 's3cret' });
    for (const request of [b.requests[0], a.requests[1]]) {
      expect(JSON.stringify(request?.headers)).not.toContain('s3cret');
      expect(request?.headers).toMatchObject({ accept: 'x/y', range: 'bytes=1-' });
    }
  });
  test('T30 another port of the same host is another origin', async () => {
    const b = await server((_, response) => response.end('ok'));
    const a = await server((_, response) => response.writeHead(302, { location: `${b.url}/` }).end());
    const { gate } = gateTo({}, { policy: plainPolicy(a.host, b.host) });
    const response = await gate.request({ method: 'GET', url: a.url, authorization: 'Basic s3cret' });
    expect(await response.text()).toBe('ok');
    expect(a.requests[0]?.headers['authorization']).toBe('Basic s3cret');
    expect(b.requests[0]?.headers['authorization']).toBeUndefined();
  });
  test('redirects end after ten hops, and are not followed when not wanted', async () => {
    const origin = await server((_, response) => response.writeHead(302, { location: '/again' }).end());
    const { gate } = gateTo({ 'ghcr.io': origin });
    await expect(gate.request({ method: 'GET', url: 'https://ghcr.io/' })).rejects.toMatchObject({
      code: 'UPSTREAM',
    });
    expect(origin.requests).toHaveLength(11);
    expect((await gate.request({ method: 'GET', url: 'https://ghcr.io/', follow: false })).status).toBe(302);
    expect((await gate.request({ method: 'POST', url: 'https://ghcr.io/', follow: true })).status).toBe(302);
  });
  test('F11 T34 a name that resolves to an inside address is refused when connecting', async () => {
    const inside = await server((_, response) => response.end());
    for (const address of ['127.0.0.1', '10.0.0.1', '169.254.169.254', '::1', 'fc00::1', '::ffff:10.0.0.1']) {
      const { gate, records } = gateTo(
        {},
        {
          policy: { ...plainPolicy('rebind.example'), allowPrivate: false },
          lookup: async () => [
            { address: '8.8.8.8', family: 4 },
            { address, family: address.includes(':') ? 6 : 4 },
          ],
        },
      );
      const request = gate.request({ method: 'GET', url: 'http://rebind.example/' });
      await expect(request).rejects.toMatchObject({ code: 'EGRESS_DENIED' });
      expect(records[0]?.refused).toContain('rebind.example');
    }
    expect(inside.connections).toBe(0);
  });
  test('the address that was checked is the one that is used', async () => {
    const inside = await server((_, response) => response.end('inside'));
    const lookups: string[] = [];
    const port = new URL(inside.url).port;
    const { gate } = gateTo(
      {},
      {
        policy: plainPolicy(`lab.example:${port}`),
        lookup: async (hostname) => {
          lookups.push(hostname);
          return [{ address: '127.0.0.1', family: 4 }];
        },
      },
    );
    const response = await gate.request({ method: 'GET', url: `http://lab.example:${port}/` });
    expect(await response.text()).toBe('inside');
    expect(lookups).toEqual(['lab.example']);
  });
  test('T15 a content encoding that was not asked for is refused', async () => {
    const origin = await server((_, response) =>
      response.writeHead(200, { 'content-encoding': 'gzip' }).end('x'),
    );
    const { gate } = gateTo({ 'ghcr.io': origin });
    const request = gate.request({ method: 'GET', url: 'https://ghcr.io/' });
    await expect(request).rejects.toMatchObject({ code: 'UPSTREAM' });
  });
});

describe('faults', () => {
  test('T14 a body cut short is a NETWORK error, with and without a length', async () => {
    const origin = await server((request, response) => {
      response.writeHead(200, request.url === '/cl' ? { 'content-length': '100' } : {});
      response.write('x'.repeat(50), () => response.destroy());
    });
    const { gate } = gateTo({ 'ghcr.io': origin });
    for (const path of ['/cl', '/chunked']) {
      const response = await gate.request({ method: 'GET', url: `https://ghcr.io${path}` });
      await expect(response.text()).rejects.toMatchObject({ code: 'NETWORK' });
    }
  });
  test('T36 an answer with two lengths is refused', async () => {
    const raw = createTcpServer((socket) => {
      socket.on('error', () => undefined);
      socket.once('data', () =>
        socket.end('HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 5\r\n\r\nabcde'),
      );
    });
    await new Promise<void>((resolve) => raw.listen(0, '127.0.0.1', resolve));
    cleanups.push(() => new Promise((resolve) => raw.close(resolve)));
    const host = `127.0.0.1:${(raw.address() as { port: number }).port}`;
    const { gate } = gateTo({}, { policy: plainPolicy(host) });
    const request = gate.request({ method: 'GET', url: `http://${host}/` });
    await expect(request).rejects.toMatchObject({ code: expect.stringMatching(/^(?:UPSTREAM|NETWORK)$/) });
  });
  test('T39 no answer and a stalled body both end in time', async () => {
    const origin = await server((request, response) => {
      if (request.url === '/stall') response.writeHead(200).write('x');
    });
    const { gate } = gateTo({ 'ghcr.io': origin }, { headersTimeoutMs: 200, stallTimeoutMs: 200 });
    const silent = gate.request({ method: 'GET', url: 'https://ghcr.io/' });
    await expect(silent).rejects.toMatchObject({ code: 'NETWORK', message: /no answer in time/ });
    const stalled = await gate.request({ method: 'GET', url: 'https://ghcr.io/stall' });
    await expect(stalled.text()).rejects.toMatchObject({ code: 'NETWORK', message: /stalled/ });
  });
  test('nobody listening is a NETWORK error that names the URL', async () => {
    const gone = await startHttpServer(() => undefined);
    await gone.close();
    const { gate, records } = gateTo({ 'ghcr.io': gone });
    const request = gate.request({ method: 'GET', url: 'https://ghcr.io/v2/?token=s3cret' });
    await expect(request).rejects.toMatchObject({
      code: 'NETWORK',
      message: 'GET https://ghcr.io/v2/: connection refused',
    });
    expect(records).toHaveLength(1);
  });
  test('an abort ends a request that waits, and a body that flows', async () => {
    const origin = await server((request, response) => {
      if (request.url === '/body') response.writeHead(200).write('x');
    });
    const { gate } = gateTo({ 'ghcr.io': origin });
    const controller = new AbortController();
    const waiting = gate.request({ method: 'GET', url: 'https://ghcr.io/', signal: controller.signal });
    const flowing = await gate.request({
      method: 'GET',
      url: 'https://ghcr.io/body',
      signal: controller.signal,
    });
    setTimeout(() => controller.abort(), 20);
    await expect(waiting).rejects.toMatchObject({ code: 'ABORTED' });
    await expect(flowing.text()).rejects.toMatchObject({ code: 'ABORTED' });
    const late = gate.request({ method: 'GET', url: 'https://ghcr.io/', signal: controller.signal });
    await expect(late).rejects.toMatchObject({ code: 'ABORTED' });
  });
  test('an answer that comes before the body was sent is still an answer', async () => {
    const origin = await server((_, response) => {
      response.writeHead(413, { connection: 'close' }).end('too large');
    });
    const { gate } = gateTo({ 'ghcr.io': origin });
    const endless = {
      size: 2 ** 30,
      open: async function* () {
        for (;;) {
          yield Buffer.alloc(65536);
          await new Promise((resolve) => setTimeout(resolve, 1));
        }
      },
    };
    const response = await gate.request({ method: 'PUT', url: 'https://ghcr.io/', body: endless });
    expect(response.status).toBe(413);
    await response.cancel();
  });
  test('an error of the body that is sent comes out as it is', async () => {
    const origin = await server(async (request, response) => {
      await readBody(request).catch(() => undefined);
      response.end();
    });
    const { gate } = gateTo({ 'ghcr.io': origin });
    const open = async function* () {
      yield Buffer.from('ab');
      throw Object.assign(new Error('disk'), { code: 'EIO' });
    };
    const request = gate.request({ method: 'PUT', url: 'https://ghcr.io/', body: { size: 4, open } });
    await expect(request).rejects.toMatchObject({ code: 'NETWORK', cause: { code: 'EIO' } });
  });
});

describe('error answers', () => {
  const cases: [number, Record<string, string>, string, object][] = [
    [
      404,
      {},
      '{"errors":[{"code":"NAME_UNKNOWN","message":"no \\u001b[31m such"}]}',
      {
        code: 'NOT_FOUND',
        message: 'pull: https://ghcr.io/v2/x answers 404: NAME_UNKNOWN: no \\u001b[31m such',
      },
    ],
    [401, {}, '', { code: 'DENIED', status: 401, message: 'pull: https://ghcr.io/v2/x answers 401' }],
    [403, { 'content-type': 'text/html' }, '<html>', { code: 'DENIED', message: /answers 403$/ }],
    [
      429,
      { 'retry-after': '7', 'content-type': 'text/plain' },
      'slow',
      { code: 'UPSTREAM', retryAfterMs: 7000, message: /429: slow$/ },
    ],
    [500, {}, 'x'.repeat(100_000), { code: 'UPSTREAM', status: 500, message: /answers 500$/ }],
  ];
  test.each(cases)('%i', async (status, headers, body, expected) => {
    const origin = await server((_, response) => response.writeHead(status, headers).end(body));
    const { gate } = gateTo({ 'ghcr.io': origin });
    const response = await gate.request({ method: 'GET', url: 'https://ghcr.io/v2/x?token=s3cret' });
    expect(await errorFromResponse(response, 'pull')).toMatchObject(expected);
  });
});

describe('proxy', () => {
  test('T35 a plain target goes through it, credentials for it go to it alone, the policy still holds', async () => {
    const proxy = await server((request, response) => response.end(`via ${request.url}`));
    const { gate, records } = gateTo(
      {},
      {
        policy: plainPolicy('target.example'),
        proxy: { http: new URL(`http://user:s3cret@${proxy.host}`), noProxy: [] },
      },
    );
    const response = await gate.request({ method: 'GET', url: 'http://target.example/x' });
    expect(await response.text()).toBe('via http://target.example/x');
    expect(proxy.requests[0]?.headers['proxy-authorization']).toMatch(/^Basic /);
    expect(records).toMatchObject([{ host: 'target.example', via: 'proxy', status: 200 }]);
    const denied = gate.request({ method: 'GET', url: 'http://evil.net/' });
    await expect(denied).rejects.toMatchObject({ code: 'EGRESS_DENIED' });
    expect(proxy.requests).toHaveLength(1);
  });
});

describe('egress log', () => {
  test('appends JSON lines to a private file', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'egress-'));
    cleanups.push(() => rm(folder, { recursive: true }));
    const path = join(folder, 'egress.jsonl');
    const record = { time: 't', host: 'ghcr.io', address: '', method: 'GET', path: '/', bytes: 1 };
    for (const status of [200, 404]) {
      const log = await openEgressLog(path);
      log.record({ ...record, status });
      log.record({ ...record, refused: 'no' });
      await log.close();
    }
    const lines = (await readFile(path, 'utf8'))
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(lines.map((line) => line.status ?? line.refused)).toEqual([200, 'no', 404, 'no']);
    expect((await stat(path)).mode & 0o777).toBe(0o600);
  });
  test('a place that cannot be written is a DISK error', async () => {
    await expect(openEgressLog('/nonexistent/egress.jsonl')).rejects.toMatchObject({ code: 'DISK' });
  });
});
