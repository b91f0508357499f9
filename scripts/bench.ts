/** The benchmarks by name or group, and the page that is made of their results. */
import { spawnSync } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { remove, temporaryFolder } from '../test/services/temporary.ts';
import { missedGoals } from './benchmarks/harness/goals.ts';
import { missedGrowths } from './benchmarks/harness/growth.ts';
import { isInNamespace, runInNamespace } from './benchmarks/harness/namespace.ts';
import { findPeers } from './benchmarks/harness/peers.ts';
import { freshReport, reportFile } from './benchmarks/harness/report.ts';
import { commitOf, describeSession, Recorder } from './benchmarks/harness/results.ts';
import type { Benchmark } from './benchmarks/harness/rounds.ts';
import { goalTable, growthTable, plain, without } from './benchmarks/harness/tables.ts';

const usage = `./scripts/bench [NAME…] [flags]

Benchmarks by name or group, all of them without a name; exit code 1 for a missed goal.

  goals     start, fetch, fetch-tls, line, load, bundle, verify, unchanged
  scale     curves, with the goals for memory: images, size, blobs, connections
  others    open, load-objects, serve, serve-replicas
  report    writes docs/performance.md from docs/performance/*.jsonl and docs/performance/ways.md

  --quick             half the content over the network, one run for each point of a curve
  --runs N            of each program, alternating (default: 9)
  --size MIB          content of most benchmarks (default: 2048)
  --dir DIR           where to work; it needs three times the largest blob (default: the folder for temporary files)
  --json FILE         write session and runs as JSON Lines
  --costs FILE        write what serve-replicas measures: docs/performance/serve-replicas.json is made so
  --executable FILE   what is measured as omni-airgap (default: the executable in dist; without it, this clone)
  --baseline FILE     the same of an older version, to compare the CPU of a load: its executable, or its scripts/omni-airgap
  --curve-runs N      runs of each point of a curve (default: 3)
  --wait SECONDS      for a quiet machine, before each comparison (default: 180)
  --unchanged N, --images N, --blobs N, --blob MIB, --connections N    how far they go`;

const curves: Readonly<Record<string, () => Promise<Benchmark>>> = {
  images: async () => (await import('./benchmarks/scale.ts')).scaleImages,
  size: async () => (await import('./benchmarks/scale.ts')).scaleSize,
  blobs: async () => (await import('./benchmarks/scale.ts')).scaleBlobs,
  connections: async () => (await import('./benchmarks/scale.ts')).scaleConnections,
};
const withGoals: Readonly<Record<string, () => Promise<Benchmark>>> = {
  start: async () => (await import('./benchmarks/start.ts')).default,
  fetch: async () => (await import('./benchmarks/fetch.ts')).fetchNear,
  'fetch-tls': async () => (await import('./benchmarks/fetch.ts')).fetchTls,
  line: async () => (await import('./benchmarks/fetch.ts')).fetchLine,
  load: async () => (await import('./benchmarks/load.ts')).default,
  bundle: async () => (await import('./benchmarks/bundle.ts')).default,
  verify: async () => (await import('./benchmarks/verify.ts')).default,
  unchanged: async () => (await import('./benchmarks/unchanged.ts')).default,
};
const benchmarks: Readonly<Record<string, () => Promise<Benchmark>>> = {
  ...withGoals,
  ...curves,
  open: async () => (await import('./benchmarks/open.ts')).default,
  'load-objects': async () => (await import('./benchmarks/load-objects.ts')).default,
  serve: async () => (await import('./benchmarks/serve.ts')).default,
  'serve-replicas': async () => (await import('./benchmarks/serve-replicas.ts')).default,
};
const groups: Readonly<Record<string, readonly string[]>> = {
  goals: Object.keys(withGoals),
  scale: Object.keys(curves),
};
const number = { type: 'string' } as const;
const defaults = {
  runs: 9,
  size: 2048,
  'curve-runs': 3,
  unchanged: 1000,
  images: 3000,
  blobs: 20_000,
  blob: 8192,
  connections: 32,
};
const quick = { ...defaults, size: 1024, 'curve-runs': 1 };
const clone = join(import.meta.dirname, 'omni-airgap');
const inDist = join(
  import.meta.dirname,
  '..',
  'dist',
  `omni-airgap-linux-${process.arch === 'x64' ? 'amd64' : process.arch}`,
);
/** They take no longer than the start of a process with less. */
const alwaysFull = ['bundle', 'verify'];

const { values, positionals } = parsedOrExit(() =>
  parseArgs({
    allowPositionals: true,
    options: {
      help: { type: 'boolean', short: 'h', default: false },
      wait: { type: 'string', default: '180' },
      ...{ runs: number, size: number, 'curve-runs': number, unchanged: number },
      ...{ images: number, blobs: number, blob: number, connections: number },
      quick: { type: 'boolean', default: false },
      dir: { type: 'string', default: tmpdir() },
      json: { type: 'string' },
      costs: { type: 'string' },
      baseline: { type: 'string' },
      executable: { type: 'string' },
    },
  }),
);

interface Plan {
  readonly names: readonly string[];
  readonly sizes: typeof defaults;
  readonly waitSeconds: number;
  readonly program: string;
  readonly baseline: string | undefined;
}

