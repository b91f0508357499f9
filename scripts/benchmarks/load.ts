/**
 * load against skopeo copy from a layout, into a local Distribution registry, hashing and verifying included; then a
 * load that has nothing to do.
 */

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { serializeDocument } from '../../packages/format/src/index.ts';
import { Layout } from '../../packages/oci/src/layout/index.ts';
import { type Descriptor, descriptorOf, MediaType, openerOf } from '../../packages/oci/src/model/index.ts';
import { buildManifest, generatedBlob } from '../../packages/oci/src/testing/index.ts';
import { startRegistry } from '../../test/services/docker-registry.ts';
import { type BenchmarkContext, type Measured, measure, measureCli, median, show } from './measure.ts';

const rounds = 3;
const layerCount = 64;
const imageCount = 100;
const most = { ratio: 0.5, peakMiB: 200, unchangedSeconds: 3 };
const name = 'quay.io/bench/image:v1';
const layerType = 'application/vnd.oci.image.layer.v1.tar+gzip';

export default async function benchmark({ folder, sizeMiB }: BenchmarkContext): Promise<readonly string[]> {
  const [store, media] = [join(folder, 'store'), join(folder, 'media')];
  await makeStore(store, [
    { name, layers: layerCount, layerBytes: Math.floor((sizeMiB / layerCount) * 1024 ** 2) },
  ]);
  await measureCli('bundle', '--store', store, '--out', media, '--unsigned', '--no-readback');
  const runs: Record<'skopeo' | 'load', Measured[]> = { skopeo: [], load: [] };
  const intoRegistry = async (run: (host: string) => Promise<Measured>): Promise<Measured> => {
    const registry = await startRegistry();
    try {
      return await run(registry.host);
    } finally {
      await registry.stop();
    }
  };
  for (let round = 0; round < rounds; round++) {
    runs.skopeo.push(
      await intoRegistry((host) =>
        measure(
          'skopeo',
          ...[
            'copy',
            '--quiet',
            '--all',
            '--dest-tls-verify=false',
            `oci:${store}:${name}`,
            `docker://${host}/bench/image:v1`,
          ],
        ),
      ),
    );
    runs.load.push(await intoRegistry((host) => measureCli(...loadFlags(folder, media, host))));
  }
  const [skopeo, load] = [median(runs.skopeo), median(runs.load)];
  show('skopeo copy', skopeo, sizeMiB);
  show('load', load, sizeMiB);
  const ratio = load.seconds / skopeo.seconds;
  console.log(`load takes ${ratio.toFixed(2)} times skopeo copy`);

  const [many, manyMedia] = [join(folder, 'many'), join(folder, 'many-media')];
  await makeStore(
    many,
    Array.from({ length: imageCount }, (_, i) => ({
      name: `quay.io/bench/image-${i}:v1`,
      layers: 8,
      layerBytes: 2000,
    })),
  );
  await measureCli('bundle', '--store', many, '--out', manyMedia, '--unsigned', '--no-readback');
  const unchanged = await intoRegistry(async (host) => {
    await measureCli(...loadFlags(folder, manyMedia, host));
    return measureCli(...loadFlags(folder, manyMedia, host));
  });
  console.log(`load of ${imageCount} images that are there: ${unchanged.seconds.toFixed(2)} s`);
  return [
    ...(ratio > most.ratio ? [`load: ${ratio.toFixed(2)} times skopeo copy, more than ${most.ratio}`] : []),
    ...(load.peakMiB > most.peakMiB
      ? [`load: ${load.peakMiB.toFixed(0)} MiB peak, more than ${most.peakMiB}`]
      : []),
    ...(unchanged.seconds > most.unchangedSeconds
      ? [`load without changes: ${unchanged.seconds.toFixed(2)} s, more than ${most.unchangedSeconds}`]
      : []),
  ];
}

function loadFlags(folder: string, media: string, host: string): readonly string[] {
  const own = ['--state', join(folder, 'state'), '--handoff', join(folder, 'handoff')];
  return [
    'load',
    '--bundle',
    media,
    '--allow-unsigned',
    '--allow-rollback',
    '--registry',
    host,
    '--plain-http',
    host,
    ...own,
  ];
}

interface MadeImage {
  readonly name: string;
  readonly layers: number;
  readonly layerBytes: number;
}

/** A store as a fetch leaves it. */
async function makeStore(folder: string, images: readonly MadeImage[]): Promise<void> {
  const layout = await Layout.open(folder, { create: true });
  const items: object[] = [];
  let seed = 1;
  for (const image of images) {
    const configBytes = Buffer.from(
      JSON.stringify({ os: 'linux', architecture: 'amd64', config: { of: image.name } }),
    );
    const config = descriptorOf(MediaType.ociConfig, configBytes);
    await layout.push(config, openerOf(configBytes));
    const layers: Descriptor[] = [];
    for (let i = 0; i < image.layers; i++) {
      const { descriptor, open } = await generatedBlob(seed++, image.layerBytes, layerType);
      await layout.push(descriptor, open);
      layers.push(descriptor);
    }
    const { descriptor, bytes } = buildManifest(MediaType.ociManifest, { config, layers });
    await layout.push(descriptor, openerOf(bytes));
    await layout.tag(descriptor, image.name);
    items.push({
      name: image.name,
      kind: 'image',
      descriptor,
      bytes: image.layers * image.layerBytes,
      source: 'https://quay.io',
      fetchedAt: '2026-01-01T00:00:00Z',
    });
  }
  const lock = { kind: 'omni-airgap/lock', schema: 1, items, missing: [] };
  await writeFile(join(folder, 'lock.json'), serializeDocument(lock));
}
