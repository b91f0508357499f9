/** Requests through the gate: what is sent, what comes back, and the proxy between. */
import { expect, test } from 'vitest';
import { bytesOf, collect } from '../src/model/bytes.ts';
import { readBody } from '../src/testing/http-server.ts';
import { gateTo, plainPolicy, server } from './gate.ts';

test('carry what was asked, and are recorded without their query (T53)', async () => {
  const origin = await server(async (request, response) => {
    const body = await readBody(request);
    response.writeHead(201, { 'x-two': ['a', 'b'] }).end(`got ${body.length}`);
  });
  const { gate, records } = gateTo({ 'ghcr.io': origin });
  const response = await gate.request({
    method: 'PUT',
    url: 'https://ghcr.io/v2/x?digest=secret',
    headers: {
      'Content-Type': 'text/plain',
      Host: 'evil',
      'Accept-Encoding': 'gzip',
      'Proxy-Authorization': 'Basic c2VjcmV0',
    },
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
  expect(origin.requests[0]?.headers['proxy-authorization']).toBeUndefined();
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
  await expect((await get('/dup')).json('answer')).rejects.toMatchObject({ code: 'UPSTREAM' });
  await expect((await get('/')).json('answer', 3)).rejects.toMatchObject({ code: 'UPSTREAM' });
});

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
