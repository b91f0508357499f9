/**
 * A bundle into an object store: Talos media and schematics under the Image Factory's URL paths, so that any static
 * web server in front of it gives them to people, PXE and imaging. Small lists come last.
 */
import {
  type BundleStore,
  byText,
  CodedError,
  type Descriptor,
  type Digest,
  fetchManifest,
  type Piece,
  type Progress,
} from '@omni-airgap/content';
import { contentTypeOf } from '@omni-airgap/talos';
import pLimit from 'p-limit';
import type { NewObject, ObjectSink } from './objects/object-sink.ts';

export interface ObjectLoad {
  readonly bundle: BundleStore;
  readonly sink: ObjectSink;
  readonly progress: Progress;
  readonly signal?: AbortSignal;
}

export interface LoadedObject {
  readonly key: string;
  readonly digest: Digest;
  /** Bytes. */
  readonly size: number;
  readonly result: 'stored' | 'present';
}

const titleAnnotation = 'org.opencontainers.image.title';
const mediaName = /\/talos-media\/([a-f0-9]{64}):([A-Za-z0-9._-]+)$/;
const schematicName = /\/siderolabs\/image-factory\/schematics:([a-f0-9]{64})$/;
/** Enough to keep a disk and a line busy; each holds two blocks. */
const objectsAtOnce = 4;

/** Media and schematics of a bundle as objects, each key once. @throws BAD_DOCUMENT */
async function objectsOf(bundle: BundleStore): Promise<readonly NewObject[]> {
  const objects = new Map<string, NewObject>();
  for await (const [name, root] of bundle.names()) {
    const [, schematic, version] = mediaName.exec(name) ?? [];
    const [, id] = schematicName.exec(name) ?? [];
    if (schematic === undefined && id === undefined) continue;
    const { manifest } = await fetchManifest(bundle, root);
    if (manifest.kind !== 'image') throw new CodedError('BAD_DOCUMENT', `${name}: an artifact was expected`);
    for (const layer of manifest.layers) {
      const title = layer.annotations?.[titleAnnotation];
      const key = id === undefined ? `image/${schematic}/${version}/${title}` : `schematics/${id}`;
      if (id === undefined && title === undefined) continue;
      objects.set(key, {
        key,
        descriptor: layer,
        contentType: id === undefined ? contentTypeOf(title ?? '') : 'application/yaml',
        ...(title === undefined ? {} : { fileName: title }),
        pieces: await piecesOf(bundle, layer),
      });
    }
  }
  return [...objects.values()].sort((a, b) => byText(a.key, b.key));
}

/** @throws DIGEST_MISMATCH, DISK, DENIED, UPSTREAM, NETWORK */
export async function loadObjects(load: ObjectLoad): Promise<readonly LoadedObject[]> {
  const { bundle, sink, progress, signal } = load;
  const objects = await objectsOf(bundle);
  progress.expect(objects.reduce((sum, object) => sum + object.descriptor.size, 0));
  const limit = pLimit(objectsAtOnce);
  const largestFirst = objects.toSorted((a, b) => b.descriptor.size - a.descriptor.size);
  const settled = await Promise.allSettled(
    largestFirst.map((object) =>
      limit(async (): Promise<LoadedObject> => {
        signal?.throwIfAborted();
        const { key, descriptor } = object;
        const result = await sink.put(object, (bytes) => progress.advance(bytes), signal);
        if (result === 'present') progress.expect(-descriptor.size);
        return { key, digest: descriptor.digest, size: descriptor.size, result };
      }),
    ),
  );
  const failed = settled.find((r) => r.status === 'rejected');
  if (failed !== undefined) throw failed.reason;
  return settled
    .filter((r) => r.status === 'fulfilled')
    .map((r) => r.value)
    .sort((a, b) => byText(a.key, b.key));
}

async function piecesOf(bundle: BundleStore, layer: Descriptor): Promise<readonly Piece[]> {
  const pieces = await bundle.locate(layer);
  if (pieces !== undefined) return pieces;
  throw new CodedError('MISSING_CONTENT', `${layer.digest}: not in this bundle`, { descriptor: layer });
}
