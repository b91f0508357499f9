import { describe, expect, test } from 'vitest';
import { bytesOf, openerOf } from '../src/model/bytes.ts';
import { descriptorOf } from '../src/model/descriptor.ts';
import { childrenOf, fetchManifest, maxManifestBytes, parseManifest } from '../src/model/manifest.ts';
import { MediaType } from '../src/model/media-type.ts';
import type { Bytes } from '../src/storage.ts';
import { buildManifest } from '../src/testing/graph.ts';
import { MemoryStore } from '../src/testing/memory-store.ts';

const config = descriptorOf(MediaType.ociConfig, Buffer.from('{}'));
const layer = descriptorOf('application/vnd.oci.image.layer.v1.tar', Buffer.from('x'));
const child = descriptorOf(MediaType.ociManifest, Buffer.from('y'));
const image = { schemaVersion: 2, config, layers: [layer] };
const index = { schemaVersion: 2, manifests: [child] };
const json = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));
const refused = expect.objectContaining({ code: 'BAD_DOCUMENT' });

/** A manifest of exactly so many bytes. */
function padded(size: number): Buffer {
  const empty = json({ ...image, annotations: { a: '' } }).byteLength;
  return json({ ...image, annotations: { a: 'x'.repeat(size - empty) } });
}

describe('manifest', () => {
  test('an image points at its config and layers, not at its subject', () => {
    const bytes = json({ ...image, mediaType: MediaType.ociManifest, subject: child, artifactType: 'a/b' });
    const manifest = parseManifest(bytes, MediaType.ociManifest);
    expect(manifest).toMatchObject({ kind: 'image', subject: child, artifactType: 'a/b' });
    expect(childrenOf(manifest)).toEqual([config, layer]);
  });

  test.each([
    ['application/vnd.oci.image.layer.nondistributable.v1.tar+gzip'],
    ['application/vnd.docker.image.rootfs.foreign.diff.tar.gzip'],
    ['application/vnd.oci.image.layer.v1.tar+gzip'],
  ])('P11 T23 a layer with urls is a layer as any other; its urls stay in the view: %s', (mediaType) => {
    const urls = ['https://store.example/layer'];
    const foreign = { ...layer, mediaType, urls };
    const view = parseManifest(json({ ...image, layers: [foreign, layer] }), MediaType.ociManifest);
    expect(childrenOf(view)).toEqual([config, foreign, layer]);
  });

  const nothing = { subject: null, annotations: null, artifactType: null, mediaType: null };
  test('P10 null is absent: in an image, with layers that are null', () => {
    const bytes = json({ ...image, ...nothing, layers: null, manifests: null, fsLayers: null });
    expect(parseManifest(bytes, MediaType.ociManifest)).toEqual({
      kind: 'image',
      mediaType: MediaType.ociManifest,
      config,
      layers: [],
    });
  });
  test.each([[MediaType.ociIndex], [MediaType.dockerList]])(
    'P10 null is absent: in an index, %s',
    (mediaType) => {
      const bytes = json({ ...index, ...nothing, manifests: null, config: null, layers: null });
      expect(parseManifest(bytes, mediaType)).toEqual({ kind: 'index', mediaType, manifests: [] });
    },
  );
  test.each([
    ['a config', { ...image, config: null }],
    ['layers that are absent', { ...image, layers: undefined }],
  ])('P10 what must be there must be there: %s', (_what, document) => {
    expect(() => parseManifest(json(document), MediaType.ociManifest)).toThrow(
      expect.objectContaining({ code: 'BAD_DOCUMENT' }),
    );
  });

  test('an index points at its children', () => {
    for (const type of [MediaType.ociIndex, MediaType.dockerList]) {
      const manifest = parseManifest(json(index), type);
      expect(manifest.kind).toBe('index');
      expect(childrenOf(manifest)).toEqual([child]);
    }
  });

  test.each([
    ['T20 F14 an image that is an index too', { ...image, manifests: [child] }, MediaType.ociManifest],
    ['T20 F14 an index that is an image too', { ...index, layers: [layer] }, MediaType.ociIndex],
    ['T20 F14 an index with a config', { ...index, config }, MediaType.ociIndex],
    ['T20 an image with schema 1 layers', { ...image, fsLayers: [] }, MediaType.dockerManifest],
    [
      'T20 an index announced as an image',
      { ...index, mediaType: MediaType.ociIndex },
      MediaType.ociManifest,
    ],
    [
      'T20 a Docker manifest announced as OCI',
      { ...image, mediaType: MediaType.dockerManifest },
      MediaType.ociManifest,
    ],
    ['T20 an index that says nothing, announced as an image', index, MediaType.ociManifest],
    ['T20 an image that says nothing, announced as an index', image, MediaType.ociIndex],
    ['T20 a mediaType that is no text', { ...image, mediaType: 5 }, MediaType.ociManifest],
    ['T21 Manifests beside layers', { ...image, Manifests: [child] }, MediaType.ociManifest],
    ['T21 Layers beside layers', { ...image, LAYERS: [] }, MediaType.ociManifest],
    ['T21 layer\u017f beside layers', { ...image, 'layer\u017f': [] }, MediaType.ociManifest],
    ['another schemaVersion', { ...image, schemaVersion: 1 }, MediaType.ociManifest],
    ['no schemaVersion', { config, layers: [] }, MediaType.ociManifest],
    ['no config', { schemaVersion: 2, layers: [] }, MediaType.ociManifest],
    ['no layers', { schemaVersion: 2, config }, MediaType.ociManifest],
    ['layers that are an object', { ...image, layers: { 0: layer } }, MediaType.ociManifest],
    ['annotations that are a list', { ...image, annotations: [] }, MediaType.ociManifest],
    ['a subject that is text', { ...image, subject: 'x' }, MediaType.ociManifest],
    ['T18 too many layers', { ...image, layers: Array(10_001).fill(layer) }, MediaType.ociManifest],
    ['T18 too many children', { ...index, manifests: Array(10_001).fill(child) }, MediaType.ociIndex],
    ['schema 1', { schemaVersion: 1 }, 'application/vnd.docker.distribution.manifest.v1+prettyjws'],
    ['a type that is no manifest', image, 'application/json'],
    ['a list', [], MediaType.ociManifest],
  ])('refuses %s', (_what, document, mediaType) => {
    expect(() => parseManifest(json(document), mediaType)).toThrow(refused);
  });

  test('T18 as many children as are allowed', () => {
    const manifest = parseManifest(
      json({ ...index, manifests: Array(10_000).fill(child) }),
      MediaType.ociIndex,
    );
    expect(childrenOf(manifest)).toHaveLength(10_000);
  });

  test('T17 4 MiB are taken, one byte more is not', () => {
    expect(maxManifestBytes).toBe(4 * 1024 * 1024);
    expect(parseManifest(padded(maxManifestBytes), MediaType.ociManifest).kind).toBe('image');
    expect(() => parseManifest(padded(maxManifestBytes + 1), MediaType.ociManifest)).toThrow(refused);
  });

  test('T18 nesting is bounded', () => {
    const deep = `${'{"a":'.repeat(40)}1${'}'.repeat(40)}`;
    const text = JSON.stringify(image).replace(/}$/, `,"x":${deep}}`);
    expect(() => parseManifest(Buffer.from(text), MediaType.ociManifest)).toThrow('nested deeper');
  });
});

