/** The one walk over graphs of manifests: its order, its bounds, and what it does where content is absent or bad. */
import { expect, test } from 'vitest';
import type { Descriptor } from '../src/model/descriptor.ts';
import { digestOf } from '../src/model/digest.ts';
import { MediaType } from '../src/model/media-type.ts';
import type { Bytes } from '../src/storage.ts';
import { MemoryStore } from '../src/testing/memory-store.ts';
import { graphOf, type Visited, walk } from '../src/walk.ts';
import { layerType, put, putImage, putManifest, Recorder } from './copy-stores.ts';

async function allOf(visits: AsyncIterable<Visited>): Promise<Visited[]> {
  const list: Visited[] = [];
  for await (const visit of visits) list.push(visit);
  return list;
}

function indexOf(store: MemoryStore, ...manifests: readonly Descriptor[]): Promise<Descriptor> {
  return putManifest(store, MediaType.ociIndex, { manifests });
}

const absentImage = (name: string): Descriptor => ({
  mediaType: MediaType.ociManifest,
  digest: digestOf(Buffer.from(name)),
  size: 400,
});

/** `levels` indexes, each in the next, around an image. */
async function nested(store: MemoryStore, levels: number): Promise<Descriptor> {
  let root = await putImage(store, 'leaf');
  for (let level = 0; level < levels; level++) root = await indexOf(store, root);
  return root;
}

test('parents come before children, in the order of the documents, each with the way to it', async () => {
  const store = new MemoryStore();
  const config = await put(store, MediaType.ociConfig, Buffer.from('{}'));
  const [one, two] = [await putImage(store, 'a', 'b'), await putImage(store, 'c')];
  const index = await indexOf(store, one, two);
  const blob = (text: string): string => digestOf(Buffer.from(text));
  const visits = await allOf(walk(store, [index]));
  expect(
    visits.map(({ kind, descriptor, parents }) => [kind, descriptor.digest, parents.map((p) => p.digest)]),
  ).toEqual([
    ['manifest', index.digest, []],
    ['manifest', one.digest, [index.digest]],
    ['blob', config.digest, [index.digest, one.digest]],
    ['blob', blob('a'), [index.digest, one.digest]],
    ['blob', blob('b'), [index.digest, one.digest]],
    // Its config was visited.
    ['manifest', two.digest, [index.digest]],
    ['blob', blob('c'), [index.digest, two.digest]],
  ]);
  expect([...(await graphOf(walk(store, [index]))).keys()]).toEqual(visits.map((v) => v.descriptor.digest));
});

test('what several roots and parents point at is read once', async () => {
  const store = new Recorder();
  const image = await putImage(store, 'a');
  const index = await indexOf(store, image, image);
  const other = await indexOf(store, index, image);
  const visits = await allOf(walk(store, [index, other, image]));
  expect(visits).toHaveLength(5);
  expect(store.fetched.toSorted()).toEqual([image.digest, index.digest, other.digest].toSorted());
});

test('a manifest that another document calls a blob is still walked', async () => {
  const store = new MemoryStore();
  const image = await putImage(store, 'a');
  const config = await put(store, MediaType.ociConfig, Buffer.from('{}'));
  const disguised = { ...image, mediaType: layerType };
  const wrapper = await putManifest(store, MediaType.ociManifest, { config, layers: [disguised] });
  const graph = await graphOf(walk(store, [await indexOf(store, wrapper, image)]));
  expect(graph.has(digestOf(Buffer.from('a')))).toBe(true);
  expect(graph.get(image.digest)?.mediaType).toBe(MediaType.ociManifest);
});

test('a descriptor that lies about the size is refused, also after a true one', async () => {
  const store = new MemoryStore();
  const image = await putImage(store, 'a');
  const index = await indexOf(store, image, { ...image, size: image.size + 1 });
  await expect(allOf(walk(store, [index]))).rejects.toMatchObject({ code: 'DIGEST_MISMATCH' });
});

test('only what is wanted is read: the consumer sets the pace and may stop', async () => {
  const store = new Recorder();
  const index = await indexOf(store, await putImage(store, 'a'), await putImage(store, 'b'));
  for await (const { parents } of walk(store, [index])) if (parents.length > 0) break;
  expect(store.fetched).toHaveLength(2);
});

