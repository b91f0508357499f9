/** What issued bundles have yet to write, and letting go of it. */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { mapOf, planHashOf } from '@omni-airgap/format';
import { temporaryFolder } from '@omni-airgap/oci/testing';
import { expect, test } from 'vitest';
import { issuedBundle, openStore } from './issued-bundle.ts';

const flag = '--drop-issued';

test('what is in volumes that lie on no medium, and in volume 000', async () => {
  const { store, document } = await issuedBundle();
  const { id } = document;
  const plan = planHashOf(document, mapOf(document));
  const journal = await store.bundles.volumeJournal(plan);
  const sizes = async (): Promise<readonly number[] | undefined> =>
    (await store.bundles.pending())[0]?.blobs.map(({ size }) => size).sort((a, b) => a - b);
  expect(await sizes()).toEqual([100, 100_000, 900_000]);
  for (const volume of [0, 1, 2]) {
    await journal.hashed(volume, 'a'.repeat(64));
    await journal.written(volume);
  }
  // The large one goes on in 003; the small one is on every medium.
  expect(await sizes()).toEqual([100, 100_000, 900_000]);
  expect(await store.bundles.pending()).toMatchObject([{ id, sequence: 1, plan, volumes: [3] }]);
  await journal.hashed(3, 'a'.repeat(64));
  await journal.written(3);
  expect(await store.bundles.pending()).toEqual([]);
  await expect(store.bundles.drop(id, flag, false)).rejects.toMatchObject({ code: 'USAGE' });
});

test('a bundle that is let go is issued no more, and its plan begins anew; once more does nothing', async () => {
  const { root, store, document } = await issuedBundle();
  const { id } = document;
  const plan = planHashOf(document, mapOf(document));
  const journal = await store.bundles.volumeJournal(plan);
  await journal.hashed(1, 'a'.repeat(64));
  await journal.written(1);
  expect(await store.bundles.drop(id.slice(0, 8), flag, true)).toBe(id);
  expect(await store.bundles.pending()).toHaveLength(1);
  for (let i = 0; i < 2; i++) expect(await store.bundles.drop(id.slice(0, 8), flag, false)).toBe(id);
  expect(await store.bundles.pending()).toEqual([]);
  expect((await store.bundles.volumeJournal(plan)).isWritten(1)).toBe(false);
  expect(await readdir(join(root, 'bundles', 'plans'))).toEqual([]);
  for (const unknown of ['f'.repeat(64), id.slice(0, 7)]) {
    await expect(store.bundles.drop(unknown, flag, false)).rejects.toMatchObject({ code: 'NO_INPUT' });
  }
});

test('killed while it was let go, it is pending as a whole, and can be let go', async () => {
  const { store, document } = await issuedBundle();
  const plan = planHashOf(document, mapOf(document));
  const journal = await store.bundles.volumeJournal(plan);
  await journal.hashed(1, 'a'.repeat(64));
  await journal.written(1);
  await journal.remove();
  expect(await store.bundles.pending()).toMatchObject([{ volumes: [0, 1, 2, 3] }]);
  await store.bundles.drop(document.id, flag, false);
  expect(await store.bundles.pending()).toEqual([]);
});

test('a store without bundles owes nothing', async () => {
  const store = await openStore(await temporaryFolder());
  expect(await store.bundles.pending()).toEqual([]);
});
