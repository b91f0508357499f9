/**
 * F31: volumes made to mislead. A reader makes the header that must be there and compares it, so whatever a volume
 * says instead is damage: it has no names, types, sizes or links to be followed. Each is signed-off by the right
 * bundle.json, as somebody would who can write to the medium only.
 */
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { BundleStore } from '../src/bundle/bundle-store.ts';
import { tarHeader } from '../src/bundle/tar-header.ts';
import { verifyBundle } from '../src/bundle/verify-bundle.ts';
import type { BundleDocument } from '../src/documents/bundle-document.ts';
import { Layout } from '../src/layout/layout.ts';
import { generatedBlob, writeTestBundle } from '../src/testing/index.ts';
import { temporaryFolder, temporaryLayout } from './temporary.ts';

const any = { mode: 'any' } as const;
const block = 512;

interface Made {
  readonly folder: string;
  readonly document: BundleDocument;
  /** Volume 001: three members, the last with padding. */
  readonly volume: Buffer;
  readonly path: string;
}

async function make(): Promise<Made> {
  const layout = await temporaryLayout();
  for (const [seed, size] of [100_000, 90_000, 70_001].entries()) {
    const { descriptor, open } = await generatedBlob(seed + 1, size);
    await layout.push(descriptor, open);
  }
  const folder = join(await temporaryFolder(), 'media');
  const document = await writeTestBundle(layout, folder);
  const path = join(folder, 'content.tar.001');
  return { folder, document, volume: await readFile(path), path };
}

/** Puts the volume in place, of the size it should have, and expects it to be refused and nothing to come of it. */
async function expectRefused({ folder, volume, path }: Made, hostile: Buffer): Promise<void> {
  const bytes = Buffer.alloc(volume.byteLength);
  hostile.copy(bytes, 0, 0, bytes.byteLength);
  expect(bytes.equals(volume), 'the test changes something').toBe(false);
  await writeFile(path, bytes);
  const before = await tree(join(folder, '..'));
  const { damages } = await verifyBundle(await BundleStore.open([folder], any));
  expect(damages.length).toBeGreaterThan(0);
  expect(damages.every((damage) => damage.volume === 'content.tar.001')).toBe(true);
  expect(await tree(join(folder, '..')), 'nothing was written anywhere').toEqual(before);
}

async function tree(folder: string): Promise<readonly string[]> {
  return (await readdir(folder, { recursive: true })).sort();
}

/** The volume with its first header changed, the checksum made right again. */
function withHeader(volume: Buffer, change: (header: Buffer) => void, fixSum = true): Buffer {
  const changed = Buffer.from(volume);
  const header = changed.subarray(0, block);
  change(header);
  if (fixSum) writeSum(header, sumOf(header));
  return changed;
}

function sumOf(header: Buffer, signed = false): number {
  const copy = Buffer.from(header).fill(0x20, 148, 156);
  let sum = 0;
  for (const byte of copy) sum += signed && byte > 127 ? byte - 256 : byte;
  return sum;
}

function writeSum(header: Buffer, sum: number): void {
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
}

function withName(volume: Buffer, name: string): Buffer {
  return withHeader(volume, (header) => {
    header.fill(0, 0, 100);
    header.write(name, 0, 'latin1');
  });
}

/** A member that is not ours: header and data, padded. */
function member(name: string, type: string, data: string | Buffer, link = ''): Buffer {
  const bytes = Buffer.from(data);
  const header = tarHeader({ name: 'placeholder', size: bytes.byteLength });
  header.fill(0, 0, 100);
  header.write(name, 0, 'latin1');
  header.write(type, 156, 'latin1');
  header.write(link, 157, 'latin1');
  writeSum(header, sumOf(header));
  const padded = Buffer.alloc(Math.ceil(bytes.byteLength / block) * block);
  bytes.copy(padded);
  return Buffer.concat([header, padded]);
}

async function each(change: (volume: Buffer, document: BundleDocument) => Buffer): Promise<void> {
  const made = await make();
  await expectRefused(made, change(made.volume, made.document));
}

describe('T1 tar.name.dotdot', () => {
  test.each([
    '../x',
    'a/../../x',
    '/abs',
    'a//b',
    './a',
    'a/./b',
    'blobs/sha256/x/',
    'C:\\x',
    'blobs\\x',
    '',
  ])('"%s" is not the name of a member', (name) => each((volume) => withName(volume, name)));
});

describe('T2 tar.type.link', () => {
  const targets = ['/etc/passwd', '../../x', 'index.json', 'C:../x', `${'../'.repeat(20)}x`];
  test.each(['1', '2'].flatMap((type) => targets.map((target) => [type, target])))(
    'a link of type %s to %s is not looked at',
    (type, target) =>
      each((volume) =>
        withHeader(volume, (header) => {
          header.write(type, 156, 'latin1');
          header.write(target, 157, 'latin1');
        }),
      ),
  );
});

describe('T3 tar.type.other', () => {
  const types = ['\0', ...'34567', ...'SDMVNKLXxg', ...'ABCEFGHIJOPQRTUWYZ'];
  test('no type but file and folder', async () => {
    const one = await make();
    for (const type of types) {
      await expectRefused(
        one,
        withHeader(one.volume, (header) => header.write(type, 156, 'latin1')),
      );
    }
  });

  test('a folder with data', () =>
    each((volume) => withHeader(volume, (header) => header.write('5', 156, 'latin1'))));
});

