/**
 * Whether what a bundle claims can be believed: that artifacts are what their names say, and that places at the site are
 * places. `load` asks before it contacts anybody, and `verify` outside, so that nothing crosses the gap to be refused.
 */
import type { BundleDocument } from '@omni-airgap/format';
import { checkObjectKey } from '@omni-airgap/objects';
import type { Fetcher, Presence } from '@omni-airgap/oci';
import { CodedError, isCoded } from '@omni-airgap/oci/base';
import { ObjectPlan } from './targets/objects/object-plan.ts';

/**
 * @param source the bundle; what it does not carry, what is not mounted and what is damaged is not judged here
 * @returns what is wrong, each a line that names the item
 * @throws DISK
 */
export async function refusalsOf(
  source: Fetcher & Presence,
  { roots, relies }: BundleDocument,
): Promise<readonly string[]> {
  const refusals: string[] = [];
  const note = (error: unknown): void => {
    if (isCoded(error, 'BAD_DOCUMENT', 'BAD_NAME')) refusals.push(error.message);
    else if (!isCoded(error, 'MISSING_CONTENT', 'DIGEST_MISMATCH', 'BAD_VOLUME', 'INCOMPLETE')) throw error;
  };
  const plan = new ObjectPlan(source);
  for (const root of roots) await plan.add(root).catch(note);
  for (const { key } of relies?.objects ?? []) {
    try {
      checkObjectKey(key);
    } catch (error) {
      note(error);
    }
  }
  return refusals;
}

/** @throws BAD_DOCUMENT naming the first item that is wrong; DISK */
export async function requireBelievable(
  source: Fetcher & Presence,
  documents: readonly BundleDocument[],
): Promise<void> {
  for (const document of documents) {
    const [first, ...more] = await refusalsOf(source, document);
    if (first === undefined) continue;
    const rest = more.length === 0 ? '' : ` (and ${more.length} more; verify lists them)`;
    throw new CodedError('BAD_DOCUMENT', `${first}${rest}; nothing was changed`);
  }
}
