/**
 * load into an object store against the AWS command line with the same files: once without reading back, as that
 * one does, and once as it is. Into Ceph's gateway on this host.
 */

import { createWriteStream, rmSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { BundleStore } from '../../packages/format/src/index.ts';
import { MediaType } from '../../packages/oci/src/model/index.ts';
import { type CephGateway, startCeph } from '../../test/services/ceph.ts';
import { makeBundle } from '../../test/support/made-bundle.ts';
import { type Measured, measure, measureCli } from './harness/measure.ts';
import { alternate, type BenchmarkContext } from './harness/rounds.ts';
import { ours } from './harness/statistics.ts';

const bucket = 'bench';

export default async function benchmark(context: BenchmarkContext): Promise<readonly string[]> {
  const { folder, sizeMiB, program } = context;
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
  // What the store holds, it holds in memory: each run has one of its own.
  const side = (run: (gateway: CephGateway) => Promise<Measured>) => async (): Promise<Measured> => {
    const gateway = await startCeph();
    try {
      Object.assign(process.env, {
        AWS_ACCESS_KEY_ID: gateway.accessKeyId,
        AWS_SECRET_ACCESS_KEY: gateway.secretAccessKey,
        AWS_DEFAULT_REGION: gateway.region,
      });
      await gateway.createBucket(bucket);
      return await run(gateway);
    } finally {
      await gateway.stop();
      rmSync(join(folder, 'state'), { recursive: true, force: true });
    }
  };
  const load = (...flags: readonly string[]) =>
    side(({ url }) =>
      measureCli(program, [
        ...['load', ...bundle.flags, '--object-store', `s3://${bucket}`, '--s3-endpoint', url],
        ...['--state', join(folder, 'state'), '--handoff', join(folder, 'handoff'), ...flags],
      ]),
    );
  await alternate(
    context,
    {
      comparison: 'load-objects',
      title: `load of ${sizeMiB} MiB of media into Ceph's gateway`,
      bytes: sizeMiB * 1024 ** 2,
    },
    {
      [ours]: load(),
      'without read-back': load('--verify', 'quick'),
      'aws s3 cp': side(({ url }) =>
        measure('aws', [
          '--endpoint-url',
          url,
          's3',
          'cp',
          '--quiet',
          '--recursive',
          files,
          `s3://${bucket}`,
        ]),
      ),
    },
  );
  return [];
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