describe('fetching a manifest', () => {
  test('gives the exact bytes', async () => {
    const store = new MemoryStore();
    const bytes = Buffer.from(` ${JSON.stringify(image, undefined, 3)}\n`);
    const descriptor = descriptorOf(MediaType.ociManifest, bytes);
    await store.push(descriptor, openerOf(bytes));
    const fetched = await fetchManifest(store, descriptor);
    expect(Buffer.compare(bytes, fetched.bytes)).toBe(0);
  });

  test('T13 other bytes are refused before they are parsed', async () => {
    const { descriptor, bytes } = buildManifest(MediaType.ociManifest, image);
    const flipped = Buffer.from(bytes);
    flipped[20] = (flipped[20] ?? 0) ^ 1;
    await expect(fetchManifest({ fetch: () => bytesOf(flipped) }, descriptor)).rejects.toMatchObject({
      code: 'DIGEST_MISMATCH',
    });
  });

  test('T17 what is announced too large is not read', async () => {
    const { descriptor } = buildManifest(MediaType.ociManifest, image);
    const huge = { ...descriptor, size: maxManifestBytes + 1 };
    const unread = {
      // biome-ignore lint/correctness/useYield: nobody may ask for its first chunk
      fetch: async function* (): Bytes {
        throw new Error('must not be read');
      },
    };
    await expect(fetchManifest(unread, huge)).rejects.toMatchObject({ code: 'BAD_DOCUMENT' });
  });

  test('T17 a stream without end is stopped at the announced size', async () => {
    const { descriptor } = buildManifest(MediaType.ociManifest, image);
    let bytes = 0;
    const endless = async function* (): Bytes {
      for (;;) {
        bytes += 1000;
        yield Buffer.alloc(1000, 0x20);
      }
    };
    await expect(fetchManifest({ fetch: endless }, descriptor)).rejects.toMatchObject({
      code: 'DIGEST_MISMATCH',
    });
    expect(bytes).toBeLessThan(descriptor.size + 2000);
  });
});
