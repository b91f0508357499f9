/**
 * A bundle into an object store: files first, then the small lists that speak of them. A list of versions is united
 * with the one that is there; the rest is the content of its key, whatever was there before.
 */

import { type NewObject, type ObjectSink, StorageFull } from '@omni-airgap/objects';
import type { Progress } from '@omni-airgap/oci';
import { byText, CodedError, formatBytes, isCoded } from '@omni-airgap/oci/base';
import { collect, type Digest, descriptorOf } from '@omni-airgap/oci/model';
import pLimit from 'p-limit';
import { isRefusal, type Missing } from '../../missing.ts';
import { explainDamage, type LoadSource, MissingVolumes, throwWorst } from '../../source.ts';
import { maxVersionListBytes, uniteVersions } from '../version-list.ts';
import type { PlannedObject } from './object-plan.ts';

export interface ObjectLoad {
  readonly bundles: LoadSource;
  readonly sink: ObjectSink;
  readonly progress: Progress;
  readonly missing: Missing;
  readonly signal?: AbortSignal | undefined;
}

export interface LoadedObject {
  readonly key: string;
  readonly digest: Digest;
  /** Bytes. */
  readonly size: number;
  readonly result: 'stored' | 'present';
}

/** Enough to keep a disk and a line busy; each holds two blocks. */
const objectsAtOnce = 3;

/** Along the media. What the store refuses is noted; the others go on. @throws BAD_VOLUME, INCOMPLETE naming volumes, MISSING_CONTENT, DISK, DENIED, UPSTREAM, NETWORK */
export async function loadObjects(
  load: ObjectLoad,
  objects: readonly PlannedObject[],
): Promise<readonly LoadedObject[]> {
  const { bundles, progress, missing, signal } = load;
  progress.expect(objects.reduce((sum, object) => sum + object.descriptor.size, 0));
  const stop = new AbortController();
  const either = AbortSignal.any([stop.signal, ...(signal === undefined ? [] : [signal])]);
  const errors: unknown[] = [];
  const loaded: LoadedObject[] = [];
  const limit = pLimit(objectsAtOnce);
  const inOrder = objects.toSorted(
    (a, b) => bundles.position(a.descriptor.digest) - bundles.position(b.descriptor.digest),
  );
  await Promise.all(
    inOrder.map((object) =>
      limit(async () => {
        if (either.aborted) return;
        try {
          loaded.push(await loadObject({ ...load, signal: either }, object));
        } catch (error) {
          const isOne = isRefusal(error) && !(error instanceof StorageFull) && error.code === 'UPSTREAM';
          if (isOne && (error.status ?? 0) < 500 && !stop.signal.aborted) {
            missing.refuse([object.key], error);
            return;
          }
          errors.push(stop.signal.aborted ? error : await explainDamage(bundles, error, signal));
          // A store that is gone or lets nobody in is not asked for every other object too.
          if (error instanceof StorageFull || isCoded(error, 'NETWORK', 'DENIED', 'EGRESS_DENIED', 'DISK')) {
            stop.abort();
          }
        }
      }),
    ),
  );
  signal?.throwIfAborted();
  const full = errors.find((error) => error instanceof StorageFull);
  if (full !== undefined) throw stillNeeded(full, objects, loaded);
  throwWorst(errors);
  return loaded.sort((a, b) => byText(a.key, b.key));
}

function stillNeeded(
  full: StorageFull,
  objects: readonly PlannedObject[],
  loaded: readonly LoadedObject[],
): CodedError {
  const done = new Set(loaded.map(({ key }) => key));
  const missing = objects.filter(({ key }) => !done.has(key));
  const bytes = missing.reduce((sum, { descriptor }) => sum + descriptor.size, 0);
  return new CodedError(
    full.code,
    `${full.message}; ${formatBytes(bytes)} in ${missing.length} object(s) are still to be stored: make room or raise the quota, then run load again`,
    { cause: full, status: full.status },
  );
}

async function loadObject(load: ObjectLoad, object: PlannedObject): Promise<LoadedObject> {
  const { sink, progress, signal } = load;
  const { key, descriptor } = object;
  const ready = await readyObject(load, object);
  const result =
    ready === undefined ? 'present' : await sink.put(ready, (bytes) => progress.advance(bytes), signal);
  const { digest, size } = ready?.descriptor ?? descriptor;
  // Nothing moves for what is present, or copied inside the store; a list that was united has another size.
  const isMoved = result === 'stored' && ready?.content.kind !== 'object';
  progress.expect((isMoved ? size : 0) - descriptor.size);
  return { key, digest, size, result };
}

/** The object with its content; undefined when it is there and its content is not at hand. */
async function readyObject(load: ObjectLoad, object: PlannedObject): Promise<NewObject | undefined> {
  const { bundles, sink, signal } = load;
  const { key, descriptor, contentType, fileName, from } = object;
  if (from === key) return undefined;
  const named = { key, descriptor, contentType, fileName };
  if (from !== undefined) return { ...named, content: { kind: 'object', key: from } };
  if (object.isVersionList) {
    const ours = await collect(bundles.fetch(descriptor, signal), maxVersionListBytes, key);
    const there = await sink.head(key, signal);
    const bytes =
      there === undefined
        ? ours
        : uniteVersions(ours, await collect(sink.get(key, signal), maxVersionListBytes, key));
    return { ...named, descriptor: descriptorOf(contentType, bytes), content: { kind: 'bytes', bytes } };
  }
  if (object.bytes !== undefined) return { ...named, content: { kind: 'bytes', bytes: object.bytes } };
  const wanted = bundles.wantedFor(descriptor);
  if (wanted.length > 0) {
    if (await sink.holds({ key, descriptor }, signal)) return undefined;
    throw new MissingVolumes(wanted);
  }
  const pieces = await bundles.locate(descriptor);
  if (pieces === undefined) throw new CodedError('INTERNAL', `${key}: its content was not looked for`);
  return { ...named, content: { kind: 'pieces', pieces } };
}
