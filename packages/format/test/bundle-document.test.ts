/** bundle.json as an attacker, a newer program or a bad disk may have left it. */

import { generateKeyPairSync } from 'node:crypto';
import { mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CodedError } from '@omni-airgap/oci/base';
import { Layout } from '@omni-airgap/oci/layout';
import { descriptorOf, digestOf, MediaType, openerOf } from '@omni-airgap/oci/model';
import {
  generateGraph,
  growthOf,
  linearGrowth,
  temporaryFolder,
  temporaryLayout,
} from '@omni-airgap/oci/testing';
import { beforeAll, describe, expect, test } from 'vitest';
import { BundleStore } from '../src/bundle-store.ts';
import { type BundleDocument, bundleIdOf, parseBundleDocument } from '../src/documents/bundle-document.ts';
import { serializeDocument } from '../src/documents/schema.ts';
import { fingerprintOf, signBytes } from '../src/signature.ts';
import { writeTestBundle } from '../src/testing/bundle.ts';
import { verifyBundle } from '../src/verify-bundle.ts';
import { VolumeMap } from '../src/volumes/volume-map.ts';
import { planVolumes } from '../src/volumes/volume-plan.ts';

const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const signed = { mode: 'signed', keys: [pair.publicKey] } as const;
const any = { mode: 'any' } as const;
/** A name of an earlier bundle. */
const gone = 'ghcr.io/siderolabs/omni:v1';

/** The bundle as JSON that can be bent out of shape. */
type Loose = Record<string, unknown> & {
  blobs: Record<string, unknown>[];
  volumes: Record<string, unknown>[];
  roots: Record<string, unknown>[];
};

async function makeBundle(volumeSize = 400 * 1024): Promise<{ folder: string; document: BundleDocument }> {
  const layout = await temporaryLayout();
  await generateGraph(layout, { seed: 6, roots: 2, layers: 2, layerBytes: 150_000 });
  const folder = await temporaryFolder();
  return { folder, document: await writeTestBundle(layout, folder, { volumeSize, key: pair.privateKey }) };
}

const write = (folder: string, text: string | Uint8Array): Promise<void> =>
  writeFile(join(folder, 'bundle.json'), text);
const read = (folder: string): Promise<Buffer> => readFile(join(folder, 'bundle.json'));

describe('the signature', () => {
  test('of the key that is trusted opens the bundle', async () => {
    const { folder } = await makeBundle();
    const bundle = await BundleStore.open([folder], signed);
    expect(bundle.signer).toEqual({ mode: 'signed', key: fingerprintOf(pair.publicKey) });
    expect((await BundleStore.open([folder], any)).signer).toEqual({ mode: 'unsigned' });
  });

  test('T41 every byte of bundle.json counts', async () => {
    const layout = await temporaryLayout();
    const config = Buffer.from('{}');
    await layout.push(descriptorOf(MediaType.empty, config), openerOf(config));
    const folder = await temporaryFolder();
    await writeTestBundle(layout, folder, { key: pair.privateKey });
    const bytes = await read(folder);
    expect(bytes.byteLength).toBeLessThan(2000);
    for (let at = 0; at < bytes.byteLength; at++) {
      const flipped = Buffer.from(bytes);
      flipped[at] = (flipped[at] ?? 0) ^ (1 << (at % 8));
      await write(folder, flipped);
      await expect(BundleStore.open([folder], signed)).rejects.toMatchObject({ code: 'BAD_SIGNATURE' });
    }
    for (const other of [
      bytes.subarray(1),
      bytes.subarray(0, -1),
      Buffer.concat([bytes, Buffer.from('\n')]),
    ]) {
      await write(folder, other);
      await expect(BundleStore.open([folder], signed)).rejects.toMatchObject({ code: 'BAD_SIGNATURE' });
    }
  });

  test('T42 F33 left out or of another key is refused', async () => {
    const { folder } = await makeBundle();
    const path = join(folder, 'bundle.json.sig');
    const stranger = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    await expect(
      BundleStore.open([folder], { mode: 'signed', keys: [stranger.publicKey] }),
    ).rejects.toMatchObject({ code: 'BAD_SIGNATURE' });
    await writeFile(path, signBytes(await read(folder), stranger.privateKey));
    await expect(BundleStore.open([folder], signed)).rejects.toMatchObject({ code: 'BAD_SIGNATURE' });
    await writeFile(path, '');
    await expect(BundleStore.open([folder], signed)).rejects.toMatchObject({ code: 'BAD_SIGNATURE' });
    await rm(path);
    await expect(BundleStore.open([folder], signed)).rejects.toMatchObject({ code: 'UNSIGNED' });
  });
});

