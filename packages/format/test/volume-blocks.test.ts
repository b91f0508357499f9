/** Volumes of many blocks: written past the cache where that is possible, the same bytes everywhere. */
import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, rm, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { eachBlock } from '@omni-airgap/oci/fs';
import type { Layout } from '@omni-airgap/oci/layout';
import { generatedBlob, temporaryFolder, temporaryLayout } from '@omni-airgap/oci/testing';
import { describe, expect, test } from 'vitest';
import { VolumeMap } from '../src/volumes/volume-map.ts';
import { planVolumes } from '../src/volumes/volume-plan.ts';
import { hashVolume, writeVolume } from '../src/volumes/write-volume.ts';

const mib = 1024 * 1024;

async function prepare(sizes: readonly number[]): Promise<{ layout: Layout; map: VolumeMap }> {
  const layout = await temporaryLayout();
  const blobs = [];
  for (const [i, size] of sizes.entries()) {
    const { descriptor, open } = await generatedBlob(i + 1, size);
    await layout.push(descriptor, open);
    blobs.push(descriptor);
  }
  return { layout, map: new VolumeMap(new Map(), planVolumes(new Map(), blobs, 64 * mib)) };
}

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

describe.each([
  ['one block and a bit', [4 * mib + 1]],
  // Header, data, padding and trailer are four blocks to the byte.
  ['whole blocks', [16 * mib - 512 - 1024]],
  ['many blobs in many blocks', [9 * mib, 7 * mib + 13, 100_001, 100_001 * 3, 70_000, 12 * mib + 511]],
])('%s', (_what, sizes) => {
  test('a volume is what its parts say, written or only hashed', async () => {
    const { layout, map } = await prepare(sizes);
    const expected = createHash('sha256');
    for (const part of map.parts(1)) {
      if (part.kind === 'fixed') expected.update(part.bytes);
      else await eachBlock((await layout.locate(part.blob)) ?? [], (block) => void expected.update(block));
    }
    const folder = await temporaryFolder();
    let bytes = 0;
    const written = await writeVolume(map, 1, layout, folder, { onBytes: (n) => (bytes += n) });
    expect(written).toEqual({ name: 'content.tar.001', size: map.sizes[1], sha256: expected.digest('hex') });
    expect(bytes).toBe(map.sizes[1]);
    expect(sha256(await readFile(join(folder, 'content.tar.001')))).toBe(written.sha256);
    expect(await hashVolume(map, 1, layout)).toEqual(written);
  });
});

test('on a file system without direct writing the bytes are the same', async (context) => {
  const { layout, map } = await prepare([9 * mib]);
  const folder = join('/dev/shm', `omni-airgap-test-${process.pid}`);
  try {
    await mkdir(folder);
  } catch {
    return context.skip('there is no /dev/shm here');
  }
  try {
    const { sha256: hash } = await writeVolume(map, 1, layout, folder);
    expect(hash).toBe((await hashVolume(map, 1, layout)).sha256);
    expect(sha256(await readFile(join(folder, 'content.tar.001')))).toBe(hash);
  } finally {
    await rm(folder, { recursive: true });
  }
});

test('F27 a blob that ends early, or that goes while it is read, leaves no volume', async () => {
  const { layout, map } = await prepare([9 * mib, 8 * mib]);
  const folder = await temporaryFolder();
  let calls = 0;
  const source = {
    locate: async (blob: Parameters<Layout['locate']>[0]) => {
      const pieces = await layout.locate(blob);
      // After it was found to be whole.
      if (++calls === 2 && pieces?.[0] !== undefined) await truncate(pieces[0].path, 5 * mib);
      return pieces;
    },
  };
  await expect(writeVolume(map, 1, source, folder)).rejects.toMatchObject({ code: 'MISSING_CONTENT' });
  expect(await readdir(folder)).toEqual([]);
});

test('stops in the middle when it is told to', async () => {
  const { layout, map } = await prepare([30 * mib]);
  const folder = await temporaryFolder();
  const controller = new AbortController();
  const writing = writeVolume(map, 1, layout, folder, {
    onBytes: () => controller.abort(),
    signal: controller.signal,
  });
  await expect(writing).rejects.toMatchObject({ name: 'AbortError' });
  expect(await readdir(folder)).toEqual([]);
});
