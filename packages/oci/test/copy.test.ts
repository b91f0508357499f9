import { expect, test } from 'vitest';
import { CodedError } from '../src/base/errors.ts';
import { Copier, type CopyEvent, copyGraph } from '../src/copy.ts';
import { bytesOf, collect } from '../src/model/bytes.ts';
import { type Descriptor, descriptorOf } from '../src/model/descriptor.ts';
import type { Digest } from '../src/model/digest.ts';
import { isManifestType, MediaType } from '../src/model/media-type.ts';
import type { Bytes, Fetcher, Storage } from '../src/storage.ts';
import { generatedBlob } from '../src/testing/generated-blob.ts';
import { generateGraph } from '../src/testing/graph.ts';
import { MemoryStore } from '../src/testing/memory-store.ts';
import { graphOf, walk } from '../src/walk.ts';
import { expectWhole, layerType, put, putImage, putManifest, Recorder } from './copy-stores.ts';

/** The source with some content replaced: by other bytes, or by an error. */
function spoiled(source: Fetcher, spoil: (descriptor: Descriptor) => Bytes | undefined): Fetcher {
  return { fetch: (descriptor, signal) => spoil(descriptor) ?? source.fetch(descriptor, signal) };
}

const flipped = (source: Fetcher, descriptor: Descriptor): Bytes =>
  (async function* () {
    const bytes = Buffer.from(await collect(source.fetch(descriptor), 1e7, ''));
    bytes[0] = (bytes[0] ?? 0) ^ 1;
    yield bytes;
  })();

test('copies every kind of content, children before parents', async () => {
  for (const seed of [1, 2, 3]) {
    const source = new MemoryStore();
    const { roots, descriptors } = await generateGraph(source, { seed, layerBytes: 5000 });
    const target = new Recorder();
    const copier = new Copier();
    await Promise.all(roots.map(({ descriptor }) => copier.copy(source, target, descriptor)));
    for (const { descriptor } of roots) await expectWhole(target, descriptor);
    // Everything once, and nothing before what it points at.
    expect([...target.pushed].sort()).toEqual(descriptors.map((d) => d.digest).sort());
    const position = new Map(target.pushed.map((digest, i) => [digest, i]));
    for (const root of roots) {
      for (const parent of (await graphOf(walk(source, [root.descriptor]))).values()) {
        if (!isManifestType(parent.mediaType)) continue;
        for (const child of (await graphOf(walk(source, [parent]))).keys()) {
          expect(position.get(child)).toBeLessThanOrEqual(position.get(parent.digest) ?? -1);
        }
      }
    }
  }
});

test('reads what roots share only once, also while it is under way', async () => {
  const source = new Recorder();
  const roots = await Promise.all(['a', 'b', 'c'].map((own) => putImage(source, 'shared layer', own)));
  const target = new Recorder();
  const copier = new Copier();
  await Promise.all([...roots, ...roots].map((root) => copier.copy(source, target, root)));
  expect(source.fetched).toHaveLength(new Set(source.fetched).size);
  expect(target.pushed).toHaveLength(3 + 3 + 1 + 1);
});

test('never has more blobs under way than it may, and takes the largest first', async () => {
  const source = new Recorder();
  const config = await put(source, MediaType.ociConfig, Buffer.from('{}'));
  const layers: Descriptor[] = [];
  for (let i = 0; i < 40; i++) layers.push(await put(source, layerType, Buffer.alloc(i + 10, i)));
  const root = await putManifest(source, MediaType.ociManifest, { config, layers });
  source.busiest = 0;
  await copyGraph(source, new MemoryStore(), root, { blobs: 3, manifests: 1 });
  expect(source.busiest).toBe(3);
  // The first slots are taken before there is a choice.
  const [, ...blobs] = source.fetched;
  const waited = blobs.slice(3).map((digest) => layers.find((l) => l.digest === digest)?.size ?? 2);
  expect(waited).toEqual([...waited].sort((a, b) => b - a));
});

test('does not dead-lock when there is one slot for each kind and indexes are nested', async () => {
  const source = new MemoryStore();
  const { roots } = await generateGraph(source, { seed: 9, roots: 12, layerBytes: 500 });
  const target = new MemoryStore();
  const copier = new Copier({ blobs: 1, manifests: 1 });
  await Promise.all(roots.map(({ descriptor }) => copier.copy(source, target, descriptor)));
  for (const { descriptor } of roots) await expectWhole(target, descriptor);
});