test.each([
  'content.tar.000a',
  'content.tar.000.partial',
  'content.tar.0000',
  'content.tar.',
  'content.tar.999',
])('A12 a file %s, which whoever joins the volumes by hand would unpack, is refused', async (name) => {
  const { folder } = await makeBundle();
  await writeFile(join(folder, name), 'not ours');
  await expect(BundleStore.open([folder], any)).rejects.toMatchObject({
    code: 'BAD_VOLUME',
    message: expect.stringContaining(`${name}: does not belong to this bundle`),
  });
});

describe('hostile content', () => {
  let folder = '';
  let good: BundleDocument;
  const bent = (bend: (doc: Loose) => unknown): Uint8Array => {
    const doc = JSON.parse(JSON.stringify(good)) as Loose;
    bend(doc);
    // Whoever can write the places can compute the id.
    const id = bundleIdOf(doc.volumes as unknown as BundleDocument['volumes']);
    return Buffer.from(serializeDocument({ ...doc, ...(doc['id'] === good.id ? { id } : {}) }));
  };
  const at = (list: readonly Record<string, unknown>[], i: number): Record<string, unknown> =>
    list.at(i) ?? expect.fail('too few');
  /** Blobs in the order in which they lie. */
  const inOrder = (doc: Loose): Record<string, unknown>[] =>
    doc.blobs.sort(
      (a, b) => Number(a['volume']) - Number(b['volume']) || Number(a['offset']) - Number(b['offset']),
    );

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'omni-airgap-content-'));
    const layout = await Layout.open(join(folder, 'store'), { create: true });
    await generateGraph(layout, { seed: 6, roots: 2, layers: 2, layerBytes: 150_000 });
    good = await writeTestBundle(layout, folder, { volumeSize: 400 * 1024 });
    return () => rm(folder, { recursive: true });
  });

  test('what is bent back is accepted', async () => {
    await write(
      folder,
      bent((doc) => inOrder(doc).reverse()),
    );
    await expect(BundleStore.open([folder], any)).resolves.toBeInstanceOf(BundleStore);
  });

  test.each<[string, (doc: Loose) => unknown]>([
    ['T46 an id that is not that of the volumes', (d) => Object.assign(d, { id: '0'.repeat(64) })],
    [
      'two blobs at one place',
      (d) => Object.assign(at(inOrder(d), 1), { offset: at(inOrder(d), 0)['offset'] }),
    ],
    ['a blob that overlaps the next', (d) => Object.assign(at(inOrder(d), 0), { size: 5000 })],
    ['a gap between blobs', (d) => inOrder(d).splice(1, 1)],
    ['a gap at the end', (d) => inOrder(d).pop()],
    ['an offset inside the header', (d) => Object.assign(at(d.blobs, 0), { offset: 100 })],
    ['an offset past the end', (d) => Object.assign(at(d.blobs, 0), { offset: 2 ** 40 })],
    ['a volume that does not exist', (d) => Object.assign(at(d.blobs, 0), { volume: 99 })],
    ['T46 a blob said to be in another volume', (d) => Object.assign(at(inOrder(d), -1), { volume: 0 })],
    ['one blob twice', (d) => d.blobs.push({ ...at(d.blobs, 0) })],
    [
      'one blob twice, in both of two places',
      (d) => Object.assign(at(d.blobs, 0), { digest: at(d.blobs, 1)['digest'] }),
    ],
    ['T47 a blob larger than all volumes', (d) => Object.assign(at(inOrder(d), -1), { size: 2 ** 40 })],
    ['T47 a blob of 2^53 - 1 bytes', (d) => Object.assign(at(inOrder(d), -1), { size: 2 ** 53 - 1 })],
    ['a volume that is too large', (d) => Object.assign(at(d.volumes, 0), { size: 400 * 1024 + 512 })],
    [
      'a volume that is no number of blocks',
      (d) => Object.assign(at(d.volumes, -1), { size: Number(at(d.volumes, -1)['size']) + 1 }),
    ],
    ['a volume too many', (d) => d.volumes.push({ ...at(d.volumes, 0), name: 'content.tar.099' })],
    [
      'a volume of nothing',
      (d) =>
        void d.volumes.push({
          name: `content.tar.${`${d.volumes.length}`.padStart(3, '0')}`,
          size: 0,
          sha256: '0'.repeat(64),
        }),
    ],
    ['a volume too few', (d) => d.volumes.pop()],
    ['no volume', (d) => Object.assign(d, { volumes: [] })],
    ['T1 a volume name that climbs', (d) => Object.assign(at(d.volumes, 0), { name: '../content.tar.000' })],
    ['T46 volume names exchanged', (d) => d.volumes.reverse()],
    ['a name twice', (d) => d.roots.push({ ...at(d.roots, 0) })],
    [
      'a name too many, so that index.json is another',
      (d) => d.roots.push({ ...at(d.roots, 0), name: 'x'.repeat(600) }),
    ],
    ['T16 a size that is text', (d) => Object.assign(at(d.blobs, 0), { size: '5' })],
    ['T16 a size below 0', (d) => Object.assign(at(d.blobs, 0), { size: -1 })],
    ['T16 an offset that is no whole number', (d) => Object.assign(at(d.blobs, 0), { offset: 512.5 })],
    [
      'T22 a digest that is a path',
      (d) => Object.assign(at(d.blobs, 0), { digest: 'sha256:../../../etc/passwd' }),
    ],
    ['an unknown member', (d) => Object.assign(d, { extra: 1 })],
    ['an unknown member of a blob', (d) => Object.assign(at(d.blobs, 0), { path: '/etc/passwd' })],
    ['a missing member', (d) => delete d['sequence']],
    ['another kind', (d) => Object.assign(d, { kind: 'omni-airgap/lock' })],
    ['an older schema', (d) => Object.assign(d, { schema: 0 })],
    ['a schema that is text', (d) => Object.assign(d, { schema: '1' })],
    [
      'withdrawn names in schema 1, which older programs overlook',
      (d) => Object.assign(d, { withdraws: [gone] }),
    ],
    ['schema 2 without a withdrawn name', (d) => Object.assign(d, { schema: 2 })],
    ['an empty list of withdrawn names', (d) => Object.assign(d, { schema: 2, withdraws: [] })],
    [
      'a withdrawn name that is a pattern',
      (d) => Object.assign(d, { schema: 2, withdraws: ['ghcr.io/a/*'] }),
    ],
    ['a withdrawn name that is no digest', (d) => Object.assign(d, { schema: 2, withdraws: ['@sha256:0'] })],
    [
      'a withdrawn name that it lists itself',
      (d) => Object.assign(d, { schema: 2, withdraws: [at(d.roots, 0)['name']] }),
    ],
    ['T45 a sequence beyond all numbers', (d) => Object.assign(d, { sequence: 1e300 })],
    ['a sequence of 0', (d) => Object.assign(d, { sequence: 0 })],
    ['a time that is none', (d) => Object.assign(d, { createdAt: 'yesterday' })],
    ['T25 an origin with a line break', (d) => Object.assign(d, { origin: `${'a'.repeat(31)}\n` })],
  ])('%s is refused', async (_what, bend) => {
    await write(folder, bent(bend));
    const error = await BundleStore.open([folder], any).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(CodedError);
    expect(error).toMatchObject({ code: 'BAD_DOCUMENT', message: expect.stringMatching(/^bundle\.json: /) });
  });

  test('a name that changes only the padding of index.json is found by its bytes', async () => {
    await write(
      folder,
      bent((d) => Object.assign(at(d.roots, 0), { name: 'registry.test/app-zzzz:v1' })),
    );
    const { damages } = await verifyBundle(await BundleStore.open([folder], any));
    expect(damages.map((damage) => damage.what)).toEqual(['index.json']);
  });

  test('schema 2 withdraws names of earlier bundles', async () => {
    await write(
      folder,
      bent((d) => Object.assign(d, { schema: 2, withdraws: [gone] })),
    );
    expect((await BundleStore.open([folder], any)).document).toMatchObject({ schema: 2, withdraws: [gone] });
  });

  test('a newer schema is refused with the advice to update', async () => {
    await write(
      folder,
      bent((d) => Object.assign(d, { schema: 3, whatever: { new: true } })),
    );
    await expect(BundleStore.open([folder], any)).rejects.toMatchObject({
      code: 'BAD_DOCUMENT',
      message: 'bundle.json: schema 3 is newer than this program; use a newer omni-airgap',
    });
  });

  test.each([
    ['nothing', ''],
    ['a list', '[]'],
    ['T21 a member twice', '{"kind":"omni-airgap/bundle","kind":"omni-airgap/bundle"}'],
    ['T21 __proto__', '{"__proto__":{"schema":1}}'],
    ['T18 deep nesting', '['.repeat(100_000)],
    ['not UTF-8', Buffer.from([0x7b, 0xff, 0x7d])],
  ])('%s is refused', (_what, text) => {
    const bytes = typeof text === 'string' ? Buffer.from(text) : text;
    expect(() => parseBundleDocument(bytes)).toThrow(expect.objectContaining({ code: 'BAD_DOCUMENT' }));
  });

  test('T25 what a message repeats is escaped', async () => {
    await write(
      folder,
      bent((d) => Object.assign(d, { kind: '\u001b[2J' })),
    );
    const error = await BundleStore.open([folder], any).catch((e: unknown) => e);
    expect(String(error)).not.toContain('\u001b');
  });
});

