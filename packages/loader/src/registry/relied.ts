/** Whether what an increment relies on is in the registry, looked up before anything is moved. */
import { MediaType } from '@omni-airgap/content';
import pLimit from 'p-limit';
import { allOrFirst, type RegistryContext } from './context.ts';

const lookupsAtOnce = 16;

/** @throws MISSING_CONTENT listing what is missing and the bundles that had it */
export async function checkRelied(context: RegistryContext): Promise<void> {
  const limit = pLimit(lookupsAtOnce);
  const { host } = context.client;
  const missing = await allOrFirst(
    [...context.source.relied].map(({ digest, size, repository }) =>
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
