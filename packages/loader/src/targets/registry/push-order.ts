/**
 * In which order names go into a registry. What speaks about an image (signatures, attestations, referrers) comes
 * after the image, and what speaks about a signature after that one: some registries refuse it otherwise.
 * Fault F40; source: goharbor/harbor answers 404 for a subject that it does not have.
 */

import type { Fetcher } from '@omni-airgap/oci';
import { type Digest, fetchManifest, subjectOfTag } from '@omni-airgap/oci/model';
import type { PlacedName } from '../names.ts';

/** Deeper chains of signatures of signatures do not exist. */
const maxLevels = 16;

/** Names in waves: each needs only those before it. @throws BAD_DOCUMENT, DIGEST_MISMATCH, MISSING_CONTENT */
export async function pushOrder(
  places: readonly PlacedName[],
  source: Fetcher,
  signal?: AbortSignal,
): Promise<readonly (readonly PlacedName[])[]> {
  const subjects = new Map<PlacedName, Digest>();
  const companions = new Map<Digest, PlacedName>();
  for (const place of places) {
    const subject = await subjectOf(place, source, signal);
    if (subject === undefined) continue;
    subjects.set(place, subject);
    companions.set(place.descriptor.digest, place);
  }
  const levelOf = (place: PlacedName): number => {
    let level = 0;
    for (let at: PlacedName | undefined = place; at !== undefined && level < maxLevels; level++) {
      const subject = subjects.get(at);
      if (subject === undefined) break;
      at = companions.get(subject);
      if (at === undefined) return level + 1;
    }
    return level;
  };
  const waves: PlacedName[][] = [];
  for (const place of places) {
    const level = levelOf(place);
    for (let missing = waves.length; missing <= level; missing++) waves.push([]);
    waves[level]?.push(place);
  }
  return waves.filter((wave) => wave.length > 0);
}

/** The digest that a name speaks about: by its tag, or by the subject of its manifest. */
async function subjectOf(
  { tag, descriptor }: PlacedName,
  source: Fetcher,
  signal?: AbortSignal,
): Promise<Digest | undefined> {
  if (tag !== undefined) return subjectOfTag(tag);
  const { manifest } = await fetchManifest(source, descriptor, signal);
  return manifest.subject?.digest;
}

/** True for a name that exists only because of another image. */
export function isCompanion({ tag }: PlacedName): boolean {
  return tag === undefined || subjectOfTag(tag) !== undefined;
}
