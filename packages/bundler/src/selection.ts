/** What a bundle carries: all content, or what is not inside yet; and where the rest of it lies. */
import { type BlobSize, type BundleRelies, smallBlobLimit } from '@omni-airgap/format';
import { byText } from '@omni-airgap/oci/base';
import { Annotation, type Digest, isManifestType } from '@omni-airgap/oci/model';
import type { Contents } from './contents.ts';
import type { Inside } from './inside.ts';
import { repositoryOf } from './since.ts';

export interface Selection {
  readonly carried: readonly BlobSize[];
  /** Undefined for a full bundle. */
  readonly relies: BundleRelies | undefined;
}

/** The set difference by digest. Content that lies inside at an unknown place is carried again. */
export function select(contents: Contents, inside: Inside | undefined): Selection {
  const all = [...contents.descriptors.values()].map(({ digest, size }) => ({ digest, size }));
  if (inside === undefined) return { carried: all, relies: undefined };
  const objects = objectContent(contents);
  const isInside = (blob: BlobSize): boolean => inside.holds(blob, objects.has(blob.digest));
  const again = readAtLoad(contents, isInside);
  const isRelied = (blob: BlobSize): boolean => isInside(blob) && !again.has(blob.digest);
  const relied = new Map(all.filter(isRelied).map((blob) => [blob.digest, blob.size]));
  return { carried: all.filter((blob) => !isRelied(blob)), relies: placesOf(contents, inside, relied) };
}

const artifactKinds: readonly string[] = ['media', 'schematic', 'catalog'];

/** What becomes an object: files of artifacts, which have a title, and schematics, which a tag names. */
function objectContent({ items, graphs }: Contents): ReadonlySet<Digest> {
  const found = new Set<Digest>();
  for (const { name, kind } of items) {
    if (!artifactKinds.includes(kind)) continue;
    for (const [digest, { annotations }] of graphs.get(name) ?? []) {
      const isSchematic = kind === 'schematic' && name.endsWith(`:${digest.slice(7)}`);
      if (isSchematic || annotations?.[Annotation.title] !== undefined) found.add(digest);
    }
  }
  return found;
}

/**
 * Small files of artifacts that are new: a load without a registry reads some of them, such as kernel command lines,
 * and would have to look for them in other places.
 */
function readAtLoad({ items, graphs }: Contents, isInside: (blob: BlobSize) => boolean): ReadonlySet<Digest> {
  const found = new Set<Digest>();
  for (const { name, kind, descriptor } of items) {
    if (!artifactKinds.includes(kind) || isInside(descriptor)) continue;
    for (const [digest, { size, mediaType }] of graphs.get(name) ?? []) {
      if (size <= smallBlobLimit && !isManifestType(mediaType)) found.add(digest);
    }
  }
  return found;
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