describe('content that runs past the last volume', () => {
  const digest = digestOf(Buffer.from('x'));
  const blob = { digest, size: 1_000_000, volume: 1, offset: 512 };
  const first = (planVolumes(new Map(), [], 4 * 1024 ** 3).sizes[0] ?? 0) - 1024;
  const sizes = [first, 1024, 2048];

  test('T47 is refused, though each volume by itself is full and the last one ends in its trailer', async () => {
    const folder = await temporaryFolder();
    const volumes: BundleDocument['volumes'] = [];
    for (const [i, size] of sizes.entries()) {
      const name = `content.tar.00${i}`;
      await writeFile(join(folder, name), Buffer.alloc(size));
      volumes.push({ name, size, sha256: '0'.repeat(64) });
    }
    const { document } = await makeBundle();
    const hostile = { ...document, id: bundleIdOf(volumes), roots: [], blobs: [blob], volumes };
    await write(folder, serializeDocument(hostile));
    await expect(BundleStore.open([folder], any)).rejects.toMatchObject({
      code: 'BAD_DOCUMENT',
      message: expect.stringContaining('the content runs past the last volume'),
    });
  });

  test('the runs of such a blob come to an end of their own', () => {
    const map = new VolumeMap(new Map(), planVolumes(new Map(), [{ digest, size: 1000 }], 4 * 1024 ** 3));
    expect(() => map.runsOf({ ...blob, volume: 0 })).toThrow('runs past the last volume');
  });
});

