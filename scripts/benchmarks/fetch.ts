/**
 * fetch against skopeo copy, image by image, from a local Distribution registry into an OCI layout: large images on
 * loopback, a hundred mixed ones over an emulated long line; then a fetch that has nothing to do.
 */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { Layout } from '../../packages/oci/src/layout/index.ts';
import { type Descriptor, descriptorOf, MediaType, openerOf } from '../../packages/oci/src/model/index.ts';
import { buildManifest, generatedBytes, seededRandom } from '../../packages/oci/src/testing/index.ts';
import { startRegistry } from '../../test/services/docker-registry.ts';
import { type BenchmarkContext, type Measured, measure, measureCli, median, show } from './measure.ts';

const rounds = 3;
const most = { wall: 0.75, cpu: 0.8, line: 0.18, peakMiB: 200, unchangedSeconds: 3 };
const line = { roundTripMs: 40, megabytesPerSecond: 25 };
const host = 'ghcr.io';
const layerType = 'application/vnd.oci.image.layer.v1.tar+gzip';
const proxy = fileURLToPath(new URL('./shaping-proxy.ts', import.meta.url));

interface MadeImage {
  readonly name: string;
  /** Bytes of each layer. */
  readonly layers: readonly number[];
}

export default async function benchmark({ folder, sizeMiB }: BenchmarkContext): Promise<readonly string[]> {
  const large = Array.from({ length: 8 }, (_, i) => ({
    name: `bench/large-${i}`,
    layers: Array<number>(8).fill(Math.floor((sizeMiB / 64) * 1024 ** 2)),
  }));
  const mixed = mixedImages(sizeMiB / 2048);
  const registry = await startRegistry();
  try {
    await publish(folder, registry.host, [...large, ...mixed]);
    const near = await compare(folder, registry.host, large);
    const wall = near.fetch.seconds / near.skopeo.seconds;
    const cpu = near.fetch.cpuSeconds / near.skopeo.cpuSeconds;
    console.log(
      `fetch takes ${wall.toFixed(2)} times the time and ${cpu.toFixed(2)} times the CPU of skopeo copy`,
    );

    const far = await throughLine(registry.port, (at) => compare(folder, at, mixed, 1));
    const long = far.fetch.seconds / far.skopeo.seconds;
    console.log(
      `over ${line.roundTripMs} ms and ${line.megabytesPerSecond} MB/s a connection: ${long.toFixed(2)} times`,
    );

    const flags = await fetchFlags(folder, registry.host, mixed);
    await measureCli(...flags);
    const unchanged = await measureCli(...flags);
    console.log(`fetch of ${mixed.length} images that are there: ${unchanged.seconds.toFixed(2)} s`);
    const peak = Math.max(near.fetch.peakMiB, far.fetch.peakMiB);
    return [
      ...(wall > most.wall ? [`fetch: ${wall.toFixed(2)} times skopeo's time, more than ${most.wall}`] : []),
      ...(cpu > most.cpu ? [`fetch: ${cpu.toFixed(2)} times skopeo's CPU, more than ${most.cpu}`] : []),
      ...(long > most.line
        ? [`fetch, long line: ${long.toFixed(2)} times skopeo, more than ${most.line}`]
        : []),
      ...(peak > most.peakMiB ? [`fetch: ${peak.toFixed(0)} MiB peak, more than ${most.peakMiB}`] : []),
      ...(unchanged.seconds > most.unchangedSeconds
        ? [`fetch without changes: ${unchanged.seconds.toFixed(2)} s, more than ${most.unchangedSeconds}`]
        : []),
    ];
  } finally {
    await registry.stop();
  }
}

/** A hundred images of 1 to 8 layers of 4 KB to 24 MB, 1.3 GB at full scale. */
function mixedImages(scale: number): readonly MadeImage[] {
  const random = seededRandom(5);
  return Array.from({ length: 100 }, (_, i) => ({
    name: `bench/mixed-${i}`,
    layers: Array.from({ length: 1 + Math.floor(random() * 8) }, () =>
      // Most layers are small, most bytes are in large ones.
      Math.max(4096, Math.floor(4096 * 6000 ** (random() ** 0.86) * Math.min(1, scale))),
    ),
  }));
}

