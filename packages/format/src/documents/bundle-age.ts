/**
 * How old a bundle is. Whoever holds back newer bundles keeps a site at old ones for ever (a freeze attack, T44):
 * an old bundle is said to be old, and refused where the operator has set a limit.
 * Source: The Update Framework specification 1.0, "indefinite freeze attacks".
 */
import { CodedError } from '@omni-airgap/oci/base';
import type { BundleDocument } from './bundle-document.ts';

const dayMs = 86_400_000;
/** Older than this is worth a word also without a limit: a quarter of a year brings a Talos release. */
const oldDays = 90;

type Dated = Pick<BundleDocument, 'id' | 'createdAt'>;

/** Whole days since a bundle was made; negative when that is yet to come. @param now ms since 1970 */
export function ageInDays(createdAt: string, now: number = Date.now()): number {
  return Math.floor((now - Date.parse(createdAt)) / dayMs);
}

/**
 * @param maxDays the oldest that is taken; undefined for no limit
 * @param now ms since 1970
 * @returns a warning, or undefined when there is nothing to say
 * @throws EXPIRED when the bundle is older, or its age cannot be told because it seems to come from the future
 */
export function checkBundleAge(
  { id, createdAt }: Dated,
  maxDays: number | undefined,
  now: number = Date.now(),
): string | undefined {
  const days = ageInDays(createdAt, now);
  const made = `bundle ${id.slice(0, 12)} was made at ${createdAt}`;
  // A day is left to clocks and time zones that are set wrong.
  if (days < -1) {
    const text = `${made}, which is in the future: check the clock on this host and on the one that made it`;
    if (maxDays === undefined) return text;
    throw new CodedError('EXPIRED', `${text}; set it, or leave --max-age out`);
  }
  if (maxDays !== undefined && days >= maxDays) {
    throw new CodedError(
      'EXPIRED',
      `${made}, ${days} days ago, and --max-age allows ${maxDays}; ask for a newer one, or allow more`,
    );
  }
  return days < oldDays ? undefined : `${made}, ${days} days ago: ask whether there is a newer one`;
}
