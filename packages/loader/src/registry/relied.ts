/** Whether what an increment relies on is in the registry, looked up before anything is moved. */
import { childrenOf, type Descriptor, fetchManifest, isManifestType, MediaType } from '@omni-airgap/oci';
import { settleAll } from '@omni-airgap/oci/base';
import pLimit from 'p-limit';
import type { PlacedName } from '../target-names.ts';
import type { RegistryContext } from './context.ts';

const lookupsAtOnce = 16;

/** @throws MISSING_CONTENT listing what is missing and the bundles that had it */
export async function checkRelied(context: RegistryContext, names: readonly PlacedName[]): Promise<void> {
  const limit = pLimit(lookupsAtOnce);
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
  if (list.length > 0) throw context.bundles.missingBase(list);
}

/**
 * Content that the increment relies on in an object store alone, because nothing of the site's was known to be in a
 * registry. A registry gets it from the base.
 */
async function knownAsObjects(
  { bundles, source, signal }: RegistryContext,
  names: readonly PlacedName[],
): Promise<readonly (Pick<Descriptor, 'digest' | 'size'> & { readonly repository: string })[]> {
  const objects = bundles.bundles.flatMap(({ document }) => document.relies?.objects ?? []);
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
