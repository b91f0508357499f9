/** bundle against cp and sync of the same bytes to the same disk; with read-back, one read more. */

import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type BenchmarkContext, type Measured, measureCli, measureShell, median, show } from './measure.ts';
import { makeStore } from './store.ts';

const rounds = 5;
/** `readBack`: of the time of writing and of reading once. */
const most = { ratio: 1.2, readBack: 1.2, peakMiB: 150 };
const readDirect =
  'for f in "$1"/content.tar.*; do dd if="$f" of=/dev/null bs=4M iflag=direct status=none; done';

export default async function benchmark({ folder, sizeMiB }: BenchmarkContext): Promise<readonly string[]> {
  const store = join(folder, 'store');
  const out = join(folder, 'out');
  await makeStore(store, sizeMiB);
  const runs: Record<'copy' | 'bundle' | 'read' | 'readBack', Measured[]> = {
    copy: [],
    bundle: [],
    read: [],
    readBack: [],
  };
  const fresh = async (): Promise<void> => {
    await rm(out, { recursive: true, force: true });
    await rm(join(store, 'bundles'), { recursive: true, force: true });
    await measureShell('sync');
  };
  const tools = ['bundle', '--store', store, '--out', out, '--unsigned'];
  // Taking turns, so that whatever else the machine does meets all of them.
  for (let round = 0; round < rounds; round++) {
    await fresh();
    runs.copy.push(await measureShell('cp -r "$1" "$2"; sync -f "$2"', join(store, 'blobs'), out));
    await fresh();
    runs.bundle.push(await measureCli(...tools, '--no-readback'));
    runs.read.push(await measureShell(readDirect, out));
    await fresh();
    runs.readBack.push(await measureCli(...tools));
  }
  const [copy, plain, read, readBack] = [
    median(runs.copy),
    median(runs.bundle),
    median(runs.read),
    median(runs.readBack),
  ];
  show('cp and sync', copy, sizeMiB);
  show('bundle --no-readback', plain, sizeMiB);
  show('dd of the volumes', read, sizeMiB);
  show('bundle', readBack, sizeMiB);
  const ratio = plain.seconds / copy.seconds;
  const withRead = readBack.seconds / (plain.seconds + read.seconds);
  console.log(`bundle takes ${withRead.toFixed(2)} times bundle --no-readback and reading once`);
  console.log(`bundle --no-readback takes ${ratio.toFixed(2)} times cp and sync`);
  const peakMiB = Math.max(plain.peakMiB, readBack.peakMiB);
  return [
    ...(ratio > most.ratio
      ? [`bundle --no-readback: ${ratio.toFixed(2)} times cp and sync, more than ${most.ratio}`]
      : []),
    ...(withRead > most.readBack
      ? [
          `bundle: ${withRead.toFixed(2)} times bundle --no-readback and reading once, more than ${most.readBack}`,
        ]
      : []),
    ...(peakMiB > most.peakMiB ? [`bundle: ${peakMiB.toFixed(0)} MiB peak, more than ${most.peakMiB}`] : []),
  ];
}
