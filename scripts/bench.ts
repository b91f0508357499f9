/** Benchmarks by name: `./scripts/bench [NAME…] [--size MIB] [--dir DIR]`; all of them without a name. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { Benchmark } from './benchmarks/measure.ts';

const benchmarks: Readonly<Record<string, () => Promise<Benchmark>>> = {
  bundle: async () => (await import('./benchmarks/bundle.ts')).default,
  fetch: async () => (await import('./benchmarks/fetch.ts')).default,
  open: async () => (await import('./benchmarks/open.ts')).default,
  verify: async () => (await import('./benchmarks/verify.ts')).default,
  load: async () => (await import('./benchmarks/load.ts')).default,
  'load-objects': async () => (await import('./benchmarks/load-objects.ts')).default,
  serve: async () => (await import('./benchmarks/serve.ts')).default,
};

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { size: { type: 'string', default: '2048' }, dir: { type: 'string', default: tmpdir() } },
});
const sizeMiB = Number(values.size);
const names = positionals.length > 0 ? positionals : Object.keys(benchmarks);
const unknown = names.find((name) => benchmarks[name] === undefined);
if (unknown !== undefined || !(sizeMiB >= 16)) {
  console.error(
    unknown === undefined
      ? '--size must be 16 (MiB) at least'
      : `no benchmark ${unknown}; there are ${Object.keys(benchmarks).join(', ')}`,
  );
  process.exit(2);
}
for (const name of names) {
  const benchmark = await benchmarks[name]?.();
  const folder = await mkdtemp(join(values.dir, `omni-airgap-bench-${name}-`));
  try {
    console.log(`== ${name}, ${sizeMiB} MiB in ${values.dir}`);
    const missed = (await benchmark?.({ folder, sizeMiB })) ?? [];
    for (const line of missed) console.log(`MISSED: ${line}`);
    if (missed.length > 0) process.exitCode = 1;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