async function publish(folder: string, registry: string, images: readonly MadeImage[]): Promise<void> {
  const root = join(folder, 'source');
  const layout = await Layout.open(root, { create: true });
  let seed = 1;
  let bytes = 0;
  for (const { name, layers } of images) {
    const configBytes = Buffer.from(
      JSON.stringify({ os: 'linux', architecture: 'amd64', config: { of: name } }),
    );
    const config = descriptorOf(MediaType.ociConfig, configBytes);
    await layout.push(config, openerOf(configBytes));
    const descriptors: Descriptor[] = [];
    for (const size of layers) {
      const chunks: Uint8Array[] = [];
      for await (const chunk of generatedBytes(seed++, size)()) chunks.push(chunk);
      // Real gzip, or skopeo would compress them on their way.
      const layer = gzipSync(Buffer.concat(chunks), { level: 0 });
      const descriptor = descriptorOf(layerType, layer);
      await layout.push(descriptor, openerOf(layer));
      descriptors.push(descriptor);
      bytes += layer.byteLength;
    }
    const manifest = buildManifest(MediaType.ociManifest, { config, layers: descriptors });
    await layout.push(manifest.descriptor, openerOf(manifest.bytes));
    await layout.tag(manifest.descriptor, `${name}:v1`);
    await measure(
      'skopeo',
      'copy',
      '--quiet',
      '--dest-tls-verify=false',
      `oci:${root}:${name}:v1`,
      `docker://${registry}/${name}:v1`,
    );
  }
  await rm(root, { recursive: true });
  console.log(`${images.length} images, ${Math.round(bytes / 1e6)} MB`);
}

async function fetchFlags(
  folder: string,
  registry: string,
  images: readonly MadeImage[],
): Promise<readonly string[]> {
  const config = join(folder, 'mirror.yaml');
  const list = images.map(({ name }) => `${host}/${name}:v1`);
  await writeFile(config, `apiVersion: omni-airgap/v1\nimages: ${JSON.stringify(list)}\n`);
  return [
    'fetch',
    '--config',
    config,
    '--store',
    join(folder, 'store'),
    '--upstream',
    `${host}=http://${registry}`,
  ];
}

/** Both in turns, from nothing each time. */
async function compare(
  folder: string,
  registry: string,
  images: readonly MadeImage[],
  times = rounds,
): Promise<Record<'skopeo' | 'fetch', Measured>> {
  const runs: Record<'skopeo' | 'fetch', Measured[]> = { skopeo: [], fetch: [] };
  const target = join(folder, 'target');
  const flags = await fetchFlags(folder, registry, images);
  const size = images.reduce((sum, { layers }) => sum + layers.reduce((a, b) => a + b, 0), 0) / 1024 ** 2;
  for (let round = 0; round < times; round++) {
    const each: Measured[] = [];
    for (const { name } of images) {
      const copy = ['copy', '--quiet', '--src-tls-verify=false', `docker://${registry}/${name}:v1`];
      each.push(await measure('skopeo', ...copy, `oci:${target}:${name}:v1`));
    }
    runs.skopeo.push(sumOf(each));
    await rm(target, { recursive: true });
    runs.fetch.push(await measureCli(...flags));
    await rm(join(folder, 'store'), { recursive: true });
  }
  const medians = { skopeo: median(runs.skopeo), fetch: median(runs.fetch) };
  show(`skopeo copy, ${images.length} images`, medians.skopeo, size);
  show(`fetch, ${images.length} images`, medians.fetch, size);
  return medians;
}

function sumOf(runs: readonly Measured[]): Measured {
  return {
    seconds: runs.reduce((sum, run) => sum + run.seconds, 0),
    cpuSeconds: runs.reduce((sum, run) => sum + run.cpuSeconds, 0),
    peakMiB: Math.max(...runs.map((run) => run.peakMiB)),
  };
}

/** With a server reached over the long line. @param work gets its address */
async function throughLine<T>(port: number, work: (address: string) => Promise<T>): Promise<T> {
  const args = [port, line.roundTripMs, line.megabytesPerSecond].map(String);
  const child: ChildProcess = spawn(process.execPath, [proxy, ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  try {
    const [said] = (await once(child.stdout ?? child, 'data')) as [Buffer];
    return await work(`127.0.0.1:${said.toString().trim()}`);
  } finally {
    child.kill();
  }
}
