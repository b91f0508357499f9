/**
 * Golden vectors of the bundle format, for other implementations (docs/bundle-format.md says what is in them):
 *
 *   node scripts/bundle-vectors.ts      writes packages/format/test/vectors/bundle.jsonl
 */

import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { bundleIdOf } from '../packages/format/src/documents/bundle-document.ts';
import { tarHeader } from '../packages/format/src/volumes/tar-header.ts';
import { VolumeMap, volumeName } from '../packages/format/src/volumes/volume-map.ts';
import { layoutFiles, planVolumes } from '../packages/format/src/volumes/volume-plan.ts';
import { type Descriptor, digestOf, MediaType } from '../packages/oci/src/model/index.ts';

export const vectorsPath: string = join(
  import.meta.dirname,
  '..',
  'packages',
  'format',
  'test',
  'vectors',
  'bundle.jsonl',
);

interface Blob {
  readonly seed: number;
  readonly size: number;
}

interface Case {
  readonly what: string;
  readonly volumeSize: number;
  /** Index in `blobs` of what each name stands for. */
  readonly names: Readonly<Record<string, number>>;
  readonly blobs: readonly Blob[];
  /** Ids of the bundles that an increment was made on. */
  readonly bases?: readonly string[];
}

const cases: readonly Case[] = [
  { what: 'no content', volumeSize: 1_048_576, names: {}, blobs: [] },
  {
    what: 'small content only, equal sizes by digest, an empty blob',
    volumeSize: 1_048_576,
    names: { 'ghcr.io/acme/app:v1': 0, 'ghcr.io/acme/app:latest': 0, 'docker.io/library/b:1': 1 },
    blobs: [
      { seed: 1, size: 512 },
      { seed: 2, size: 513 },
      { seed: 3, size: 513 },
      { seed: 4, size: 65_536 },
      { seed: 5, size: 0 },
    ],
  },
  {
    what: 'several volumes, each blob in the first with room',
    volumeSize: 262_144,
    names: { 'ghcr.io/acme/app:v1': 0 },
    blobs: [
      { seed: 1, size: 700 },
      { seed: 2, size: 65_537 },
      { seed: 3, size: 200_000 },
      { seed: 4, size: 150_000 },
      { seed: 5, size: 100_000 },
      { seed: 6, size: 90_000 },
      { seed: 7, size: 260_608 },
    ],
  },
  {
    what: 'a blob larger than a volume, with others behind its end',
    volumeSize: 131_072,
    names: { 'ghcr.io/acme/app:v1': 0 },
    blobs: [
      { seed: 1, size: 700 },
      { seed: 2, size: 400_001 },
      { seed: 3, size: 70_000 },
      { seed: 4, size: 66_000 },
    ],
  },
  {
    what: 'room in an earlier volume, equal sizes by digest, a volume size that is not whole blocks',
    volumeSize: 300_001,
    names: { 'ghcr.io/acme/app:v1': 0, 'ghcr.io/acme/app:v10': 1, 'ghcr.io/acme/app-b:v1': 0 },
    blobs: [
      { seed: 1, size: 700 },
      { seed: 2, size: 66_000 },
      { seed: 3, size: 200_000 },
      { seed: 4, size: 230_000 },
      { seed: 5, size: 95_000 },
      { seed: 6, size: 95_000 },
      { seed: 7, size: 95_000 },
      { seed: 8, size: 298_000 },
    ],
  },
  {
    what: 'an increment that carries nothing new, on two bases',
    volumeSize: 1_048_576,
    names: { 'ghcr.io/acme/app:v1': 0 },
    blobs: [{ seed: 1, size: 700 }],
    bases: ['1'.repeat(64), 'e'.repeat(64)],
  },
];

const headers = [
  { name: 'blobs/sha256/', size: 0 },
  { name: 'index.json', size: 120 },
  { name: `blobs/sha256/${'a'.repeat(64)}`, size: 8 * 1024 ** 3 - 1 },
  { name: `blobs/sha256/${'a'.repeat(64)}`, size: 8 * 1024 ** 3 },
  { name: `blobs/sha256/${'f'.repeat(64)}`, size: 123_456_789_012_345 },
];

function bytesOfBlob({ seed, size }: Blob): Buffer {
  return Buffer.from(Uint8Array.from({ length: size }, (_, i) => i * 31 + seed * 17 + (i >> 8)));
}

function vectorOf({ what, volumeSize, names, blobs, bases }: Case): object {
  const contents = blobs.map(bytesOfBlob);
  const byDigest = new Map(contents.map((bytes) => [digestOf(bytes), bytes]));
  const descriptors = new Map(
    Object.entries(names).map(([name, index]): [string, Descriptor] => {
      const bytes = contents[index] ?? Buffer.alloc(0);
      return [name, { mediaType: MediaType.ociManifest, digest: digestOf(bytes), size: bytes.byteLength }];
    }),
  );
  const sizes = contents.map((bytes) => ({ digest: digestOf(bytes), size: bytes.byteLength }));
  const plan = planVolumes(descriptors, sizes, volumeSize, bases);
  const map = new VolumeMap(descriptors, plan, bases);
  const volumes = plan.sizes.map((size, volume) => {
    const hash = createHash('sha256');
    for (const part of map.parts(volume)) {
      if (part.kind === 'fixed') hash.update(part.bytes);
      else hash.update(byDigest.get(part.blob.digest)?.subarray(part.from, part.from + part.size) ?? '');
    }
    return { name: volumeName(volume), size, sha256: hash.digest('hex') };
  });
  const index = layoutFiles(descriptors, bases).find(({ name }) => name === 'index.json');
  return {
    what,
    volumeSize,
    names,
    blobs,
    ...(bases === undefined ? {} : { bases }),
    index: Buffer.from(index?.bytes ?? []).toString(),
    places: plan.blobs,
    volumes,
    id: bundleIdOf(volumes),
  };
}

/** What the file should hold: a line for each header, then one for each bundle. */
export function freshVectors(): string {
  const lines = [
    ...headers.map((member) => ({ kind: 'header', ...member, hex: tarHeader(member).toString('hex') })),
    ...cases.map((one) => ({ kind: 'bundle', ...vectorOf(one) })),
  ];
  return lines.map((line) => `${JSON.stringify(line)}\n`).join('');
}

if (import.meta.main) writeFileSync(vectorsPath, freshVectors());