test('select is asked about children of indexes, with their index, and not about layers', async () => {
  const store = new MemoryStore();
  const [one, two] = [await putImage(store, 'a'), await putImage(store, 'b')];
  const index = await indexOf(store, one, two);
  const asked: unknown[] = [];
  const select = async (child: Descriptor, parent: Descriptor): Promise<boolean> => {
    asked.push([child.digest, parent.digest]);
    return child.digest === two.digest;
  };
  const graph = await graphOf(walk(store, [index], { select }));
  expect(asked).toEqual([
    [one.digest, index.digest],
    [two.digest, index.digest],
  ]);
  expect(graph.has(one.digest)).toBe(false);
  expect(graph.has(digestOf(Buffer.from('b')))).toBe(true);
});

test('without blobs, manifests alone', async () => {
  const store = new MemoryStore();
  const index = await indexOf(store, await putImage(store, 'a'), await putImage(store, 'b'));
  const kinds = (await allOf(walk(store, [index], { blobs: false }))).map(({ kind }) => kind);
  expect(kinds).toEqual(['manifest', 'manifest', 'manifest']);
});

test('an absent manifest: MISSING_CONTENT with its descriptor and the way that leads to it', async () => {
  const store = new MemoryStore();
  const absent = absentImage('absent');
  const inner = await indexOf(store, absent);
  const outer = await indexOf(store, inner);
  const error = await allOf(walk(store, [outer])).catch((e: unknown) => e);
  expect(error).toMatchObject({ code: 'MISSING_CONTENT', descriptor: { digest: absent.digest } });
  expect(error).toHaveProperty(
    'message',
    `${absent.digest}: not in memory (referenced by ${inner.digest}, referenced by ${outer.digest})`,
  );
  await expect(allOf(walk(store, [absent]))).rejects.toMatchObject({
    code: 'MISSING_CONTENT',
    message: `${absent.digest}: not in memory`,
  });
});

test('an absent manifest is skipped on demand: reported, in no graph, and what is beside it is visited', async () => {
  const store = new MemoryStore();
  const [absent, there] = [absentImage('absent'), await putImage(store, 'a')];
  const index = await indexOf(store, absent, there);
  const visits = await allOf(walk(store, [absentImage('no root'), index], { missing: 'skip' }));
  expect(visits.map(({ kind }) => kind)).toEqual([
    'missing',
    'manifest',
    'missing',
    'manifest',
    'blob',
    'blob',
  ]);
  const graph = await graphOf(walk(store, [index], { missing: 'skip' }));
  expect(graph.has(absent.digest)).toBe(false);
  expect(graph.has(there.digest)).toBe(true);
});

test('an absent blob is named: only manifests are looked up', async () => {
  const store = new MemoryStore();
  const config = await put(store, MediaType.ociConfig, Buffer.from('{}'));
  const layer = { mediaType: layerType, digest: digestOf(Buffer.from('nowhere')), size: 7 };
  const image = await putManifest(store, MediaType.ociManifest, { config, layers: [layer] });
  expect((await graphOf(walk(store, [image]))).has(layer.digest)).toBe(true);
});

test('a malformed manifest is refused; on demand it is reported, and the walk goes on beside it', async () => {
  const store = new MemoryStore();
  const bad = await put(store, MediaType.ociManifest, Buffer.from('{"schemaVersion":1}'));
  const index = await indexOf(store, bad, await putImage(store, 'a'));
  await expect(allOf(walk(store, [index]))).rejects.toMatchObject({ code: 'BAD_DOCUMENT' });
  const visits = await allOf(walk(store, [index], { unusable: 'report' }));
  expect(visits.map(({ kind }) => kind)).toEqual(['manifest', 'unusable', 'manifest', 'blob', 'blob']);
  expect(visits[1]).toMatchObject({ descriptor: bad, parents: [index], error: { code: 'BAD_DOCUMENT' } });
});

test('T18 indexes nested four levels below a root, not five; the other roots are still visited', async () => {
  const store = new MemoryStore();
  const deepest = await nested(store, 5);
  expect(await allOf(walk(store, [deepest]))).toHaveLength(8);
  const deeper = await indexOf(store, deepest);
  await expect(allOf(walk(store, [deeper]))).rejects.toMatchObject({
    code: 'BAD_DOCUMENT',
    message: `${deeper.digest}: indexes nested deeper than 4`,
  });
  const other = await putImage(store, 'other');
  const visits = await allOf(walk(store, [deeper, other], { unusable: 'report' }));
  expect(visits.filter(({ kind }) => kind === 'unusable')).toMatchObject([{ descriptor: deeper }]);
  expect(visits.some(({ descriptor }) => descriptor.digest === other.digest)).toBe(true);
});

