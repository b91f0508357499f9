/** bundle --consume: what leaves the store, what stays, and what the store knows of it afterwards. */
import { execFileSync } from 'node:child_process';
import { readdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { BundleStore, verifyBundle, volumeName } from '@omni-airgap/format';
import { Journal } from '@omni-airgap/oci/fs';
import { hexOf } from '@omni-airgap/oci/model';
import { describe, expect, test } from 'vitest';
import { bundle, consumingInto, inspectStore, verifyStore } from '../src/index.ts';
import {
  filesOf,
  inStore,
  optionsFor,
  sampleStore,
  type TestStore,
  temporaryFolder,
  volumesOf,
} from './store.ts';

const any = { mode: 'any' } as const;
const present = { volumes: 'present' } as const;

interface Made {
  readonly folder: string;
  readonly store: TestStore;
  at(name: string): string;
}

async function made(): Promise<Made> {
  const folder = await temporaryFolder();
  return { folder, store: await sampleStore(join(folder, 'store')), at: (name) => join(folder, name) };
}

/** With all of its content in a bundle at `out`. */
async function consumed(): Promise<Made & { readonly id: string }> {
  const site = await made();
  const { id } = await bundle(optionsFor(site.store, site.at('out'), { consume: true }));
  return { ...site, id };
}

const blobsOf = async (store: TestStore): Promise<ReadonlySet<string>> =>
  new Set(await readdir(join(store.root, 'blobs', 'sha256')));

async function isWhole(...folders: readonly string[]): Promise<void> {
  const check = await verifyBundle(await BundleStore.open(folders, any));
  expect(check).toMatchObject({ damages: [], absent: [], unusable: [] });
}

describe('what leaves', () => {
  test('manifests and small content stay, and a second run has nothing to do', async () => {
    const { store, at } = await made();
    await bundle(optionsFor(store, at('undisturbed')));
    const { blobs } = (await BundleStore.open([at('undisturbed')], any)).document;
    const options = optionsFor(store, at('out'), { consume: true });
    const report = await bundle(options);
    const left = await blobsOf(store);
    let gone = 0;
    for (const blob of blobs) {
      expect(left.has(hexOf(blob.digest)), `${blob.size} bytes`).toBe(blob.volume === 0);
      if (blob.volume > 0) gone += blob.size;
    }
    expect(report.consumedBytes).toBe(gone);
    expect(await bundle(options)).toMatchObject({ written: false, sequence: 1, consumedBytes: 0 });
    await isWhole(at('out'));
    expect(await volumesOf(at('out'))).toBe(await volumesOf(at('undisturbed')));
  });

  test('what another issued bundle has yet to write stays', async () => {
    const { store, at } = await made();
    // Laid out and issued; only its first volume is written.
    await bundle(optionsFor(store, at('part'), { volumes: '1', volumeSize: 300 * 1024 }));
    await bundle(optionsFor(store, at('out'), { consume: true }));
    const { document, map } = await BundleStore.open([at('part')], any, present);
    const left = await blobsOf(store);
    for (const blob of document.blobs) {
      if (blob.volume === 0) continue;
      const isWritten = map.runsOf(blob).every(({ volume }) => volume === 1);
      expect(left.has(hexOf(blob.digest)), `volume ${blob.volume}`).toBe(!isWritten);
    }
    // And so the other one can be finished.
    const volumes = `2-${document.volumes.length - 1}`;
    await bundle(optionsFor(store, at('rest'), { volumes, volumeSize: 300 * 1024 }));
    await isWhole(at('part'), at('rest'));
  });

  test('a blob that is cut over volumes goes when the last of them is written', async () => {
    const { store, at } = await made();
    const small = { volumeSize: 120 * 1024 };
    const { volumes } = await bundle(optionsFor(store, at('part'), { ...small, volumes: '0' }));
    const { document, map } = await BundleStore.open([at('part')], any, present);
    const cut = document.blobs.find((blob) => map.runsOf(blob).length > 2) ?? expect.fail('none is cut');
    const runs = map.runsOf(cut).map(({ volume }) => volume);
    const name = hexOf(cut.digest);
    const [first = 0] = runs;
    await bundle(optionsFor(store, at('a'), { ...small, volumes: `0-${first}`, consume: true }));
    expect(await blobsOf(store)).toContain(name);
    expect((await inStore(store.root, ({ bundles }) => bundles.carried())).has(cut)).toBe(false);
    const rest = `${first + 1}-${volumes.length - 1}`;
    await bundle(optionsFor(store, at('b'), { ...small, volumes: rest, consume: true }));
    expect(await blobsOf(store)).not.toContain(name);
    expect((await inStore(store.root, ({ bundles }) => bundles.carried())).has(cut)).toBe(true);
    await isWhole(at('a'), at('b'));
  });
});

describe('afterwards', () => {
  test('the store knows what has gone, and with which bundle; that is no damage', async () => {
    const { store, id } = await consumed();
    const check = await verifyStore(store.root);
    expect(check).toMatchObject({ damages: [], unusable: [], left: { bundles: [id] } });
    expect(check.left.blobs).toBeGreaterThan(5);
    expect((await inspectStore(store.root)).left).toEqual(check.left);
    const [, name] = [...(await blobsOf(store))];
    await rm(join(store.root, 'blobs', 'sha256', name ?? ''));
    // What stayed and is gone is lost.
    const lost = await verifyStore(store.root).catch((error: unknown) => error);
    expect(lost).toMatchObject(lost instanceof Error ? { code: 'MISSING_CONTENT' } : { damages: [{}] });
  });

  test('a full bundle is refused before anything is written, and says what to do', async () => {
    const { store, at, id } = await consumed();
    await expect(bundle(optionsFor(store, at('again')))).rejects.toMatchObject({
      code: 'USAGE',
      message: expect.stringMatching(
        new RegExp(`bundle ${id} .*--since ${id.slice(0, 12)}.*fetch --restore`),
      ),
    });
    expect(await readdir(at('again'))).toEqual([]);
  });

  test('an increment on it carries what is new, and a third one relies on both', async () => {
    const { store, at, id } = await consumed();
    await store.image('ghcr.io/siderolabs/omni:v2', [1, 2, 9]);
    const second = await bundle(optionsFor(store, at('second'), { since: [id.slice(0, 8)], consume: true }));
    expect(second.changes?.added).toEqual(['ghcr.io/siderolabs/omni:v2']);
    expect(second.consumedBytes).toBe(90_000);
    await isWhole(at('second'));
    await store.image('ghcr.io/siderolabs/omni:v3', [9, 10]);
    const shared = await store.blob(9, 90_000, 'application/octet-stream');
    await rm(store.layout.pathOf(shared.digest));
    // The first alone does not say that layer 9 is inside.
    const alone = bundle(optionsFor(store, at('third'), { since: [id] }));
    await expect(alone).rejects.toMatchObject({ code: 'USAGE', message: expect.stringContaining(second.id) });
    const third = await bundle(optionsFor(store, at('third'), { since: [second.id] }));
    expect(third.blobs).toBeGreaterThan(0);
    await isWhole(at('third'));
  });

  test('content that was brought back is bundled as ever', async () => {
    const { store, at } = await consumed();
    const expected = await volumesOf(at('out'));
    for (const [seed, size] of [1, 2, 3, 4, 5].map((one) => [one, 90_000] as const)) {
      await store.blob(seed, size, 'application/octet-stream');
    }
    for (const [file, size] of [
      ['kernel-amd64', 200_000],
      ['metal-amd64.iso', 400_000],
    ] as const)
      await store.blob(size + file.length, size, 'application/octet-stream');
    expect((await verifyStore(store.root)).left.blobs).toBe(0);
    await bundle(optionsFor(store, at('again')));
    expect(await volumesOf(at('again'))).toBe(expected);
  });
});

describe('a bundle that was issued', () => {
  test('goes to more media after the store has moved on', async () => {
    const { store, at } = await made();
    const { id, volumes } = await bundle(optionsFor(store, at('a'), { volumes: '1' }));
    await store.image('ghcr.io/dexidp/dex:v2', [2, 40]);
    await store.remove('registry.k8s.io/pause:3.10');
    const rest = `2-${volumes.length - 1}`;
    const report = await bundle(optionsFor(store, at('b'), { issued: id.slice(0, 8), volumes: rest }));
    expect(report).toMatchObject({ id, sequence: 1 });
    await isWhole(at('a'), at('b'));
    expect((await filesOf(at('b'))).get('bundle.json')).toEqual((await filesOf(at('a'))).get('bundle.json'));
  });

  test('is refused when content was changed since, and when nobody issued it', async () => {
    const { store, at } = await made();
    const { id } = await bundle(optionsFor(store, at('a'), { volumes: '0' }));
    const path = store.layout.pathOf((await store.blob(1, 90_000, 'application/octet-stream')).digest);
    execFileSync('chmod', ['644', path]);
    await writeFile(path, Buffer.alloc(90_000, 7));
    const other = bundle(optionsFor(store, at('b'), { issued: id, readBack: false }));
    await expect(other).rejects.toMatchObject({ code: 'DIGEST_MISMATCH' });
    const unknown = bundle(optionsFor(store, at('c'), { issued: 'f'.repeat(64) }));
    await expect(unknown).rejects.toMatchObject({ code: 'NO_INPUT' });
  });
});

test('a medium that was begun and whose content is leaving is no place for another bundle: it is finished first', async () => {
  const { store, at } = await made();
  const out = at('out');
  const { id, volumes } = await bundle(optionsFor(store, out, { volumes: '0-2', consume: true }));
  // As a run leaves it that was killed before the other volumes.
  await rm(join(out, 'bundle.json'));
  const issued = (await filesOf(join(store.root, 'bundles', 'plans'))).keys().next().value ?? '';
  const done = [0, 1, 2].map(volumeName);
  await new Journal(join(out, 'bundle.unfinished')).begin(
    { plan: issued.slice(0, 64) },
    ...[0, 1, 2].map((volume) => ({ volume })),
  );
  expect(await inStore(store.root, (opened) => consumingInto(opened, out))).toBe(id);
  await store.image('ghcr.io/dexidp/dex:v2', [2, 40]);
  await expect(bundle(optionsFor(store, out))).rejects.toMatchObject({
    code: 'CONFLICT',
    message: expect.stringContaining(`bundle --issued ${id.slice(0, 12)}`),
  });
  for (const name of done) expect(await readdir(out)).toContain(name);
  await bundle(optionsFor(store, out, { issued: id, consume: true }));
  await isWhole(out);
  expect((await readdir(out)).filter((name) => name.startsWith('content.tar.'))).toHaveLength(volumes.length);
  expect(await inStore(store.root, (opened) => consumingInto(opened, out))).toBeUndefined();
});

test('a store that turns out damaged when it is read back takes the bundle back, and finishes once it is right', async () => {
  const { store, at } = await made();
  const good = at('good');
  const path = store.layout.pathOf((await store.blob(4, 90_000, 'application/octet-stream')).digest);
  await rename(path, good);
  await writeFile(path, Buffer.alloc(90_000, 3));
  const options = optionsFor(store, at('out'), { consume: true });
  await expect(bundle(options)).rejects.toMatchObject({
    code: 'DIGEST_MISMATCH',
    message: expect.stringContaining(path),
  });
  expect((await inspectStore(store.root)).bundles).toEqual([]);
  // What had left by then is still known to be on the medium.
  const { left } = await verifyStore(store.root, { quick: true });
  expect(left.bytes).toBeGreaterThanOrEqual(400_000);
  await rename(good, path);
  await bundle(options);
  await isWhole(at('out'));
});
