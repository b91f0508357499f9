/** Whether the store still has what is to be written, and has it right; what has left it is named with its bundle. */

import type { PlacedBlob } from '@omni-airgap/format';
import { CodedError, formatBytes } from '@omni-airgap/oci/base';
import { eachBlock } from '@omni-airgap/oci/fs';
import type { Layout } from '@omni-airgap/oci/layout';
import { Hasher } from '@omni-airgap/oci/model';
import type { Store } from '@omni-airgap/store';

/** Ids that a message names. */
const maxNamed = 4;

/**
 * @throws USAGE when content has left the store: what to do is the operator's choice; MISSING_CONTENT when it is gone
 * otherwise
 */
export async function requireContent(
  store: Store,
  layout: Layout,
  blobs: readonly PlacedBlob[],
): Promise<void> {
  const absent: PlacedBlob[] = [];
  for (const blob of blobs) if ((await layout.locate(blob)) === undefined) absent.push(blob);
  if (absent.length === 0) return;
  const carried = await store.bundles.carried();
  const lost = absent.find((blob) => !carried.has(blob));
  if (lost !== undefined) {
    throw new CodedError(
      'MISSING_CONTENT',
      `${lost.digest}: not in the store any more, or of another size; run fetch again`,
    );
  }
  const carriers = absent.flatMap((blob) => carried.carrierOf(blob) ?? []);
  const bundles = [...new Set(carriers.map(({ bundle }) => bundle))];
  const bytes = absent.reduce((sum, { size }) => sum + size, 0);
  const named = bundles.slice(0, maxNamed).join(', ');
  const more = bundles.length > maxNamed ? ` and ${bundles.length - maxNamed} more` : '';
  const since = bundles.map((id) => `--since ${id.slice(0, 12)}`).join(' ');
  // What is in a bundle that was taken back will not be inside: no increment can do without it.
  const canIncrement = carriers.every(({ isIssued }) => isIssued);
  const ways = canIncrement
    ? `carry only what is new: ${since}; or bring them back first: fetch --restore`
    : 'bring them back first: fetch --restore';
  throw new CodedError(
    'USAGE',
    `${absent.length} blobs (${formatBytes(bytes)}) have left ${store.root} with bundle ${named}${more} (--consume); ${ways}`,
  );
}

/** Reads a blob in the store. @returns whether its bytes are what its name says @throws DISK */
export async function isRight(layout: Layout, blob: PlacedBlob, signal?: AbortSignal): Promise<boolean> {
  const pieces = await layout.locate(blob);
  if (pieces === undefined) return false;
  const hasher = new Hasher();
  await eachBlock(pieces, (block) => hasher.update(block), signal);
  return hasher.finish() === blob.digest;
}

/** What to say of a blob that is not. */
export function wrongBytes(layout: Layout, { digest }: PlacedBlob): string {
  return `${layout.pathOf(digest)}: its bytes are not what its name says, the store was changed or its disk is bad; remove it and run fetch again`;
}
