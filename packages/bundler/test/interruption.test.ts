/**
 * F23 F24 F25: a bundle that is killed, or whose disk fails, at any file operation: every one of them is tried. A folder
 * with bundle.json is always a whole bundle; the same command run again finishes, with the bytes of an undisturbed run;
 * nothing is lost.
 */
import { existsSync } from 'node:fs';
import { cp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { BundleStore, verifyBundle } from '@omni-airgap/format';
import { Layout } from '@omni-airgap/oci/layout';
import { digestFromHex } from '@omni-airgap/oci/model';
import { parseLockDocument } from '@omni-airgap/store';
import { describe, expect, test } from 'vitest';
import { type BundleOptions, bundle, consumingInto } from '../src/index.ts';
import { type FaultyRun, type Outcome, runFaulty } from './child.ts';
import { inStore, optionsFor, TestStore, temporaryFolder, volumesOf } from './store.ts';

const any = { mode: 'any' } as const;
/** Runs of one process. */
const perProcess = 25;
/** Of so many operations, one is killed in truth: a process for each. */
const killedOf = 20;
const slow = 240_000;
/** Thousands of syncs: where there is a disk of memory, they cost nothing. */
const disk = existsSync('/dev/shm') ? '/dev/shm' : tmpdir();

interface Made {
  readonly original: TestStore;
  readonly more: Partial<BundleOptions>;
  readonly undisturbed: { readonly volumes: string; readonly files: readonly string[] };
  /** Of an undisturbed run. */
  readonly operations: number;
  fresh(name: string): Promise<BundleOptions>;
}

/** As little as has everything: small content, a blob that is cut over two volumes, others behind it. */
async function made(more: Partial<BundleOptions> = {}): Promise<Made> {
  const folder = await temporaryFolder(disk);
  const original = await TestStore.create(join(folder, 'original'));
  const image = await original.image('ghcr.io/siderolabs/omni:v1', [1, 2], 66_000);
  await original.signature('ghcr.io/siderolabs/omni', image);
  await original.artifact('quay.io/big/file:v1', 'image', { big: 150_000 });
  const small = { ...more, volumeSize: 140 * 1024 };
  const fresh = async (name: string): Promise<BundleOptions> => {
    await cp(original.root, join(folder, name), { recursive: true });
    return optionsFor(join(folder, name), join(folder, `${name}-out`), small);
  };
  const options = await fresh('undisturbed');
  const [outcome] = (await runFaulty([{ options, how: 'nothing' }])) ?? [];
  const operations = outcome?.operations ?? 0;
  expect(operations, 'operations were counted').toBeGreaterThan(100);
  const undisturbed = { volumes: await volumesOf(options.out), files: (await readdir(options.out)).sort() };
  expect(undisturbed.files).toEqual(expect.arrayContaining(['bundle.json', 'content.tar.002']));
  return { original, more: small, undisturbed, operations, fresh };
}

/** Lets a run go wrong at each of these operations, and looks at what each leaves. */
async function each(
  { fresh }: Made,
  how: FaultyRun['how'],
  list: readonly number[],
  check: (run: FaultyRun, outcome: Outcome | undefined) => Promise<void>,
): Promise<void> {
  const inOne = how === 'kill' ? 1 : perProcess;
  const chunks: (readonly number[])[] = [];
  for (let i = 0; i < list.length; i += inOne) chunks.push(list.slice(i, i + inOne));
  const worker = async (): Promise<void> => {
    for (let chunk = chunks.shift(); chunk !== undefined; chunk = chunks.shift()) {
      const runs: FaultyRun[] = [];
      for (const at of chunk) runs.push({ options: await fresh(`run${at}`), how, at });
      const outcomes = await runFaulty(runs);
      expect(outcomes?.length, how).toBe(how === 'kill' ? undefined : chunk.length);
      for (const [i, run] of runs.entries()) {
        await check(run, outcomes?.[i]);
        for (const path of [run.options.store, run.options.out]) await rm(path, { recursive: true });
      }
    }
  };
  await Promise.all(Array.from({ length: availableParallelism() }, worker));
}

const every = (operations: number, step = 1): readonly number[] =>
  Array.from({ length: Math.ceil(operations / step) }, (_, i) => i * step + 1);

/** A folder with bundle.json is a bundle: all files are there, and right. */
async function expectHonest({ undisturbed }: Made, out: string): Promise<void> {
  if (!existsSync(join(out, 'bundle.json'))) return;
  expect(await readdir(out)).toEqual(expect.arrayContaining([...undisturbed.files]));
  const check = await verifyBundle(await BundleStore.open([out], any));
  expect(check).toMatchObject({ damages: [], unusable: [] });
}

/** The same command run again finishes, and leaves nothing over. */
async function expectHealed(site: Made, options: BundleOptions, what: string): Promise<void> {
  const { undisturbed } = site;
  await bundle(options);
  expect(await volumesOf(options.out), what).toBe(undisturbed.volumes);
  expect((await readdir(options.out)).sort(), what).toEqual(undisturbed.files);
  // In the folder of the store itself, the next fetch clears up.
  const issued = await readdir(join(options.store, 'bundles'), { recursive: true });
  expect(
    issued.filter((name) => name.endsWith('.tmp')),
    what,
  ).toEqual([]);
  await expectHonest(site, options.out);
}

describe('at any operation: honest, and the next run gives the bytes of an undisturbed one', () => {
  test.each([
    ['F23 stopped', 'stop', 1],
    ['F23 killed', 'kill', killedOf],
    ['F25 failing with EIO', 'EIO', 1],
    ['F24 failing with ENOSPC', 'ENOSPC', 1],
  ] as const)('%s', { timeout: slow }, async (_what, how, step) => {
    const site = await made();
    const isFault = how === 'EIO' || how === 'ENOSPC';
    await each(site, how, every(site.operations, step), async ({ options, at }, outcome) => {
      const what = `${how} at operation ${at} (${outcome?.hit})`;
      if (how !== 'kill') expect(outcome?.hit, what).toBeDefined();
      // No operation can fail unseen, least of all a sync; but a folder that is there need not be made.
      const isSeen = isFault && !(outcome?.hit === 'mkdir' && outcome.failed === undefined);
      expect(outcome?.failed?.code, what).toBe(isSeen ? 'DISK' : undefined);
      await expectHonest(site, options.out);
      await expectHealed(site, options, what);
    });
  });
});

test('F23 stopped or killed at any operation while consuming: all content is in the store or on the medium, and the next run finishes', {
  timeout: slow,
}, async () => {
  const site = await made({ consume: true });
  const blobsIn = (store: string): Promise<string[]> => readdir(join(store, 'blobs', 'sha256'));
  const all = await blobsIn(site.original.root);
  const check = async ({ options, how, at }: FaultyRun): Promise<void> => {
    const what = `${how} at operation ${at}`;
    await expectHonest(site, options.out);
    const layout = await Layout.open(options.store);
    const lock = parseLockDocument(await readFile(join(options.store, 'lock.json')));
    const there = await Promise.all(lock.items.map((item) => layout.has(item.descriptor)));
    expect(there.every(Boolean), `${what}: manifests stay`).toBe(true);
    const blobs = new Set(await blobsIn(options.store));
    // What has gone is on record: fetch does not bring it again, and mirror finishes the medium first.
    const carried = await inStore(options.store, ({ bundles }) => bundles.carried());
    for (const name of all.filter((one) => !blobs.has(one))) {
      const { size } = await stat(join(site.original.root, 'blobs', 'sha256', name));
      expect(carried.has({ digest: digestFromHex(name), size }), `${what}: ${name}`).toBe(true);
    }
    const isFinished = existsSync(join(options.out, 'bundle.json'));
    if (blobs.size < all.length && !isFinished)
      expect(
        await inStore(options.store, (opened) => consumingInto(opened, options.out)),
        what,
      ).toBeDefined();
    await expectHealed(site, options, what);
  };
  await each(site, 'stop', every(site.operations), check);
  await each(site, 'kill', every(site.operations, killedOf), check);
});
