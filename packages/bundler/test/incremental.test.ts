/** Incremental bundles: only what changed is carried, and all that is relied on is named with its place. */
import { execFile } from 'node:child_process';
import { cp, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import {
  BundleStore,
  parseBundleDocument,
  serializeReceipt,
  verifyBundle,
  volumeName,
} from '@omni-airgap/format';
import { noProgress, type Progress } from '@omni-airgap/oci';
import { parseDigest } from '@omni-airgap/oci/model';
import { describe, expect, test } from 'vitest';
import { bundle, diff, namesInside } from '../src/index.ts';
import { mediaSchematic, optionsFor, sampleStore, type TestStore, temporaryFolder } from './store.ts';

const run = promisify(execFile);
const any = { mode: 'any' } as const;

async function documentOf(folder: string): Promise<ReturnType<typeof parseBundleDocument>> {
  return parseBundleDocument(await readFile(join(folder, 'bundle.json')));
}

/** A store that was bundled, and a folder for more. */
async function bundled(): Promise<{ store: TestStore; folder: string; first: string }> {
  const folder = await temporaryFolder();
  const store = await sampleStore(join(folder, 'store'));
  const first = join(folder, 'first');
  await bundle(optionsFor(store, first));
  return { store, folder, first };
}

async function unpack(folders: readonly string[], into: string): Promise<void> {
  await mkdir(into);
  for (const folder of folders) {
    const { volumes } = await documentOf(folder);
    const files = volumes.map((_, i) => join(folder, volumeName(i)));
    await run('sh', ['-c', 'out=$1; shift; cat "$@" | tar x -C "$out"', 'sh', into, ...files]);
  }
}

describe('nothing changed', () => {
  test('gives a small bundle that says so and relies on all of its base', async () => {
    const { store, folder, first } = await bundled();
    const out = join(folder, 'second');
    const report = await bundle(optionsFor(store, out, { since: [first] }));
    const base = await documentOf(first);
    const document = await documentOf(out);
    expect(report).toMatchObject({ blobs: 0, bases: [base.id], sequence: 2 });
    expect(document.changes).toEqual({ added: [], moved: [], removed: [] });
    expect(document.base).toEqual([{ id: base.id, origin: base.origin, sequence: 1 }]);
    const relied = new Set(document.relies?.repositories.flatMap(({ blobs }) => blobs.map((b) => b.digest)));
    expect(relied).toEqual(new Set(base.blobs.map((b) => b.digest)));
    let bytes = 0;
    for (const name of await readdir(out)) bytes += (await readFile(join(out, name))).byteLength;
    expect(bytes).toBeLessThan(100_000);
    expect(await readFile(join(out, 'report.html'), 'utf8')).toContain('Nothing has changed');
    const check = await verifyBundle(await BundleStore.open([out], any));
    expect(check).toMatchObject({ damages: [], unusable: [] });
  });

  test('the same base named by folder, file, id and id prefix gives the same bundle', async () => {
    const { store, folder, first } = await bundled();
    const { id } = await documentOf(first);
    const ids: string[] = [];
    for (const [i, since] of [first, join(first, 'bundle.json'), id, id.slice(0, 8)].entries()) {
      ids.push((await bundle(optionsFor(store, join(folder, `out${i}`), { since: [since] }))).id);
    }
    expect(new Set(ids).size).toBe(1);
  });
});

test('carries the set difference by digest, manifests too, and lists all names', async () => {
  const { store, folder, first } = await bundled();
  const base = await documentOf(first);
  await store.image('ghcr.io/siderolabs/omni:v2', [1, 2, 9]);
  await store.image('ghcr.io/dexidp/dex:v2', [2, 4, 10]);
  await store.remove('registry.k8s.io/pause:3.10');
  const out = join(folder, 'second');
  await bundle(optionsFor(store, out, { since: [base.id] }));
  const document = await documentOf(out);
  const before = new Set(base.blobs.map((b) => b.digest));
  expect(document.blobs.some((blob) => before.has(blob.digest))).toBe(false);
  expect(document.blobs.filter((blob) => blob.size === 90_000)).toHaveLength(2);
  expect(document.roots.map((root) => root.name)).toEqual(store.names);
  expect(document.changes).toEqual({
    added: ['ghcr.io/siderolabs/omni:v2'],
    moved: [
      {
        name: 'ghcr.io/dexidp/dex:v2',
        from: base.roots.find((root) => root.name === 'ghcr.io/dexidp/dex:v2')?.descriptor.digest,
      },
    ],
    removed: ['registry.k8s.io/pause:3.10'],
  });
  expect((await verifyBundle(await BundleStore.open([out], any))).unusable).toEqual([]);
});

test('names that a site has come from the documents alone, with the store that issued them or without', async () => {
  const { store, folder, first } = await bundled();
  const { roots, id } = await documentOf(first);
  const names = roots.map(({ name }) => name);
  expect(await namesInside(store.root, [first])).toEqual(names);
  expect(await namesInside(store.root, [id.slice(0, 8)])).toEqual(names);
  expect(await namesInside(join(folder, 'no-store'), [first])).toEqual(names);
  await expect(namesInside(join(folder, 'no-store'), [id])).rejects.toMatchObject({ code: 'NO_INPUT' });
  // Of two bundles of a store the later one says what there is.
  await store.image('quay.io/new/app:v1', [77]);
  const second = join(folder, 'second');
  await bundle(optionsFor(store, second, { since: [first] }));
  expect(await namesInside(store.root, [second, first])).toContain('quay.io/new/app:v1');
});

test('U-M9 says which running versions may still need what falls away, before a byte is written', async () => {
  const folder = await temporaryFolder();
  const store = await sampleStore(join(folder, 'store'));
  await store.image('ghcr.io/siderolabs/kubelet:v1.36.1', [21]);
  const first = join(folder, 'first');
  await bundle(optionsFor(store, first));
  await store.remove('ghcr.io/siderolabs/kubelet:v1.36.1');
  await store.remove('registry.k8s.io/pause:3.10');
  await store.image('ghcr.io/siderolabs/kubelet:v1.36.2', [22]);
  const told: string[] = [];
  const progress: Progress = {
    ...noProgress,
    note: (text) => void told.push(text),
    advance: () => void told.push('bytes'),
  };
  const out = join(folder, 'second');
  const report = await bundle(optionsFor(store, out, { since: [first], progress }));
  const name = 'ghcr.io/siderolabs/kubelet:v1.36.1';
  expect(report.dropped).toEqual({
    versions: [{ product: 'Kubernetes', version: 'v1.36.1', names: [name] }],
    others: ['registry.k8s.io/pause:3.10'],
  });
  const line =
    'Kubernetes v1.36.1 is no longer carried (1 name): clusters on Kubernetes v1.36.1 still need it until they are upgraded';
  expect(told.slice(0, 3)).toEqual([
    line,
    '1 other name is no longer carried: registry.k8s.io/pause:3.10',
    expect.stringContaining('serve keeps the names of older bundles'),
  ]);
  expect(told).toContain('bytes');
  expect(await readFile(join(out, 'report.html'), 'utf8')).toContain(line);
  // Further media of the same bundle say so too.
  const issued = await bundle(optionsFor(store, join(folder, 'third'), { issued: report.id }));
  expect(issued.dropped).toEqual(report.dropped);
});

test('names where each relied blob lies: its repository, and its key for media and schematics', async () => {
  const { store, folder, first } = await bundled();
  await store.image('quay.io/new/app:v1', [1, 77]);
  const out = join(folder, 'second');
  await bundle(optionsFor(store, out, { since: [first] }));
  const { relies, roots } = await documentOf(out);
  const repositories = relies?.repositories.map((entry) => entry.repository);
  expect(repositories).toEqual([
    'factory.talos.dev/siderolabs/image-factory/schematics',
    `factory.talos.dev/talos-media/${mediaSchematic}`,
    'ghcr.io/dexidp/dex',
    'ghcr.io/siderolabs/omni',
    'registry.k8s.io/pause',
  ]);
  const shared = (await store.blob(1, 90_000, 'application/octet-stream')).digest;
  const holders = relies?.repositories.filter(({ blobs }) => blobs.some((blob) => blob.digest === shared));
  expect(holders?.map(({ repository }) => repository)).toEqual(['ghcr.io/siderolabs/omni']);
  expect(relies?.objects.map(({ key }) => key)).toContain(`image/${mediaSchematic}/v1.13.9/metal-amd64.iso`);
  expect(relies?.objects.some(({ key }) => /^schematics\/[a-f0-9]{64}$/.test(key))).toBe(true);
  expect(roots.length).toBe(store.names.length);
});

test('a chain: an increment on an increment relies on both, and unpacked over each other they are the store', async () => {
  const { store, folder, first } = await bundled();
  const second = join(folder, 'second');
  const third = join(folder, 'third');
  await store.image('ghcr.io/siderolabs/omni:v2', [1, 2, 9]);
  await bundle(optionsFor(store, second, { since: [first] }));
  await store.image('ghcr.io/siderolabs/omni:v3', [1, 9, 11]);
  const report = await bundle(optionsFor(store, third, { since: [second] }));
  expect(report).toMatchObject({ sequence: 3, bases: [(await documentOf(second)).id] });
  expect((await documentOf(third)).blobs.filter((blob) => blob.size === 90_000)).toHaveLength(1);
  const layout = join(folder, 'layout');
  await unpack([first, second, third], layout);
  const blobs = join(layout, 'blobs', 'sha256');
  expect((await readdir(blobs)).sort()).toEqual((await readdir(join(store.root, 'blobs', 'sha256'))).sort());
  for (const name of await readdir(blobs)) {
    const [unpacked, stored] = [join(blobs, name), join(store.root, 'blobs', 'sha256', name)];
    expect(Buffer.compare(await readFile(unpacked), await readFile(stored)), name).toBe(0);
  }
  const namesIn = async (folder: string) =>
    JSON.parse(await readFile(join(folder, 'index.json'), 'utf8')).manifests;
  expect(await namesIn(layout)).toEqual(await namesIn(store.root));
});

test('several bases are united', async () => {
  const folder = await temporaryFolder();
  const a = await sampleStore(join(folder, 'a'));
  await bundle(optionsFor(a, join(folder, 'bundle-a')));
  const b = await sampleStore(join(folder, 'b'));
  await b.image('quay.io/other/app:v1', [50]);
  await bundle(optionsFor(b, join(folder, 'bundle-b')));
  const c = await sampleStore(join(folder, 'c'));
  await c.image('quay.io/other/app:v1', [50]);
  await c.image('quay.io/other/app:v2', [50, 51]);
  const since = [join(folder, 'bundle-a'), join(folder, 'bundle-b')];
  const report = await bundle(optionsFor(c, join(folder, 'out'), { since }));
  expect(report.bases).toHaveLength(2);
  const { blobs, changes } = await documentOf(join(folder, 'out'));
  expect(blobs.filter((blob) => blob.size === 90_000)).toHaveLength(1);
  expect(changes?.added).toEqual(['quay.io/other/app:v2']);
});

test('C10 a receipt with a byte order mark, and an id in upper case', async () => {
  const { store, folder, first } = await bundled();
  const { id, origin } = await documentOf(first);
  const receipt = join(folder, 'marked.json');
  const text = receiptOf({ id, origin, sequence: 1 }, []);
  await writeFile(receipt, `\ufeff${text}`);
  const report = await bundle(optionsFor(store, join(folder, 'after'), { since: [receipt] }));
  const again = await bundle(optionsFor(store, join(folder, 'again'), { since: [id.toUpperCase()] }));
  expect([report.id === id, again.id === id]).toEqual([false, false]);
});

test('a receipt of a bundle this store never issued counts by its names and objects', async () => {
  const { store, folder } = await bundled();
  const other = await sampleStore(join(folder, 'other'));
  const images = [
    { name: 'ghcr.io/siderolabs/omni:v1', digest: store.digestOf('ghcr.io/siderolabs/omni:v1') },
  ];
  const receipt = join(folder, 'receipt.json');
  await writeFile(receipt, receiptOf({ id: 'e'.repeat(64), origin: 'f'.repeat(32), sequence: 7 }, images));
  await bundle(optionsFor(other, join(folder, 'out'), { since: [receipt] }));
  const { relies, base } = await documentOf(join(folder, 'out'));
  expect(base).toEqual([{ id: 'e'.repeat(64), origin: 'f'.repeat(32), sequence: 7 }]);
  expect(relies?.repositories.map(({ repository }) => repository)).toEqual(['ghcr.io/siderolabs/omni']);
});

test('content of a base whose place nobody knows is carried again', async () => {
  const { folder, first } = await bundled();
  const other = await sampleStore(join(folder, 'other'));
  // The base's one name stands for a manifest that this store does not have.
  const document = await documentOf(first);
  const path = join(folder, 'base.json');
  const digest = `sha256:${'9'.repeat(64)}`;
  const roots = document.roots
    .slice(0, 1)
    .map((root) => ({ ...root, name: 'quay.io/gone/app:v1', descriptor: { ...root.descriptor, digest } }));
  await writeFile(path, JSON.stringify({ ...document, roots }));
  const report = await bundle(optionsFor(other, join(folder, 'out'), { since: [path] }));
  expect(report.blobs).toBe(document.blobs.length);
});

test.each([
  ['a path that is not there', 'nowhere.json', 'NO_INPUT'],
  ['an id of no bundle', 'f'.repeat(64), 'NO_INPUT'],
  ['too little of an id', 'abcdef', 'NO_INPUT'],
])('%s is refused before anything is written', async (_what, since, code) => {
  const { store, folder } = await bundled();
  const out = join(folder, 'out');
  await expect(bundle(optionsFor(store, out, { since: [since] }))).rejects.toMatchObject({ code });
  await expect(readdir(out)).rejects.toMatchObject({ code: 'ENOENT' });
});

describe('a bundle.json that lies about its base', () => {
  const cases: readonly (readonly [string, (document: object) => object])[] = [
    ['relies without a base', (document) => ({ ...document, base: undefined })],
    [
      'what it carries it relies on too',
      (document) => {
        const made = document as ReturnType<typeof parseBundleDocument>;
        const [blob] = made.blobs;
        const blobs = [{ digest: blob?.digest, size: blob?.size }];
        return { ...made, relies: { repositories: [{ repository: 'a/b', blobs }], objects: [] } };
      },
    ],
  ];
  test.each(cases)('%s: refused', async (_what, change) => {
    const { store, folder, first } = await bundled();
    const out = join(folder, 'second');
    await store.image('quay.io/new/app:v1', [31]);
    await bundle(optionsFor(store, out, { since: [first] }));
    await writeFile(join(out, 'bundle.json'), JSON.stringify(change(await documentOf(out))));
    await expect(BundleStore.open([out], any)).rejects.toMatchObject({ code: 'BAD_DOCUMENT' });
  });

  test('what it neither carries nor relies on makes its names unusable', async () => {
    const { store, folder, first } = await bundled();
    const out = join(folder, 'second');
    await bundle(optionsFor(store, out, { since: [first] }));
    const document = await documentOf(out);
    const repositories = document.relies?.repositories.filter(
      ({ repository }) => repository !== 'ghcr.io/dexidp/dex',
    );
    await writeFile(
      join(out, 'bundle.json'),
      JSON.stringify({ ...document, relies: { repositories, objects: document.relies?.objects } }),
    );
    const check = await verifyBundle(await BundleStore.open([out], any));
    expect(check.unusable).toEqual(['ghcr.io/dexidp/dex:v2']);
  });
});

describe('diff', () => {
  test('between a bundle and the store: names and bytes by kind', async () => {
    const { store, folder, first } = await bundled();
    await store.image('ghcr.io/siderolabs/omni:v2', [1, 2, 9]);
    await store.image('ghcr.io/dexidp/dex:v2', [2, 10]);
    await store.artifact(`factory.talos.dev/talos-media/${mediaSchematic}:v1.14.0`, 'media', {
      'kernel-amd64': 150_000,
    });
    await store.remove('registry.k8s.io/pause:3.10');
    const report = await diff(first, store.root);
    expect(report.added).toEqual([
      `factory.talos.dev/talos-media/${mediaSchematic}:v1.14.0`,
      'ghcr.io/siderolabs/omni:v2',
    ]);
    expect(report.removed).toEqual(['registry.k8s.io/pause:3.10']);
    expect(report.moved.map(({ name }) => name)).toEqual(['ghcr.io/dexidp/dex:v2']);
    const kinds = new Map(report.content?.map((entry) => [entry.kind, entry]));
    expect(kinds.get('media')?.addedBytes).toBeGreaterThan(150_000);
    expect(kinds.get('media')?.removedBytes).toBe(0);
    expect(kinds.get('image')?.addedBytes).toBeGreaterThan(180_000);
    expect(kinds.get('image')?.removedBytes).toBeGreaterThan(180_000);
    expect(kinds.has('schematic')).toBe(false);
    const reverse = await diff(store.root, first);
    expect(reverse.added).toEqual(report.removed);
    expect(await diff(first, join(folder, 'first', 'bundle.json'))).toMatchObject({
      added: [],
      removed: [],
      moved: [],
      content: [],
    });
  });

  test('an increment counts what it relies on: against its base only what changed differs', async () => {
    const { store, folder, first } = await bundled();
    await store.image('ghcr.io/siderolabs/omni:v2', [9]);
    const second = join(folder, 'second');
    await bundle(optionsFor(store, second, { since: [first] }));
    const report = await diff(first, second);
    expect(report).toMatchObject({ added: ['ghcr.io/siderolabs/omni:v2'], removed: [], moved: [] });
    expect(report.content?.map(({ kind, removedBytes }) => ({ kind, removedBytes }))).toEqual([
      { kind: 'image', removedBytes: 0 },
    ]);
  });

  test('against a receipt: names only', async () => {
    const { store, folder } = await bundled();
    const receipt = join(folder, 'receipt.json');
    const images = [
      { name: 'ghcr.io/siderolabs/omni:v1', digest: store.digestOf('ghcr.io/siderolabs/omni:v1') },
    ];
    await writeFile(receipt, receiptOf({ id: 'e'.repeat(64), origin: 'f'.repeat(32), sequence: 1 }, images));
    const report = await diff(receipt, store.root);
    expect(report).toMatchObject({ unchanged: 1, moved: [], removed: [], content: undefined });
    expect(report.added).toHaveLength(store.names.length - 2);
    expect(report.attached).toEqual([{ name: 'ghcr.io/siderolabs/omni:v1', added: 1, removed: 0, moved: 0 }]);
  });

  test('any two of bundle, bundle.json, store and receipt: the same names are added', async () => {
    const { store, folder, first } = await bundled();
    const at = (name: string): string => join(folder, name);
    const receipt = async (name: string): Promise<string> => {
      const lock = JSON.parse(await readFile(join(store.root, 'lock.json'), 'utf8')) as {
        items: { name: string; descriptor: { digest: string } }[];
      };
      const images = lock.items.map((item) => ({ name: item.name, digest: item.descriptor.digest }));
      await writeFile(
        at(name),
        receiptOf({ id: 'e'.repeat(64), origin: 'f'.repeat(32), sequence: 1 }, images),
      );
      return at(name);
    };
    await cp(store.root, at('before'), { recursive: true });
    const before = [first, join(first, 'bundle.json'), at('before'), await receipt('r1.json')];
    await store.image('quay.io/new/app:v1', [70]);
    const second = at('second');
    await bundle(optionsFor(store, second, { since: [first] }));
    const after = [second, join(second, 'bundle.json'), store.root, await receipt('r2.json')];
    for (const from of before) {
      for (const to of after) {
        const report = await diff(from, to);
        const what = `${from} to ${to}`;
        expect(report, what).toMatchObject({ added: ['quay.io/new/app:v1'], removed: [], moved: [] });
        // The new image, and a signature, which is no name of its own.
        expect(report.unchanged, what).toBe(store.names.length - 2);
        expect(report.attached, what).toEqual([]);
        const knowsContent = !from.endsWith('r1.json') && !to.endsWith('r2.json');
        expect(report.content?.[0]?.addedBytes ?? 0, what).toBeGreaterThanOrEqual(knowsContent ? 90_000 : 0);
      }
    }
  });

  test('what is not there is refused', async () => {
    await expect(diff('nowhere', 'nowhere')).rejects.toMatchObject({ code: 'NO_INPUT' });
  });
});

function receiptOf(
  { id, origin, sequence }: { readonly id: string; readonly origin: string; readonly sequence: number },
  images: readonly { readonly name: string; readonly digest: string }[],
): string {
  return serializeReceipt({
    bundle: id,
    kind: 'omni-airgap/receipt',
    schema: 1,
    origin,
    sequence,
    loadedAt: '2026-01-02T00:00:00Z',
    tool: 'test',
    trust: { mode: 'unsigned' },
    registry: 'registry.site',
    images: images.map(({ name, digest }) => ({ name, target: name, digest: parseDigest(digest) })),
    objects: [],
  });
}
