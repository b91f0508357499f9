/** Whether what an increment relies on from its base is at the site, looked up before anything is moved. */

import type { ObjectSink, WantedObject } from '@omni-airgap/objects';
import { CodedError, settleAll } from '@omni-airgap/oci/base';
import {
  childrenOf,
  type Descriptor,
  type Digest,
  fetchManifest,
  isManifestType,
  MediaType,
} from '@omni-airgap/oci/model';
import pLimit from 'p-limit';
import type { LoadSource } from '../source.ts';
import type { PlacedName } from './names.ts';
import type { PlannedObject } from './objects/object-plan.ts';
import type { RegistryContext } from './registry/context.ts';

const askedAtOnce = 16;

/** @throws MISSING_CONTENT listing what is missing and the bundles that had it */
export async function checkRelied(context: RegistryContext, names: readonly PlacedName[]): Promise<void> {
  const limit = pLimit(askedAtOnce);
  const { host } = context.client;
  const relied = [...context.source.relied, ...(await knownAsObjects(context, names))];
  const missing = await settleAll(
    relied.map(({ digest, size, repository }) =>
      limit(async () => {
        const target = context.repository(repository);
        // Whether it is a manifest is not said: a registry keeps the two apart.
        const there =
          (await target.has({ mediaType: MediaType.octetStream, digest, size }, context.signal)) ||
          (await target.has({ mediaType: MediaType.ociManifest, digest, size }, context.signal));
        return there ? [] : [`${host}/${repository}@${digest}`];
      }),
    ),
  );
  const list = missing.flat();
  if (list.length === 0) return;
  const error = context.bundles.missingBase(list);
  const sparse = new Set(context.bundles.document.sparse?.map(({ digest }) => digest));
  if (!relied.some(({ digest }, i) => sparse.has(digest) && missing[i]?.length === 1)) throw error;
  // Loading the base again would not bring it.
  throw new CodedError(
    error.code,
    `${error.message}; an index that the base was loaded without (--trim-indexes, --flatten) comes with an increment made from the receipt of that load: bundle --since RECEIPT`,
    { cause: error },
  );
}

/**
 * Content that the increment relies on in an object store alone, because nothing of the site's was known to be in a
 * registry. A registry gets it from the base.
 */
async function knownAsObjects(
  { bundles, source, signal }: RegistryContext,
  names: readonly PlacedName[],
): Promise<readonly (Pick<Descriptor, 'digest' | 'size'> & { readonly repository: string })[]> {
  const objects = bundles.documents.flatMap((document) => document.relies?.objects ?? []);
  const wanted = new Map<string, number>();
  for (const object of objects) {
    const content = { ...object, mediaType: MediaType.octetStream };
    if (!(await source.has(content))) wanted.set(object.digest, object.size);
  }
  if (wanted.size === 0) return [];
  const found: (Pick<Descriptor, 'digest' | 'size'> & { readonly repository: string })[] = [];
  for (const { descriptor, repository } of names) {
    // Files are layers of artifacts, which are in no index: one step down, for each repository, and no walk.
    if (!isManifestType(descriptor.mediaType) || !(await source.has(descriptor))) continue;
    const { manifest } = await fetchManifest(source, descriptor, signal);
    for (const { digest, size } of childrenOf(manifest))
      if (wanted.get(digest) === size) found.push({ digest, size, repository });
  }
  return found;
}

/** In a folder each reads a file, in a bucket each that no read-back is on record for. */
const readAtOnce = 4;

/** Objects that are to be there in the end, and those that increments rely on, each once. */
export function wantedObjects(
  bundles: LoadSource,
  objects: readonly PlannedObject[],
): readonly WantedObject[] {
  const relied = bundles.documents.flatMap((document) => document.relies?.objects ?? []);
  const wanted = new Map<string, WantedObject>();
  for (const { key, digest, size } of relied) wanted.set(key, { key, descriptor: { digest, size } });
  for (const { key, descriptor } of objects) wanted.set(key, { key, descriptor });
  return [...wanted.values()];
}

/**
 * @param believes take an object for what its metadata says, for a look that reads nothing
 * @returns the objects, those that no bundle carries with the key they are under
 * @throws MISSING_CONTENT listing what is missing and the bundles that had it; DISK, DENIED, UPSTREAM, NETWORK
 */
export async function findRelied(
  bundles: LoadSource,
  sink: ObjectSink,
  objects: readonly PlannedObject[],
  believes: boolean,
  signal?: AbortSignal,
): Promise<readonly PlannedObject[]> {
  const limit = pLimit(readAtOnce);
  const elsewhere = reliedKeys(bundles);
  const missing: string[] = [];
  const isThere = async (key: string, descriptor: Descriptor): Promise<boolean> => {
    if (!believes) return sink.holds({ key, descriptor }, signal);
    const there = await sink.head(key, signal);
    return there?.size === descriptor.size && there.digest === descriptor.digest;
  };
  const found = await settleAll(
    objects.map((object) =>
      limit(async (): Promise<PlannedObject> => {
        const { key, descriptor, bytes, isVersionList } = object;
        if (bytes !== undefined || (await bundles.has(descriptor))) return object;
        const other = elsewhere.get(descriptor.digest);
        // The bundle that had a list of versions has united it with what was there.
        if (isVersionList ? await sink.head(key, signal) : await isThere(key, descriptor))
          return { ...object, from: key };
        if (other !== undefined && (await isThere(other, descriptor))) return { ...object, from: other };
        missing.push(`${sink.url}/${other ?? key} (${descriptor.digest})`);
        return object;
      }),
    ),
  );
  if (missing.length > 0) throw bundles.missingBase(missing.sort());
  return found;
}

/** Keys where content lies that the bundles do not carry. */
function reliedKeys(bundles: LoadSource): ReadonlyMap<Digest, string> {
  const keys = new Map<Digest, string>();
  for (const document of bundles.documents) {
    for (const { key, digest } of document.relies?.objects ?? []) keys.set(digest, key);
  }
  return keys;
}
