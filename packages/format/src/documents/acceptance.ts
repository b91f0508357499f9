/**
 * Whether a bundle may follow those that a site has accepted: older ones, another one under the same number, and those of
 * a store that nobody there knows. Pure rules, the same for load and serve. Faults F31, F32; threats T43, T45.
 */
import { CodedError } from '@omni-airgap/oci/base';
import type { BundleSigner } from '../bundle-store.ts';
import type { BundleDocument } from './bundle-document.ts';

/** A bundle that was accepted. Its text is the tag, and the name of the file. */
export interface Accepted {
  readonly origin: string;
  readonly sequence: number;
  readonly id: string;
  /** Nobody vouched for it: it says nothing about signed bundles. */
  readonly unsigned: boolean;
}

export function acceptedOf({ origin, sequence, id }: BundleDocument, signer: BundleSigner): Accepted {
  return { origin, sequence, id, unsigned: signer.mode === 'unsigned' };
}

/** More bundles than a store issues in a lifetime. One that claims to be further ahead would shut out all honest ones. */
const maxJump = 10_000;

/** What was accepted says something about this bundle. */
function speaksAbout(before: Accepted, bundle: Accepted): boolean {
  return before.origin === bundle.origin && (bundle.unsigned || !before.unsigned);
}

/**
 * Refuses another bundle of the same number as one that was accepted, or is given beside it: one of the two is not
 * what the store says that it issued, and nobody can want both (T43).
 * @throws ROLLBACK
 */
export function checkEquivocation(bundle: Accepted, others: readonly Accepted[]): void {
  const other = others.find(
    (one) => speaksAbout(one, bundle) && one.sequence === bundle.sequence && one.id !== bundle.id,
  );
  if (other === undefined) return;
  throw new CodedError(
    'ROLLBACK',
    `bundles ${bundle.id.slice(0, 12)} and ${other.id.slice(0, 12)} both say that they are number ${bundle.sequence} of one store, and one was accepted here or is given too; find out which is the right one, and let the store issue it again, with a smaller --volume-size: that gets the next number`,
  );
}

/**
 * Refuses a bundle that is older than one that was accepted, or far ahead of all of them (T43, T45).
 * @param isAllowed the operator wants it all the same
 * @returns what is to be said of one that is taken all the same
 * @throws ROLLBACK
 */
export function checkRollback(
  bundle: Accepted,
  accepted: readonly Accepted[],
  isAllowed: boolean,
): string | undefined {
  const name = `bundle ${bundle.id.slice(0, 12)}`;
  let newest: Accepted | undefined;
  for (const one of accepted)
    if (speaksAbout(one, bundle) && one.sequence > (newest?.sequence ?? 0)) newest = one;
  let refusal: readonly [what: string, advice: string] | undefined;
  if (newest !== undefined && newest.sequence > bundle.sequence) {
    refusal = [
      `${name} is number ${bundle.sequence} of its store, and number ${newest.sequence} (${newest.id.slice(0, 12)}) was accepted here already`,
      'use the newer one, or --allow-rollback to go back on purpose',
    ];
  } else if (bundle.sequence > (newest?.sequence ?? 0) + maxJump) {
    refusal = [
      `${name} claims number ${bundle.sequence}, ${newest === undefined ? 'and none was accepted here before' : `far ahead of ${newest.sequence}, the last one accepted here`}; accepting it would lock out every bundle in between`,
      'find out where it comes from, or use --allow-rollback',
    ];
  }
  if (refusal === undefined) return undefined;
  const [what, advice] = refusal;
  if (!isAllowed) throw new CodedError('ROLLBACK', `${what}; ${advice}`);
  return `${what}; taken all the same (--allow-rollback)`;
}

/** Stores that a message names. */
const maxNamed = 3;

/**
 * Refuses a bundle of a store that nothing was accepted of, where another store is known: numbers protect the bundles of
 * one store only, so another one is a way round them (A16).
 * @param newOrigin the store that the operator accepts
 * @returns what is to be said of the first bundle of a store
 * @throws ROLLBACK
 */
export function checkOrigin(
  bundle: Accepted,
  accepted: readonly Accepted[],
  newOrigin: string | undefined,
): string | undefined {
  const name = `bundle ${bundle.id.slice(0, 12)}`;
  const known = accepted.filter((one) => bundle.unsigned || !one.unsigned);
  if (known.some(({ origin }) => origin === bundle.origin)) return undefined;
  const others = [...new Set(known.map(({ origin }) => origin))];
  const first = `${name} is the first from store ${bundle.origin} here`;
  if (others.length === 0) return first;
  const more = others.length > maxNamed ? ` and ${others.length - maxNamed} more` : '';
  const list = `${others.slice(0, maxNamed).join(', ')}${more}`;
  if (newOrigin === bundle.origin) return `${first}, beside ${list}; accepted (--new-origin)`;
  throw new CodedError(
    'ROLLBACK',
    `${first}, and this site has accepted bundles from store ${list}; if the store was recreated or is a second one, compare the ID with the one that bundle printed outside, and accept it once with --new-origin ${bundle.origin}`,
  );
}