if (values.help) console.log(usage);
else if (positionals[0] === 'report') {
  writeFileSync(reportFile, freshReport());
  console.log(reportFile);
} else {
  const plan = planOf();
  if (typeof plan === 'string') {
    console.error(plan);
    process.exitCode = 2;
  } else if (isInNamespace()) process.exitCode = await main(plan, 'namespace');
  else process.exitCode = (await runInNamespace()) ?? (await main(plan, 'machine'));
}

/** What `parse` gives; a flag that is not known is one line, as any other wrong flag. */
function parsedOrExit<T>(parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    // Node's first sentence says which.
    console.error(`${String((error as Error).message).split(/\.\s/, 1)[0]}: see ./scripts/bench --help`);
    process.exit(2);
  }
}

/** What the command line asks for, or what is wrong with it. */
function planOf(): Plan | string {
  const names =
    positionals.length > 0 ? positionals.flatMap((name) => groups[name] ?? name) : Object.keys(benchmarks);
  const unknown = names.find((name) => benchmarks[name] === undefined);
  if (unknown !== undefined) {
    const known = [...Object.keys(groups), ...Object.keys(benchmarks), 'report'];
    return `no benchmark ${unknown}; there are ${known.join(', ')}`;
  }
  const sizes = Object.fromEntries(
    Object.entries(values.quick ? quick : defaults).map(([name, value]) => [
      name,
      Number(values[name as keyof typeof defaults] ?? value),
    ]),
  ) as typeof defaults;
  const wrong = Object.entries(sizes).find(([, value]) => !Number.isSafeInteger(value) || value < 1);
  if (wrong !== undefined) return `--${wrong[0]} must be a whole number from 1`;
  if (sizes.size < 16) return '--size must be 16 (MiB) at least';
  const waitSeconds = Number(values.wait);
  if (!Number.isSafeInteger(waitSeconds) || waitSeconds < 0)
    return '--wait must be a whole number of seconds from 0';
  const baseline = values.baseline === undefined ? undefined : resolve(values.baseline);
  const executable = resolve(values.executable ?? inDist);
  if (values.executable !== undefined && !existsSync(executable))
    return `--executable ${executable}: not found; build it with ./scripts/release`;
  if (baseline !== undefined && spawnSync(baseline, ['--version']).status !== 0)
    return `--baseline ${baseline}: does not start; specify an executable, or scripts/omni-airgap of a clone`;
  return { names, sizes, waitSeconds, program: existsSync(executable) ? executable : clone, baseline };
}

/** @returns the exit code */
async function main(
  { names, sizes, waitSeconds, program, baseline }: Plan,
  wire: 'namespace' | 'machine',
): Promise<number> {
  const dir = resolve(values.dir);
  const { peers, versions, missing } = findPeers();
  const runsAny = (...some: readonly string[]): boolean => some.some((name) => names.includes(name));
  const session = describeSession(dir, wire, spelled(), {
    versions: baseline === undefined ? versions : { ...versions, baseline: commitOf(dirname(baseline)) },
    program: program === clone ? 'clone' : 'executable',
    missing: [
      ...(runsAny('fetch', 'fetch-tls', 'line', 'load') ? missing : []),
      ...(baseline === undefined && runsAny('load') ? ['CPU of an older load: no --baseline'] : []),
      ...(program === clone ? ['the executable: build it with ./scripts/release'] : []),
    ],
  });
  for (const line of session.missing) console.log(`left out: ${line}`);
  if (wire === 'machine')
    console.log('wire: no network namespace here; other traffic on loopback counts too');
  const recorder = new Recorder(session, values.json);
  // The folders go when the process ends by itself.
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130));
  // Servers keep their data in the folder for temporary files: on the same disk.
  process.env['TMPDIR'] = dir;
  const isFull = (name: string): boolean => values.size === undefined && alwaysFull.includes(name);
  const missed: string[] = [];
  for (const name of names) {
    const benchmark = await benchmarks[name]?.();
    const folder = temporaryFolder(`bench-${name}`);
    const began = performance.now();
    try {
      console.log(`\n== ${name}`);
      missed.push(
        ...((await benchmark?.({
          ...{
            folder,
            sizeMiB: isFull(name) ? defaults.size : sizes.size,
            runs: sizes.runs,
            peers,
            program,
            clone,
            baseline,
            recorder,
            costs: values.costs,
            waitSeconds,
          },
          limits: { ...sizes, blobMiB: sizes.blob, curveRuns: sizes['curve-runs'] },
        })) ?? []),
      );
      console.log(`  (${((performance.now() - began) / 1000).toFixed(0)} s in all)`);
    } finally {
      remove(folder);
    }
  }
  const verdicts = ['met', 'MISSED'] as const;
  for (const table of [
    without(goalTable(recorder, verdicts), 'runs', 'floor'),
    growthTable(recorder, verdicts),
  ])
    if (table.rows.length > 0) console.log(`\n${plain(table)}`);
  missed.push(...missedGoals(recorder), ...missedGrowths(recorder));
  for (const line of missed) console.log(`MISSED: ${line}`);
  return missed.length > 0 ? 1 : 0;
}

/** The command line without the paths of this machine. */
function spelled(): readonly string[] {
  const flags = Object.keys(defaults).flatMap((name) => {
    const value = values[name as keyof typeof defaults];
    return value === undefined ? [] : [`--${name}`, value];
  });
  return [...positionals, ...(values.quick ? ['--quick'] : []), ...flags];
}
