import { copyFile, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Layout } from '@omni-airgap/oci/layout';
import { type Descriptor, hexOf, MediaType } from '@omni-airgap/oci/model';
import { expect, test } from 'vitest';
import {
  addBlob,
  addImage,
  addManifest,
  bytesFor,
  loadInto,
  makeBundle,
  startDouble,
  type TestBundle,
  temporary,
} from './support.ts';

const layerType = 'application/vnd.oci.image.layer.v1.tar';
const shared = bytesFor('shared', 200_000);
const schematic = '3'.repeat(64);

interface Chain {
  readonly base: TestBundle;
  readonly increment: TestBundle;
}

async function app(layout: Layout, name: string, own: string): Promise<readonly Descriptor[]> {
  const layers = [
    await addBlob(layout, layerType, shared),
    await addBlob(layout, layerType, bytesFor(own, 5000)),
  ];
  const config = await addBlob(layout, MediaType.ociConfig, Buffer.from(JSON.stringify({ own })));
  return [await addManifest(layout, name, MediaType.ociManifest, { config, layers }), config, ...layers];
}

async function media(layout: Layout, version: string): Promise<readonly Descriptor[]> {
  const config = await addBlob(layout, MediaType.empty, Buffer.from('{}'));
  const kernel = await addBlob(layout, MediaType.octetStream, bytesFor('kernel', 9000));
  const annotations = { 'org.opencontainers.image.title': 'kernel-amd64' };
  const manifest = await addManifest(
    layout,
    `factory.talos.dev/talos-media/${schematic}:${version}`,
    MediaType.ociManifest,
    { artifactType: 'application/vnd.test.media', config, layers: [{ ...kernel, annotations }] },
  );
  return [manifest, config, kernel];
}

async function versions(layout: Layout): Promise<readonly Descriptor[]> {
  const config = await addBlob(layout, MediaType.empty, Buffer.from('{}'));
  const list = await addBlob(layout, 'application/json', Buffer.from('["v1.13.8"]\n'));
  const annotations = { 'org.opencontainers.image.title': 'versions' };
  const name = 'factory.talos.dev/talos-catalog/versions:latest';
  const document = { config, layers: [{ ...list, annotations }] };
  return [await addManifest(layout, name, MediaType.ociManifest, document), config, list];
}

/** A base, and an increment that leaves out what the base brought. */
async function makeChain(): Promise<Chain> {
  let old: readonly Descriptor[] = [];
  let oldMedia: readonly Descriptor[] = [];
  let oldList: readonly Descriptor[] = [];
  const base = await makeBundle(async (layout) => {
    old = await app(layout, 'ghcr.io/acme/app:v1', 'one');
    oldMedia = await media(layout, 'v1.13.8');
    oldList = await versions(layout);
  });
  const plainly = ({ digest, size }: Descriptor) => ({ digest, size });
  const kernel = oldMedia.at(-1) as Descriptor;
  const increment = await makeBundle(
    async (layout) => {
      await app(layout, 'ghcr.io/acme/app:v1', 'one');
      await app(layout, 'ghcr.io/acme/app:v2', 'two');
      await app(layout, 'ghcr.io/acme/tool:v1', 'tool');
      await media(layout, 'v1.13.8');
      await media(layout, 'v1.13.9');
      await versions(layout);
      for (const { digest } of [...old, ...oldMedia, ...oldList]) {
        await rm(join(layout.root, 'blobs', 'sha256', hexOf(digest)), { force: true });
      }
    },
    {
      sequence: 2,
      base: [{ id: base.document.id, origin: base.document.origin, sequence: 1 }],
      relies: {
        repositories: [
          { repository: 'ghcr.io/acme/app', blobs: old.map(plainly) },
          { repository: `factory.talos.dev/talos-media/${schematic}`, blobs: oldMedia.map(plainly) },
          { repository: 'factory.talos.dev/talos-catalog/versions', blobs: oldList.map(plainly) },
        ],
        objects: [{ key: `image/${schematic}/v1.13.8/kernel-amd64`, ...plainly(kernel) }],
      },
    },
  );
  return { base, increment };
}

test('an increment after its base: what lies there is mounted, nothing is sent twice', async () => {
  const { base, increment } = await makeChain();
  const double = await startDouble();
  await loadInto(double, [base.folder]);
  const before = double.requests.length;
  const report = await loadInto(double, [increment.folder]);
  expect(report.registry?.mountedBlobs).toBe(1);
  expect(double.repository('acme/tool').tags.has('v1')).toBe(true);
  expect([...double.repository('acme/app').tags.keys()].sort()).toEqual(['v1', 'v2']);
  const sent = double.requests.slice(before).reduce((sum, { bytes }) => sum + bytes, 0);
  expect(sent).toBeLessThan(30_000);
});

test('where mounting is refused, it is copied inside the site', async () => {
  const { base, increment } = await makeChain();
  const double = await startDouble({ mounts: false });
  await loadInto(double, [base.folder]);
  await loadInto(double, [increment.folder]);
  expect([...double.repository('acme/tool').blobs.values()].some((blob) => blob.byteLength === 200_000)).toBe(
    true,
  );
  expect(double.openUploads).toBe(0);
});

test('base and increment at once, in any order', async () => {
  const { base, increment } = await makeChain();
  for (const folders of [
    [base.folder, increment.folder],
    [increment.folder, base.folder],
  ]) {
    const double = await startDouble();
    const report = await loadInto(double, folders);
    expect(report.receipt.bundle).toBe(increment.document.id);
    expect([...double.repository('acme/app').tags.keys()].sort()).toEqual(['v1', 'v2']);
    expect([...double.repository('omni-airgap/state').tags.keys()]).toHaveLength(2);
  }
});

