/**
 * F23 F25: a bundle that is killed, or whose disk fails, at any file operation. A folder with bundle.json is always a
 * whole bundle; the same command run again finishes, with the bytes of an undisturbed run; nothing is lost.
 */
import { cp, readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import {
  BundleStore,
  Carried,
  digestFromHex,
  Layout,
  parseLockDocument,
  verifyBundle,
} from '@omni-airgap/content';
import { describe, expect, test } from 'vitest';
import { type BundleOptions, bundle, consumingInto } from '../src/index.ts';
import { runChild } from './child.ts';
import { optionsFor, sampleStore, temporaryFolder, volumesOf } from './store.ts';

const any = { mode: 'any' } as const;
/** Processes at a time; each takes a quarter of a second. */
const atOnce = 3;
const slow = 240_000;

/** Operations spread evenly over a run, the first and the last among them. A larger `most` takes every one. */
async function operations(options: BundleOptions, most: number): Promise<readonly number[]> {
  const { stdout, stderr } = await runChild(options, 'count');
  const total = Number(stdout);
  if (!(total > 20)) throw new Error(`operations were not counted: ${stdout} ${stderr}`);
  const step = Math.max(1, total / most);
  const chosen: number[] = [];
  for (let at = 1; at <= total; at += step) chosen.push(Math.floor(at));
  return [...new Set([...chosen, total])];
}

async function eachAtOnce<T>(list: readonly T[], run: (one: T) => Promise<void>): Promise<void> {
  const waiting = [...list];
  const worker = async (): Promise<void> => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) await run(next);
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
}

async function isThere(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

/** A bundle that says so is whole. */
async function expectHonest(out: string): Promise<void> {
  if (!(await isThere(join(out, 'bundle.json')))) return;
  const check = await verifyBundle(await BundleStore.open([out], any));
  expect(check).toMatchObject({ damages: [], unusable: [] });
}

describe.each([
  ['F23 killed', 'kill'],
  ['F25 failing with EIO', 'EIO'],
  ['F24 failing with ENOSPC', 'ENOSPC'],
])('%s', (_what, how) => {
  test(
    'at any operation: honest, and the next run gives the bytes of an undisturbed one',
    async () => {
      const folder = await temporaryFolder();
      const original = await sampleStore(join(folder, 'original'));
      await bundle(optionsFor(original, join(folder, 'undisturbed')));
      const expected = await volumesOf(join(folder, 'undisturbed'));
      const fresh = async (name: string): Promise<BundleOptions> => {
        await cp(original.root, join(folder, name), { recursive: true });
        return optionsFor(join(folder, name), join(folder, `${name}-out`));
      };
      const list = await operations(await fresh('count'), how === 'kill' ? 60 : 15);
      await eachAtOnce(list, async (n) => {
        const options = await fresh(`run${n}`);
        const outcome = await runChild(options, `${how}:${n}`);
        if (how === 'kill') expect(outcome.signal, `operation ${n}`).toBe('SIGKILL');
        else if (outcome.code === 9) expect(outcome.stderr).toMatch(/^DISK /);
        await expectHonest(options.out);
        await bundle(options);
        expect(await volumesOf(options.out)).toBe(expected);
        expect(await readdir(options.out)).not.toContain('bundle.unfinished');
        await expectHonest(options.out);
      });
    },
    slow,
  );
});

test(
  'F23 killed at any operation while consuming: all content is in the store or on the medium, and the next run finishes',
  async () => {
    const folder = await temporaryFolder();
    const original = await sampleStore(join(folder, 'original'));
    await bundle(optionsFor(original, join(folder, 'undisturbed')));
    const expected = await volumesOf(join(folder, 'undisturbed'));
    const fresh = async (name: string): Promise<BundleOptions> => {
      const store = join(folder, name);
      await cp(original.root, store, { recursive: true });
      return optionsFor(store, join(folder, `${name}-out`), { consume: true });
    };
    const list = await operations(await fresh('count'), 40);
    await eachAtOnce(list, async (n) => {
      const options = await fresh(`run${n}`);
      expect((await runChild(options, `kill:${n}`)).signal, `operation ${n}`).toBe('SIGKILL');
      await expectHonest(options.out);
      const layout = await Layout.open(options.store);
      const lock = parseLockDocument(await readFile(join(options.store, 'lock.json')));
      const isGone = !(await Promise.all(lock.items.map((item) => layout.has(item.descriptor)))).every(
        Boolean,
      );
      expect(isGone, 'manifests stay').toBe(false);
      const blobs = new Set(await readdir(join(options.store, 'blobs', 'sha256')));
      const all = await readdir(join(original.root, 'blobs', 'sha256'));
      // What has gone is on record: fetch does not bring it again, and mirror finishes the medium first.
      const carried = await Carried.read(options.store);
      for (const name of all.filter((one) => !blobs.has(one))) {
        const { size } = await stat(join(original.root, 'blobs', 'sha256', name));
        expect(carried.has({ digest: digestFromHex(name), size }), name).toBe(true);
      }
      const isFinished = await isThere(join(options.out, 'bundle.json'));
      if (blobs.size < all.length && !isFinished)
        expect(await consumingInto(options.store, options.out)).toBeDefined();
      await bundle(options);
      expect(await volumesOf(options.out)).toBe(expected);
    });
  },
  slow,
);