describe('T4 tar.pax.any', () => {
  test('CVE-2026-53655: a size in a PAX header over a long-name header, and its control', async () => {
    const one = await make();
    const size = '13 size=2048\n';
    const long = member('././@LongLink', 'L', `${'a'.repeat(100)}\0`);
    const smuggled = member('file_b', '0', 'smuggled');
    const data = Buffer.concat([smuggled, Buffer.alloc(block)]);
    await expectRefused(one, Buffer.concat([member('x', 'x', size), long, member('file_a', '0', data)]));
    await expectRefused(one, Buffer.concat([long, member('file_a', '0', data)]));
  });

  test.each(['x', 'g', 'L', 'K'])('a header of type %s in front of the member', (type) =>
    each((volume) => Buffer.concat([member('pax', type, '19 path=../../evil\n'), volume])),
  );
});

describe('T5 tar.size.encoding', () => {
  const sizes: readonly (readonly [string, Buffer])[] = [
    ['spaces in front', Buffer.from('     303240 ')],
    ['not terminated', Buffer.from('000000303240')],
    ['not octal', Buffer.from('00000189999\0')],
    ['negative', Buffer.from('-0000303240\0')],
    ['base-256 where octal does', Buffer.from([0x80, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0x86, 0xa0])],
    [
      'base-256 and negative',
      Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
    ],
    [
      'base-256 beyond what a number holds',
      Buffer.from([0x80, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
    ],
    ['one byte more', Buffer.from('00000303241\0')],
  ];
  test.each(sizes)('%s', (_what, field) =>
    each((volume) => withHeader(volume, (header) => field.copy(header, 124))),
  );
});

describe('T6 tar.header.checksum', () => {
  test('wrong', () => each((volume) => withHeader(volume, (header) => writeSum(header, 1), false)));
  test('signed', () =>
    each((volume) =>
      withHeader(
        volume,
        (header) => {
          header[345] = 0xe9;
          writeSum(header, sumOf(header, true));
        },
        false,
      ),
    ));
  test('written otherwise', () =>
    each((volume) =>
      withHeader(volume, (header) => header.write(` ${sumOf(header).toString(8)} \0`, 148, 'latin1'), false),
    ));
});

describe('T7 tar.name.prefix', () => {
  test.each(['..', 'a', '/', 'blobs\0x'])('prefix "%s"', (prefix) =>
    each((volume) => withHeader(volume, (header) => header.write(prefix, 345, 'latin1'))),
  );
});

describe('T8 tar.name.dup, tar.name.casefold', () => {
  test('a member that another is named like', () =>
    each((volume, document) => {
      const [second] = document.blobs.filter((blob) => blob.volume === 1 && blob.offset > block);
      const changed = Buffer.from(volume);
      changed.copy(changed, (second?.offset ?? block) - block, 0, 100);
      return changed;
    }));

  test('a name in capitals', () =>
    each((volume) => withName(volume, volume.toString('latin1', 0, 77).toUpperCase())));

  test('a bundle.json that names one blob twice, or a digest in capitals', async () => {
    const { folder, document } = await make();
    const [blob] = document.blobs;
    const path = join(folder, 'bundle.json');
    const upper = blob?.digest.toUpperCase();
    for (const blobs of [
      [...document.blobs, blob],
      [{ ...blob, digest: upper }, ...document.blobs.slice(1)],
    ]) {
      await writeFile(path, JSON.stringify({ ...document, blobs }));
      await expect(BundleStore.open([folder], any)).rejects.toMatchObject({ code: 'BAD_DOCUMENT' });
    }
  });
});

describe('T9 tar.trailer', () => {
  test('data in the end of the archive', () =>
    each((volume) => {
      const changed = Buffer.from(volume);
      member('evil', '0', '').copy(changed, volume.byteLength - block);
      return changed;
    }));

  test('padding that is not zero', () =>
    each((volume, document) => {
      const changed = Buffer.from(volume);
      const odd = document.blobs.find((blob) => blob.size % block !== 0 && blob.volume === 1);
      changed[(odd?.offset ?? 0) + (odd?.size ?? 0)] = 1;
      return changed;
    }));

  test('bytes after the end', async () => {
    const { folder, volume, path } = await make();
    await writeFile(path, Buffer.concat([volume, member('evil', '0', 'x')]));
    await expect(BundleStore.open([folder], any)).rejects.toMatchObject({ code: 'BAD_VOLUME' });
    const { damages } = await verifyBundle(await BundleStore.open([folder], any, { volumes: 'present' }));
    expect(damages).toMatchObject([{ volume: 'content.tar.001', offset: volume.byteLength }]);
  });
});

describe('T11 tar.magic.compressed', () => {
  test.each([
    ['gzip', gzipSync],
    ['zstd', zstdCompressSync],
  ])('%s is bytes like any other', (_what, compress) =>
    each((volume) => compress(Buffer.alloc(volume.byteLength * 20))),
  );
});

test('a blob of the bundle is never taken from a volume that was not read: fetch gives its bytes, and push checks them', async () => {
  const { folder, document, volume, path } = await make();
  const target = await Layout.open(join(await temporaryFolder(), 'store'), { create: true });
  const [blob] = document.blobs.filter((one) => one.volume === 1);
  if (blob === undefined) throw new Error('there is a blob');
  const changed = Buffer.from(volume);
  changed[blob.offset + 10] = (changed[blob.offset + 10] ?? 0) ^ 1;
  await writeFile(path, changed);
  const bundle = await BundleStore.open([folder], any);
  const descriptor = { mediaType: 'application/octet-stream', digest: blob.digest, size: blob.size };
  const pushed = target.push(descriptor, () => bundle.fetch(descriptor));
  await expect(pushed).rejects.toMatchObject({ code: 'DIGEST_MISMATCH' });
});
