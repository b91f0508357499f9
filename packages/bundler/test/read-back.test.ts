/** Reading back what was written: a medium that lies, a store that was changed, and which of them is to blame. */
import { execFileSync } from 'node:child_process';
import { cp, readdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  BundleStore,
  hashVolume,
  planVolumes,
  VolumeMap,
  verifyBundle,
  volumeName,
  writeVolume,
} from '@omni-airgap/format';
import { noProgress } from '@omni-airgap/oci';
import { Layout } from '@omni-airgap/oci/layout';
import { describe, expect, test } from 'vitest';
import { bundle } from '../src/index.ts';
import { Medium } from '../src/medium.ts';
import { ReadBack } from '../src/volume-writer.ts';
import { flip, inStore, made, optionsFor, type TestStore } from './store.ts';

const any = { mode: 'any' } as const;

/** Changes a byte of a blob in a store. @returns its path */
async function spoil(store: TestStore, digest: Parameters<Layout['pathOf']>[0], at: number): Promise<string> {
  const path = store.layout.pathOf(digest);
  execFileSync('chmod', ['644', path]);
  await flip(path, at);
  return path;
}

describe('F26 F27 read-back', () => {
  async function prepared() {
    const { folder, store } = await made();
    const layout = await Layout.open(store.root);
    const blob = await store.blob(500, 200_000, 'application/octet-stream');
    const plan = planVolumes(new Map(), [blob], 256 * 1024);
    const map = new VolumeMap(new Map(), plan);
    const journal = await inStore(store.root, ({ bundles }) => bundles.volumeJournal('c'.repeat(64)));
    const medium = await Medium.open(join(folder, 'out'), 'c'.repeat(64), plan.sizes);
    const { sha256 } = await writeVolume(map, 1, layout, medium.folder);
    await journal.hashed(1, sha256);
    const read = () => new ReadBack({ map, medium, journal, layout, progress: noProgress }, [1]).check(1);
    return {
      blob,
      map,
      layout,
      journal,
      medium,
      read,
      path: join(medium.folder, volumeName(1)),
      sha256,
    };
  }

  test('what the medium holds is right', async () => {
    const { read, path } = await prepared();
    await read();
    expect((await readFile(path)).byteLength).toBeGreaterThan(200_000);
  });

  test.each([
    ['header', 100],
    ['blob', 150_000],
    ['padding', 200_600],
    ['trailer', 201_500],
  ])('a medium that lies about the %s: that volume goes, the layout stays', async (_what, at) => {
    const { read, path, medium, journal, sha256 } = await prepared();
    await flip(path, at);
    await expect(read()).rejects.toMatchObject({
      code: 'BAD_VOLUME',
      message: expect.stringContaining(path),
    });
    await medium.close();
    expect(await readdir(medium.folder)).toEqual([]);
    expect(journal.sha256Of(1)).toBe(sha256);
  });

  test('a store that was changed after the fetch is told from a bad medium', async () => {
    const { read, layout, map, journal, blob, medium } = await prepared();
    const path = layout.pathOf(blob.digest);
    execFileSync('chmod', ['644', path]);
    await flip(path, 5);
    const { sha256 } = await writeVolume(map, 1, layout, medium.folder);
    await journal.hashed(1, sha256);
    await expect(read()).rejects.toMatchObject({
      code: 'DIGEST_MISMATCH',
      message: expect.stringContaining(path),
    });
    expect(journal.sha256Of(1)).toBeUndefined();
    await flip(path, 5);
    expect((await hashVolume(map, 1, layout)).sha256).not.toBe(sha256);
  });

  test('a store that changes between layout and writing is refused, and goes on once it is right', async () => {
    const { folder, store } = await made();
    const out = join(folder, 'out');
    await bundle(optionsFor(store, join(folder, 'first'), { volumes: '1' }));
    const blob = await store.blob(1, 90_000, 'application/octet-stream');
    const path = store.layout.pathOf(blob.digest);
    execFileSync('chmod', ['644', path]);
    await cp(path, join(folder, 'saved'));
    await flip(path, 7);
    for (const readBackToo of [true, false]) {
      const failed = bundle(optionsFor(store, out, { readBack: readBackToo }));
      await expect(failed).rejects.toMatchObject({ code: 'DIGEST_MISMATCH' });
      await expect(readFile(join(out, 'bundle.json'))).rejects.toMatchObject({ code: 'ENOENT' });
      if (readBackToo) await bundleAgainLaidOut(store, folder, path);
    }
    await rename(join(folder, 'saved'), path);
    await bundle(optionsFor(store, out));
    expect((await verifyBundle(await BundleStore.open([out], any))).damages).toEqual([]);
  });

  /** The hash of the damaged content was forgotten: with the right content it is made again. */
  async function bundleAgainLaidOut(store: TestStore, folder: string, path: string): Promise<void> {
    const damaged = await readFile(path);
    await writeFile(path, await readFile(join(folder, 'saved')));
    await bundle(optionsFor(store, join(folder, 'again'), { volumes: '1' }));
    await writeFile(path, damaged);
  }
});

