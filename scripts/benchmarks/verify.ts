/** verify against openssl's hash of the volumes. */
import { globSync } from 'node:fs';
import { join } from 'node:path';
import { equalImages, makeContent, writeStore } from './harness/content.ts';
import { measure, measureCli } from './harness/measure.ts';
import { alternate, type BenchmarkContext } from './harness/rounds.ts';
import { bundleArguments, floor } from './harness/stage.ts';
import { ours } from './harness/statistics.ts';

export default async function benchmark(context: BenchmarkContext): Promise<readonly string[]> {
  const { folder, sizeMiB, program } = context;
  const [store, out] = [join(folder, 'store'), join(folder, 'out')];
  const content = await makeContent(equalImages(1, 32, (sizeMiB / 32) * 1024 ** 2));
  await writeStore(store, content);
  await measureCli(program, bundleArguments(store, out));
  const volumes = globSync(`${out}/content.tar.*`);
  await alternate(
    context,
    {
      comparison: 'verify',
      title: `verify of a bundle of ${Math.round(content.bytes / 1e6)} MB, from the page cache`,
      bytes: content.bytes,
    },
    {
      [ours]: () => measureCli(program, ['verify', '--bundle', out]),
      openssl: () => measure('openssl', ['dgst', '-sha256', ...volumes]),
    },
    {
      floor: () => measure(process.execPath, [floor, 'hash', ...volumes]),
    },
  );
  return [];
}
