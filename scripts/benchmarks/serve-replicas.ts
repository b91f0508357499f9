/**
 * Replicas of `serve` over Distribution and Ceph's gateway, behind haproxy as docs/scaling.md configures it: one, two and three,
 * proxied and redirected. What limits a machine like this one is the sum of all programs on it, so what counts is the
 * processor time that each of them takes for a request and for a GiB: the simulation of docs/scaling.md begins there.
 */
import { execFile } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { promisify } from 'node:util';
import { versionOf } from '../../test/services/found-program.ts';
import {
  type Balancer,
  type ReplicatedSite,
  startReplicatedSite,
} from '../../test/support/replicated-site.ts';
import { type Cost, type Costs, programs } from '../boot-storm/boot.ts';
import type { Session } from './harness/results.ts';
import type { BenchmarkContext } from './harness/rounds.ts';
import { plain, type Table } from './harness/tables.ts';

/** What docs/performance/serve-replicas.json holds. */
export interface MeasuredCosts extends Pick<Session, 'date' | 'commit' | 'machine' | 'versions'> {
  /** Of content in each download measurement. */
  readonly sizeMiB: number;
  readonly runs: readonly Run[];
}

export interface Run {
  readonly replicas: number;
  readonly isRedirecting: boolean;
  /** A second: manifests by tag, blobs and boot assets of a few bytes. */
  readonly manifests: number;
  readonly configs: number;
  readonly assets: number;
  /** MiB a second, of the large layer and of the ISO. */
  readonly layers: number;
  readonly isos: number;
  /** Of all replicas together, and of the other programs. */
  readonly costs: Costs;
}

type Program = keyof Costs;
type Spent = Readonly<Record<Program, number>>;

const most = 3;
const connections = 16;
const downloads = 4;
const ticksPerSecond = 100;

export default async function benchmark({
  sizeMiB,
  costs,
  recorder: { session },
}: BenchmarkContext): Promise<readonly string[]> {
  const site = await startReplicatedSite(Math.min(256, Math.max(16, Math.floor(sizeMiB / 8))));
  try {
    const runs: Run[] = [];
    for (const isRedirecting of [false, true])
      for (let replicas = 1; replicas <= most; replicas++)
        runs.push(await measureReplicas(site, replicas, isRedirecting, sizeMiB));
    for (const table of tablesOf(runs)) console.log(`\n${plain(table)}`);
    const { date, commit, machine } = session;
    const versions = {
      ...session.versions,
      haproxy: versionOf('haproxy', '-v'),
      Ceph: versionOf('radosgw', '--version'),
    };
    const measured: MeasuredCosts = { date, commit, machine, versions, sizeMiB, runs };
    if (costs !== undefined) writeFileSync(costs, `${JSON.stringify(measured, rounded, 2)}\n`);
    return missedBy(runs);
  } finally {
    await site.stop();
  }
}

async function measureReplicas(
  site: ReplicatedSite,
  count: number,
  isRedirecting: boolean,
  sizeMiB: number,
): Promise<Run> {
  const flags = isRedirecting ? ['--redirect', '--s3-public-endpoint', site.gateway.url] : [];
  const replicas = await Promise.all(Array.from({ length: count }, () => site.replica('--quiet', ...flags)));
  const balancer = await site.balance(replicas);
  const { iso, manifest, layer, config, cmdline } = await urlsOf(site, balancer);
  const spent = (): Spent => ({
    replica: replicas.reduce((sum, { pid }) => sum + processorSeconds(pid()), 0),
    balancer: processorSeconds(balancer.pid),
    registry: processorSeconds(site.registry.pid),
    objects: processorSeconds(site.gateway.pid),
  });
  const measured = async (units: number, work: () => Promise<void>) => {
    const before = spent();
    const start = process.hrtime.bigint();
    await work();
    const seconds = Number(process.hrtime.bigint() - start) / 1e9;
    const after = spent();
    const of = (program: Program): number => (after[program] - before[program]) / units;
    return { rate: units / seconds, of };
  };
  try {
    // A replica that has just started compiles its code, and has read nothing yet that it may keep.
    for (const url of [manifest, config, cmdline]) await ask(url, 50 * count);
    for (const url of [layer, iso]) await downloadOf(url, 2 * count);
    const requests = Math.max(200, sizeMiB);
    const manifests = await measured(requests, () => ask(manifest, requests));
    const configs = await measured(requests, () => ask(config, requests));
    const assets = await measured(requests, () => ask(cmdline, requests));
    const times = Math.max(downloads, Math.round((sizeMiB * 1024 ** 2) / site.iso.size));
    const gibibytes = (bytes: number): number => (times * bytes) / 1024 ** 3;
    const layers = await measured(gibibytes(site.largeBytes), () => downloadOf(layer, times));
    const isos = await measured(gibibytes(site.iso.size), () => downloadOf(iso, times));
    // A download is a request too, whose part of a GiB is too small to be told apart.
    const costOf = (program: Program): Cost => ({
      manifest: manifests.of(program),
      blob: configs.of(program),
      asset: assets.of(program),
      gibibyte: Math.max(layers.of(program), isos.of(program)),
    });
    return {
      replicas: count,
      isRedirecting,
      manifests: manifests.rate,
      configs: configs.rate,
      assets: assets.rate,
      layers: layers.rate * 1024,
      isos: isos.rate * 1024,
      costs: Object.fromEntries(programs.map((program) => [program, costOf(program)])) as Record<
        Program,
        Cost
      >,
    };
  } finally {
    await balancer.stop();
    for (const replica of replicas) {
      replica.kill('SIGTERM');
      await replica.ended();
    }
  }
}

