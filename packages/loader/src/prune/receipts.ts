/** What is inside after a prune, as receipts for `bundle --since`: of each store, the newest bundle that keeps what it names. */
import type { PrunePlan, ReceiptDocument } from '@omni-airgap/format';
import { byText } from '@omni-airgap/oci/base';
import type { Arrival, Inventory } from './inventory.ts';

/**
 * Ids of bundles whose content is no longer complete inside, sorted.
 * @param done what was deleted
 */
export function prunedBundles(
  { images, objects }: Inventory,
  done: Pick<PrunePlan, 'manifests' | 'objects'>,
): readonly string[] {
  const manifests = new Set(done.manifests.map(({ repository, digest }) => `${repository}@${digest}`));
  const keys = new Set(done.objects.map(({ key, digest }) => `${key} ${digest}`));
  const brought = [
    ...images.filter(({ repository, digest }) => manifests.has(`${repository}@${digest}`)),
    ...objects.filter(({ key, digest }) => keys.has(`${key} ${digest}`)),
  ];
  const ids = brought.flatMap(({ arrivals }) => arrivals.map(({ bundle }) => bundle));
  return [...new Set(ids)].sort();
}

/** One receipt for each store that has bundles among those pruned, by the name of the store. */
export function receiptsAfter(
  { registry, objectStore }: Pick<PrunePlan, 'registry' | 'objectStore'>,
  { arrivals }: Inventory,
  bundles: readonly string[],
  tool: string,
): readonly ReceiptDocument[] {
  const pruned = { at: new Date().toISOString(), bundles: [...bundles] };
  const origins = new Set(
    arrivals.filter(({ bundle }) => bundles.includes(bundle)).map(({ origin }) => origin),
  );
  return [...origins].sort().flatMap((origin) => {
    const newest = arrivals.find((one) => one.origin === origin && one.isKept);
    if (newest === undefined) return [];
    const loads = receiptsOf(newest).filter(
      (one) =>
        (registry !== undefined && one.registry === registry) ||
        (objectStore !== undefined && one.objectStore === objectStore),
    );
    const receipt = loads.reduce<ReceiptDocument | undefined>(
      (before, next) => (before === undefined ? next : together(before, next)),
      undefined,
    );
    return receipt === undefined ? [] : [{ ...receipt, tool, pruned }];
  });
}

/** The oldest first. */
function receiptsOf({ records }: Arrival): readonly ReceiptDocument[] {
  return records.map(({ receipt }) => receipt).sort((a, b) => byText(a.loadedAt, b.loadedAt));
}

/** Two loads of one bundle, in parts or into two places, as one receipt. */
function together(before: ReceiptDocument, next: ReceiptDocument): ReceiptDocument {
  const images = united(before.images, next.images, ({ name }) => name);
  const objects = united(before.objects, next.objects, ({ key }) => key);
  const loaded = new Set([...images.map(({ name }) => name), ...objects.map(({ key }) => key)]);
  const missing = united(before.missing, next.missing, ({ name }) => name).filter(
    ({ name }) => !loaded.has(name),
  );
  const trimmed = united(before.trimmed, next.trimmed, ({ name }) => name);
  const sparse = united(before.sparse, next.sparse, ({ digest }) => digest);
  const registry = next.registry ?? before.registry;
  const objectStore = next.objectStore ?? before.objectStore;
  const { missing: _, trimmed: __, sparse: ___, ...rest } = next;
  return {
    ...(missing.length === 0 ? {} : { missing }),
    ...(trimmed.length === 0 ? {} : { trimmed }),
    ...rest,
    ...(registry === undefined ? {} : { registry }),
    ...(objectStore === undefined ? {} : { objectStore }),
    images,
    ...(sparse.length === 0 ? {} : { sparse }),
    objects,
  };
}

/** What the later one says of an item counts. */
function united<T>(before: readonly T[] = [], next: readonly T[] = [], key: (item: T) => string): T[] {
  return [...new Map([...before, ...next].map((item) => [key(item), item])).values()].sort((a, b) =>
    byText(key(a), key(b)),
  );
}
