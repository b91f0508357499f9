/** A bundle of generated content, without a fetch before it. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { writeTestBundle } from '../../packages/format/src/testing/index.ts';
import { Layout } from '../../packages/oci/src/layout/index.ts';
import {
  type Descriptor,
  descriptorOf,
  digestOf,
  MediaType,
  openerOf,
} from '../../packages/oci/src/model/index.ts';
import { buildManifest, generatedBlob } from '../../packages/oci/src/testing/index.ts';
import { temporaryFolder } from '../services/temporary.ts';

export interface MadeBundle {
  /** `--bundle DIR --allow-unsigned` */
  readonly flags: readonly string[];
  readonly folder: string;
  /** The store that it was made from. */
  readonly store: string;
  /** By name in the bundle. */
  readonly roots: ReadonlyMap<string, Descriptor>;
}

const layerType = 'application/vnd.oci.image.layer.v1.tar+gzip';
const titleAnnotation = 'org.opencontainers.image.title';

/**
 * @param images layer sizes in bytes by name
 * @param media sizes of files in bytes by file name, of one schematic
 * @param odd names of images whose manifest says `"schemaVersion":2.0`, which some registries refuse
 * @param partial names that stand for an index of which the image is the only platform carried
 */
export async function makeBundle(
  images: Readonly<Record<string, readonly number[]>>,
  media: Readonly<Record<string, number>> = {},
  odd: readonly string[] = [],
  partial: readonly string[] = [],
): Promise<MadeBundle> {
  const root = temporaryFolder('made-bundle');
  const layout = await Layout.open(join(root, 'store'), { create: true });
  const roots = new Map<string, Descriptor>();
  let seed = 1;
  const small = async (mediaType: string, text: string): Promise<Descriptor> => {
    const bytes = Buffer.from(text);
    const descriptor = descriptorOf(mediaType, bytes);
    await layout.push(descriptor, openerOf(bytes));
    return descriptor;
  };
  const generated = async (mediaType: string, size: number): Promise<Descriptor> => {
    const { descriptor, open } = await generatedBlob(seed++, size, mediaType);
    await layout.push(descriptor, open);
    return descriptor;
  };
  const tag = async (name: string, members: object): Promise<void> => {
    const { bytes: plain } = buildManifest(MediaType.ociManifest, members);
    const text = plain
      .toString()
      .replace('"schemaVersion":2', `"schemaVersion":${odd.includes(name) ? '2.0' : '2'}`);
    const bytes = Buffer.from(text);
    const descriptor = descriptorOf(MediaType.ociManifest, bytes);
    await layout.push(descriptor, openerOf(bytes));
    const root = partial.includes(name) ? await partialIndex(descriptor) : descriptor;
    await layout.tag(root, name);
    roots.set(name, root);
  };
  const partialIndex = async (image: Descriptor): Promise<Descriptor> => {
    const absent = { ...image, digest: digestOf(Buffer.from('absent')) };
    const manifests = [
      { ...image, platform: { os: 'linux', architecture: 'amd64' } },
      { ...absent, platform: { os: 'linux', architecture: 'arm64' } },
    ];
    const { descriptor, bytes } = buildManifest(MediaType.ociIndex, { manifests });
    await layout.push(descriptor, openerOf(bytes));
    return descriptor;
  };
  for (const [name, sizes] of Object.entries(images)) {
    const config = await small(
      MediaType.ociConfig,
      JSON.stringify({ os: 'linux', architecture: 'amd64', of: name }),
    );
    const layers: Descriptor[] = [];
    for (const size of sizes) layers.push(await generated(layerType, size));
    await tag(name, { config, layers });
  }
  const files = Object.entries(media);
  if (files.length > 0) {
    const config = await small(MediaType.empty, '{}');
    const layers: object[] = [];
    for (const [title, size] of files) {
      layers.push({
        ...(await generated(MediaType.octetStream, size)),
        annotations: { [titleAnnotation]: title },
      });
    }
    const name = `factory.talos.dev/talos-media/${'3'.repeat(64)}:v1.13.9`;
    await tag(name, { artifactType: 'application/vnd.omni-airgap.talos-media.v1', config, layers });
  }
  const folder = join(root, 'bundle');
  await writeTestBundle(layout, folder);
  if (partial.length > 0) {
    const path = join(folder, 'bundle.json');
    const sparse = partial.flatMap((name) => roots.get(name) ?? []);
    writeFileSync(path, JSON.stringify({ ...JSON.parse(readFileSync(path, 'utf8')), sparse }));
  }
  const store = join(root, 'store');
  const items = [...roots].map(([name, descriptor]) => ({
    name,
    descriptor,
    kind: name.includes('/talos-media/') ? 'media' : 'image',
    bytes: descriptor.size,
    source: `https://${name}`,
    fetchedAt: '2026-01-02T03:04:05Z',
  }));
  const lock = { kind: 'omni-airgap/lock', schema: 1, items, missing: [] };
  writeFileSync(join(store, 'lock.json'), JSON.stringify(lock));
  return { flags: ['--bundle', folder, '--allow-unsigned'], folder, store, roots };
}
