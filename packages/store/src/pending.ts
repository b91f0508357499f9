/**
 * Bundles that a store has issued and not written whole: what their other volumes hold must stay in the store until
 * these lie on a medium, or the bundle is let go. `bundle --consume` and `gc` both keep to this.
 */

import type { PlacedBlob } from '@omni-airgap/format';
import { mapOf } from '@omni-airgap/format';
import { CodedError } from '@omni-airgap/oci/base';
import { findKnown, issuedIds, readIssuedDocument, withdraw } from './issued-documents.ts';
import { planHashOf } from './plan-hash.ts';
import { VolumeJournal } from './volume-journal.ts';

export interface Pending {
  readonly id: string;
  readonly sequence: number;
  /** Hash of its plan, hex. */
  readonly plan: string;
  /** Those that lie on no medium yet; never empty. */
  readonly volumes: readonly number[];
  /** What these hold, and volume 000, which goes to every medium. */
  readonly blobs: readonly PlacedBlob[];
}

/** The oldest first. @throws BAD_DOCUMENT, DISK */
export async function pendingBundles(store: string): Promise<readonly Pending[]> {
  const found: Pending[] = [];
  for (const id of await issuedIds(store)) {
    const pending = await pendingOf(store, id);
    if (pending !== undefined) found.push(pending);
  }
  return found.sort((a, b) => a.sequence - b.sequence);
}

/**
 * Lets go of what is kept for a bundle: it is taken back, and no more media of it can be written. Once more for the
 * same bundle does nothing.
 * @param text its id, or how that begins (8 characters at least)
 * @param flag for messages
 * @returns its id
 * @throws NO_INPUT, USAGE when it is written whole, or several begin so; BAD_DOCUMENT, DISK
 */
export async function dropPending(
  store: string,
  text: string,
  flag: string,
  dryRun: boolean,
): Promise<string> {
  const id = await findKnown(store, text, flag);
  if ((await readIssuedDocument(store, id)) === undefined) return id;
  const pending = await pendingOf(store, id);
  if (pending === undefined) {
    throw new CodedError(
      'USAGE',
      `${flag} ${text}: all volumes of this bundle are written, so nothing is kept for it; leave it out`,
    );
  }
  if (dryRun) return id;
  // Should the same be bundled again, it begins with its first volume: nobody knows where the old ones are.
  await (await VolumeJournal.open(store, pending.plan)).remove();
  await withdraw(store, id);
  return id;
}

async function pendingOf(store: string, id: string): Promise<Pending | undefined> {
  const issued = await readIssuedDocument(store, id);
  if (issued === undefined) return undefined;
  const map = mapOf(issued.document);
  const plan = planHashOf(issued.document, map);
  const journal = await VolumeJournal.open(store, plan);
  const volumes = [...map.sizes.keys()].filter((volume) => !journal.isWritten(volume));
  if (volumes.length === 0) return undefined;
  return { id, sequence: issued.document.sequence, plan, volumes, blobs: map.blobsIn([0, ...volumes]) };
}