describe('F26 F27 a blob that is cut over volumes', () => {
  const small = { volumeSize: 120 * 1024 };

  /** The largest file of the sample store lies in four volumes, from 001 on. */
  async function cutStore() {
    const { folder, store } = await made();
    const iso = await store.blob(400_000 + 'metal-amd64.iso'.length, 400_000, 'application/octet-stream');
    return { folder, store, iso };
  }

  test('is hashed over all of them: a store that was changed is named, and no volume of it stays', async () => {
    const { folder, store, iso } = await cutStore();
    const path = await spoil(store, iso.digest, 399_000);
    const out = join(folder, 'out');
    await expect(bundle(optionsFor(store, out, small))).rejects.toMatchObject({
      code: 'DIGEST_MISMATCH',
      message: expect.stringContaining(path),
    });
    const left = (await readdir(out)).filter((name) => /^content/.test(name));
    expect(left).toEqual([volumeName(0)]);
    await flip(path, 399_000);
    await bundle(optionsFor(store, out, small));
    expect((await verifyBundle(await BundleStore.open([out], any))).damages).toEqual([]);
  });

  test('of which one volume goes to a medium is looked at in the store', async () => {
    const { folder, store, iso } = await cutStore();
    const path = await spoil(store, iso.digest, 399_000);
    const out = join(folder, 'out');
    await expect(bundle(optionsFor(store, out, { ...small, volumes: '2' }))).rejects.toMatchObject({
      code: 'DIGEST_MISMATCH',
      message: expect.stringContaining(path),
    });
    await flip(path, 399_000);
    await bundle(optionsFor(store, out, { ...small, volumes: '2' }));
    const check = await verifyBundle(await BundleStore.open([out], any, { volumes: 'present' }));
    expect(check.damages).toEqual([]);
  });

  test.each([1, 2, 3, 4])(
    'a medium that lies in volume %i of it: all of them go, the store is not blamed',
    async (bad) => {
      const { folder, store, iso } = await cutStore();
      const layout = await Layout.open(store.root);
      const map = new VolumeMap(new Map(), planVolumes(new Map(), [iso], small.volumeSize));
      const plan = 'd'.repeat(64);
      const journal = await inStore(store.root, ({ bundles }) => bundles.volumeJournal(plan));
      const medium = await Medium.open(join(folder, 'out'), plan, map.sizes);
      const readBack = new ReadBack({ map, medium, journal, layout, progress: noProgress }, [0, 1, 2, 3, 4]);
      const all = (async () => {
        for (const volume of map.sizes.keys()) {
          const { sha256 } = await writeVolume(map, volume, layout, medium.folder);
          await journal.hashed(volume, sha256);
          if (volume === bad) await flip(join(medium.folder, volumeName(volume)), 5000);
          await readBack.check(volume);
        }
      })();
      await expect(all).rejects.toMatchObject({ code: 'BAD_VOLUME' });
      await medium.close();
      expect(await readdir(medium.folder)).toEqual([volumeName(0)]);
      expect(journal.sha256Of(bad)).toBeDefined();
    },
  );
});
