/**
 * In which order names go into a registry. What speaks about an image (signatures, attestations, referrers) comes
 * after the image, and what speaks about a signature after that one: some registries refuse it otherwise.
 * Fault F40; source: goharbor/harbor answers 404 for a subject that it does not have.
 */

import type { Fetcher, Presence } from '@omni-airgap/oci';
import {
  childrenOf,
  type Descriptor,
  type Digest,
  fetchManifest,
  isIndexType,
  subjectOfTag,
} from '@omni-airgap/oci/model';
import type { PlacedName, Replacement } from '../names.ts';

/** Deeper chains of signatures of signatures do not exist. */
const maxLevels = 16;

/** A name by its repository and tag, inside or outside. */
type Placed = Pick<PlacedName, 'descriptor' | 'repository' | 'tag'> & {
  readonly replaces?: Replacement | undefined;
};

/** Names in waves: each needs only those before it. @throws BAD_DOCUMENT, DIGEST_MISMATCH, MISSING_CONTENT */
export async function pushOrder<T extends Placed>(
  places: readonly T[],
  source: Fetcher,
  signal?: AbortSignal,
): Promise<readonly (readonly T[])[]> {
  const subjects = await subjectsOf(places, source, signal);
  const companions = new Map<Digest, T>();
  for (const place of subjects.keys()) companions.set(place.descriptor.digest, place);
  const levelOf = (place: T): number => {
    let level = 0;
    for (let at: T | undefined = place; at !== undefined && level < maxLevels; level++) {
      const subject = subjects.get(at);
      if (subject === undefined) break;
      at = companions.get(subject);
      if (at === undefined) return level + 1;
    }
    return level;
  };
  const waves: T[][] = [];
  for (const place of places) {
    const level = levelOf(place);
    for (let missing = waves.length; missing <= level; missing++) waves.push([]);
    waves[level]?.push(place);
  }
  return waves.filter((wave) => wave.length > 0);
}

/**
 * For each name that exists only because of other images: those images among the names, by what it speaks about, which may
 * be a platform of theirs. Empty when none of them is given.
 * @throws BAD_DOCUMENT, DIGEST_MISMATCH, MISSING_CONTENT
 */
export async function imagesOf<T extends Placed>(
  places: readonly T[],
  source: Fetcher & Presence,
  signal?: AbortSignal,
): Promise<ReadonlyMap<T, readonly T[]>> {
  const subjects = await subjectsOf(places, source, signal);
  const byDigest = new Map<string, T[]>();
  const add = (place: T, digest: Digest): void => {
    const key = `${place.repository} ${digest}`;
    byDigest.set(key, [...(byDigest.get(key) ?? []), place]);
  };
  const addBelow = async (place: T, descriptor: Descriptor, depth: number): Promise<void> => {
    add(place, descriptor.digest);
    if (depth > maxLevels || !isIndexType(descriptor.mediaType) || !(await source.has(descriptor))) return;
    const { manifest } = await fetchManifest(source, descriptor, signal);
    for (const child of childrenOf(manifest)) await addBelow(place, child, depth + 1);
  };
  // What speaks about an image says the digest that it has outside.
  for (const place of places) await addBelow(place, place.replaces?.index ?? place.descriptor, 0);
  const found = new Map<T, readonly T[]>();
  const imagesAbove = (place: T, depth: number): readonly T[] => {
    const subject = subjects.get(place);
    if (subject === undefined) return [place];
    if (depth > maxLevels) return [];
    const about = byDigest.get(`${place.repository} ${subject}`) ?? [];
    return about.filter((one) => one !== place).flatMap((one) => imagesAbove(one, depth + 1));
  };
  for (const place of subjects.keys()) found.set(place, [...new Set(imagesAbove(place, 0))]);
  return found;
}

/** The digest that a name speaks about, for those that speak about one: by the tag, or by the subject of the manifest. */
export async function subjectsOf<T extends Placed>(
  places: readonly T[],
  source: Fetcher,
  signal?: AbortSignal,
): Promise<ReadonlyMap<T, Digest>> {
  const subjects = new Map<T, Digest>();
  for (const place of places) {
    const { tag, descriptor } = place;
    const subject =
      tag === undefined
        ? (await fetchManifest(source, descriptor, signal)).manifest.subject?.digest
        : subjectOfTag(tag);
    if (subject !== undefined) subjects.set(place, subject);
  }
  return subjects;
}

/** True for a name that exists only because of another image. */
export function isCompanion({ tag }: Pick<PlacedName, 'tag'>): boolean {
  return tag === undefined || subjectOfTag(tag) !== undefined;
}
