import type { Descriptor } from '@omni-airgap/oci/model';
import { digestOf } from '@omni-airgap/oci/model';
import { seededRandom } from '@omni-airgap/oci/testing';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { memberSize, trailerSize } from '../src/volumes/tar-header.ts';
import { VolumeMap, volumeName } from '../src/volumes/volume-map.ts';
import { type BlobSize, planVolumes, smallBlobLimit } from '../src/volumes/volume-plan.ts';

const names = new Map<string, Descriptor>();
const blobsOf = (sizes: readonly number[]): BlobSize[] =>
  sizes.map((size, i) => ({ digest: digestOf(Buffer.from(`${i}`)), size }));
const GiB = 1024 ** 3;

describe('a volume plan', () => {
  test('explains every byte, places every blob once, never exceeds a volume', () => {
    const size = fc.oneof(
      fc.integer({ min: 0, max: 3000 }),
      fc.integer({ min: smallBlobLimit - 2, max: smallBlobLimit + 2 }),
      fc.integer({ min: 1, max: 800 }).map((blocks) => blocks * 512),
      fc.integer({ min: smallBlobLimit, max: 2_000_000 }),
    );
    const volumeSize = fc.integer({ min: 600_000, max: 3_600_000 });
    fc.assert(
      fc.property(fc.array(size, { maxLength: 40 }), volumeSize, (sizes, most) => {
        const blobs = blobsOf(sizes);
        const small = sizes.filter((s) => s <= smallBlobLimit).reduce((sum, s) => sum + memberSize(s), 0);
        fc.pre(small + 8192 < most);
        const plan = planVolumes(names, blobs, most);
        expect(plan.blobs.map((blob) => blob.digest).sort()).toEqual(blobs.map((b) => b.digest).sort());
        for (const bytes of plan.sizes) {
          expect(bytes).toBeLessThanOrEqual(most);
          expect(bytes % 512).toBe(0);
        }
        for (const blob of plan.blobs) expect(blob.volume === 0).toBe(blob.size <= smallBlobLimit);
        // The map refuses a gap, an overlap, a run past the end; what it gives adds up to the volumes.
        const map = new VolumeMap(names, plan);
        const seen = new Map<string, number>();
        for (const [volume, bytes] of plan.sizes.entries()) {
          let sum = 0;
          for (const part of map.parts(volume)) {
            sum += part.kind === 'fixed' ? part.bytes.byteLength : part.size;
            if (part.kind !== 'blob') continue;
            expect(part.from).toBe(seen.get(part.blob.digest) ?? 0);
            seen.set(part.blob.digest, part.from + part.size);
          }
          expect(sum).toBe(bytes);
        }
        for (const blob of plan.blobs) {
          expect(seen.get(blob.digest)).toBe(blob.size);
          expect(map.runsOf(blob).reduce((sum, run) => sum + run.size, 0)).toBe(blob.size);
        }
      }),
      { numRuns: 300, seed: 5 },
    );
  });

  test('is the same whatever order the blobs come in', () => {
    const random = seededRandom(1);
    const blobs = blobsOf(Array.from({ length: 200 }, () => Math.floor(random() * 500_000)));
    blobs.push({ digest: digestOf(Buffer.from('twin')), size: blobs[0]?.size ?? 0 });
    const plan = planVolumes(names, blobs, 30_000_000);
    const shuffled = blobs.map((blob) => ({ blob, at: random() })).sort((a, b) => a.at - b.at);
    expect(
      planVolumes(
        names,
        shuffled.map(({ blob }) => blob),
        30_000_000,
      ),
    ).toEqual(plan);
  });

  test('cuts a blob larger than a volume, which then begins one', () => {
    const [huge, other] = blobsOf([10 * GiB, 3 * GiB]);
    const plan = planVolumes(
      names,
      [other, huge].flatMap((b) => b ?? []),
      4 * GiB,
    );
    const place = plan.blobs.find((blob) => blob.digest === huge?.digest);
    expect(place).toMatchObject({ volume: 1, offset: 512 });
    const map = new VolumeMap(names, plan);
    const runs = place === undefined ? [] : map.runsOf(place);
    expect(runs.map((run) => run.volume)).toEqual([1, 2, 3]);
    expect(runs.map((run) => run.offset)).toEqual([512, 0, 0]);
    expect(plan.sizes).toHaveLength(5);
  });

  test('gives room for the end of the archive wherever it comes', () => {
    // The last volume is exactly full.
    const most = 1024 * 1024;
    const [blob] = blobsOf([most - trailerSize - 512]);
    const plan = planVolumes(names, blob === undefined ? [] : [blob], most);
    expect(plan.sizes[1]).toBe(most);
    expect(plan.sizes).toHaveLength(2);
  });

  test('T49 volume names are safe everywhere, and sizes may stay below 4 GiB', () => {
    expect([volumeName(0), volumeName(12), volumeName(999)]).toEqual([
      'content.tar.000',
      'content.tar.012',
      'content.tar.999',
    ]);
    const plan = planVolumes(names, blobsOf([3 * GiB, 9 * GiB, GiB]), 4 * GiB - 1);
    for (const size of plan.sizes) expect(size).toBeLessThanOrEqual(4 * GiB - 1);
  });

  test('refuses a size that small content alone does not fit in', () => {
    const blobs = blobsOf(Array(100).fill(60_000));
    for (const size of [0, 511, 1024, 4096, 1_000_000]) {
      expect(() => planVolumes(names, blobs, size)).toThrow(expect.objectContaining({ code: 'USAGE' }));
    }
  });

  test('refuses more than a thousand volumes', () => {
    const most = 1024 * 1024;
    const capacity = most - trailerSize;
    const plan = planVolumes(names, blobsOf([capacity * 999 - 512]), most);
    expect(plan.sizes).toHaveLength(1000);
    expect(() => planVolumes(names, blobsOf([capacity * 999 - 511]), most)).toThrow(
      expect.objectContaining({ code: 'USAGE' }),
    );
  });

  test('of nothing is one volume with an empty layout', () => {
    const plan = planVolumes(names, [], GiB);
    expect(plan.blobs).toEqual([]);
    expect(plan.sizes).toHaveLength(1);
    expect(() => new VolumeMap(names, plan)).not.toThrow();
  });
});
