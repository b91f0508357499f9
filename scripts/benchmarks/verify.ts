/** verify against sha256sum of the volumes. */

import { join } from 'node:path';
import { type BenchmarkContext, type Measured, measureCli, measureShell, median, show } from './measure.ts';
import { makeStore } from './store.ts';

const rounds = 5;
const most = { ratio: 1.15, peakMiB: 150 };

export default async function benchmark({ folder, sizeMiB }: BenchmarkContext): Promise<readonly string[]> {
  const store = join(folder, 'store');
  const out = join(folder, 'out');
  await makeStore(store, sizeMiB);
  await measureCli('bundle', '--store', store, '--out', out, '--unsigned');
  const sums: Measured[] = [];
  const ours: Measured[] = [];
  for (let round = 0; round < rounds; round++) {
    sums.push(await measureShell('sha256sum "$1"/content.tar.*', out));
    ours.push(await measureCli('verify', '--bundle', out));
  }
  const [sum, verify] = [median(sums), median(ours)];
  show('sha256sum content.tar.*', sum, sizeMiB);
  show('verify', verify, sizeMiB);
  const ratio = verify.seconds / sum.seconds;
  console.log(`verify takes ${ratio.toFixed(2)} times sha256sum`);
  return [
    ...(ratio > most.ratio ? [`verify: ${ratio.toFixed(2)} times sha256sum, more than ${most.ratio}`] : []),
    ...(verify.peakMiB > most.peakMiB
      ? [`verify: ${verify.peakMiB.toFixed(0)} MiB peak, more than ${most.peakMiB}`]
      : []),
  ];
}
