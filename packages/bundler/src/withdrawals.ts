/**
 * Which names of earlier bundles a new one withdraws. Patterns are resolved here, against what the store has issued: bundle.json
 * states whole names, so that what is withdrawn can be read, and does not depend on what a site happens to have.
 */
import { byText, CodedError, NamePattern, printable } from '@omni-airgap/oci/base';
import { type Descriptor, type Digest, parseReference, subjectOfTag } from '@omni-airgap/oci/model';
import type { Store } from '@omni-airgap/store';

/** Names that a message lists. */
const maxListed = 3;

/** What the store has of manifests. */
export interface ManifestReader {
  /** What a manifest is about; undefined for one that is about nothing, or is no longer in the store. */
  subjectOf(descriptor: Descriptor): Promise<Digest | undefined>;
  /** The manifest and all manifests below it that are in the store: signatures can be about a platform. */
  below(descriptor: Descriptor): Promise<readonly Digest[]>;
}

/** What a name has stood for. */
type Meanings = ReadonlyMap<string, ReadonlyMap<Digest, Descriptor>>;

/**
 * The names that patterns match in the bundles that a store has issued, with the signatures and other referrers that are about
 * nothing else; and what the last bundle withdrew, unless it is carried again. The issued bundles are read for patterns only.
 * @param patterns of --withdraw
 * @param carried names of the new bundle, with what they stand for
 * @returns sorted
 * @throws USAGE for a pattern that matches no name of an issued bundle, or one that is carried; BAD_DOCUMENT, DISK
 */
export async function withdrawals(
  { bundles }: Pick<Store, 'bundles'>,
  patterns: readonly string[],
  carried: ReadonlyMap<string, Descriptor>,
  manifests: ManifestReader,
): Promise<readonly string[]> {
  const withdrawn = new Set((await bundles.withdrawnNames()).filter((name) => !carried.has(name)));
  if (patterns.length === 0) return [...withdrawn].sort(byText);
  const known = await meaningsIn(bundles);
  for (const name of matching(patterns, known, carried)) withdrawn.add(name);
  const subjects = await subjectsOf(known, manifests);
  const below = await belowAll(known, carried, manifests);
  // A referrer can be about another one.
  for (let found: readonly string[] = [...withdrawn]; found.length > 0; ) {
    found = companionsOf(withdrawn, below, carried, subjects);
    for (const name of found) withdrawn.add(name);
  }
  return [...withdrawn].sort(byText);
}

/**
 * Refuses patterns that cannot be right whatever the new bundle carries, before hours of fetching.
 * @param store undefined where there is none yet
 * @throws as withdrawals
 */
export async function checkWithdraw(
  store: Pick<Store, 'bundles'> | undefined,
  patterns: readonly string[],
): Promise<void> {
  if (patterns.length === 0) return;
  matching(patterns, store === undefined ? new Map() : await meaningsIn(store.bundles), new Map());
}

/** @throws USAGE */
function matching(
  patterns: readonly string[],
  known: Meanings,
  carried: ReadonlyMap<string, unknown>,
): readonly string[] {
  const candidates = [...new Set([...known.keys(), ...carried.keys()])].filter((name) => !isBare(name));
  return patterns.flatMap((text) => {
    const pattern = new NamePattern('--withdraw', text);
    const matches = candidates.filter((name) => pattern.matches(name));
    requireGone(text, matches, carried);
    return matches;
  });
}

/** True for what goes by its digest alone: a referrer, which is withdrawn with what it is about. */
function isBare(name: string): boolean {
  return name.startsWith('@');
}

async function meaningsIn(bundles: Store['bundles']): Promise<Meanings> {
  const meanings = new Map<string, Map<Digest, Descriptor>>();
  for await (const { roots } of bundles.documents()) {
    for (const { name, descriptor } of roots)
      meanings.set(name, (meanings.get(name) ?? new Map()).set(descriptor.digest, descriptor));
  }
  return meanings;
}

/** What names are about, by their tag, or by the manifest for those that have none. */
async function subjectsOf(known: Meanings, manifests: ManifestReader): Promise<ReadonlyMap<string, Digest>> {
  const subjects = new Map<string, Digest>();
  for (const [name, meanings] of known) {
    const { tag, digest } = isBare(name) ? { digest: name.slice(1) } : parseReference(name);
    const [descriptor] = meanings.values();
    const isReferrer = digest !== undefined && descriptor !== undefined;
    const subject = isReferrer ? await manifests.subjectOf(descriptor) : subjectOfTag(tag ?? '');
    if (subject !== undefined) subjects.set(name, subject);
  }
  return subjects;
}

/** @throws USAGE */
function requireGone(text: string, matches: readonly string[], carried: ReadonlyMap<string, unknown>): void {
  const flag = `--withdraw ${printable(text)}`;
  if (matches.length === 0) {
    throw new CodedError(
      'USAGE',
      `${flag}: matches no name of the bundles that this store has issued; names look like ghcr.io/siderolabs/omni:v1.10.4, * stands for any text; omni-airgap inspect --bundle DIR lists them`,
    );
  }
  const both = matches.filter((name) => carried.has(name));
  if (both.length === 0) return;
  const more = both.length > maxListed ? ` and ${both.length - maxListed} more` : '';
  throw new CodedError(
    'USAGE',
    `${flag}: this bundle would carry ${both.slice(0, maxListed).join(', ')}${more}; remove it from mirror.yaml and run fetch first, or use a narrower pattern`,
  );
}

/** By name, all manifests that it stands for, or has stood for. */
async function belowAll(
  known: Meanings,
  carried: ReadonlyMap<string, Descriptor>,
  manifests: ManifestReader,
): Promise<ReadonlyMap<string, ReadonlySet<Digest>>> {
  const below = new Map<string, Set<Digest>>();
  const all = [
    ...[...known].flatMap(([name, meanings]) => [...meanings.values()].map((one) => [name, one] as const)),
    ...carried,
  ];
  for (const [name, descriptor] of all) {
    const own = below.get(name) ?? new Set();
    for (const digest of await manifests.below(descriptor)) own.add(digest);
    below.set(name, own);
  }
  return below;
}

/** Names, not withdrawn yet, about what no other name stands for any more, in whatever repository. */
function companionsOf(
  withdrawn: ReadonlySet<string>,
  below: ReadonlyMap<string, ReadonlySet<Digest>>,
  carried: ReadonlyMap<string, unknown>,
  subjects: ReadonlyMap<string, Digest>,
): readonly string[] {
  const [gone, staying] = [new Set<Digest>(), new Set<Digest>()];
  for (const [name, digests] of below) {
    for (const digest of digests) (withdrawn.has(name) ? gone : staying).add(digest);
  }
  return [...subjects].flatMap(([name, subject]) => {
    const isGone = gone.has(subject) && !staying.has(subject);
    return isGone && !withdrawn.has(name) && !carried.has(name) ? [name] : [];
  });
}
