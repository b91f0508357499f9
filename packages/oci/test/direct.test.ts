/** Reading past the page cache: what is seen is what the disk holds. */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { closeSync, openSync, readFileSync, writeSync } from 'node:fs';
import { mkdir, open, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { eachBlockDirect } from '../src/fs/direct.ts';
import { temporaryFolder } from '../src/testing/temporary.ts';

async function hashDirect(path: string, size: number): Promise<{ sha256: string; direct: boolean }> {
  const hash = createHash('sha256');
  const direct = await eachBlockDirect(path, size, (block) => hash.update(block));
  return { sha256: hash.digest('hex'), direct };
}

async function writeSynced(path: string, bytes: Uint8Array): Promise<void> {
  const file = await open(path, 'w');
  await file.writeFile(bytes);
  await file.sync();
  await file.close();
}

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
const ramp = (size: number): Buffer =>
  Buffer.from(Uint8Array.from({ length: size }, (_, i) => (i * 7) ^ (i >> 8)));

test.each([0, 1, 511, 512, 513, 4 * 1024 * 1024 - 1, 4 * 1024 * 1024, 4 * 1024 * 1024 + 512, 9_000_001])(
  'a file of %i bytes',
  async (size) => {
    const path = join(await temporaryFolder(), 'file');
    const bytes = ramp(size);
    await writeSynced(path, bytes);
    expect((await hashDirect(path, size)).sha256).toBe(sha256(bytes));
  },
);

test('two at a time do not mix', async () => {
  const folder = await temporaryFolder();
  const files = [ramp(5_000_000), ramp(6_000_000).reverse()];
  for (const [i, bytes] of files.entries()) await writeSynced(join(folder, `${i}`), bytes);
  const hashes = await Promise.all(
    files.map((bytes, i) => hashDirect(join(folder, `${i}`), bytes.byteLength)),
  );
  expect(hashes.map((one) => one.sha256)).toEqual(files.map(sha256));
});

test('the disk is read although the file is in the cache', async (context) => {
  const path = join(await temporaryFolder(), 'file');
  const size = 8 * 1024 * 1024;
  await writeSynced(path, Buffer.alloc(size, 1));
  readFileSync(path);
  const read = (): number => Number(/read_bytes: (\d+)/.exec(readFileSync('/proc/self/io', 'utf8'))?.[1]);
  const before = read();
  const { direct } = await hashDirect(path, size);
  if (!direct) return context.skip('the folder for temporary files cannot be read directly');
  if (read() === before) return context.skip('the folder for temporary files is not on a disk');
  expect(read() - before).toBeGreaterThanOrEqual(size);
});

test('F26 a disk that changed under the cache is seen as it is', async (context) => {
  const folder = await temporaryFolder();
  const image = join(folder, 'image');
  const mounted = join(folder, 'mounted');
  await mkdir(mounted);
  try {
    execFileSync(
      'sh',
      ['-c', 'truncate -s 16M "$0" && mkfs.ext4 -q "$0" && mount -o loop "$0" "$1"', image, mounted],
      {
        stdio: 'pipe',
      },
    );
  } catch {
    return context.skip('a loop device cannot be mounted here (it takes root)');
  }
  onTestFinished(() => {
    execFileSync('umount', [mounted]);
  });
  const bytes = Buffer.alloc(1024 * 1024, 'what was written ');
  const path = join(mounted, 'file');
  await writeSynced(path, bytes);
  const at = readFileSync(image).indexOf('what was written what was written');
  expect(at).toBeGreaterThan(0);
  const disk = openSync(image, 'r+');
  writeSync(disk, 'W', at);
  closeSync(disk);
  execFileSync('sync', [image]);
  expect(sha256(readFileSync(path)), 'the cache still says what was written').toBe(sha256(bytes));
  expect((await hashDirect(path, bytes.byteLength)).sha256).not.toBe(sha256(bytes));
});

test('a file that is shorter than it should be, absent, or a link', async () => {
  const folder = await temporaryFolder();
  const path = join(folder, 'file');
  await writeSynced(path, ramp(1000));
  await expect(hashDirect(path, 5000)).rejects.toMatchObject({ code: 'BAD_VOLUME' });
  await expect(hashDirect(join(folder, 'none'), 1)).rejects.toMatchObject({ code: 'DISK' });
  await symlink(path, join(folder, 'link'));
  await expect(hashDirect(join(folder, 'link'), 1000)).rejects.toMatchObject({ code: 'DISK' });
});

test('stops when it is told to', async () => {
  const path = join(await temporaryFolder(), 'file');
  await writeFile(path, ramp(9_000_000));
  const controller = new AbortController();
  const reading = eachBlockDirect(path, 9_000_000, () => controller.abort(), controller.signal);
  await expect(reading).rejects.toMatchObject({ name: 'AbortError' });
});
