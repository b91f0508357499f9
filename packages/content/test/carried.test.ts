/** The record of what has left a store with its bundles. */
import { appendFile, mkdir, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { Carried, consumedVolumes, recordConsumed } from '../src/bundle/carried.ts';
import { bytesOf } from '../src/bytes.ts';
import { descriptorOf } from '../src/descriptor.ts';
import type { BundleDocument } from '../src/documents/bundle-document.ts';
import { serializeDocument } from '../src/documents/schema.ts';
import { Layout } from '../src/layout/layout.ts';
import { MediaType } from '../src/media-type.ts';
import { generatedBlob, writeTestBundle } from '../src/testing/index.ts';
import { temporaryFolder } from './temporary.ts';

/** A store that has issued one bundle: volumes 001 to 003 hold parts of a blob, a smaller one follows in 003. */
async function issued(): Promise<{ store: string; document: BundleDocument }> {
  const store = join(await temporaryFolder(), 'store');
  const layout = await Layout.open(store, { create: true });
  for (const [seed, size] of [
    [1, 900_000],
    [2, 100_000],
    [3, 100],
  ] as const) {
    const { descriptor, open } = await generatedBlob(seed, size);
    await layout.push(descriptor, open);
  }
  const document = await writeTestBundle(layout, join(store, 'media'), { volumeSize: 400 * 1024 });
  const folder = join(store, 'bundles', document.id);
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'bundle.json'), serializeDocument(document));
  return { store, document };
}

const sized = (document: BundleDocument, size: number) =>
  document.blobs.find((blob) => blob.size === size) ?? expect.fail(`no blob of ${size} bytes`);

describe('a blob has left', () => {
  test('once all volumes that hold it are on record', async () => {
    const { store, document } = await issued();
    const [large, second, small] = [900_000, 100_000, 100].map((size) => sized(document, size));
    expect(document.volumes.length).toBe(4);
    expect((await Carried.read(store)).has(large as never)).toBe(false);
    await recordConsumed(store, document.id, [1, 2]);
    expect((await Carried.read(store)).has(large as never)).toBe(false);
    await recordConsumed(store, document.id, [3]);
    const carried = await Carried.read(store);
    for (const blob of [large, second]) expect(carried.bundleOf(blob as never)).toBe(document.id);
    // What volume 000 holds never leaves.
    expect(carried.has(small as never)).toBe(false);
    expect(carried.has({ ...large, size: 5 } as never)).toBe(false);
  });

  test('not when the line was cut, and a line after it counts', async () => {
    const { store, document } = await issued();
    await recordConsumed(store, document.id, [1]);
    await appendFile(join(store, 'bundles', document.id, 'consumed'), 'content.ta');
    expect([...(await consumedVolumes(store, document.id))]).toEqual(['content.tar.001']);
    await recordConsumed(store, document.id, [2]);
    expect((await consumedVolumes(store, document.id)).size).toBe(2);
  });

  test('not when its bundle.json is not there any more', async () => {
    const { store, document } = await issued();
    await recordConsumed(store, document.id, [1, 2, 3]);
    await rm(join(store, 'bundles', document.id, 'bundle.json'));
    expect((await Carried.read(store)).has(sized(document, 900_000))).toBe(false);
  });
});

test('a store without bundles, and none at all, have given nothing away', async () => {
  const folder = await temporaryFolder();
  const descriptor = descriptorOf(MediaType.octetStream, Buffer.from('x'));
  expect((await Carried.read(folder)).has(descriptor)).toBe(false);
  expect((await Carried.read(join(folder, 'nowhere'))).has(descriptor)).toBe(false);
});

test('T48 the record is not written through a link', async () => {
  const { store, document } = await issued();
  const outside = join(await temporaryFolder(), 'outside');
  await writeFile(outside, 'precious');
  await symlink(outside, join(store, 'bundles', document.id, 'consumed'));
  await expect(recordConsumed(store, document.id, [1])).rejects.toMatchObject({ code: 'DISK' });
});

test('a layout takes it for present, and cannot read it', async () => {
  const root = join(await temporaryFolder(), 'store');
  const bytes = Buffer.from('gone');
  const descriptor = descriptorOf(MediaType.octetStream, bytes);
  const elsewhere = { has: ({ digest }: { digest: string }) => digest === descriptor.digest };
  const layout = await Layout.open(root, { create: true, elsewhere });
  expect(await layout.has(descriptor)).toBe(true);
  expect(await layout.push(descriptor, () => bytesOf(bytes))).toBe('present');
  expect(await layout.locate(descriptor)).toBeUndefined();
  const other = descriptorOf(MediaType.octetStream, Buffer.from('other'));
  expect(await layout.push(other, () => bytesOf(Buffer.from('other')))).toBe('stored');
});
