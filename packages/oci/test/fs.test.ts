import { lstat, mkdir, open, readdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { giveBack } from '../src/base/chunk-memory.ts';
import { CodedError } from '../src/base/errors.ts';
import { BlockWriter } from '../src/fs/block-writer.ts';
import { diskError } from '../src/fs/disk-error.ts';
import { ensureFolder, FolderSync, readSmallFile, writeFileAtomic } from '../src/fs/files.ts';
import { eachBlock, readPieces, slicePieces } from '../src/fs/pieces.ts';
import { collect } from '../src/model/bytes.ts';
import { generatedBytes } from '../src/testing/generated-blob.ts';
import { run } from '../src/testing/run.ts';
import { temporaryFolder } from '../src/testing/temporary.ts';

const errno = (code: string): Error => Object.assign(new Error(`${code}: it failed`), { code });

describe('BlockWriter', () => {
  test('writes chunks of any size from a position on', async () => {
    const path = join(await temporaryFolder(), 'file');
    const bytes = Buffer.from(await collect(generatedBytes(1, 5_000_000)(), 5_000_000, ''));
    await writeFile(path, bytes.subarray(0, 1000));
    const file = await open(path, 'r+');
    const writer = new BlockWriter(file, 1000);
    let at = 1000;
    for (const size of [1, 0, 1024 * 1024, 3_000_000, 17, 500_000]) {
      await writer.write(bytes.subarray(at, at + size));
      at += size;
    }
    await writer.drain();
    expect((await readFile(path)).equals(bytes.subarray(0, at))).toBe(true);
    await writer.write(bytes.subarray(at));
    await writer.drain();
    await writer.release();
    await file.close();
    expect((await readFile(path)).equals(bytes)).toBe(true);
  });

  test.each([0, 1, 5000, 65_536, 65_537])('whatever number of bytes was expected: %i', async (expected) => {
    const path = join(await temporaryFolder(), 'file');
    const bytes = Buffer.from(await collect(generatedBytes(3, 1_200_000)(), 1_200_000, ''));
    for (const size of [0, 1, 4999, 5000, 5001, 65_536, 1_200_000]) {
      const file = await open(path, 'w');
      const writer = new BlockWriter(file, 0, expected);
      for (let at = 0; at < size; at += 1700)
        await writer.write(bytes.subarray(at, Math.min(at + 1700, size)));
      await writer.drain();
      await writer.release();
      await file.close();
      expect((await readFile(path)).equals(bytes.subarray(0, size)), `${size}`).toBe(true);
    }
  });

  test('F02 writes nothing after a write that failed, so that no hole can be', async () => {
    const path = join(await temporaryFolder(), 'file');
    const file = await open(path, 'w+');
    const positions: number[] = [];
    const failing = Object.create(file) as typeof file;
    failing.write = (async (_buffer: Buffer, _from: number, size: number, position: number) => {
      positions.push(position);
      if (position > 0) throw errno('ENOSPC');
      return { bytesWritten: size };
    }) as typeof file.write;
    const writer = new BlockWriter(failing);
    const writing = async (): Promise<void> => {
      for (let i = 0; i < 10; i++) await writer.write(Buffer.alloc(700_000));
    };
    await expect(writing()).rejects.toMatchObject({ code: 'ENOSPC' });
    await expect(writer.drain()).rejects.toMatchObject({ code: 'ENOSPC' });
    await writer.release();
    await file.close();
    expect(positions).toEqual([0, 1024 * 1024]);
  });

  test('F25 a sync behind the writes that failed is told of, though the kernel tells of it once', async () => {
    const file = await open(join(await temporaryFolder(), 'file'), 'w+');
    const failing = Object.create(file) as typeof file;
    let syncs = 0;
    failing.write = (async (_buffer: Buffer, _from: number, size: number) => ({
      bytesWritten: size,
    })) as typeof file.write;
    failing.datasync = async () => {
      if (++syncs === 1) throw errno('EIO');
    };
    failing.sync = async () => {};
    const writer = new BlockWriter(failing);
    for (let i = 0; i < 8; i++) await writer.write(Buffer.alloc(1024 * 1024));
    await expect(writer.sync()).rejects.toMatchObject({ code: 'EIO' });
    await expect(writer.sync()).rejects.toMatchObject({ code: 'EIO' });
    await writer.release();
    await file.close();
    expect(syncs).toBe(1);
  });
});

describe('pieces', () => {
  test('slices are those bytes', async () => {
    const folder = await temporaryFolder();
    const whole = Buffer.from(await collect(generatedBytes(2, 3_000_000)(), 3_000_000, ''));
    const paths = ['a', 'b', 'c'].map((name) => join(folder, name));
    const sizes = [1_500_000, 1, 1_499_999];
    let at = 0;
    for (const [i, path] of paths.entries()) {
      await writeFile(
        path,
        Buffer.concat([Buffer.from('skip'), whole.subarray(at, at + (sizes[i] ?? 0)), Buffer.from('x')]),
      );
      at += sizes[i] ?? 0;
    }
    const pieces = paths.map((path, i) => ({ path, offset: 4, size: sizes[i] ?? 0 }));
    for (const [offset, size] of [
      [0, 3_000_000],
      [0, 0],
      [1_499_999, 3],
      [1_500_000, 1],
      [2_999_999, 1],
      [3_000_000, 5],
      [7, 2_900_000],
    ] as const) {
      const slice = slicePieces(pieces, offset, size);
      const expected = whole.subarray(offset, offset + size);
      expect(expected.equals(await collect(readPieces(slice), 3_000_000, ''))).toBe(true);
      const blocks: Buffer[] = [];
      await eachBlock(slice, (block) => void blocks.push(Buffer.from(block)));
      expect(expected.equals(Buffer.concat(blocks))).toBe(true);
    }
  });

  test('the next block does not overwrite the one that is lent', async () => {
    const path = join(await temporaryFolder(), 'file');
    const whole = Buffer.from(await collect(generatedBytes(3, 4_500_000)(), 5_000_000, ''));
    await writeFile(path, whole);
    let at = 0;
    await eachBlock([{ path, offset: 0, size: whole.byteLength }], async (block) => {
      await new Promise((resolve) => setTimeout(resolve, 5));
      expect(whole.subarray(at, at + block.byteLength).equals(block)).toBe(true);
      at += block.byteLength;
    });
    expect(at).toBe(whole.byteLength);
  });

  test('chunks are the memory of those given back, never of others', async () => {
    const path = join(await temporaryFolder(), 'file');
    const whole = Buffer.from(await collect(generatedBytes(4, 20_000_000)(), 20_000_000, ''));
    await writeFile(path, whole);
    const kept: { readonly chunk: Uint8Array; readonly copy: Uint8Array }[] = [];
    const memories = new Set<ArrayBufferLike>();
    let turn = 0;
    for await (const chunk of readPieces([{ path, offset: 0, size: whole.byteLength }])) {
      memories.add(chunk.buffer);
      if (turn++ % 10 === 0) kept.push({ chunk, copy: Uint8Array.from(chunk) });
      else giveBack(chunk);
    }
    for (const { chunk, copy } of kept) expect(Buffer.compare(chunk, copy)).toBe(0);
    expect(memories.size).toBeLessThan(turn / 2);
  });

  test('a file that ends early, a link, a FIFO, a folder, nothing: an error, never fewer bytes', async () => {
    const folder = await temporaryFolder();
    const path = (name: string): string => join(folder, name);
    await writeFile(path('short'), 'abc');
    await writeFile(path('long'), 'abcdef');
    await symlink(path('long'), path('link'));
    run('mkfifo', [path('fifo')]);
    await mkdir(path('folder'));
    for (const name of ['short', 'link', 'fifo', 'folder', 'nothing']) {
      const piece = [{ path: path(name), offset: 0, size: 4 }];
      const coded = { code: expect.stringMatching(/^(DISK|MISSING_CONTENT)$/) };
      await expect(collect(readPieces(piece), 10, '')).rejects.toMatchObject(coded);
      await expect(eachBlock(piece, () => undefined)).rejects.toMatchObject(coded);
    }
  });

  test('an error of the user of a block ends the reading', async () => {
    const path = join(await temporaryFolder(), 'file');
    await writeFile(path, Buffer.alloc(3_000_000));
    const reading = eachBlock([{ path, offset: 0, size: 3_000_000 }], () => Promise.reject(new Error('no')));
    await expect(reading).rejects.toThrow('no');
  });
});

describe('small files', () => {
  test('are replaced as a whole, with nothing left beside them', async () => {
    const folder = await temporaryFolder();
    const path = join(folder, 'file');
    await writeFileAtomic(path, 'one');
    await Promise.all(['two', 'three', 'four'].map((text) => writeFileAtomic(path, text, 0o600)));
    expect(['two', 'three', 'four']).toContain(await readFile(path, 'utf8'));
    expect((await lstat(path)).mode & 0o777).toBe(0o600);
    expect(await readdir(folder)).toEqual(['file']);
    await mkdir(join(folder, 'taken'));
    await expect(writeFileAtomic(join(folder, 'taken'), 'x')).rejects.toMatchObject({ code: 'DISK' });
    await expect(writeFileAtomic(join(folder, 'no', 'where'), 'x')).rejects.toMatchObject({ code: 'DISK' });
    expect((await readdir(folder)).sort()).toEqual(['file', 'taken']);
  });

  test('T48 a link in their place is replaced, not followed', async () => {
    const folder = await temporaryFolder();
    await writeFile(join(folder, 'outside'), 'precious');
    await symlink(join(folder, 'outside'), join(folder, 'file'));
    await writeFileAtomic(join(folder, 'file'), 'new');
    expect(await readFile(join(folder, 'outside'), 'utf8')).toBe('precious');
  });

  test('are read up to a limit', async () => {
    const path = join(await temporaryFolder(), 'file');
    expect(await readSmallFile(path, 5)).toBeUndefined();
    await writeFile(path, '12345');
    expect(Buffer.from((await readSmallFile(path, 5)) ?? []).toString()).toBe('12345');
    await expect(readSmallFile(path, 4)).rejects.toMatchObject({ code: 'BAD_DOCUMENT' });
    await expect(readSmallFile(join(path, 'below'), 4)).rejects.toMatchObject({ code: 'DISK' });
  });

  test('folders are made, and made only once', async () => {
    const folder = join(await temporaryFolder(), 'a', 'b');
    await Promise.all([ensureFolder(folder), ensureFolder(folder)]);
    expect((await lstat(folder)).isDirectory()).toBe(true);
  });

  test('folders side by side are made at once, whoever makes the one above them', async () => {
    for (let round = 0; round < 50; round++) {
      const above = join(await temporaryFolder(), 'state');
      await Promise.all(['a', 'b', 'c', 'd'].map((name) => ensureFolder(join(above, name))));
      expect((await readdir(above)).sort()).toEqual(['a', 'b', 'c', 'd']);
    }
  });

  test('a place that takes no folders, as an automounter without the medium, is an error at once', async () => {
    for (const path of ['/proc/media', '/proc/media/usb']) {
      await expect(ensureFolder(path)).rejects.toMatchObject({
        code: 'DISK',
        message: '/proc/media: /proc takes no new folders; is the medium mounted?',
      });
    }
  });
});

test('many syncs of a folder at once are few, and errors reach all who wait', async () => {
  const sync = new FolderSync(await temporaryFolder());
  const first = sync.sync();
  await Promise.resolve();
  const [a, b] = [sync.sync(), sync.sync()];
  expect(a).toBe(b);
  await Promise.all([first, a, b]);
  const gone = new FolderSync(join(await temporaryFolder(), 'gone'));
  const results = await Promise.allSettled([gone.sync(), gone.sync()]);
  expect(results.map((result) => result.status)).toEqual(['rejected', 'rejected']);
  await expect(gone.sync()).rejects.toMatchObject({ code: 'ENOENT' });
});

describe('a disk error', () => {
  test.each([
    ['ENOSPC', 'no space left on this disk; free some and run the same command again'],
    [
      'EROFS',
      'the file system is read-only; if its device failed, plug that in again and repair it (fsck), or else use another place, and run the same command again',
    ],
    [
      'EIO',
      'the device reports an input/output error; plug it in again or use another, and run the same command again',
    ],
    [
      'Unknown system error -117',
      'the file system is damaged; unmount and repair it (fsck -f), then run the same command again',
    ],
    ['ENODEV', 'the device is gone; plug it in again and run the same command again'],
    ['EFBIG', 'the file system does not take files of this size; use a smaller --volume-size'],
    ['EWHATEVER', 'EWHATEVER: it failed'],
  ])('%s says what to do', (code, advice) => {
    const error = diskError(new Error('wrapped', { cause: errno(code) }), '/media/usb');
    expect(error.code).toBe('DISK');
    if (code !== 'EWHATEVER') expect(error.message).toBe(`/media/usb: ${advice}`);
    expect(diskError(errno(code), '/media/usb').message).toBe(`/media/usb: ${advice}`);
  });

  test('is not made of an error that has its code', () => {
    const coded = new CodedError('NETWORK', 'reset', { cause: errno('ECONNRESET') });
    expect(diskError(coded, '/x')).toBe(coded);
    const odd = Object.assign(new Error('odd'), { code: 'constructor' });
    expect(diskError(odd, '/x').message).toBe('/x: odd');
  });
});
