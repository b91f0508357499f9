/** How long `--help` takes, from a clone and as the released executable. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { nodeFlags } from '../lib/node-flags.ts';
import { measure } from './harness/measure.ts';
import { alternate, type BenchmarkContext } from './harness/rounds.ts';

export default async function benchmark(context: BenchmarkContext): Promise<readonly string[]> {
  const { folder, program, clone } = context;
  const empty = join(folder, 'empty.js');
  writeFileSync(empty, '');
  await alternate(
    context,
    { comparison: 'start', title: 'omni-airgap --help', bytes: 0 },
    {
      clone: () => measure(clone, ['--help']),
      executable: program === clone ? undefined : () => measure(program, ['--help']),
      floor: () => measure(process.execPath, [...nodeFlags, empty]),
    },
  );
  return [];
}
