/**
 * Bundles as a content source: one, spread over media or not, and others of the same store or of another one. Which names
 * they have together says name-union.ts; content is taken from whichever has it.
 */

import {
  acceptedOf,
  type BundleDocument,
  BundleStore,
  type BundleTrust,
  bundleFolders,
  checkBundleAge,
  checkEquivocation,
} from '@omni-airgap/format';
import type { Descriptor } from '@omni-airgap/oci/model';
import { type NameUnion, unionOf } from './name-union.ts';
import { type ContentSource, Overlay } from './source.ts';

export interface OpenedBundles {
  readonly source: ContentSource;
  /** Newest first. */
  readonly provenance: readonly Provenance[];
  /** Names that are served although the newest bundle of their store does not list them, and the bundle that does. */
  readonly olderNames: ReadonlyMap<string, Provenance>;
  /** What the operator should know, such as that a bundle is old. */
  readonly warnings: readonly string[];
  /** Of each older bundle that names are taken from: how many, and the first of them. */
  readonly notes: readonly string[];
}

export interface OpenBundlesOptions {
  /** The oldest that is taken, of the newest bundle of each origin; undefined for no limit. */
  readonly maxAgeDays?: number | undefined;
  /** Of each origin, serve only the names of its newest bundle; default false. */
  readonly newestOnly?: boolean | undefined;
}

/**
 * @param folders where media are mounted, in any order
 * @throws NO_INPUT, UNSIGNED, BAD_SIGNATURE, BAD_DOCUMENT, BAD_VOLUME, EXPIRED, DISK; ROLLBACK for two of one number
 */
export async function openBundles(
  folders: readonly string[],
  trust: BundleTrust,
  { maxAgeDays, newestOnly = false }: OpenBundlesOptions = {},
): Promise<OpenedBundles> {
  const bundles: BundleStore[] = [];
  for (const group of await bundleFolders(folders)) bundles.push(await BundleStore.open(group, trust));
  bundles.sort((a, b) => b.document.sequence - a.document.sequence);
  const given = bundles.map(({ document, signer }) => acceptedOf(document, signer));
  for (const one of given) checkEquivocation(one, given);
  const documents = bundles.map(({ document }) => document);
  const newest = new Map(documents.toReversed().map((document) => [document.origin, document]));
  const warnings = documents
    .filter((document) => newest.get(document.origin) === document)
    .flatMap((document) => checkBundleAge(document, maxAgeDays) ?? []);
  if (newest.size > 1) {
    const stores = [...new Set(documents.map(({ origin }) => origin))].join(', ');
    warnings.push(
      `the bundles come from several stores (${stores}): their numbers do not tell which is newer`,
    );
  }
  const union = unionOf(documents, newestOnly);
  warnings.push(...clashText(union.clashes));
  const provenance = new Map(bundles.map((bundle) => [bundle.document, provenanceOf(bundle)]));
  const [only, ...others] = bundles;
  return {
    source: only !== undefined && others.length === 0 ? only : withNames(new Overlay(bundles), union.names),
    provenance: [...provenance.values()],
    olderNames: new Map(
      [...union.names].flatMap(([name, { bundle, isOlder }]) => {
        const from = isOlder ? provenance.get(bundle) : undefined;
        return from === undefined ? [] : [[name, from] as const];
      }),
    ),
    warnings,
    notes: olderText(documents, union, newest),
  };
}

function withNames(
  content: ContentSource,
  names: ReadonlyMap<string, { readonly descriptor: Descriptor }>,
): ContentSource {
  return {
    stat: (digest) => content.stat(digest),
    locate: (descriptor) => content.locate(descriptor),
    fetch: (descriptor, signal) => content.fetch(descriptor, signal),
    names: async function* () {
      for (const [name, { descriptor }] of names) yield [name, descriptor];
    },
  };
}

/** Names that a line of the log lists. */
const maxListed = 5;

function listOf(names: readonly string[]): string {
  const more = names.length > maxListed ? ` and ${names.length - maxListed} more` : '';
  return `${names.slice(0, maxListed).join(', ')}${more}`;
}

function textOf({ id, sequence }: Pick<BundleDocument, 'id' | 'sequence'>): string {
  return `bundle ${id.slice(0, 12)} (number ${sequence})`;
}

/** A line for each pair of bundles. */
function clashText(clashes: NameUnion<BundleDocument>['clashes']): readonly string[] {
  const pairs = Map.groupBy(
    clashes,
    ({ served, other }) => `${textOf(served)} is served, not that of ${textOf(other)}`,
  );
  return [...pairs].map(
    ([which, list]) =>
      `two stores have the same names with different content; that of ${which}: ${listOf(list.map(({ name }) => name))}`,
  );
}

/** A line for each older bundle. Content that goes by its digest alone is counted with what needs it. */
function olderText(
  documents: readonly BundleDocument[],
  { names }: NameUnion<BundleDocument>,
  newest: ReadonlyMap<string, BundleDocument>,
): readonly string[] {
  return documents.flatMap((document) => {
    const own = [...names].flatMap(([name, { bundle, isOlder }]) =>
      isOlder && bundle === document && !name.startsWith('@') ? [name] : [],
    );
    const latest = newest.get(document.origin);
    if (own.length === 0 || latest === undefined) return [];
    const count = own.length === 1 ? '1 name' : `${own.length} names`;
    return [
      `${count} of ${textOf(document)} that ${textOf(latest)} does not list: ${listOf(own)}; --newest-only does not serve them`,
    ];
  });
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
