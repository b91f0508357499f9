/** What a bundle carries: all content, or what is not inside yet; and where the rest of it lies. */
import { type BlobSize, type BundleRelies, byText, type Digest } from '@omni-airgap/content';
import type { Contents } from './contents.ts';
import { type Inside, repositoryOf } from './since.ts';

export interface Selection {
  readonly carried: readonly BlobSize[];
  /** Undefined for a full bundle. */
  readonly relies: BundleRelies | undefined;
}

/** The set difference by digest. Content that lies inside at an unknown place is carried again. */
export function select(contents: Contents, inside: Inside | undefined): Selection {
  const all = [...contents.descriptors.values()].map(({ digest, size }) => ({ digest, size }));
  if (inside === undefined) return { carried: all, relies: undefined };
  const placed = new Set([...inside.repositories.values()].flatMap((digests) => [...digests]));
  const isInside = ({ digest, size }: BlobSize): boolean =>
    inside.blobs.get(digest) === size && placed.has(digest);
  const relied = new Map(all.filter(isInside).map((blob) => [blob.digest, blob.size]));
  return { carried: all.filter((blob) => !isInside(blob)), relies: placesOf(contents, inside, relied) };
}

/** Each relied blob in the repositories that need it, or, if it is in none of those, in one that it can come from. */
function placesOf(contents: Contents, inside: Inside, relied: ReadonlyMap<Digest, number>): BundleRelies {
  const chosen = new Map<string, Set<Digest>>();
  const found = new Set<Digest>();
  const choose = (repository: string, digest: Digest): void => {
    chosen.set(repository, (chosen.get(repository) ?? new Set()).add(digest));
    found.add(digest);
  };
  for (const [name, graph] of contents.graphs) {
    const repository = repositoryOf(name);
    const there = inside.repositories.get(repository);
    for (const digest of graph.keys())
      if (relied.has(digest) && there?.has(digest)) choose(repository, digest);
  }
  const byName = [...inside.repositories].sort(([a], [b]) => byText(a, b));
  for (const [repository, digests] of byName) {
    for (const digest of digests) if (relied.has(digest) && !found.has(digest)) choose(repository, digest);
  }
  const blobsOf = (digests: Iterable<Digest>): BlobSize[] =>
    [...digests].sort(byText).map((digest) => ({ digest, size: relied.get(digest) ?? 0 }));
  return {
    repositories: [...chosen]
      .sort(([a], [b]) => byText(a, b))
      .map(([repository, digests]) => ({ repository, blobs: blobsOf(digests) })),
    objects: [...inside.objects]
      .filter(([, { digest, size }]) => relied.get(digest) === size)
      .sort(([a], [b]) => byText(a, b))
      .map(([key, { digest, size }]) => ({ key, digest, size })),
  };
}
