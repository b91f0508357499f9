/** Bundles of which not everything is there: one medium of several, a damaged one, an increment on a base. */
import { readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { graphOf, walk } from '@omni-airgap/oci';
import { collect, MediaType } from '@omni-airgap/oci/model';
import { generatedBlob, generateGraph, temporaryFolder, temporaryLayout } from '@omni-airgap/oci/testing';
import { describe, expect, test } from 'vitest';
import { BundleStore } from '../src/bundle-store.ts';
import type { BundleDocument } from '../src/documents/bundle-document.ts';
import { serializeDocument } from '../src/documents/schema.ts';
import { writeTestBundle } from '../src/testing/bundle.ts';
import { verifyBundle } from '../src/verify-bundle.ts';

const any = { mode: 'any' } as const;
const present = { volumes: 'present' } as const;

/** Volume 001 to 003 hold parts of one blob of 900,000 bytes, which no name needs. */
async function makeBundle(): Promise<{ folder: string; document: BundleDocument }> {
  const layout = await temporaryLayout();
  await generateGraph(layout, { seed: 1, roots: 3, layers: 2, layerBytes: 120_000 });
  const { descriptor, open } = await generatedBlob(1, 900_000);
  await layout.push(descriptor, open);
  const folder = await temporaryFolder();
  return { folder, document: await writeTestBundle(layout, folder, { volumeSize: 400 * 1024 }) };
}

async function flip(path: string, offset: number): Promise<void> {
  const bytes = await readFile(path);
  bytes[offset] = (bytes[offset] ?? 0) ^ 1;
  await writeFile(path, bytes);
}

describe('F28 with a volume missing', () => {
  test('what is there can be opened, checked and read', async () => {
    const { folder, document } = await makeBundle();
    const last = document.volumes.at(-1)?.name ?? '';
    await rm(join(folder, last));
    await expect(BundleStore.open([folder], any)).rejects.toMatchObject({ code: 'BAD_VOLUME' });
    const bundle = await BundleStore.open([folder], any, present);
    const check = await verifyBundle(bundle);
    expect(check).toMatchObject({ damages: [], absent: [last] });
    const lost = document.blobs.filter((blob) => blob.volume === document.volumes.length - 1);
    expect(lost.length).toBeGreaterThan(0);
    for (const { name, descriptor } of document.roots) {
      const graph = await graphOf(walk(bundle, [descriptor]));
      expect(check.unusable.includes(name)).toBe(lost.some(({ digest }) => graph.has(digest)));
    }
    for (const blob of document.blobs) {
      const reading = collect(bundle.fetch({ ...blob, mediaType: MediaType.octetStream }), 1_000_000, '');
      if (lost.includes(blob)) await expect(reading).rejects.toMatchObject({ code: 'BAD_VOLUME' });
      else expect(await reading).toHaveLength(blob.size);
    }
  });

  test('parts of a cut blob are checked by the hash of their volume', async () => {
    const { folder, document } = await makeBundle();
    await rm(join(folder, 'content.tar.002'));
    const check = async (): Promise<Awaited<ReturnType<typeof verifyBundle>>> =>
      verifyBundle(await BundleStore.open([folder], any, present));
    expect(await check()).toMatchObject({ damages: [], absent: ['content.tar.002'] });
    for (const name of ['content.tar.001', 'content.tar.003']) {
      const size = document.volumes.find((volume) => volume.name === name)?.size ?? 0;
      await flip(join(folder, name), size - 2000);
      expect((await check()).damages).toMatchObject([{ volume: name }]);
      await flip(join(folder, name), size - 2000);
    }
    expect((await check()).damages).toEqual([]);
  });
});

test('F30 a volume that was cut off is damage at its end; what lies before stays usable', async () => {
  const { folder, document } = await makeBundle();
  const { name, size } = document.volumes.at(-1) ?? expect.fail('no volume');
  await truncate(join(folder, name), size - 1500);
  const bundle = await BundleStore.open([folder], any, present);
  const { damages, absent } = await verifyBundle(bundle);
  expect(absent).toEqual([]);
  expect(damages[0]).toEqual({
    volume: name,
    offset: size - 1500,
    what: expect.stringContaining(`${size - 1500} bytes instead of ${size}`),
  });
  for (const damage of damages) expect(damage.volume).toBe(name);
});

test('looking at the structure reads manifests only', async () => {
  const { folder, document } = await makeBundle();
  const layer = document.blobs.find((blob) => blob.volume === 1) ?? expect.fail('nothing in volume 1');
  await flip(join(folder, 'content.tar.001'), layer.offset);
  const look = async (): Promise<Awaited<ReturnType<typeof verifyBundle>>> =>
    verifyBundle(await BundleStore.open([folder], any), { depth: 'structure' });
  expect(await look()).toMatchObject({ bytes: 0, damages: [] });
  const manifest = document.blobs.find(({ digest }) => digest === document.roots[0]?.descriptor.digest);
  await flip(join(folder, 'content.tar.000'), manifest?.offset ?? 0);
  expect((await look()).damages).toMatchObject([{ volume: 'content.tar.000', offset: manifest?.offset }]);
});

describe('an increment', () => {
  const base = [{ id: 'a'.repeat(64), origin: '0123456789abcdef0123456789abcdef', sequence: 1 }];

  /** A bundle whose one image lacks a layer that its base brought. */
  async function makeIncrement(): Promise<{
    folder: string;
    layer: { digest: string; size: number };
    rewrite(members: object): Promise<void>;
    carried: { digest: string; size: number };
  }> {
    const layout = await temporaryLayout();
    const { roots } = await generateGraph(layout, { seed: 3, roots: 1, layers: 3, layerBytes: 1000 });
    const [root] = roots;
    const graph = root === undefined ? [] : [...(await graphOf(walk(layout, [root.descriptor]))).values()];
    const layer = graph.find((d) => d.mediaType.includes('layer'));
    const carried = graph.find((d) => d.mediaType === MediaType.ociConfig);
    if (layer === undefined || carried === undefined) return expect.fail('no layer or no config');
    await rm(layout.pathOf(layer.digest));
    const folder = await temporaryFolder();
    const document = await writeTestBundle(layout, folder, { base });
    return {
      folder,
      layer,
      carried,
      rewrite: (members) =>
        writeFile(join(folder, 'bundle.json'), serializeDocument({ ...document, ...members })),
    };
  }
  const relies = (...blobs: { digest: string; size: number }[]): object => ({
    relies: {
      repositories: [
        { repository: 'registry.test/app', blobs: blobs.map(({ digest, size }) => ({ digest, size })) },
      ],
      objects: [],
    },
  });

  test('is usable when what it lacks came with its base, and not otherwise', async () => {
    const { folder, layer, rewrite } = await makeIncrement();
    expect((await verifyBundle(await BundleStore.open([folder], any))).unusable).toHaveLength(1);
    await rewrite({ base, ...relies(layer) });
    const bundle = await BundleStore.open([folder], any);
    expect(await verifyBundle(bundle)).toMatchObject({ damages: [], unusable: [] });
    await rewrite({ base, ...relies({ ...layer, size: layer.size + 1 }) });
    expect((await verifyBundle(await BundleStore.open([folder], any))).unusable).toHaveLength(1);
  });

  test('that contradicts itself is refused', async () => {
    const { folder, layer, carried, rewrite } = await makeIncrement();
    for (const members of [
      { base: undefined, ...relies(layer) },
      { base, ...relies(layer, { ...layer, size: layer.size + 1 }) },
      { base, ...relies(carried) },
      { base: [], ...relies(layer) },
    ]) {
      await rewrite(members);
      await expect(BundleStore.open([folder], any)).rejects.toMatchObject({ code: 'BAD_DOCUMENT' });
    }
  });
});
