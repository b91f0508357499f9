/**
 * bundle against cp and sync of the same bytes to the same disk, without and with the read-back, which reads what was written
 * once more.
 */
import { globSync } from 'node:fs';
import { join } from 'node:path';
import { equalImages, makeContent, writeStore } from './harness/content.ts';
import { measure, measureCli, measureShell } from './harness/measure.ts';
import { alternate, type BenchmarkContext, type Side } from './harness/rounds.ts';
import { bundleArguments, clear, floor } from './harness/stage.ts';
import { ours } from './harness/statistics.ts';

const layerMiB = 48;

export default async function benchmark(context: BenchmarkContext): Promise<readonly string[]> {
  const { folder, sizeMiB, program } = context;
  const [store, out] = [join(folder, 'store'), join(folder, 'out')];
  const layers = Math.ceil(sizeMiB / layerMiB);
  const content = await makeContent(equalImages(1, layers, (sizeMiB / layers) * 1024 ** 2));
  await writeStore(store, content);
  const files = globSync(`${store}/blobs/sha256/*`);
  const afresh =
    (run: Side): Side =>
    async () => {
      await clear(folder, out, join(store, 'bundles'));
      return run();
    };
  await alternate(
    context,
    {
      comparison: 'bundle',
      title: `bundle --no-readback of ${Math.round(content.bytes / 1e6)} MB in ${content.blobs.size} blobs, synced`,
      bytes: content.bytes,
    },
    {
      [ours]: afresh(() => measureCli(program, [...bundleArguments(store, out), '--no-readback'])),
      'with read-back': afresh(() => measureCli(program, bundleArguments(store, out))),
      'cp and sync': afresh(() => measureShell('cp -r "$1" "$2"; sync -f "$2"', [join(store, 'blobs'), out])),
    },
    {
      'limit: hash': () => measure('openssl', ['dgst', '-sha256', ...files]),
      floor: afresh(() => measure(process.execPath, [floor, 'pack', out, ...files])),
    },
  );
  return [];
}
