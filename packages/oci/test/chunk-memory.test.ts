import { createHash } from 'node:crypto';
import { expect, onTestFinished, test } from 'vitest';
import { giveBack, markReceived } from '../src/base/chunk-memory.ts';
import { HttpGate } from '../src/http/gate.ts';
import { startHttpServer } from '../src/testing/http-server.ts';
import { gateTo, lateReader, lentBody, server } from './gate.ts';

test('what came from a socket is given back once it is used; other memory is left alone', async () => {
  const body = Buffer.alloc(3_000_000, 'talos omni ');
  const server = await startHttpServer((_, response) => response.end(body));
  const gate = new HttpGate({
    policy: { hosts: [server.host], plainHttp: [server.host], allowPrivate: true, upstreams: [] },
  });
  onTestFinished(async () => {
    await gate.close();
    await server.close();
  });
  const response = await gate.request({ method: 'GET', url: server.url });
  const hash = createHash('sha256');
  let [size, givenBack] = [0, 0];
  for await (const chunk of response.body) {
    size += chunk.byteLength;
    hash.update(chunk);
    giveBack(chunk);
    if (chunk.byteLength === 0) givenBack++;
    giveBack(chunk);
  }
  expect(size).toBe(body.byteLength);
  expect(hash.digest('hex')).toBe(createHash('sha256').update(body).digest('hex'));
  expect(givenBack).toBeGreaterThan(10);
  giveBack(body);
  expect(body.byteLength).toBe(3_000_000);
});

test('memory that several chunks lie in, as records of TLS do, is left alone: they are not used up together', () => {
  const memory = new ArrayBuffer(64 * 1024);
  const chunks = [0, 1, 2, 3].map((i) => new Uint8Array(memory, i * 16 * 1024, 16 * 1024));
  for (const chunk of chunks) markReceived(chunk);
  for (const chunk of chunks.toReversed()) giveBack(chunk);
  expect(chunks.map((chunk) => chunk.byteLength)).toEqual(Array(4).fill(16 * 1024));
});

// Below and above the size from which on the HTTP client waits for the connection before it asks for the next chunk.
test.each([16, 1024])(
  'chunks of %i KiB that are sent are given back, and not before they have left',
  async (kib) => {
    const { received, listener } = lateReader();
    const { gate } = gateTo({ 'registry.lab': await server(listener) });
    const { sent, body, givenBack } = lentBody(kib);
    await (await gate.request({ method: 'PUT', url: 'https://registry.lab/', body })).cancel();
    expect(received()).toBe(sent());
    expect(givenBack()).toBeGreaterThan(10);
  },
);
