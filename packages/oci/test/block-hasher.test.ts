import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { pathToFileURL } from 'node:url';
import { Worker } from 'node:worker_threads';
import { describe, expect, test } from 'vitest';
import { Thread } from '../src/base/thread.ts';
import { BlockHasher } from '../src/fs/block-hasher.ts';
import { collect } from '../src/model/bytes.ts';
import { digestOf } from '../src/model/digest.ts';
import { generatedBytes } from '../src/testing/generated-blob.ts';

const mebibyte = 1024 * 1024;

/** Threads that were started here. */
const started: Worker[] = [];
process.on('worker', (worker: Worker) => void started.push(worker));

/** Blocks that both threads see, of sizes that are no powers of two. */
async function sharedBlocks(size: number): Promise<readonly Uint8Array[]> {
  const bytes = await collect(generatedBytes(7, size)(), size, '');
  const memory = new SharedArrayBuffer(size + 3);
  new Uint8Array(memory, 3).set(bytes);
  const blocks: Uint8Array[] = [];
  for (let at = 0; at < size; at += 700_001)
    blocks.push(new Uint8Array(memory, 3 + at, Math.min(700_001, size - at)));
  return blocks;
}

describe('BlockHasher', () => {
  test.each([
    ['here', 0, true],
    ['here, since threads cannot share the memory', 100 * mebibyte, false],
    ['on its thread', 100 * mebibyte, true],
  ])(
    'hashes %s, with digests on the way and copies that go on by themselves',
    async (where, expected, isShared) => {
      const shared = await sharedBlocks(5_000_000);
      const blocks = isShared ? shared : shared.map((block) => Buffer.from(block));
      const hasher = new BlockHasher(expected);
      expect(await hasher.digest()).toBe(digestOf(Buffer.alloc(0)));
      const hash = createHash('sha256');
      for (const block of blocks) {
        await hasher.update(block);
        expect(await hasher.digest()).toBe(`sha256:${hash.update(block).copy().digest('hex')}`);
      }
      expect(hasher.isHere(Buffer.alloc(1))).toBe(where.startsWith('here'));
      const copy = hasher.copy();
      const more = Buffer.from('and memory that threads cannot share');
      await copy.update(more);
      expect(await hasher.digest()).toBe(`sha256:${hash.copy().digest('hex')}`);
      hasher.end();
      expect(await copy.digest()).toBe(`sha256:${hash.update(more).digest('hex')}`);
      expect(copy.size).toBe(hasher.size + more.byteLength);
      copy.end();
    },
  );

  test('many at once, each with several blocks on their way, do not mix', async () => {
    const blocks = await sharedBlocks(3_000_000);
    const digests = await Promise.all(
      Array.from({ length: 20 }, async (_, i) => {
        const hasher = new BlockHasher(100 * mebibyte);
        const own = blocks.slice(i % blocks.length);
        await Promise.all(own.map((block) => hasher.update(block)));
        const digest = await hasher.digest();
        hasher.end();
        return [digest, digestOf(Buffer.concat(own))];
      }),
    );
    for (const [found, wanted] of digests) expect(found).toBe(wanted);
  });

  test('a thread that dies fails what it was hashing, and no hash goes on in its successor', async () => {
    const [block = Buffer.alloc(0)] = await sharedBlocks(700_001);
    const [first, second] = [new BlockHasher(100 * mebibyte), new BlockHasher(100 * mebibyte)];
    await first.update(block);
    await second.update(block);
    const thread = started.at(-1);
    expect(thread).toBeDefined();
    // Enough for it to be still at work when it is ended.
    const large = new Uint8Array(new SharedArrayBuffer(64 * mebibyte));
    const asked = Promise.all([...Array.from({ length: 8 }, () => first.update(large)), first.digest()]);
    void thread?.terminate();
    await expect(asked).rejects.toMatchObject({ code: 'INTERNAL' });
    const after = new BlockHasher(100 * mebibyte);
    await after.update(block);
    for (const lost of [first, second]) {
      await expect(lost.update(block)).rejects.toMatchObject({ code: 'INTERNAL' });
      await expect(lost.digest()).rejects.toMatchObject({ code: 'INTERNAL' });
    }
    expect(await after.digest()).toBe(digestOf(block));
    after.end();
  });

  test('keeps the process alive until it has answered, and not longer', () => {
    const module = pathToFileURL(new URL('../src/fs/block-hasher.ts', import.meta.url).pathname).href;
    const script = `
      import { BlockHasher } from ${JSON.stringify(module)};
      const hasher = new BlockHasher(${100 * mebibyte});
      await hasher.update(new Uint8Array(new SharedArrayBuffer(${mebibyte})));
      console.log(await hasher.digest());`;
    const child = spawnSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' });
    expect(child.stdout.trim()).toBe(digestOf(Buffer.alloc(mebibyte)));
    expect(child.status).toBe(0);
  });
});

test('Thread: questions to a thread that ends, or does not start, fail; the next one starts it anew', async () => {
  const programs = ['process.exit(3)', 'throw new Error("no")', '{'];
  let starts = 0;
  const echo = "require('worker_threads').parentPort.on('message', function (m) { this.postMessage(m) })";
  const thread = new Thread<number, number>(
    'the thread that echoes',
    () => new Worker(programs[starts++] ?? echo, { eval: true, stderr: true }),
  );
  for (const _ of programs) {
    const asked = await Promise.allSettled([thread.ask(1), thread.ask(2)]);
    for (const one of asked) expect(one).toMatchObject({ status: 'rejected', reason: { code: 'INTERNAL' } });
    expect(thread.waiting).toBe(0);
  }
  expect(await Promise.all([thread.ask(1), thread.ask(2)])).toEqual([1, 2]);
});
