/** Transfers that never end by themselves: too slow in either direction, or an answer that never comes. */
import { createServer as createTcpServer, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, onTestFinished, test } from 'vitest';
import { defaultRateFloor, RateMeter, TooSlow } from '../src/http/rate.ts';
import { collect } from '../src/model/bytes.ts';
import { descriptorOf } from '../src/model/descriptor.ts';
import { MediaType } from '../src/model/media-type.ts';
import { RegistryClient } from '../src/registry/client.ts';
import { readBody } from '../src/testing/http-server.ts';
import { gateTo, plainPolicy, server } from './gate.ts';

describe('F7 the rate of a transfer', () => {
  const meter = (): RateMeter => new RateMeter({ bytesPerSecond: 1000, windowMs: 10_000 });

  test('below the floor for a window is too slow, and one byte more a second is not', () => {
    const slow = meter();
    expect(Array.from({ length: 9 }, () => slow.moved(999, 1000))).toEqual(Array(9).fill(undefined));
    expect(slow.moved(999, 1000)).toBe(999);
    const fast = meter();
    expect(Array.from({ length: 100 }, () => fast.moved(1000, 1000))).toEqual(Array(100).fill(undefined));
  });

  test('counts only time in which we were ready', () => {
    const ours = meter();
    for (let i = 0; i < 1000; i++) expect(ours.moved(1, 0)).toBeUndefined();
  });

  test('is not measured with a floor of 0', () => {
    const off = new RateMeter({ bytesPerSecond: 0, windowMs: 10_000 });
    expect(off.moved(1, 100_000)).toBeUndefined();
  });

  test('has a floor of 1 KiB/s over a minute unless told otherwise', () => {
    expect(defaultRateFloor).toEqual({ bytesPerSecond: 1024, windowMs: 60_000 });
  });
});

/** Sends a byte each few milliseconds until the other side goes away. */
async function drip(write: (text: string) => void, isGone: () => boolean): Promise<void> {
  while (!isGone()) {
    write('x');
    await sleep(5);
  }
}

const floor = { bytesPerSecond: 1024 * 1024, windowMs: 100 };

test('F7 a body that drips is given up, as what may be tried again', async () => {
  const origin = await server((_, response) => {
    response.writeHead(200);
    void drip(
      (text) => response.write(text),
      () => response.destroyed,
    );
  });
  const { gate } = gateTo({ 'ghcr.io': origin }, { rateFloor: floor });
  const response = await gate.request({ method: 'GET', url: 'https://ghcr.io/layer' });
  const error = await response.text().catch((e: unknown) => e);
  expect(error).toBeInstanceOf(TooSlow);
  expect(error).toMatchObject({
    code: 'NETWORK',
    message: expect.stringMatching(
      /^GET https:\/\/ghcr\.io\/layer: [0-9]+ bytes per second, less than the 1048576 of --min-rate$/,
    ),
  });
});

test('F7 a slow reader is not the fault of the other side', async () => {
  const origin = await server((_, response) => response.end(Buffer.alloc(600_000)));
  const { gate } = gateTo({ 'ghcr.io': origin }, { rateFloor: floor });
  const response = await gate.request({ method: 'GET', url: 'https://ghcr.io/layer' });
  let bytes = 0;
  for await (const chunk of response.body) {
    bytes += chunk.byteLength;
    await sleep(50);
  }
  expect(bytes).toBe(600_000);
});

test('F7 nor is the time before the first byte, in which an answer is made', async () => {
  const origin = await server((_, response) => {
    response.writeHead(200).flushHeaders();
    setTimeout(() => response.end(Buffer.alloc(10_000)), 400);
  });
  const { gate } = gateTo({ 'factory.talos.dev': origin }, { rateFloor: floor });
  const response = await gate.request({ method: 'GET', url: 'https://factory.talos.dev/image' });
  expect(await response.text()).toHaveLength(10_000);
});

test('F7 a body that is taken too slowly is given up', async () => {
  const sockets = new Set<Socket>();
  const raw = createTcpServer((socket) => {
    sockets.add(socket.on('error', () => undefined));
    socket.on('data', () => {
      socket.pause();
      setTimeout(() => socket.resume(), 20);
    });
  });
  raw.listen(0, '127.0.0.1');
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    raw.close();
  });
  await new Promise((resolve) => raw.once('listening', resolve));
  const host = `127.0.0.1:${(raw.address() as { port: number }).port}`;
  const { gate } = gateTo(
    {},
    { policy: plainPolicy(host), rateFloor: { bytesPerSecond: 2 ** 40, windowMs: 100 } },
  );
  const chunk = Buffer.alloc(256 * 1024);
  const body = {
    size: 1000 * chunk.byteLength,
    open: async function* () {
      for (let i = 0; i < 1000; i++) yield chunk;
    },
  };
  await expect(gate.request({ method: 'PUT', url: `http://${host}/x`, body })).rejects.toBeInstanceOf(
    TooSlow,
  );
});

test('F7 a slow source of a body that is sent is no fault of the other side', async () => {
  const origin = await server((request, response) => {
    void readBody(request).then((bytes) => response.end(String(bytes.byteLength)));
  });
  const { gate } = gateTo({ 'ghcr.io': origin }, { rateFloor: floor });
  const body = {
    size: 20,
    open: async function* () {
      for (let i = 0; i < 20; i++) {
        await sleep(20);
        yield Buffer.from('x');
      }
    },
  };
  const response = await gate.request({ method: 'PUT', url: 'https://ghcr.io/x', body });
  expect(await response.text()).toBe('20');
});

test('F7 early hints without end are no answer', async () => {
  const origin = await server((_, response) => {
    void drip(
      () => response.writeEarlyHints({ link: '</x>; rel=preload' }),
      () => response.destroyed,
    );
  });
  const { gate } = gateTo({ 'ghcr.io': origin }, { headersTimeoutMs: 200 });
  await expect(gate.request({ method: 'GET', url: 'https://ghcr.io/' })).rejects.toMatchObject({
    code: 'NETWORK',
    message: expect.stringMatching(/no answer in time, only status 103$/),
  });
});

test('early hints before the answer are passed over', async () => {
  const origin = await server((_, response) => {
    response.writeEarlyHints({ link: '</x>; rel=preload' });
    response.end('answer');
  });
  const { gate } = gateTo({ 'ghcr.io': origin });
  expect(await (await gate.request({ method: 'GET', url: 'https://ghcr.io/' })).text()).toBe('answer');
});

test('F7 a registry that drips is given up after so many tries, though each brings a byte', async () => {
  const blob = descriptorOf(MediaType.octetStream, Buffer.alloc(1_000_000));
  const origin = await server((request, response) => {
    if (request.method === 'HEAD') return void response.end();
    const from = Number(/^bytes=([0-9]+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
    const range = { 'content-range': `bytes ${from}-${blob.size - 1}/${blob.size}` };
    response.writeHead(from === 0 ? 200 : 206, {
      'content-length': blob.size - from,
      ...(from === 0 ? {} : range),
    });
    void drip(
      (text) => response.write(text),
      () => response.destroyed,
    );
  });
  const { gate } = gateTo({ 'ghcr.io': origin }, { rateFloor: floor });
  const retry = { sleep: async () => {} };
  const repository = new RegistryClient({ gate, host: 'ghcr.io', retry }).repository('acme/app');
  const reading = collect(repository.fetch(blob), blob.size, 'blob');
  await expect(reading).rejects.toBeInstanceOf(TooSlow);
  expect(origin.requests.filter(({ method }) => method === 'GET')).toHaveLength(6);
});
