/** The content of an image as it would be carried: its manifests are read, its layers only counted. */
import {
  childrenOf,
  collectGraph,
  type Descriptor,
  type Digest,
  type Fetcher,
  fetchManifest,
  isIndexType,
  parseReference,
} from '@omni-airgap/oci';
import type { Layout } from '@omni-airgap/oci/layout';
import type { RepositoryClient } from '@omni-airgap/oci/registry';
import { localFirst, requirePlatform, resolveReference, selectPlatforms, sum } from './fetch-image.ts';
import type { WantedImage } from './wanted.ts';

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
  const walk = signal === undefined ? {} : { signal };
  if (!isIndexType(root.mediaType)) {
    return { root, graph: await collectGraph(source, root, walk), perPlatform: [], source };
  }
  const { manifest } = await fetchManifest(source, root, signal);
  requirePlatform(manifest, image.platforms);
  const select = selectPlatforms(image.platforms) ?? (() => true);
  const graph = new Map<Digest, Descriptor>([[root.digest, root]]);
  const perPlatform: (readonly [string, number])[] = [];
  const chosen = childrenOf(manifest).filter((child) => select(child));
  const below = await Promise.all(chosen.map((child) => collectGraph(source, child, walk)));
  for (const [i, content] of below.entries()) {
    for (const [digest, descriptor] of content) graph.set(digest, descriptor);
    const { os = 'unknown', architecture = '' } = chosen[i]?.platform ?? {};
    if (os !== 'unknown') perPlatform.push([`${os}/${architecture}`, sum(content)]);
  }
  return { root, graph, perPlatform, source };
}
