/** lock.json in a store, as a fetch writes it. */
import { join } from 'node:path';
import { serializeDocument } from '@omni-airgap/format';
import { byText } from '@omni-airgap/oci/base';
import { writeFileAtomic } from '@omni-airgap/oci/fs';
import type { LockDocument, LockedItem } from './lock-document.ts';

/**
 * Writes the lock, sorted by name. Items that have not changed keep the time they were fetched at and by whom, so a
 * fetch that brought nothing leaves the file as it was.
 * @param by account and machine
 */
export async function writeLock(
  store: string,
  items: readonly LockedItem[],
  missing: readonly string[],
  before: LockDocument | undefined,
  by: string | undefined,
): Promise<void> {
  const fetchedBy = by === undefined ? {} : { fetchedBy: by };
  const known = new Map(before?.items.map((item) => [item.name, item]));
  const merged = [...items]
    .sort((a, b) => byText(a.name, b.name))
    .map((item) => {
      const old = known.get(item.name);
      if (old?.descriptor.digest !== item.descriptor.digest) return { ...item, ...fetchedBy };
      const kept = { ...item, fetchedAt: old.fetchedAt, ...fetcherOf(old) };
      // What was checked about these bytes stays true in a run that does not check.
      return item.verified === undefined && old.verified !== undefined
        ? { ...kept, verified: old.verified }
        : kept;
    });
  const lock: LockDocument = {
    kind: 'omni-airgap/lock',
    schema: 1,
    items: merged,
    missing: [...missing].sort(byText),
  };
  const text = serializeDocument(lock);
  if (before === undefined || text !== serializeDocument(before))
    await writeFileAtomic(join(store, 'lock.json'), text);
}

function fetcherOf({ fetchedBy }: LockedItem): Pick<LockedItem, 'fetchedBy'> {
  return fetchedBy === undefined ? {} : { fetchedBy };
}
