/** Several processes on one layout, some of them killed. */
import type { ChildProcess } from 'node:child_process';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { acquireLock } from '../src/fs/lock.ts';
import { Layout } from '../src/layout/layout.ts';
import { digestFromHex, digestOf, hexOf } from '../src/model/digest.ts';
import { ended, finished, startChild } from '../src/testing/child.ts';
import { generatedBlob, seededRandom } from '../src/testing/generated-blob.ts';
import { randomSeed } from '../src/testing/random-seed.ts';
import { run, skipWithout } from '../src/testing/run.ts';
import { partsOf, temporaryFolder, temporaryLayout } from '../src/testing/temporary.ts';
import { graphOf, walk } from '../src/walk.ts';

const program = new URL('./layout-child.ts', import.meta.url);

/** Resolves when the child has read the names, and is about to write. */
async function isReady(child: ChildProcess): Promise<void> {
  await new Promise((resolve) => child.stdout?.once('data', resolve));
}

async function namesIn(layout: Layout): Promise<string[]> {
  const names: string[] = [];
  for await (const [name] of layout.names()) names.push(name);
  return names;
}

/** Every file under a final name has the digest it is called by. */
async function expectNothingWrong(root: string): Promise<void> {
  const folder = join(root, 'blobs', 'sha256');
  for (const hex of await readdir(folder).catch(() => [])) {
    expect(digestOf(await readFile(join(folder, hex)))).toBe(digestFromHex(hex));
  }
}

test('names given by several processes at once are all there', async () => {
  const layout = await temporaryLayout();
  const go = join(await temporaryFolder(), 'go');
  const children = [0, 100, 200].map((first) => startChild(program, layout.root, 'names', first, 30, go));
  const ends = children.map(finished);
  // Each has read what is there, nothing, before any writes: who does not read again under the lock loses names.
  await Promise.all(children.map(isReady));
  await writeFile(go, '');
  await Promise.all(ends);
  const names = await namesIn(await Layout.open(layout.root));
  expect(names).toHaveLength(90);
  expect(names).toEqual(expect.arrayContaining(['app-0', 'app-129', 'app-229']));
  expect((await readdir(layout.root)).sort()).toEqual(['blobs', 'index.json', 'ingest', 'oci-layout']);
});

test('a layout that several processes make at once is one', async () => {
  const root = join(await temporaryFolder(), 'store');
  await Promise.all([0, 100, 200].map((first) => finished(startChild(program, root, 'names', first, 1))));
  expect(await namesIn(await Layout.open(root))).toEqual(['app-0', 'app-100', 'app-200']);
  expect((await readdir(root)).sort()).toEqual(['blobs', 'index.json', 'ingest', 'oci-layout']);
});

test('F01 A14 a lock that a killed process left is taken, by one of several', async () => {
  const layout = await temporaryLayout();
  await writeFile(join(layout.root, 'index.json.lock'), '');
  await Promise.all([0, 100].map((first) => finished(startChild(program, layout.root, 'names', first, 10))));
  expect(await namesIn(await Layout.open(layout.root))).toHaveLength(20);
  expect((await readdir(layout.root)).sort()).toEqual(['blobs', 'index.json', 'ingest', 'oci-layout']);
});

test('the lock of a process that runs is waited for', async () => {
  const layout = await temporaryLayout();
  const lock = await acquireLock(join(layout.root, 'index.json.lock'), 'exclusive', { temporary: true });
  const child = startChild(program, layout.root, 'names', 0, 1);
  const end = finished(child);
  await isReady(child);
  await sleep(100);
  expect(await namesIn(await Layout.open(layout.root))).toEqual([]);
  await lock.release();
  await end;
  expect(await namesIn(await Layout.open(layout.root))).toEqual(['app-0']);
});

test('A3 F2 what a process of another PID namespace is bringing is not taken from it', async (context) => {
  skipWithout(context, 'unshare');
  if (process.getuid?.() !== 0) return context.skip('needs root');
  const layout = await temporaryLayout();
  const { descriptor, open } = await generatedBlob(500, 1_500_000);
  let go = (): void => {};
  const gate = new Promise<void>((resolve) => {
    go = resolve;
  });
  const pushing = layout.push(descriptor, async function* (offset) {
    for await (const chunk of open(offset)) {
      yield chunk;
      await gate;
    }
  });
  while ((await partsOf(layout)).length < 2) await sleep(5);
  const parts = await partsOf(layout);
  const unshare = ['--pid', '--fork', '--mount-proc', process.execPath, fileURLToPath(program)];
  run('unshare', [...unshare, layout.root, 'push', '500', '1', '1500000']);
  expect(await partsOf(layout)).toEqual(parts);
  go();
  expect(await pushing).toBe('stored');
  expect(await partsOf(layout)).toEqual([]);
  await expectNothingWrong(layout.root);
});

test('F01 killed at any moment, nothing is wrong, and the same command finishes', async () => {
  const root = join(await temporaryFolder(), 'store');
  const random = seededRandom(randomSeed());
  const args = ['push', 500, 6, 1_500_000, 2] as const;
  let kills = 0;
  for (let run = 0; run < 10; run++) {
    const child = startChild(program, root, ...args);
    const end = ended(child);
    // Start-up takes about 100 ms; a whole run some 200 ms more.
    setTimeout(() => child.kill('SIGKILL'), 60 + random() * 250);
    const [, signal] = await end;
    if (signal !== null) kills++;
    await expectNothingWrong(root);
    const layout = await Layout.open(root).catch(() => undefined);
    if (layout === undefined) continue;
    // A name is given after all it stands for is there.
    for await (const [, descriptor] of layout.names()) await graphOf(walk(layout, [descriptor]));
  }
  expect(kills).toBeGreaterThan(0);
  await finished(startChild(program, root, ...args));
  const layout = await Layout.open(root);
  expect(await namesIn(layout)).toEqual(['app-0', 'app-1', 'app-2', 'app-3', 'app-4', 'app-5']);
  for (let i = 0; i < 6; i++) {
    const { descriptor } = await generatedBlob(500 + i, 1_500_000);
    expect(await readdir(join(root, 'blobs', 'sha256'))).toContain(hexOf(descriptor.digest));
  }
  await expectNothingWrong(root);
  expect((await readdir(root)).sort()).toEqual(['blobs', 'index.json', 'ingest', 'oci-layout']);
  expect(await readdir(join(root, 'ingest'))).toEqual([]);
});

test('I6 peak memory stays below 256 MiB for a blob of 512 MiB', async () => {
  const root = join(await temporaryFolder(), 'store');
  const text = await finished(startChild(program, root, 'push', 1, 1, 512 * 1024 * 1024));
  expect(Number(/peak ([0-9]+)/.exec(text)?.[1])).toBeLessThan(256 * 1024);
});