/** A folder with the document of a bundle of `count` blobs and a tenth as many names; its volumes are empty. */
async function bundleOfBlobs(count: number) {
  const blobs = Array.from({ length: count }, (_, i) => ({
    digest: digestOf(Buffer.from(`${i}`)),
    size: (i * 7919) % 300_000,
  }));
  const config = descriptorOf(MediaType.ociManifest, Buffer.from('x'));
  const names = new Map(Array.from({ length: count / 10 }, (_, i) => [`registry.test/app-${i}:v1`, config]));
  const plan = planVolumes(names, blobs, 4 * 1024 ** 3);
  const folder = await temporaryFolder();
  const volumes: BundleDocument['volumes'] = [];
  for (const [i, size] of plan.sizes.entries()) {
    const name = `content.tar.${String(i).padStart(3, '0')}`;
    await writeFile(join(folder, name), '');
    await truncate(join(folder, name), size);
    volumes.push({ name, size, sha256: '0'.repeat(64) });
  }
  const { document: template } = await makeBundle();
  const roots = [...names].map(([name, descriptor]) => ({ name, descriptor }));
  await write(
    folder,
    serializeDocument({ ...template, id: bundleIdOf(volumes), roots, blobs: plan.blobs, volumes }),
  );
  return { folder, blobs, names, plan };
}

test('20,000 blobs are opened in linear time', async () => {
  const { folder, blobs, names, plan } = await bundleOfBlobs(20_000);
  const bundle = await BundleStore.open([folder], any);
  expect(await bundle.stat(blobs[19_999]?.digest ?? digestOf(Buffer.from('')))).toBe(blobs[19_999]?.size);
  expect(new VolumeMap(names, plan).sizes).toEqual(plan.sizes);
  const growth = await growthOf(20_000, bundleOfBlobs, async (made) =>
    BundleStore.open([(await made).folder], any),
  );
  expect(growth).toBeLessThan(linearGrowth);
});
