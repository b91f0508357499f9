import { truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { run, skipWithout, temporaryFolder } from '@omni-airgap/oci/testing';
import { describe, expect, test } from 'vitest';
import { memberSize, paddingOf, tarHeader } from '../src/volumes/tar-header.ts';

const GiB = 1024 ** 3;
const name = `blobs/sha256/${'a'.repeat(64)}`;

/** What GNU tar writes in the header of a file of this size. */
async function gnuHeader(size: number): Promise<Buffer> {
  const folder = await temporaryFolder();
  await writeFile(join(folder, 'x'), '');
  // Sparse: it takes no space, and only the first block of the archive is read.
  await truncate(join(folder, 'x'), size);
  return run('sh', ['-c', 'tar --format=gnu -cf - x 2>/dev/null | head -c 512'], { cwd: folder });
}

describe('a tar header', () => {
  test.each([0, 1, 511, 512, 8 * GiB - 1, 8 * GiB, 9 * GiB + 5, 600 * GiB])(
    'T5 says a size of %i bytes as GNU tar does',
    async (size) => {
      const ours = tarHeader({ name, size });
      const gnu = await gnuHeader(size);
      expect(ours.subarray(124, 136).toString('hex')).toBe(gnu.subarray(124, 136).toString('hex'));
    },
  );

  test('T6 T7 is canonical: no owner, no time, no prefix, an unsigned checksum', () => {
    const header = tarHeader({ name, size: 5 });
    const text = (from: number, to: number): string => header.toString('latin1', from, to);
    expect(text(0, 78)).toBe(`${name}\0`);
    expect(text(100, 124)).toBe('0000644\x000000000\x000000000\0');
    expect(text(124, 148)).toBe('00000000005\x0000000000000\0');
    expect(text(156, 157)).toBe('0');
    expect(text(257, 265)).toBe('ustar\x0000');
    expect(header.subarray(265).every((byte) => byte === 0)).toBe(true);
    const sum = header.reduce((total, byte, at) => total + (at >= 148 && at < 156 ? 0x20 : byte), 0);
    expect(text(148, 156)).toBe(`${sum.toString(8).padStart(6, '0')}\0 `);
    const folder = tarHeader({ name: 'blobs/', size: 0 });
    expect([folder.toString('latin1', 156, 157), folder.toString('latin1', 100, 107)]).toEqual([
      '5',
      '0000755',
    ]);
  });

  test('T12 Python reads the names and sizes, also of 8 GiB and more', (context) => {
    skipWithout(context, 'python3');
    const sizes = [0, 5, 8 * GiB - 1, 8 * GiB, 5000 * GiB];
    const headers = Buffer.concat(sizes.map((size) => tarHeader({ name, size })));
    const program = [
      'import sys, tarfile',
      'data = sys.stdin.buffer.read()',
      'for at in range(0, len(data), 512):',
      '    member = tarfile.TarInfo.frombuf(data[at:at + 512], "utf-8", "strict")',
      '    print(member.name, member.size, member.isreg())',
    ].join('\n');
    const listed = run('python3', ['-c', program], { input: headers }).toString().trim().split('\n');
    expect(listed).toEqual(sizes.map((size) => `${name} ${size} True`));
  });

  test.each(['', '/abs', '../x', '.hidden', 'A', 'a\u0000b', 'a\nb', 'ä', 'a'.repeat(100)])(
    'T1 T49 is not made for the name %j',
    (bad) => {
      expect(() => tarHeader({ name: bad, size: 0 })).toThrow(expect.objectContaining({ code: 'INTERNAL' }));
    },
  );

  test('padding fills the last block', () => {
    expect([0, 1, 511, 512, 513].map(paddingOf)).toEqual([0, 511, 1, 0, 511]);
    expect([0, 1, 512, 513].map(memberSize)).toEqual([512, 1024, 1024, 1536]);
  });
});
