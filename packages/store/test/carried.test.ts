/** The record of what has left a store with its bundles. */
import { appendFile, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { BundleDocument } from '@omni-airgap/format';
import { Layout } from '@omni-airgap/oci/layout';
import { descriptorOf, MediaType, openerOf } from '@omni-airgap/oci/model';
import { temporaryFolder } from '@omni-airgap/oci/testing';
import { describe, expect, test } from 'vitest';
import type { Store } from '../src/store.ts';
import { issuedBundle, openStore } from './issued-bundle.ts';

const sized = (document: BundleDocument, size: number) =>
  document.blobs.find((blob) => blob.size === size) ?? expect.fail(`no blob of ${size} bytes`);

/** Content of volumes may be gone from now on. */
async function recordConsumed(store: Store, id: string, volumes: readonly number[]): Promise<void> {
  await store.bundles.consume(id, volumes, [], await store.openLayout());
}

describe('a blob has left', () => {
  test('once all volumes that hold it are on record', async () => {
    const { store, document } = await issuedBundle();
    const [large, second, small] = [900_000, 100_000, 100].map((size) => sized(document, size));
    expect(document.volumes.length).toBe(4);
    expect((await store.bundles.carried()).has(large as never)).toBe(false);
    await recordConsumed(store, document.id, [1, 2]);
    expect((await store.bundles.carried()).has(large as never)).toBe(false);
    await recordConsumed(store, document.id, [3]);
    const carried = await store.bundles.carried();
    for (const blob of [large, second])
      expect(carried.carrierOf(blob as never)).toMatchObject({ bundle: document.id, isIssued: true });
    // What volume 000 holds never leaves.
    expect(carried.has(small as never)).toBe(false);
    expect(carried.has({ ...large, size: 5 } as never)).toBe(false);
  });

  test('not when the line was cut, and a line after it counts', async () => {
    const { root, store, document } = await issuedBundle();
    await recordConsumed(store, document.id, [1]);
    await appendFile(join(root, 'bundles', document.id, 'consumed.jsonl'), '{"volu');
    expect([...(await store.bundles.consumedVolumes(document.id))]).toEqual([1]);
    await recordConsumed(store, document.id, [2]);
    expect((await store.bundles.consumedVolumes(document.id)).size).toBe(2);
  });

  test('also with a bundle that was taken back afterwards', async () => {
    const { store, document } = await issuedBundle();
    await recordConsumed(store, document.id, [1, 2, 3]);
    await store.bundles.withdraw(document.id);
    await store.bundles.withdraw(document.id);
    expect(await store.bundles.document(document.id)).toBeUndefined();
    const carrier = (await store.bundles.carried()).carrierOf(sized(document, 900_000));
    expect(carrier).toMatchObject({ bundle: document.id, isIssued: false });
  });

  test('not when its bundle.json is not there any more', async () => {
    const { root, store, document } = await issuedBundle();
    await recordConsumed(store, document.id, [1, 2, 3]);
    await rm(join(root, 'bundles', document.id, 'bundle.json'));
    expect((await store.bundles.carried()).has(sized(document, 900_000))).toBe(false);
  });
});

test('a store without bundles has given nothing away', async () => {
  const folder = await temporaryFolder();
  const descriptor = descriptorOf(MediaType.octetStream, Buffer.from('x'));
  expect((await (await openStore(folder)).bundles.carried()).has(descriptor)).toBe(false);
});

test('T48 the record is not written through a link', async () => {
  const { root, store, document } = await issuedBundle();
  const outside = join(await temporaryFolder(), 'outside');
  await writeFile(outside, 'precious');
  await symlink(outside, join(root, 'bundles', document.id, 'consumed.jsonl'));
  await expect(recordConsumed(store, document.id, [1])).rejects.toMatchObject({ code: 'DISK' });
});

test('a layout takes it for present, and cannot read it', async () => {
  const root = join(await temporaryFolder(), 'store');
  const bytes = Buffer.from('gone');
  const descriptor = descriptorOf(MediaType.octetStream, bytes);
  const elsewhere = { has: ({ digest }: { digest: string }) => digest === descriptor.digest };
  const layout = await Layout.open(root, { create: true, elsewhere });
  expect(await layout.has(descriptor)).toBe(true);
  expect(await layout.push(descriptor, openerOf(bytes))).toBe('present');
  expect(await layout.locate(descriptor)).toBeUndefined();
  const other = descriptorOf(MediaType.octetStream, Buffer.from('other'));
  expect(await layout.push(other, openerOf(Buffer.from('other')))).toBe('stored');
});
