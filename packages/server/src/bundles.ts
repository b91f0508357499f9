/**
 * Bundles as a content source: one, spread over media or not, and the increments that were made from it. Of each
 * origin the newest says which names there are; content is taken from whichever has it.
 */

import {
  acceptedOf,
  BundleStore,
  type BundleTrust,
  bundleFolders,
  checkBundleAge,
  checkEquivocation,
} from '@omni-airgap/format';
import { type ContentSource, Overlay } from './source.ts';

export interface OpenedBundles {
  readonly source: ContentSource;
  /** Newest first. */
  readonly provenance: readonly Provenance[];
  /** What the operator should know, such as that a bundle is old. */
  readonly warnings: readonly string[];
}

/**
 * @param folders where media are mounted, in any order
 * @param maxAgeDays the oldest that is taken, of the newest bundle of each origin; undefined for no limit
 * @throws NO_INPUT, UNSIGNED, BAD_SIGNATURE, BAD_DOCUMENT, BAD_VOLUME, EXPIRED, DISK; ROLLBACK for two of one number
 */
export async function openBundles(
  folders: readonly string[],
  trust: BundleTrust,
  maxAgeDays?: number,
): Promise<OpenedBundles> {
  const bundles: BundleStore[] = [];
  for (const group of await bundleFolders(folders)) bundles.push(await BundleStore.open(group, trust));
  bundles.sort((a, b) => b.document.sequence - a.document.sequence);
  const given = bundles.map(({ document, signer }) => acceptedOf(document, signer));
  for (const one of given) checkEquivocation(one, given);
  const origins = new Set<string>();
  const warnings: string[] = [];
  const sources = bundles.map((bundle): ContentSource => {
    const isNewest = !origins.has(bundle.document.origin);
    origins.add(bundle.document.origin);
    if (!isNewest) return withoutNames(bundle);
    warnings.push(...[checkBundleAge(bundle.document, maxAgeDays)].filter((text) => text !== undefined));
    return bundle;
  });
  if (origins.size > 1) {
    const stores = [...origins].join(', ');
    warnings.push(
      `the bundles come from several stores (${stores}): their numbers do not tell which is newer`,
    );
  }
  const [only, ...others] = sources;
  return {
    source: only !== undefined && others.length === 0 ? only : new Overlay(sources),
    provenance: bundles.map(provenanceOf),
    warnings,
  };
}

function provenanceOf({ document, signer }: BundleStore): Provenance {
  const { id, origin, sequence, createdAt, createdBy } = document;
  return {
    id,
    origin,
    sequence,
    createdAt,
    createdBy,
    signedBy: signer.mode === 'signed' ? signer.key : undefined,
  };
}

function withoutNames(bundle: BundleStore): ContentSource {
  return {
    stat: (digest) => bundle.stat(digest),
    locate: (descriptor) => bundle.locate(descriptor),
    fetch: (descriptor, signal) => bundle.fetch(descriptor, signal),
    names: async function* () {},
  };
}

export interface Provenance {
  readonly id: string;
  readonly origin: string;
  readonly sequence: number;
  /** ISO 8601. */
  readonly createdAt: string;
  readonly createdBy?: string | undefined;
  /** Fingerprint of the key its signature was checked with; undefined when nobody's was. */
  readonly signedBy: string | undefined;
}