test('an increment without its base is refused before anything moves, with what is missing and who had it', async () => {
  const { base, increment } = await makeChain();
  const double = await startDouble();
  await expect(loadInto(double, [increment.folder])).rejects.toMatchObject({
    code: 'MISSING_CONTENT',
    message: expect.stringMatching(
      new RegExp(`^load bundle number 1 \\(${base.document.id.slice(0, 12)}\\) first.*acme/app@sha256:`),
    ),
  });
  expect(double.requests.every(({ method }) => method === 'GET' || method === 'HEAD')).toBe(true);
});

test('objects too: the key where it lies gives the bytes', async () => {
  const { base, increment } = await makeChain();
  const root = join(await temporary(), 'objects');
  const double = await startDouble();
  const options = { objectStore: { kind: 'directory', root } } as const;
  await expect(loadInto(double, [increment.folder], options)).rejects.toMatchObject({
    code: 'MISSING_CONTENT',
  });
  await loadInto(double, [base.folder], options);
  const report = await loadInto(double, [increment.folder], options);
  expect(report.objectsStored).toBe(1);
  expect(await readdir(join(root, 'image', schematic))).toEqual(['v1.13.8', 'v1.13.9']);
  expect(pathToFileURL(root).href).toBe(report.receipt.objectStore);
});

test('bundles of different stores are not mixed', async () => {
  const { base } = await makeChain();
  const foreign = await makeBundle(
    (layout) => addImage(layout, 'ghcr.io/acme/x:v1', bytesFor('x', 10)).then(() => {}),
    {
      origin: 'f'.repeat(32),
    },
  );
  await expect(loadInto(await startDouble(), [base.folder, foreign.folder])).rejects.toMatchObject({
    code: 'USAGE',
  });
});

/** An image whose layer lies on two discs. @returns where each is mounted */
async function twoDiscs(): Promise<readonly [string, string]> {
  const { folder, document } = await makeBundle(
    (layout) => addImage(layout, 'ghcr.io/acme/app:v1', bytesFor('large', 300_000)).then(() => {}),
    { volumeSize: 200_000 },
  );
  const names = document.volumes.map(({ name }) => name);
  expect(names).toEqual(['content.tar.000', 'content.tar.001', 'content.tar.002']);
  const discs = [await temporary(), await temporary()] as const;
  for (const [i, disc] of discs.entries()) {
    for (const name of ['bundle.json', 'content.tar.000', names[i + 1] ?? '']) {
      await copyFile(join(folder, name), join(disc, name));
    }
  }
  return discs;
}

test('C5 a blob on two discs: the message says so and names --spool, which keeps the part of the one', async () => {
  const discs = await twoDiscs();
  const [first, second] = discs;
  const double = await startDouble();
  const both =
    /a file lies on both content\.tar\.001 and content\.tar\.002: mount them together .* --spool DIR/;
  for (const [disc, other] of [
    [first, /1 of \d+ volumes is missing: 2;/],
    [second, /1 of \d+ volumes is missing: 1;/],
  ] as const) {
    await expect(loadInto(double, [disc])).rejects.toThrow(other);
    await expect(loadInto(double, [disc])).rejects.toThrow(both);
  }
  const spool = join(await temporary(), 'spool');
  await expect(loadInto(double, [first], { spool })).rejects.toMatchObject({ code: 'INCOMPLETE' });
  expect(await readdir(spool)).toHaveLength(1);
  const report = await loadInto(double, [second], { spool });
  expect(report.receipt.images).toHaveLength(1);
  expect(await readdir(spool)).toEqual([]);
  // Both at once need no spool.
  await loadInto(await startDouble(), discs);
});

test('A5 a part of a damaged disc is not kept; a good copy of that disc then helps', async () => {
  const [first, second] = await twoDiscs();
  const path = join(first, 'content.tar.001');
  const good = await readFile(path);
  const bad = Buffer.from(good);
  bad.writeUInt8((bad[5000] ?? 0) ^ 1, 5000);
  await writeFile(path, bad);
  const double = await startDouble();
  const spool = join(await temporary(), 'spool');
  await expect(loadInto(double, [first], { spool })).rejects.toMatchObject({
    code: 'BAD_VOLUME',
    message: expect.stringMatching(/content\.tar\.001: damaged, .* copy this volume again/),
  });
  expect(await readdir(spool)).toEqual([]);
  await writeFile(path, good);
  await expect(loadInto(double, [first], { spool })).rejects.toMatchObject({ code: 'INCOMPLETE' });
  await expect(loadInto(double, [second], { spool })).resolves.toBeDefined();
});

test('A5 a kept part that is damaged is removed, and the message says which disc to begin with', async () => {
  const [first, second] = await twoDiscs();
  const double = await startDouble();
  const spool = join(await temporary(), 'spool');
  await expect(loadInto(double, [first], { spool })).rejects.toMatchObject({ code: 'INCOMPLETE' });
  const [part = ''] = await readdir(spool);
  const bytes = await readFile(join(spool, part));
  bytes.writeUInt8((bytes[100] ?? 0) ^ 1, 100);
  await writeFile(join(spool, part), bytes);
  await expect(loadInto(double, [second], { spool })).rejects.toMatchObject({
    code: 'BAD_VOLUME',
    message: expect.stringMatching(/--spool were removed: .* run load with content\.tar\.001 first/),
  });
  expect(await readdir(spool)).toEqual([]);
  await expect(loadInto(double, [first], { spool })).rejects.toMatchObject({ code: 'INCOMPLETE' });
  await expect(loadInto(double, [second], { spool })).resolves.toBeDefined();
});