async function urlsOf({ iso }: ReplicatedSite, { url }: Balancer) {
  const image = `${url}/v2/acme/large`;
  const manifest = `${image}/manifests/v1`;
  const { layers, config } = (await (await fetch(manifest)).json()) as {
    readonly layers: readonly { readonly digest: string }[];
    readonly config: { readonly digest: string };
  };
  return {
    manifest,
    layer: `${image}/blobs/${layers[0]?.digest}`,
    config: `${image}/blobs/${config.digest}`,
    iso: `${url}${iso.path}`,
    cmdline: `${url}${iso.path.replace(/[^/]+$/, 'cmdline-metal-amd64')}`,
  };
}

/** So many GETs of a small body over connections that stay open, each to the end of its redirects. @throws for an error */
async function ask(url: string, count: number): Promise<void> {
  const agent = new Agent({ keepAlive: true, maxSockets: connections });
  const one = (at: string): Promise<void> =>
    new Promise((resolve, reject) => {
      request(at, { agent }, (response) => {
        const { statusCode = 500, headers } = response;
        if (statusCode >= 400) reject(new Error(`${at}: ${statusCode}`));
        const { location } = headers;
        const next = statusCode >= 300 && location !== undefined ? new URL(location, at).href : undefined;
        response
          .resume()
          .on('error', reject)
          .on('end', () => resolve(next === undefined ? undefined : one(next)));
      })
        .on('error', reject)
        .end();
    });
  let left = count;
  const line = async (): Promise<void> => {
    while (left-- > 0) await one(url);
  };
  try {
    await Promise.all(Array.from({ length: connections }, line));
  } finally {
    agent.destroy();
  }
}

async function downloadOf(url: string, times: number): Promise<void> {
  const each = Array.from({ length: times }, () => ['-o', '/dev/null', url]).flat();
  await promisify(execFile)('curl', ['-sSfL', '--parallel', '--parallel-max', String(downloads), ...each]);
}

/** Of a process and all that it has started. Source: Linux proc(5), /proc/PID/stat. */
function processorSeconds(pid: number): number {
  const parents = new Map<number, number>();
  const ticks = new Map<number, number>();
  for (const name of readdirSync('/proc')) {
    if (!/^[0-9]+$/.test(name)) continue;
    try {
      const stat = readFileSync(`/proc/${name}/stat`, 'latin1');
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      parents.set(Number(name), Number(fields[1]));
      ticks.set(Number(name), Number(fields[11]) + Number(fields[12]));
    } catch {
      // It has ended meanwhile.
    }
  }
  const isBelow = (one: number): boolean => {
    for (let at: number | undefined = one; at !== undefined; at = parents.get(at))
      if (at === pid) return true;
    return false;
  };
  let sum = 0;
  for (const [one, spent] of ticks) if (isBelow(one)) sum += spent;
  return sum / ticksPerSecond;
}

/** Three digits are more than a measurement is worth. */
function rounded(_key: string, value: unknown): unknown {
  return typeof value === 'number' ? Number(value.toPrecision(3)) : value;
}

/** What came out of the balancer, and what each program spent on it. */
export function tablesOf(runs: readonly Run[]): readonly [rates: Table, spent: Table] {
  const nameOf = ({ replicas, isRedirecting }: Run): string =>
    `${replicas}, ${isRedirecting ? 'redirected' : 'proxied'}`;
  const ms = (seconds: number): string => (seconds * 1000).toFixed(1);
  return [
    {
      head: ['replicas', 'manifests', 'blobs', 'boot assets', 'layers', 'ISOs'],
      rows: runs.map((run) => [
        nameOf(run),
        ...[run.manifests, run.configs, run.assets].map((rate) => `${rate.toFixed(0)}/s`),
        ...[run.layers, run.isos].map((rate) => `${rate.toFixed(0)} MiB/s`),
      ]),
    },
    {
      head: ['replicas', 'processor time of', 'manifest', 'blob', 'boot asset', 'GiB'],
      rows: runs.flatMap((run) =>
        programs.map((program) => {
          const { manifest, blob, asset, gibibyte } = run.costs[program];
          const times = [manifest, blob, asset].map((seconds) => `${ms(seconds)} ms`);
          return [nameOf(run), programNames[program], ...times, `${gibibyte.toFixed(2)} s`];
        }),
      ),
    },
  ];
}

const programNames: Readonly<Record<Program, string>> = {
  replica: 'all replicas',
  balancer: 'haproxy',
  registry: 'registry',
  objects: 'object store',
};

/** Three replicas do the work of one: if they spent more on it, adding them would not help. */
const mostOfOne = 1.5;
/** Seconds of processor time for a GiB that is redirected: its requests alone. */
const mostRedirected = 0.2;

function missedBy(runs: readonly Run[]): readonly string[] {
  const spentOn = (replicas: number, isRedirecting: boolean): number =>
    runs.find((run) => run.replicas === replicas && run.isRedirecting === isRedirecting)?.costs.replica
      .gibibyte ?? Number.NaN;
  const ratio = spentOn(most, false) / spentOn(1, false);
  const redirected = spentOn(1, true);
  return [
    ...(ratio <= mostOfOne
      ? []
      : [
          `${most} replicas take ${ratio.toFixed(1)} times the processor time of one for a GiB, more than ${mostOfOne}`,
        ]),
    ...(redirected <= mostRedirected
      ? []
      : [`a replica that redirects takes ${redirected.toFixed(2)} s for a GiB, more than ${mostRedirected}`]),
  ];
}
