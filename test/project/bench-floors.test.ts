/** The floors of the benchmarks do the whole work: every byte, every request, and its answer. */
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { floor } from '../../scripts/benchmarks/harness/stage.ts';
import { requestsIn, requireUnchanged } from '../../scripts/benchmarks/unchanged.ts';
import { temporaryFolder } from '../services/temporary.ts';

const run = (...args: readonly string[]) =>
  spawnSync(process.execPath, [floor, ...args], { encoding: 'utf8' });

test('pack writes every byte and hashes what it wrote, past the blocks that the threads share', () => {
  const folder = temporaryFolder('bench-pack');
  const contents = [9 * 1024 ** 2 + 1, 0, 1, 1024 ** 2].map((size, i) => Buffer.alloc(size, i + 1));
  const files = contents.map((content, i) => {
    writeFileSync(join(folder, `${i}`), content);
    return join(folder, `${i}`);
  });
  const { stdout, stderr } = run('pack', join(folder, 'out'), ...files);
  const whole = Buffer.concat(contents);
  expect(stdout.trim(), stderr).toBe(createHash('sha256').update(whole).digest('hex'));
  expect(readFileSync(join(folder, 'out')).equals(whole)).toBe(true);
});

test('unchanged means requests that move nothing', () => {
  const line = (request: string, status: number): string =>
    `127.0.0.1 - - [30/Nov/2026:05:57:49 +0000] "${request} HTTP/1.1" ${status} 0 "" "omni-airgap/0.1.0"\n`;
  const log = `time="x" level=info msg="HEAD /v2/ HTTP/1.1"\n${line('HEAD /v2/a/blobs/sha256:1', 200)}${line('GET /v2/a/tags/list?n=1000', 404)}`;
  expect(requestsIn(log)).toEqual([
    ['HEAD', '/v2/a/blobs/sha256:1', '200'],
    ['GET', '/v2/a/tags/list?n=1000', '404'],
  ]);
  expect(() => requireUnchanged(requestsIn(log))).not.toThrow();
  expect(() => requireUnchanged([])).toThrow('no request');
  for (const moving of ['PUT /v2/a/manifests/v1', 'GET /v2/a/blobs/sha256:1', 'GET /v2/a/manifests/v1'])
    expect(() => requireUnchanged(requestsIn(line(moving, 200)))).toThrow(`not unchanged: ${moving} 200`);
});

test.each([
  ['200', 0],
  ['404', 1],
])(
  'ask sends the requests of a list, answers of every length; status %s of one ends with %d',
  async (status, code) => {
    const seen: string[] = [];
    const server = createServer(({ method, url }, response) => {
      seen.push(`${method} ${url}`);
      // Some with their length, some in chunks, some without a body.
      if (url === '/long') response.write('x'.repeat(200_000));
      response.end(url === '/none' ? '' : 'end');
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const list = join(temporaryFolder('bench-ask'), 'list');
    const asked = ['GET /long', 'HEAD /long', 'GET /short', 'GET /none', 'HEAD /none'];
    const all = Array.from({ length: 5 }, () => asked).flat();
    writeFileSync(list, `${all.map((one) => `${one} 200\n`).join('')}GET /last ${status}\n`);
    try {
      const { port } = server.address() as AddressInfo;
      const child = spawn(process.execPath, [floor, 'ask', `127.0.0.1:${port}`, list], { stdio: 'ignore' });
      expect((await once(child, 'close'))[0]).toBe(code);
      expect(seen.toSorted()).toEqual([...all, 'GET /last'].toSorted());
    } finally {
      server.close();
    }
  },
);

test('push hashes what it sends: a file that is not what its name says is no blob', async () => {
  const folder = temporaryFolder('bench-push');
  const content = Buffer.alloc(3 * 1024 ** 2 + 5, 7);
  const digest = createHash('sha256').update(content).digest('hex');
  const received = new Map<string, number>();
  const server = createServer(async (request, response) => {
    let size = 0;
    for await (const chunk of request) size += (chunk as Buffer).byteLength;
    if (request.method === 'POST') response.writeHead(202, { location: '/upload?state=1' }).end();
    else {
      received.set(new URL(request.url ?? '', 'http://x').searchParams.get('digest') ?? '', size);
      response.writeHead(201).end();
    }
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const push = async (name: string): Promise<unknown> => {
    writeFileSync(join(folder, name), content);
    const args = [floor, 'push', `127.0.0.1:${port}`, 'bench/image', join(folder, name)];
    const child = spawn(process.execPath, args, { stdio: 'ignore' });
    return (await once(child, 'close'))[0];
  };
  try {
    expect(await push(digest)).toBe(0);
    expect([...received]).toEqual([[`sha256:${digest}`, content.byteLength]]);
    expect(await push('0'.repeat(64))).toBe(1);
  } finally {
    server.closeAllConnections();
    server.close();
  }
});
