/**
 * Generated images, written where a benchmark needs them: a store as a fetch leaves it, the data folder of a Distribution
 * registry; and the check that a copy of them is complete. Written without syncs and without the code that is measured.
 * Sources: image-spec v1.1.1 image-layout.md; distribution v2.8.2 registry/storage/paths.go.
 */
import { mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { serializeDocument } from '../../../packages/format/src/index.ts';
import {
  type Descriptor,
  descriptorOf,
  hexOf,
  MediaType,
  openerOf,
} from '../../../packages/oci/src/model/index.ts';
import { buildManifest, generatedBlob, seededRandom } from '../../../packages/oci/src/testing/index.ts';

/** Image name without host and tag, and the size of each layer in bytes. */
export type ImageSizes = Readonly<Record<string, readonly number[]>>;

interface MadeImage {
  readonly name: string;
  readonly manifest: Descriptor;
  readonly children: readonly Descriptor[];
}

export interface Content {
  readonly images: readonly MadeImage[];
  /** Of all blobs, manifests among them. */
  readonly bytes: number;
  readonly blobs: ReadonlyMap<string, { readonly size: number; readonly open: ReturnType<typeof openerOf> }>;
}

/** The registry host that the images are known by outside, and their tag. */
export const host = 'ghcr.io';
export const tag = 'v1';
const layerType = 'application/vnd.oci.image.layer.v1.tar+gzip';

/** Layers are seeded: the same sizes give the same content. No two images share a layer. */
export async function makeContent(images: ImageSizes): Promise<Content> {
  const blobs = new Map<string, { size: number; open: ReturnType<typeof openerOf> }>();
  const add = (descriptor: Descriptor, open: ReturnType<typeof openerOf>): Descriptor => {
    blobs.set(hexOf(descriptor.digest), { size: descriptor.size, open });
    return descriptor;
  };
  const made: MadeImage[] = [];
  let seed = 1;
  for (const [name, sizes] of Object.entries(images)) {
    const text = Buffer.from(JSON.stringify({ os: 'linux', architecture: 'amd64', config: {}, of: name }));
    const config = add(descriptorOf(MediaType.ociConfig, text), openerOf(text));
    const layers: Descriptor[] = [];
    for (const size of sizes) {
      const { descriptor, open } = await generatedBlob(seed++, size, layerType);
      layers.push(add(descriptor, open));
    }
    const { descriptor, bytes } = buildManifest(MediaType.ociManifest, { config, layers });
    made.push({ name, manifest: add(descriptor, openerOf(bytes)), children: [config, ...layers] });
  }
  return { images: made, blobs, bytes: [...blobs.values()].reduce((sum, { size }) => sum + size, 0) };
}

/** @param count of images, each with `layers` layers of `layerBytes` */
export function equalImages(count: number, layers: number, layerBytes: number): ImageSizes {
  const sizes = Array<number>(layers).fill(Math.floor(layerBytes));
  return Object.fromEntries(Array.from({ length: count }, (_, i) => [`bench/image-${i}`, sizes]));
}

/**
 * A hundred images of 1 to 8 layers of 4 KB to 24 MB: most layers are small, most bytes are in large ones. With less content
 * layers are smaller, and below 200 MiB images fewer.
 */
export function mixedImages(sizeMiB: number): ImageSizes {
  const random = seededRandom(5);
  const scale = Math.min(1, sizeMiB / 2048);
  const count = Math.min(100, Math.ceil(sizeMiB / 2));
  const layer = (): number => Math.max(4096, Math.floor(4096 * 6000 ** (random() ** 0.86) * scale));
  const layers = (): number[] => Array.from({ length: 1 + Math.floor(random() * 8) }, layer);
  return Object.fromEntries(Array.from({ length: count }, (_, i) => [`bench/mixed-${i}`, layers()]));
}

/** Writes `folder` as a store that holds the images, all named in lock.json. */
export async function writeStore(folder: string, { images, blobs }: Content): Promise<void> {
  const blobFolder = join(folder, 'blobs', 'sha256');
  mkdirSync(blobFolder, { recursive: true });
  for (const [hex, { open }] of blobs) await writeFile(join(blobFolder, hex), open());
  writeFileSync(join(folder, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
  const refName = 'org.opencontainers.image.ref.name';
  const manifests = images.map(({ name, manifest }) => ({
    ...manifest,
    annotations: { [refName]: `${host}/${name}:${tag}` },
  }));
  writeFileSync(
    join(folder, 'index.json'),
    `${JSON.stringify({ schemaVersion: 2, mediaType: MediaType.ociIndex, manifests })}\n`,
  );
  const items = images.map(({ name, manifest, children }) => ({
    name: `${host}/${name}:${tag}`,
    kind: 'image',
    descriptor: manifest,
    bytes: children.reduce((sum, { size }) => sum + size, manifest.size),
    source: `https://${host}`,
    fetchedAt: '2026-01-01T00:00:00Z',
  }));
  const lock = { kind: 'omni-airgap/lock', schema: 1, items, missing: [] };
  writeFileSync(join(folder, 'lock.json'), serializeDocument(lock));
}

/** Writes the images into the data folder of a Distribution registry with the file system driver. */
export async function writeRegistry(data: string, { images, blobs }: Content): Promise<void> {
  for (const [hex, { open }] of blobs) {
    const path = blobPath(data, hex);
    mkdirSync(join(path, '..'), { recursive: true });
    await writeFile(path, open());
  }
  for (const { name, manifest, children } of images) {
    const repository = join(data, 'docker', 'registry', 'v2', 'repositories', name);
    const link = (folder: string, { digest }: Descriptor): void => {
      mkdirSync(join(repository, folder), { recursive: true });
      writeFileSync(join(repository, folder, 'link'), digest);
    };
    for (const child of children) link(`_layers/sha256/${hexOf(child.digest)}`, child);
    const hex = hexOf(manifest.digest);
    link(`_manifests/revisions/sha256/${hex}`, manifest);
    link(`_manifests/tags/${tag}/index/sha256/${hex}`, manifest);
    link(`_manifests/tags/${tag}/current`, manifest);
  }
}

const blobPath = (data: string, hex: string): string =>
  join(data, 'docker', 'registry', 'v2', 'blobs', 'sha256', hex.slice(0, 2), hex, 'data');

/** @throws Error unless the registry has every blob in full */
export function requireInRegistry(data: string, { blobs }: Content): void {
  for (const [hex, { size }] of blobs) {
    const found = statSync(blobPath(data, hex), { throwIfNoEntry: false })?.size;
    if (found !== size) throw new Error(`the registry has ${found ?? 'no'} bytes of ${hex}, not ${size}`);
  }
}

/** @throws Error unless the OCI layouts in or below `folder` together have every blob in full */
export function requireInLayouts(folder: string, { blobs }: Content): void {
  const found = new Map<string, number>();
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    if (entry.isFile() && entry.parentPath.endsWith('/sha256') && blobs.has(entry.name))
      found.set(entry.name, statSync(join(entry.parentPath, entry.name)).size);
  }
  for (const [hex, { size }] of blobs) {
    if (found.get(hex) !== size)
      throw new Error(`${folder} has ${found.get(hex) ?? 'no'} bytes of ${hex}, not ${size}`);
  }
}
