/**
 * load into an object store against the AWS command line with the same files: once without reading back, as that
 * one does, and once as it is. Into Ceph's gateway on this host.
 */

import { createWriteStream } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { BundleStore } from '../../packages/format/src/index.ts';
import { MediaType } from '../../packages/oci/src/model/index.ts';
import { startCeph } from '../../test/services/ceph.ts';
import { makeBundle } from '../../test/support/made-bundle.ts';
import { type BenchmarkContext, type Measured, measure, measureCli, median, show } from './measure.ts';

const rounds = 3;
const most = { ratio: 1.2, peakMiB: 200 };

export default async function benchmark({ folder, sizeMiB }: BenchmarkContext): Promise<readonly string[]> {
  const mebibytes = (share: number): number => Math.floor(sizeMiB * share) * 1024 ** 2;
  const bundle = await makeBundle(
    {},
    {
      'metal-amd64.iso': mebibytes(0.45),
      'metal-arm64.iso': mebibytes(0.4),
      'initramfs-amd64.xz': mebibytes(0.12),
      'kernel-amd64': mebibytes(0.03),
    },
  );
  const files = join(folder, 'files');
  await writeFiles(bundle.folder, files);
  const runs: Record<'aws' | 'quick' | 'load', Measured[]> = { aws: [], quick: [], load: [] };
  for (let round = 0; round < rounds; round++) {
    // What the store holds, it holds in memory: each round has one of its own.
    const gateway = await startCeph();
    try {
      Object.assign(process.env, {
        AWS_ACCESS_KEY_ID: gateway.accessKeyId,
        AWS_SECRET_ACCESS_KEY: gateway.secretAccessKey,
        AWS_DEFAULT_REGION: gateway.region,
      });
      const copy = ['--endpoint-url', gateway.url, 's3', 'cp', '--quiet', '--recursive', files];
      await gateway.createBucket('aws');
      runs.aws.push(await measure('aws', ...copy, 's3://aws'));
      const load = async (name: string, ...flags: readonly string[]): Promise<Measured> => {
        await gateway.createBucket(name);
        const target = ['--object-store', `s3://${name}`, '--s3-endpoint', gateway.url];
        const state = ['--state', join(folder, `${name}-${round}`)];
        return measureCli('load', ...bundle.flags, ...target, ...state, ...flags);
      };
      runs.quick.push(await load('quick', '--verify', 'quick'));
      runs.load.push(await load('load'));
    } finally {
      await gateway.stop();
    }
  }
  const [aws, quick, load] = [median(runs.aws), median(runs.quick), median(runs.load)];
  show('aws s3 cp', aws, sizeMiB);
  show('load --verify quick', quick, sizeMiB);
  show('load, with everything read back', load, sizeMiB);
  const ratio = load.seconds / aws.seconds;
  console.log(`load takes ${ratio.toFixed(2)} times aws s3 cp, which reads nothing back`);
  return [
    ...(ratio > most.ratio ? [`load: ${ratio.toFixed(2)} times aws s3 cp, more than ${most.ratio}`] : []),
    ...(load.peakMiB > most.peakMiB
      ? [`load: ${load.peakMiB.toFixed(0)} MiB peak, more than ${most.peakMiB}`]
      : []),
  ];
}

/** The same files, as they would lie in a folder. */
async function writeFiles(bundle: string, folder: string): Promise<void> {
  await mkdir(folder);
  const store = await BundleStore.open([bundle], { mode: 'any' });
  for (const { digest, size } of store.map.blobs) {
    if (size < 1024 ** 2) continue;
    const blob = { mediaType: MediaType.octetStream, digest, size };
    await pipeline(store.fetch(blob), createWriteStream(join(folder, digest.slice(7, 23))));
  }
}
