/** A store with one large image, as a fetch leaves it. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { serializeDocument } from '../../packages/format/src/index.ts';
import { graphOf, walk } from '../../packages/oci/src/index.ts';
import { Layout } from '../../packages/oci/src/layout/index.ts';
import { type Descriptor, descriptorOf, MediaType, openerOf } from '../../packages/oci/src/model/index.ts';
import { buildManifest, generatedBlob } from '../../packages/oci/src/testing/index.ts';

const layerType = 'application/vnd.oci.image.layer.v1.tar+gzip';
/** Layers of images and files of media are of this order: bytes. */
const layerSize = 48 * 1024 * 1024;

/** @param folder becomes the store */
export async function makeStore(folder: string, sizeMiB: number): Promise<void> {
  const layout = await Layout.open(folder, { create: true });
  const configBytes = Buffer.from('{"os":"linux","architecture":"amd64"}');
  const config = descriptorOf(MediaType.ociConfig, configBytes);
  await layout.push(config, openerOf(configBytes));
  const layers: Descriptor[] = [];
  for (let left = sizeMiB * 1024 * 1024, seed = 1; left > 0; left -= layerSize, seed++) {
    const { descriptor, open } = await generatedBlob(seed, Math.min(left, layerSize), layerType);
    await layout.push(descriptor, open);
    layers.push(descriptor);
  }
  const { descriptor, bytes } = buildManifest(MediaType.ociManifest, { config, layers });
  await layout.push(descriptor, openerOf(bytes));
  const name = 'quay.io/bench/image:v1';
  await layout.tag(descriptor, name);
  const graph = await graphOf(walk(layout, [descriptor]));
  const total = [...graph.values()].reduce((sum, one) => sum + one.size, 0);
  const source = 'https://quay.io';
  const item = { name, kind: 'image', descriptor, bytes: total, source, fetchedAt: new Date().toISOString() };
  const lock = { kind: 'omni-airgap/lock', schema: 1, items: [item], missing: [] };
  await writeFile(join(folder, 'lock.json'), serializeDocument(lock));
}