test('descends into manifests that are there and repairs what is missing below', async () => {
  const source = new MemoryStore();
  const { roots } = await generateGraph(source, { seed: 4, roots: 3, layerBytes: 500 });
  const target = new MemoryStore();
  // All manifests are there, as an interrupted copy by a careless tool leaves them; no blob is.
  for (const { descriptor } of roots) {
    for (const d of (await graphOf(walk(source, [descriptor]))).values()) {
      if (isManifestType(d.mediaType)) await target.push(d, () => source.fetch(d));
    }
  }
  for (const { descriptor } of roots) {
    await copyGraph(source, target, descriptor);
    await expectWhole(target, descriptor);
  }
});

test('a failed blob leaves the others copied and no parent pushed', async () => {
  const source = new MemoryStore();
  const image = await putImage(source, 'first', 'broken', 'last');
  const sibling = await putImage(source, 'sibling');
  const index = await putManifest(source, MediaType.ociIndex, { manifests: [image, sibling] });
  const broken = descriptorOf(layerType, Buffer.from('broken'));
  const failing = spoiled(source, (d) => {
    if (d.digest === broken.digest) throw new CodedError('UPSTREAM', 'status 500');
    return undefined;
  });
  const target = new MemoryStore();
  const copier = new Copier();
  await expect(copier.copy(failing, target, index)).rejects.toMatchObject({ code: 'UPSTREAM' });
  for (const text of ['first', 'last']) {
    expect(await target.has(descriptorOf(layerType, Buffer.from(text)))).toBe(true);
  }
  expect(await target.has(sibling)).toBe(true);
  expect(await target.has(image)).toBe(false);
  expect(await target.has(index)).toBe(false);
  // The same copier may try again.
  await copier.copy(source, target, index);
  await expectWhole(target, index);
});

test('F05 bytes that are wrong once are asked for again', async () => {
  const source = new MemoryStore();
  const root = await putImage(source, 'layer');
  for (const kind of ['blob', 'manifest']) {
    const wrong = new Set<Digest>();
    const once = spoiled(source, (d) => {
      if ((kind === 'manifest') !== isManifestType(d.mediaType) || wrong.has(d.digest)) return undefined;
      wrong.add(d.digest);
      return flipped(source, d);
    });
    const target = new MemoryStore();
    const events: CopyEvent[] = [];
    await copyGraph(once, target, root, { onEvent: (event) => events.push(event) });
    await expectWhole(target, root);
    expect(events.filter((event) => event.kind === 'retry')).toHaveLength(wrong.size);
  }
});

test('F04 T13 bytes that are always wrong are refused and not stored', async () => {
  const source = new MemoryStore();
  const root = await putImage(source, 'layer');
  for (const bad of (await graphOf(walk(source, [root]))).values()) {
    const target = new MemoryStore();
    let tries = 0;
    const always = spoiled(source, (d) => {
      if (d.digest !== bad.digest) return undefined;
      tries++;
      return flipped(source, d);
    });
    await expect(copyGraph(always, target, root)).rejects.toMatchObject({
      code: 'DIGEST_MISMATCH',
      descriptor: { digest: bad.digest },
    });
    expect(tries).toBe(2);
    expect([await target.has(bad), await target.has(root)]).toEqual([false, false]);
  }
});

test('T16 a child whose size is a lie is refused even when the true content is there', async () => {
  const source = new MemoryStore();
  const config = await put(source, MediaType.ociConfig, Buffer.from('{}'));
  const layer = await put(source, layerType, Buffer.from('layer'));
  const honest = await putManifest(source, MediaType.ociManifest, { config, layers: [layer] });
  const lies = { ...layer, size: 6 };
  const lying = await putManifest(source, MediaType.ociManifest, { config, layers: [lies] });
  const target = new MemoryStore();
  const copier = new Copier();
  await copier.copy(source, target, honest);
  await expect(copier.copy(source, target, lying)).rejects.toMatchObject({ code: 'DIGEST_MISMATCH' });
});

test('a selection leaves the index byte-exact and out what was not selected', async () => {
  const source = new MemoryStore();
  const [amd64, arm64] = [await putImage(source, 'amd64'), await putImage(source, 'arm64')];
  const index = await putManifest(source, MediaType.ociIndex, { manifests: [amd64, arm64] });
  const target = new MemoryStore();
  const copier = new Copier();
  const select = (child: Descriptor): boolean => child.digest === amd64.digest;
  await copier.copy(source, target, index, { select });
  expect(await target.has(index)).toBe(true);
  await expectWhole(target, amd64);
  expect(await target.has(arm64)).toBe(false);
  // The same copier, asked for all of it under another name.
  await copier.copy(source, target, index);
  await expectWhole(target, index);
});

