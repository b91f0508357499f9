/** What goes wrong on a connection, and that it ends in time, as an error that says so. */
import { createServer as createTcpServer } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { readBody, startHttpServer } from '../src/testing/http-server.ts';
import { gateTo, plainPolicy, server } from './gate.ts';

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
  onTestFinished(() => new Promise<void>((resolve) => void raw.close(() => resolve())));
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
test('a host that makes what it is asked for is waited for longer, and no other', async () => {
  const slow = await server((_, response) => void setTimeout(() => response.end('made'), 2500));
  const { gate } = gateTo(
    { 'factory.example': slow, 'ghcr.io': slow },
    { headersTimeoutMs: 100, slowHosts: { hosts: ['factory.example'], headersTimeoutMs: 60_000 } },
  );
  const made = await gate.request({ method: 'GET', url: 'https://factory.example/' });
  expect(await made.text()).toBe('made');
  await expect(gate.request({ method: 'GET', url: 'https://ghcr.io/' })).rejects.toMatchObject({
    code: 'NETWORK',
  });
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
