/**
 * Which names of earlier bundles a new one withdraws. Patterns are resolved here, against what the store has issued: bundle.json
 * states whole names, so that what is withdrawn can be read, and does not depend on what a site happens to have.
 */
import type { BundleDocument } from '@omni-airgap/format';
import { byText, CodedError, NamePattern, printable } from '@omni-airgap/oci/base';
import { type Digest, parseReference, subjectOfTag } from '@omni-airgap/oci/model';
import { repositoryOf } from './base.ts';

type EarlierBundle = Pick<BundleDocument, 'sequence' | 'roots' | 'withdraws'>;

/** Names that a message lists. */
const maxListed = 3;

/**
 * The names that patterns match in earlier bundles, with signatures and the like that have a tag and are about nothing
 * else; and what the last bundle withdrew, unless it is carried again.
 * @param patterns of --withdraw
 * @param carried names of the new bundle, with what they stand for
 * @param earlier bundles that the store has issued, in any order
 * @returns sorted
 * @throws USAGE for a pattern that matches no name of an earlier bundle, or one that is carried
 */
export function withdrawals(
  patterns: readonly string[],
  carried: ReadonlyMap<string, { readonly digest: Digest }>,
  earlier: readonly EarlierBundle[],
): readonly string[] {
  const last = earlier.reduce<EarlierBundle | undefined>(
    (newest, one) => (newest === undefined || one.sequence > newest.sequence ? one : newest),
    undefined,
  );
  const withdrawn = new Set(last?.withdraws?.filter((name) => !carried.has(name)));
  const known = digestsOf(earlier);
  const candidates = [...new Set([...known.keys(), ...carried.keys()])].filter((name) => !name.includes('@'));
  for (const text of patterns) {
    const pattern = new NamePattern('--withdraw', text);
    const matches = candidates.filter((name) => pattern.matches(name));
    requireGone(text, matches, carried);
    for (const name of matches) withdrawn.add(name);
  }
  for (const name of companionsOf(withdrawn, known, carried)) withdrawn.add(name);
  return [...withdrawn].sort(byText);
}

/** By name, all that it has stood for. What goes by its digest alone has no name to withdraw. */
function digestsOf(bundles: readonly EarlierBundle[]): ReadonlyMap<string, ReadonlySet<Digest>> {
  const digests = new Map<string, Set<Digest>>();
  for (const { name, descriptor } of bundles.flatMap(({ roots }) => roots)) {
    if (name.includes('@')) continue;
    digests.set(name, (digests.get(name) ?? new Set()).add(descriptor.digest));
  }
  return digests;
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

/** Tags about images that no other name of their repository stands for any more. */
function companionsOf(
  withdrawn: ReadonlySet<string>,
  known: ReadonlyMap<string, ReadonlySet<Digest>>,
  carried: ReadonlyMap<string, { readonly digest: Digest }>,
): readonly string[] {
  const [gone, staying] = [new Set<string>(), new Set<string>()];
  for (const [name, digests] of known) {
    for (const digest of digests)
      (withdrawn.has(name) ? gone : staying).add(`${repositoryOf(name)}@${digest}`);
  }
  for (const [name, { digest }] of carried) {
    if (!name.includes('@')) staying.add(`${repositoryOf(name)}@${digest}`);
  }
  return [...known.keys()].filter((name) => {
    const subject = subjectOfTag(parseReference(name).tag ?? '');
    const about = `${repositoryOf(name)}@${subject}`;
    return subject !== undefined && !carried.has(name) && gone.has(about) && !staying.has(about);
  });
}
