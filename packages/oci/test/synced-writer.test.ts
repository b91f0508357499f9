import type { FileHandle } from 'node:fs/promises';
import { open, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { SyncedWriter } from '../src/fs/synced-writer.ts';
import { temporaryFolder } from '../src/testing/temporary.ts';

const MiB = 1024 * 1024;
const block = Buffer.alloc(4 * MiB);

afterEach(() => vi.restoreAllMocks());

/** What all open files share. */
async function fileMethods(): Promise<FileHandle> {
  const file = await open(process.execPath, 'r');
  await file.close();
  return Object.getPrototypeOf(file) as FileHandle;
}

test('blocks given at once lie one behind the other', async () => {
  const path = join(await temporaryFolder(), 'file');
  const blocks = [1, 2, 3].map((byte) => Buffer.alloc(700_001, byte));
  const writer = await SyncedWriter.create(path);
  await Promise.all(blocks.map((one) => writer.write(one)));
  await writer.sync();
  await writer.close();
  expect((await readFile(path)).equals(Buffer.concat(blocks))).toBe(true);
});

test('T48 what is there is not written over, nor what a link leads to', async () => {
  const folder = await temporaryFolder();
  await writeFile(join(folder, 'file'), 'precious');
  await symlink(join(folder, 'file'), join(folder, 'link'));
  for (const name of ['file', 'link'])
    await expect(SyncedWriter.create(join(folder, name))).rejects.toMatchObject({ code: 'EEXIST' });
});

describe('while blocks are written, those before them are synced', () => {
  test('F25 a sync that failed is told of, though the kernel tells of it once', async () => {
    const methods = await fileMethods();
    const error = Object.assign(new Error('EIO: i/o error'), { code: 'EIO' });
    vi.spyOn(methods, 'write').mockImplementation(writeNothing);
    const datasync = vi.spyOn(methods, 'datasync').mockRejectedValueOnce(error);
    const writer = await SyncedWriter.create(join(await temporaryFolder(), 'file'));
    for (let i = 0; i < 40; i++) await writer.write(block);
    await expect(writer.sync()).rejects.toBe(error);
    await expect(writer.sync()).rejects.toBe(error);
    await writer.close();
    expect(datasync).toHaveBeenCalledTimes(1);
  });

  test('no more than 512 MiB wait for the medium', async () => {
    const methods = await fileMethods();
    const medium = Promise.withResolvers<void>();
    vi.spyOn(methods, 'write').mockImplementation(writeNothing);
    vi.spyOn(methods, 'datasync').mockReturnValueOnce(medium.promise);
    const writer = await SyncedWriter.create(join(await temporaryFolder(), 'file'));
    let done = 0;
    const writing = (async () => {
      for (; done < 1024 * MiB; done += block.byteLength) await writer.write(block);
    })();
    await vi.waitFor(() => expect(done).toBeGreaterThan(500 * MiB));
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(done).toBeLessThan(512 * MiB);
    medium.resolve();
    await writing;
    await writer.close();
  });
});

const writeNothing = (async (_block: Buffer, _from: number, size: number) => ({
  bytesWritten: size,
})) as unknown as FileHandle['write'];
