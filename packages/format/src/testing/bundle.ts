/** A bundle of all that a layout holds, made with the least: for tests of whatever reads bundles. */

import type { KeyObject } from 'node:crypto';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Located } from '@omni-airgap/oci';
import type { Layout } from '@omni-airgap/oci/layout';
import { type Descriptor, digestFromHex } from '@omni-airgap/oci/model';
import {
  type BundleDocument,
  bundleIdOf,
  bundleSchemaOf,
  documentName,
  signatureName,
} from '../documents/bundle-document.ts';
import { serializeDocument } from '../documents/schema.ts';
import { signBytes } from '../signature.ts';
import { VolumeMap } from '../volumes/volume-map.ts';
import { type BlobSize, planVolumes } from '../volumes/volume-plan.ts';
import { type WriteVolumeOptions, type WrittenVolume, writeVolume } from '../volumes/write-volume.ts';

export interface TestBundleOptions {
  /** Bytes; default 4 GiB: two volumes. */
  readonly volumeSize?: number;
  /** Signs bundle.json. */
  readonly key?: KeyObject;
  /** What it says it was made on. */
  readonly base?: BundleDocument['base'];
  /** Default: always the same. */
  readonly origin?: string;
  /** Default 1. */
  readonly sequence?: number;
  /** Names that it withdraws; left out, none. */
  readonly withdraws?: BundleDocument['withdraws'];
}

/** Writes volumes, bundle.json and, with a key, its signature into a folder. */
export async function writeTestBundle(
  layout: Layout,
  folder: string,
  options: TestBundleOptions = {},
): Promise<BundleDocument> {
  const names = new Map<string, Descriptor>();
  for await (const [name, descriptor] of layout.names()) names.set(name, descriptor);
  const blobs: BlobSize[] = [];
  for (const hex of await readdir(join(layout.root, 'blobs', 'sha256'))) {
    const digest = digestFromHex(hex);
    blobs.push({ digest, size: (await layout.stat(digest)) ?? 0 });
  }
  const { base, volumeSize = 4 * 1024 ** 3, withdraws = [] } = options;
  const bases = (base ?? []).map(({ id }) => id);
  const plan = planVolumes(names, blobs, volumeSize, bases);
  await mkdir(folder, { recursive: true });
  const volumes = await writeVolumes(new VolumeMap(names, plan, bases), layout, folder);
  const document: BundleDocument = {
    kind: 'omni-airgap/bundle',
    schema: bundleSchemaOf(withdraws),
    id: bundleIdOf(volumes),
    origin: options.origin ?? '0123456789abcdef0123456789abcdef',
    sequence: options.sequence ?? 1,
    createdAt: '2026-01-01T00:00:00Z',
    tool: 'test',
    base,
    roots: [...names].map(([name, descriptor]) => ({ name, descriptor })),
    ...(withdraws.length === 0 ? {} : { withdraws: [...withdraws] }),
    blobs: [...plan.blobs],
    volumes: [...volumes],
    files: [],
    egress: [],
  };
  const bytes = Buffer.from(serializeDocument(document));
  await writeFile(join(folder, documentName), bytes);
  if (options.key !== undefined) {
    await writeFile(join(folder, signatureName), signBytes(bytes, options.key));
  }
  return document;
}

/** All volumes into one folder. @throws as writeVolume */
export async function writeVolumes(
  map: VolumeMap,
  source: Located,
  folder: string,
  options: WriteVolumeOptions = {},
): Promise<readonly WrittenVolume[]> {
  const written: WrittenVolume[] = [];
  for (const volume of map.sizes.keys())
    written.push(await writeVolume(map, volume, source, folder, options));
  return written;
}