test('T18 F15 indexes may be nested four levels deep, not five', async () => {
  const source = new MemoryStore();
  let index = await putImage(source, 'leaf');
  for (let level = 0; level <= 4; level++) {
    index = await putManifest(source, MediaType.ociIndex, { manifests: [index] });
  }
  await copyGraph(source, new MemoryStore(), index);
  const deeper = await putManifest(source, MediaType.ociIndex, { manifests: [index] });
  await expect(copyGraph(source, new MemoryStore(), deeper)).rejects.toMatchObject({
    code: 'BAD_DOCUMENT',
  });
});

test('T18 F15 ten thousand descriptors below a root, not one more', async () => {
  const source = new MemoryStore();
  const fanOut = async (count: number): Promise<Descriptor> => {
    // One config, one blob given under many sizes would be refused, so each is content of its own.
    const config = await put(source, MediaType.ociConfig, Buffer.from('{}'));
    const images = [];
    for (let left = count - 1; left > 0; ) {
      const layers = [];
      for (let i = 0; i < Math.min(4999, left - 1); i++) {
        layers.push(await put(source, layerType, Buffer.from(`${left} ${i}`)));
      }
      images.push(await putManifest(source, MediaType.ociManifest, { config, layers }));
      left -= layers.length + 1;
    }
    return putManifest(source, MediaType.ociIndex, { manifests: images });
  };
  const most = await fanOut(10_000);
  expect((await graphOf(walk(source, [most]))).size).toBe(10_001);
  await copyGraph(source, new MemoryStore(), most);
  const more = await fanOut(10_001);
  const refused = { code: 'BAD_DOCUMENT', message: expect.stringContaining('more than 10000') };
  await expect(copyGraph(source, new MemoryStore(), more)).rejects.toMatchObject(refused);
  await expect(graphOf(walk(source, [more]))).rejects.toMatchObject(refused);
});

test('an abort stops it, and nothing incomplete has a manifest', async () => {
  const source = new MemoryStore();
  const { roots } = await generateGraph(source, { seed: 5, roots: 6, layerBytes: 5000 });
  const controller = new AbortController();
  const target = new MemoryStore();
  let events = 0;
  const copier = new Copier({
    blobs: 1,
    signal: controller.signal,
    onEvent: () => {
      if (++events === 30) controller.abort();
    },
  });
  const results = await Promise.allSettled(roots.map((r) => copier.copy(source, target, r.descriptor)));
  const failed = results.filter((result) => result.status === 'rejected');
  expect(failed.length).toBeGreaterThan(0);
  for (const result of failed) expect(result.reason).toMatchObject({ name: 'AbortError' });
  for (const { descriptor } of roots) if (await target.has(descriptor)) await expectWhole(target, descriptor);
});

test('events tell what was found, moved and there already', async () => {
  const source = new MemoryStore();
  const root = await putImage(source, 'layer one', 'layer two');
  const target = new MemoryStore();
  await put(target, layerType, Buffer.from('layer two'));
  const events: CopyEvent[] = [];
  await copyGraph(source, target, root, { onEvent: (event) => events.push(event) });
  const digests = (kind: CopyEvent['kind']): Digest[] =>
    events.filter((event) => event.kind === kind).map((event) => event.descriptor.digest);
  expect(new Set(digests('found'))).toEqual(new Set((await graphOf(walk(source, [root]))).keys()));
  expect(new Set(digests('done'))).toEqual(new Set(digests('found')));
  const moved = events.reduce((sum, event) => sum + (event.kind === 'bytes' ? event.bytes : 0), 0);
  expect(moved).toBe('{}'.length + 'layer one'.length);
  const results = new Map(
    events.flatMap((e) => (e.kind === 'done' ? [[e.descriptor.digest, e.result]] : [])),
  );
  expect(results.get(descriptorOf(layerType, Buffer.from('layer two')).digest)).toBe('present');
  expect(results.get(root.digest)).toBe('stored');
});

test('a target that goes on in the middle gets the rest, also from a source without ranges', async () => {
  const { descriptor, open } = await generatedBlob(8, 1_000_000);
  const whole = Buffer.from(await collect(open(), 2_000_000, ''));
  const resuming: Storage = {
    has: async () => false,
    fetch: () => bytesOf(),
    push: async (_d, reopen) => {
      for (const offset of [0, 1, 262_143, 262_144, 262_145, 999_999, 1_000_000]) {
        const rest = await collect(reopen(offset), 2_000_000, '');
        expect(whole.subarray(offset).equals(rest), `from ${offset}`).toBe(true);
      }
      return 'stored';
    },
  };
  await copyGraph({ fetch: () => open() }, resuming, descriptor);
});
