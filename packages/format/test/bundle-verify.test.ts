/** Damaged and hostile media. Nothing is unpacked: a volume is right in every byte, or it is refused. */
import { generateKeyPairSync } from 'node:crypto';
import { copyFile, mkdir, open, readFile, rename, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { graphOf, walk } from '@omni-airgap/oci';
import { bytesOf, collect, type Descriptor, descriptorOf, MediaType, openerOf } from '@omni-airgap/oci/model';
import {
  buildManifest,
  generatedBlob,
  generateGraph,
  run,
  temporaryFolder,
  temporaryLayout,
} from '@omni-airgap/oci/testing';
import { describe, expect, test } from 'vitest';
import { BundleStore } from '../src/bundle-store.ts';
import type { BundleDocument } from '../src/documents/bundle-document.ts';
import { writeTestBundle } from '../src/testing/bundle.ts';
import { verifyBundle } from '../src/verify-bundle.ts';
import { type VolumePart, volumeName } from '../src/volumes/volume-map.ts';

const volumeSize = 400 * 1024;
const any = { mode: 'any' } as const;

interface Made {
  readonly folder: string;
  readonly document: BundleDocument;
}

/** A bundle of several volumes; one blob is cut over three of them; the last small one is empty. */
async function makeBundle(seed = 1): Promise<Made> {
  const layout = await temporaryLayout();
  await generateGraph(layout, { seed, roots: 3, layers: 2, layerBytes: 120_000 });
  const empty = descriptorOf(MediaType.octetStream, new Uint8Array(0));
  await layout.push(empty, () => bytesOf());
  const { descriptor, open: openBlob } = await generatedBlob(seed, 900_000);
  await layout.push(descriptor, openBlob);
  const folder = await temporaryFolder();
  return { folder, document: await writeTestBundle(layout, folder, { volumeSize }) };
}

/** The error of opening it; undefined when it opens. */
const opening = (...folders: string[]): Promise<unknown> =>
  BundleStore.open(folders, any).then(
    () => undefined,
    (error: unknown) => error,
  );

async function flip(path: string, offset: number, bit = 1): Promise<void> {
  const file = await open(path, 'r+');
  try {
    const byte = Buffer.alloc(1);
    await file.read(byte, 0, 1, offset);
    await file.write(Buffer.from([(byte[0] ?? 0) ^ bit]), 0, 1, offset);
  } finally {
    await file.close();
  }
}

test('a sound bundle verifies; every byte is read once', async () => {
  const { folder, document } = await makeBundle();
  const bundle = await BundleStore.open([folder], any);
  let progress = 0;
  const check = await verifyBundle(bundle, { onBytes: (bytes) => (progress += bytes) });
  const total = document.volumes.reduce((sum, volume) => sum + volume.size, 0);
  expect(check).toMatchObject({ damages: [], unusable: [], bytes: total, blobs: document.blobs.length });
  expect(progress).toBe(total);
  expect(document.volumes.length).toBeGreaterThan(4);
  const cut = document.blobs.find((blob) => blob.size === 900_000);
  expect(cut && bundle.map.runsOf(cut)).toHaveLength(3);
});

test('F30 T13 a flip in any header, padding, file of the layout, blob or trailer names volume and offset', async () => {
  const { folder, document } = await makeBundle();
  const { map } = await BundleStore.open([folder], any);
  const seen = { fixed: 0, blob: 0 };
  for (const [volume, { name, size }] of document.volumes.entries()) {
    const path = join(folder, name);
    let start = 0;
    for (const part of map.parts(volume)) {
      const length = part.kind === 'fixed' ? part.bytes.byteLength : part.size;
      for (const at of new Set([0, length >> 1, length - 1])) {
        if (length === 0) continue;
        seen[part.kind]++;
        await flip(path, start + at, 1 << (at % 8));
        const { damages } = await verifyBundle(await BundleStore.open([folder], any));
        expectNamed(damages, part, { name, start, size });
        await flip(path, start + at, 1 << (at % 8));
      }
      start += length;
    }
  }
  expect(seen.fixed).toBeGreaterThan(60);
  expect(seen.blob).toBeGreaterThan(30);
  expect((await verifyBundle(await BundleStore.open([folder], any))).damages).toEqual([]);

  function expectNamed(
    damages: Awaited<ReturnType<typeof verifyBundle>>['damages'],
    part: VolumePart,
    where: { readonly name: string; readonly start: number; readonly size: number },
  ): void {
    if (part.kind === 'fixed') {
      expect(damages).toEqual([{ volume: where.name, offset: where.start, what: part.of }]);
      return;
    }
    expect(damages[0]?.what).toContain(part.blob.digest);
    if (part.size === part.blob.size) {
      expect(damages[0]).toMatchObject({ volume: where.name, offset: where.start });
    }
  }
});

test.each([
  ['T3 T4 a member type changed to PAX, link, device', 156, 'x'],
  ['T5 a size in another notation', 124, '\u0080'],
  ['T6 a checksum with spaces', 148, ' '],
  ['T7 a prefix', 345, '.'],
  ['T1 a name that climbs', 0, '.'],
])('%s is not the header that must be there', async (_what, at, text) => {
  const { folder, document } = await makeBundle();
  const [volume] = document.volumes;
  const blob = document.blobs.find((b) => b.volume === 1);
  for (const [name, header] of [
    [volume?.name, 0],
    ['content.tar.001', (blob?.offset ?? 0) - 512],
  ] as const) {
    const file = await open(join(folder, name ?? ''), 'r+');
    await file.write(Buffer.from(text, 'latin1'), 0, 1, header + at);
    await file.close();
    const { damages } = await verifyBundle(await BundleStore.open([folder], any));
    expect(damages.at(-1)).toMatchObject({
      volume: name,
      offset: header,
      what: expect.stringContaining('header of'),
    });
  }
});

test('damage says which names cannot be used, and the others can', async () => {
  const { folder, document } = await makeBundle();
  const bundle = await BundleStore.open([folder], any);
  const graphs = await Promise.all(
    document.roots.map(async ({ name, descriptor }) => ({
      name,
      digests: new Set((await graphOf(walk(bundle, [descriptor]))).keys()),
    })),
  );
  for (const blob of document.blobs) {
    if (blob.size === 0) continue;
    const path = join(folder, document.volumes[blob.volume]?.name ?? '');
    await flip(path, blob.offset);
    const { unusable } = await verifyBundle(await BundleStore.open([folder], any));
    const touched = graphs.filter(({ digests }) => digests.has(blob.digest)).map(({ name }) => name);
    expect([...unusable].sort()).toEqual(touched.sort());
    await flip(path, blob.offset);
  }
});

describe('names whose manifests lead astray are unusable, and no others', () => {
  const image = 'registry.test/image:v1';
  /** A bundle of one image, and of an index under another name. */
  async function bundleWith(
    indexOf: (image: Descriptor, put: (members: object) => Promise<Descriptor>) => Promise<Descriptor>,
  ): Promise<{ readonly folder: string; readonly root: Descriptor }> {
    const layout = await temporaryLayout();
    const put = async (mediaType: string, members: object): Promise<Descriptor> => {
      const { descriptor, bytes } = buildManifest(mediaType, members);
      await layout.push(descriptor, openerOf(bytes));
      return descriptor;
    };
    const bytes = Buffer.from('{}');
    const config = descriptorOf(MediaType.ociConfig, bytes);
    await layout.push(config, openerOf(bytes));
    const one = await put(MediaType.ociManifest, { config, layers: [] });
    await layout.tag(one, image);
    const root = await indexOf(one, (members) => put(MediaType.ociIndex, members));
    await layout.tag(root, 'registry.test/index:v1');
    const folder = await temporaryFolder();
    await writeTestBundle(layout, folder);
    return { folder, root };
  }

  test('T18 forty indexes, each in the next', async () => {
    const { folder, root } = await bundleWith(async (one, put) => {
      let index = one;
      for (let level = 0; level < 40; level++) index = await put({ manifests: [index] });
      return index;
    });
    const { damages, unusable } = await verifyBundle(await BundleStore.open([folder], any));
    expect(unusable).toEqual(['registry.test/index:v1']);
    expect(damages).toMatchObject([
      { digest: root.digest, what: expect.stringContaining('nested'), names: ['registry.test/index:v1'] },
    ]);
  });

  test('a child under a size that it does not have, also after one that is right', async () => {
    const { folder } = await bundleWith((one, put) =>
      put({ manifests: [one, { ...one, size: one.size + 1 }] }),
    );
    const { unusable } = await verifyBundle(await BundleStore.open([folder], any));
    expect(unusable).toEqual(['registry.test/index:v1']);
  });

  test('an absent image that several names need makes all of them unusable', async () => {
    const layout = await temporaryLayout();
    const absent = descriptorOf(MediaType.ociManifest, Buffer.from('nowhere'));
    const names = ['registry.test/a:v1', 'registry.test/b:v1', 'registry.test/c:v1'];
    for (const [i, name] of names.entries()) {
      const annotations = { name };
      const manifests = i === 2 ? [] : [absent];
      const { descriptor, bytes } = buildManifest(MediaType.ociIndex, { manifests, annotations });
      await layout.push(descriptor, openerOf(bytes));
      await layout.tag(descriptor, name);
    }
    const folder = await temporaryFolder();
    await writeTestBundle(layout, folder);
    const { unusable } = await verifyBundle(await BundleStore.open([folder], any));
    expect(unusable).toEqual(names.slice(0, 2));
  });
});

test('a manifest that was flipped is not handed out as what it was', async () => {
  const { folder, document } = await makeBundle();
  const [root] = document.roots;
  const blob = document.blobs.find((b) => b.digest === root?.descriptor.digest);
  await flip(join(folder, 'content.tar.000'), (blob?.offset ?? 0) + 5);
  const bundle = await BundleStore.open([folder], any);
  const descriptor = root?.descriptor ?? expect.fail('no root');
  await expect(graphOf(walk(bundle, [descriptor]))).rejects.toMatchObject({ code: 'DIGEST_MISMATCH' });
});

describe('opening refuses', () => {
  test('T10 a volume cut or grown at any block, or by one byte', async () => {
    const made = await makeBundle();
    for (const { name, size } of made.document.volumes) {
      const path = join(made.folder, name);
      const bytes = await readFile(path);
      const lengths = [
        0,
        1,
        511,
        512,
        513,
        size >> 1,
        size - 1024,
        size - 512,
        size - 1,
        size + 1,
        size + 512,
      ];
      for (const length of lengths) {
        await truncate(path, length);
        const error = await opening(made.folder);
        expect(error).toMatchObject({
          code: 'BAD_VOLUME',
          message: expect.stringContaining(`${length} bytes`),
        });
        expect(error).toMatchObject({ message: expect.stringContaining(name) });
      }
      await writeFile(path, bytes);
    }
    expect(await opening(made.folder)).toBeUndefined();
  });

  test('T10 tar.truncate.sweep: cut at every block, a byte before and after', async () => {
    const layout = await temporaryLayout();
    await generateGraph(layout, { seed: 4, roots: 1, layers: 1, layerBytes: 700 });
    const folder = await temporaryFolder();
    const { volumes } = await writeTestBundle(layout, folder);
    const [{ name, size } = expect.fail('no volume')] = volumes;
    const path = join(folder, name);
    const bytes = await readFile(path);
    for (let block = 0; block <= size; block += 512) {
      for (const length of [block - 1, block, block + 1]) {
        if (length < 0 || length === size) continue;
        await writeFile(path, Buffer.concat([bytes, Buffer.alloc(512)], size + 512).subarray(0, length));
        expect(await opening(folder), `${length} bytes`).toMatchObject({ code: 'BAD_VOLUME' });
        const part = await BundleStore.open([folder], any, { volumes: 'present' });
        expect((await verifyBundle(part)).damages.length, `${length} bytes`).toBeGreaterThan(0);
      }
    }
  });

  test('F28 a bundle with a missing volume, naming it with its sha256', async () => {
    const made = await makeBundle();
    for (const { name, sha256 } of made.document.volumes) {
      await rename(join(made.folder, name), join(made.folder, 'aside'));
      const error = await opening(made.folder);
      expect(error).toMatchObject({ code: 'BAD_VOLUME', message: expect.stringContaining(sha256) });
      expect(error).toMatchObject({ message: expect.stringContaining(name) });
      await rename(join(made.folder, 'aside'), join(made.folder, name));
    }
  });

  test.each([
    ['a FIFO', (path: string) => run('mkfifo', [path])],
    ['a link to it', (path: string) => symlink(path.replace('content.tar', 'aside.tar'), path)],
    ['a folder', (path: string) => mkdir(path)],
    ['a device', (path: string) => symlink('/dev/zero', path)],
  ])('T48 %s in place of a volume, without hanging', async (_what, put) => {
    const made = await makeBundle();
    for (const { name } of made.document.volumes.slice(0, 2)) {
      const path = join(made.folder, name);
      await rename(path, path.replace('content.tar', 'aside.tar'));
      await put(path);
      const refused = { code: 'BAD_VOLUME', message: `${path}: not a regular file` };
      expect(await opening(made.folder)).toMatchObject(refused);
      await expect(BundleStore.open([made.folder], any, { volumes: 'present' })).rejects.toMatchObject(
        refused,
      );
      await rm(path, { recursive: true });
      await rename(path.replace('content.tar', 'aside.tar'), path);
    }
  });

  test.each([
    ['a FIFO', (path: string) => run('mkfifo', [path])],
    ['a link to it', (path: string) => symlink(path.replace('content.tar', 'aside.tar'), path)],
  ])('T48 %s put in place of a volume after opening', async (_what, put) => {
    const made = await makeBundle();
    const bundle = await BundleStore.open([made.folder], any);
    const blob = made.document.blobs.find((b) => b.volume === 1) ?? expect.fail('nothing in volume 1');
    const path = join(made.folder, 'content.tar.001');
    await rename(path, path.replace('content.tar', 'aside.tar'));
    await put(path);
    const reading = collect(bundle.fetch({ ...blob, mediaType: MediaType.octetStream }), 1e6, '');
    await expect(reading).rejects.toMatchObject({ code: expect.stringMatching(/MISSING_CONTENT|DISK/) });
  });

  test('T48 a FIFO as bundle.json or its signature, without hanging', async () => {
    const made = await makeBundle();
    const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    for (const [name, trust] of [
      ['bundle.json.sig', { mode: 'signed', keys: [publicKey] }],
      ['bundle.json', any],
    ] as const) {
      const path = join(made.folder, name);
      await rm(path, { force: true });
      run('mkfifo', [path]);
      await expect(BundleStore.open([made.folder], trust)).rejects.toMatchObject({ code: 'BAD_DOCUMENT' });
    }
  });

  test('a folder without bundle.json, and no folder at all', async () => {
    expect(await opening(await temporaryFolder())).toMatchObject({ code: 'NO_INPUT' });
    expect(await opening()).toMatchObject({ code: 'USAGE' });
  });

  test('T46 media of two bundles', async () => {
    const [a, b] = [await makeBundle(1), await makeBundle(2)];
    expect(await opening(a.folder, b.folder)).toMatchObject({ code: 'BAD_VOLUME' });
  });
});

describe('T46 F29 mixed volumes', () => {
  /** A bundle whose volumes were moved about, as verify sees it: refused when opened, or damage by volume. */
  async function wrongVolumes(move: (at: (index: number) => string, other: Made) => Promise<unknown>) {
    const [mine, other] = [await makeBundle(1), await makeBundle(2)];
    await move((index) => join(mine.folder, volumeName(index)), other);
    const error = await opening(mine.folder);
    if (error !== undefined) return { error, damaged: [] };
    const { damages } = await verifyBundle(await BundleStore.open([mine.folder], any));
    return { error, damaged: [...new Set(damages.map(({ volume }) => volume))] };
  }
  const swap = async (a: string, b: string): Promise<void> => {
    await rename(a, a.replace('content.tar', 'aside.tar'));
    await rename(b, a);
    await rename(a.replace('content.tar', 'aside.tar'), b);
  };
  // The cut blob fills volumes 1 and 2: they have one size.
  const [first, second, third] = [1, 2, 3].map(volumeName);

  test('two of one size, swapped: what they hold in common is damaged, from the first on', async () => {
    const { error, damaged } = await wrongVolumes((at) => swap(at(1), at(2)));
    expect(error).toBeUndefined();
    expect(damaged).toContain(first);
  });

  test('one of another bundle under the same name and of the same size', async () => {
    const { error, damaged } = await wrongVolumes((at, other) =>
      copyFile(join(other.folder, second ?? ''), at(2)),
    );
    expect(error).toBeUndefined();
    expect(damaged.length).toBeGreaterThan(0);
  });

  test.each<
    [what: string, move: (at: (index: number) => string) => Promise<unknown>, said: string | undefined]
  >([
    ['two of different size, swapped', (at) => swap(at(0), at(1)), volumeName(0)],
    ['one twice, in place of another', (at) => copyFile(at(1), at(3)), third],
    ['one missing', (at) => rm(at(2)), second],
    ['one renamed', (at) => rename(at(2), `${at(2)}.old`), second],
    ['one too many', (at) => copyFile(at(1), at(40)), volumeName(40)],
    ['one too many, with a longer number', (at) => copyFile(at(1), `${at(100)}0`), 'content.tar.1000'],
  ])('%s: which one is wrong or wanted is said', async (_what, move, said) => {
    const { error } = await wrongVolumes(move);
    expect(error).toMatchObject({ code: 'BAD_VOLUME', message: expect.stringContaining(said ?? '') });
  });

  test('volumes spread over several media are found', async () => {
    const { folder, document } = await makeBundle();
    const second = await temporaryFolder();
    await copyFile(join(folder, 'bundle.json'), join(second, 'bundle.json'));
    for (const { name } of document.volumes.slice(2)) {
      await copyFile(join(folder, name), join(second, name));
      await rm(join(folder, name));
    }
    const bundle = await BundleStore.open([folder, second], any);
    expect((await verifyBundle(bundle)).damages).toEqual([]);
  });
});

test('T47 holes where data should be are damage', async () => {
  const { folder, document } = await makeBundle();
  const { name, size } = document.volumes[2] ?? expect.fail('too few volumes');
  await rm(join(folder, name));
  await writeFile(join(folder, name), '');
  await truncate(join(folder, name), size);
  const { damages, unusable } = await verifyBundle(await BundleStore.open([folder], any));
  expect(damages.length).toBeGreaterThan(0);
  // Of a blob that is cut, all volumes may be to blame; none but those.
  const { map } = await BundleStore.open([folder], any);
  const cut = map.cutBlobsOf(2).flatMap((blob) => map.runsOf(blob).map((run) => volumeName(run.volume)));
  for (const { volume } of damages) expect([name, ...cut]).toContain(volume);
  expect(unusable).toBeDefined();
});

test('F57 a bundle on a read-only medium opens and verifies', async (context) => {
  const { folder } = await makeBundle();
  try {
    run('mount', ['--bind', '-o', 'ro', folder, folder]);
  } catch {
    return context.skip('a read-only mount needs root');
  }
  try {
    await expect(writeFile(join(folder, 'x'), '')).rejects.toMatchObject({ code: 'EROFS' });
    expect((await verifyBundle(await BundleStore.open([folder], any))).damages).toEqual([]);
  } finally {
    run('umount', [folder]);
  }
});
