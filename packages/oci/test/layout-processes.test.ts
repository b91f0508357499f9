/** Several processes on one layout, some of them killed. */
import { readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { Layout } from '../src/layout/layout.ts';
import { digestFromHex, digestOf, hexOf } from '../src/model/digest.ts';
import { deadProcessId, ended, finished, startChild } from '../src/testing/child.ts';
import { generatedBlob, seededRandom } from '../src/testing/generated-blob.ts';
import { generateGraph } from '../src/testing/graph.ts';
import { randomSeed } from '../src/testing/random-seed.ts';
import { temporaryFolder, temporaryLayout } from '../src/testing/temporary.ts';
import { graphOf, walk } from '../src/walk.ts';

const program = new URL('./layout-child.ts', import.meta.url);

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
  const root = join(await temporaryFolder(), 'store');
  await Promise.all([0, 100, 200].map((first) => finished(startChild(program, root, 'names', first, 30))));
  const names = await namesIn(await Layout.open(root));
  expect(names).toHaveLength(90);
  expect(names).toEqual(expect.arrayContaining(['app-0', 'app-129', 'app-229']));
  expect((await readdir(root)).sort()).toEqual(['blobs', 'index.json', 'ingest', 'oci-layout']);
});

test('F01 a lock of a process that is gone is taken over, by one of several', async () => {
  const layout = await temporaryLayout();
  await writeFile(join(layout.root, 'index.json.lock'), `${deadProcessId()}-deadbeef`);
  await Promise.all([0, 100].map((first) => finished(startChild(program, layout.root, 'names', first, 10))));
  expect(await namesIn(await Layout.open(layout.root))).toHaveLength(20);
  expect((await readdir(layout.root)).sort()).toEqual(['blobs', 'index.json', 'ingest', 'oci-layout']);
});

test('F01 a lock of an earlier process with our id, as in a container, is taken over', async () => {
  const layout = await temporaryLayout();
  await generateGraph(layout, { seed: 1, roots: 1, layerBytes: 100 });
  await writeFile(join(layout.root, 'index.json.lock'), `${process.pid}-deadbeef`);
  await layout.untag('registry.test/app-0000:v1');
  expect(await namesIn(await Layout.open(layout.root))).toEqual([]);
  expect((await readdir(layout.root)).sort()).toEqual(['blobs', 'index.json', 'ingest', 'oci-layout']);
});

test('F01 a lock that was never written to is taken over after a while', async () => {
  const layout = await temporaryLayout();
  const lock = join(layout.root, 'index.json.lock');
  await writeFile(lock, '');
  const longAgo = new Date(Date.now() - 60_000);
  await utimes(lock, longAgo, longAgo);
  await finished(startChild(program, layout.root, 'names', 0, 1));
  expect(await namesIn(await Layout.open(layout.root))).toEqual(['app-0']);
});

test('the lock of a process that runs is waited for', async () => {
  const layout = await temporaryLayout();
  const lock = join(layout.root, 'index.json.lock');
  await writeFile(lock, `${process.ppid}-deadbeef`);
  const child = finished(startChild(program, layout.root, 'names', 0, 1));
  await sleep(700);
  expect(await namesIn(await Layout.open(layout.root))).toEqual([]);
  expect(await readFile(lock, 'utf8')).toBe(`${process.ppid}-deadbeef`);
  await rm(lock);
  await child;
  expect(await namesIn(await Layout.open(layout.root))).toEqual(['app-0']);
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
