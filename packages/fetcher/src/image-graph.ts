/** The content of an image as it would be carried: its manifests are read, its layers only counted. */
import {
  childrenOf,
  type Descriptor,
  type Digest,
  type Fetcher,
  fetchManifest,
  GraphBounds,
  graphOf,
  isIndexType,
  parseReference,
  walk,
} from '@omni-airgap/oci';
import { settleAll } from '@omni-airgap/oci/base';
import type { Layout } from '@omni-airgap/oci/layout';
import type { RepositoryClient } from '@omni-airgap/oci/registry';
import pLimit from 'p-limit';
import { localFirst, requirePlatform, resolveReference, selectPlatforms, sum } from './fetch-image.ts';
import type { WantedImage } from './wanted.ts';

/** Each reads one manifest after the other over the network. */
const platformsAtOnce = 8;

export interface ImageGraph {
  readonly root: Descriptor;
  readonly graph: ReadonlyMap<Digest, Descriptor>;
  readonly perPlatform: readonly (readonly [platform: string, bytes: number])[];
  /** Where its content can be read. */
  readonly source: Fetcher;
}

/** @param layout asked first, when there is a store @throws NOT_FOUND, CONFIG, and as pulls */
export async function imageGraph(
  repository: RepositoryClient,
  layout: Layout | undefined,
  image: WantedImage,
  signal: AbortSignal | undefined,
): Promise<ImageGraph> {
  const reference = parseReference(image.reference);
  const root = await resolveReference(repository, reference, signal);
  const source = layout === undefined ? repository : localFirst(layout, repository);
  const select = selectPlatforms(image.platforms);
  if (!isIndexType(root.mediaType)) {
    return { root, graph: await graphOf(walk(source, [root], { signal })), perPlatform: [], source };
  }
  const { manifest } = await fetchManifest(source, root, signal);
  requirePlatform(manifest, image.platforms);
  const chosen = childrenOf(manifest).filter((child) => select?.(child) ?? true);
  // A walk for each: what several platforms share counts for each of them, and once for all.
  const limit = pLimit(platformsAtOnce);
  const bounds = new GraphBounds(root);
  const seen = new Set<Digest>();
  const stop = new AbortController();
  const stoppable = AbortSignal.any([stop.signal, ...(signal === undefined ? [] : [signal])]);
  const below = await settleAll(
    chosen.map((child) =>
      limit(async () => {
        try {
          const content = await graphOf(walk(source, [child], { select, signal: stoppable }));
          for (const digest of content.keys()) if (!seen.has(digest)) bounds.countOne();
          for (const digest of content.keys()) seen.add(digest);
          return content;
        } catch (error) {
          // The first failure ends the others, and is what is thrown.
          stop.abort(error);
          throw stop.signal.reason;
        }
      }),
    ),
  );
  const graph = new Map<Digest, Descriptor>([[root.digest, root]]);
  const perPlatform: (readonly [string, number])[] = [];
  for (const [i, content] of below.entries()) {
    for (const [digest, descriptor] of content) graph.set(digest, descriptor);
    const { os = 'unknown', architecture = '' } = chosen[i]?.platform ?? {};
    if (os !== 'unknown') perPlatform.push([`${os}/${architecture}`, sum(content)]);
  }
  return { root, graph, perPlatform, source };
}
