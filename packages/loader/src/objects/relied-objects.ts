/** Whether what an increment relies on is in the object store, looked up before anything is moved. */

import type { ObjectSink } from '@omni-airgap/objects';
import type { Descriptor, Digest } from '@omni-airgap/oci';
import { settleAll } from '@omni-airgap/oci/base';
import pLimit from 'p-limit';
import type { LoadSource } from '../source.ts';
import type { PlannedObject } from './object-plan.ts';

/** In a folder each reads a file. */
const lookupsAtOnce = 4;

/**
 * @returns the objects, those that no bundle carries with the key they are under
 * @throws MISSING_CONTENT listing what is missing and the bundles that had it; DISK, DENIED, UPSTREAM, NETWORK
 */
export async function findRelied(
  bundles: LoadSource,
  sink: ObjectSink,
  objects: readonly PlannedObject[],
  signal?: AbortSignal,
): Promise<readonly PlannedObject[]> {
  const limit = pLimit(lookupsAtOnce);
  const elsewhere = reliedKeys(bundles);
  const missing: string[] = [];
  const found = await settleAll(
    objects.map((object) =>
      limit(async (): Promise<PlannedObject> => {
        const { key, descriptor, bytes, isVersionList } = object;
        if (bytes !== undefined || (await bundles.has(descriptor))) return object;
        const other = elsewhere.get(descriptor.digest);
        // The bundle that had a list of versions has united it with what was there.
        if (isVersionList ? await sink.head(key, signal) : await isThere(sink, key, descriptor, signal))
          return { ...object, from: key };
        if (other !== undefined && (await isThere(sink, other, descriptor, signal)))
          return { ...object, from: other };
        missing.push(`${sink.url}/${other ?? key} (${descriptor.digest})`);
        return object;
      }),
    ),
  );
  if (missing.length > 0) throw bundles.missingBase(missing.sort());
  return found;
}

async function isThere(
  sink: ObjectSink,
  key: string,
  descriptor: Descriptor,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  const there = await sink.head(key, signal);
  return there?.size === descriptor.size && there.digest === descriptor.digest;
}

/** Keys where content lies that the bundles do not carry. */
function reliedKeys(bundles: LoadSource): ReadonlyMap<Digest, string> {
  const keys = new Map<Digest, string>();
  for (const { document } of bundles.bundles) {
    for (const { key, digest } of document.relies?.objects ?? []) keys.set(digest, key);
  }
  return keys;
}