test('T18 nesting counts for each root, whatever was visited for others before', async () => {
  const store = new MemoryStore();
  const deepest = await nested(store, 5);
  const deeper = await indexOf(store, deepest);
  await expect(allOf(walk(store, [deepest, deeper]))).rejects.toMatchObject({
    message: `${deeper.digest}: indexes nested deeper than 4`,
  });
  // The other way round: what was reached on a way that is too long is whole on a shorter one.
  const last = await putImage(store, 'last');
  const wide = await indexOf(store, await nested(store, 4), last);
  const tooDeep = await indexOf(store, await indexOf(store, wide));
  const visits = await allOf(walk(store, [tooDeep, wide], { unusable: 'report' }));
  expect(visits.filter(({ kind }) => kind === 'unusable')).toMatchObject([{ descriptor: tooDeep }]);
  expect(visits.some(({ descriptor }) => descriptor.digest === last.digest)).toBe(true);
});

test('T18 forty indexes, each in the next: no more of them are read than the bound has levels', async () => {
  const store = new Recorder();
  const root = await nested(store, 40);
  await expect(allOf(walk(store, [root]))).rejects.toMatchObject({ code: 'BAD_DOCUMENT' });
  expect(store.fetched).toHaveLength(5);
});

test('T18 ten thousand descriptors below a root, not one more; each root counts for itself', async () => {
  const store = new MemoryStore();
  const config = await put(store, MediaType.ociConfig, Buffer.from('{}'));
  const image = (name: string, layers: number): Promise<Descriptor> =>
    putManifest(store, MediaType.ociManifest, {
      config,
      layers: Array.from({ length: layers }, (_, i) => ({
        mediaType: layerType,
        digest: digestOf(Buffer.from(`${name} ${i}`)),
        size: i,
      })),
    });
  const most = await indexOf(store, await image('a', 5000), await image('b', 4997));
  expect(await graphOf(walk(store, [most, await image('c', 9000)]))).toHaveProperty('size', 10_001 + 9001);
  const more = await indexOf(store, await image('a', 5000), await image('b', 4998));
  const refused = { code: 'BAD_DOCUMENT', message: `${more.digest}: more than 10000 descriptors below it` };
  await expect(graphOf(walk(store, [more]))).rejects.toMatchObject(refused);
  const last = await putImage(store, 'last');
  const visits = await allOf(walk(store, [more, last], { unusable: 'report' }));
  const unusable = visits.filter(({ kind }) => kind === 'unusable');
  expect(unusable).toMatchObject([{ descriptor: more, error: refused }]);
  expect(visits.some(({ descriptor }) => descriptor.digest === last.digest)).toBe(true);
});

test('an index that names one child ten thousand times is one child', async () => {
  const store = new MemoryStore();
  const image = await putImage(store, 'a');
  const index = await indexOf(store, ...Array.from({ length: 10_000 }, () => image));
  expect(await allOf(walk(store, [index]))).toHaveLength(4);
});

test('a manifest above 4 MiB is refused before a byte of it is read', async () => {
  const store = new Recorder();
  const large = { ...absentImage('large'), size: 4 * 1024 * 1024 + 1 };
  await expect(allOf(walk(store, [await indexOf(store, large)]))).rejects.toMatchObject({
    code: 'BAD_DOCUMENT',
  });
  expect(store.fetched).toHaveLength(1);
});

test('an abort ends it, also where problems are reported', async () => {
  const store = new MemoryStore();
  const index = await indexOf(store, await putImage(store, 'a'), await putImage(store, 'b'));
  const controller = new AbortController();
  const reading = async (): Promise<void> => {
    const options = { signal: controller.signal, unusable: 'report' } as const;
    for await (const { kind } of walk(store, [index], options)) if (kind === 'blob') controller.abort();
  };
  await expect(reading()).rejects.toMatchObject({ name: 'AbortError' });
});

test('an abort while a manifest is read is no problem of the manifest', async () => {
  const controller = new AbortController();
  class Stalled extends MemoryStore {
    override async *fetchFrom(descriptor: Descriptor, offset: number, signal?: AbortSignal): Bytes {
      controller.abort();
      yield* super.fetchFrom(descriptor, offset, signal);
    }
  }
  const store = new Stalled();
  const image = await putImage(store, 'a');
  const visits = walk(store, [image], { signal: controller.signal, unusable: 'report' });
  await expect(allOf(visits)).rejects.toMatchObject({ name: 'AbortError' });
});
