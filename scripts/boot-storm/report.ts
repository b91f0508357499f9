/**
 * The tables of docs/scaling.md: what a node asks for, what was measured, and how long 10,000 nodes take on paper and in the
 * simulation.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { markdown, type Table } from '../benchmarks/harness/tables.ts';
import { type MeasuredCosts, tablesOf } from '../benchmarks/serve-replicas.ts';
import {
  bootAll,
  type Costs,
  estimate,
  type Fetched,
  type Machine,
  requestKinds,
  type Site,
  type Step,
  sumOf,
} from './boot.ts';

const root = join(import.meta.dirname, '..', '..');
export const pagePath = 'docs/scaling.md';
const measuredPath = 'docs/performance/serve-replicas.json';
const seed = 19;

const asset = (name: string, mebibytes: number): Step => ({ name, mebibytes, requests: { asset: 1 } });
/** As containerd pulls it: HEAD of the tag, index, manifest; config and layers. */
const image = (name: string, mebibytes: number, layers: number): Step => ({
  name,
  mebibytes,
  requests: { manifest: 3, blob: 1 + layers },
});

/**
 * A worker from bare metal: PXE, installation, first pods. Sizes are round numbers of the order of Talos 1.13 for amd64,
 * without system extensions; take those of your own `lock.json`.
 */
export const firstBoot: readonly Step[] = [
  asset('iPXE script', 0),
  asset('kernel', 20),
  asset('initramfs', 90),
  { name: 'boot, join Omni, get the configuration', seconds: 60 },
  image('installer', 130, 4),
  { name: 'install, restart, firmware', seconds: 180 },
  image('kubelet', 65, 6),
  image('pause', 0.5, 1),
  image('kube-proxy', 30, 4),
  image('flannel', 30, 6),
];

const large: Machine = { cores: 32, gigabits: 100 };

/** Of 10,000 nodes: what a data center with that many has. */
const base: Site = {
  nodes: 10_000,
  replicas: 3,
  replicasOfMachine: 16,
  isRedirecting: false,
  balancer: large,
  replicaGigabits: 25,
  registryCores: 32,
  objects: large,
  nodeGigabits: 10,
  within: 10,
};

const sites: readonly Site[] = [
  { ...base, replicasOfMachine: 1 },
  { ...base, replicas: 16, replicasOfMachine: 8 },
  { ...base, replicas: 64 },
  { ...base, replicasOfMachine: 1, isRedirecting: true },
  {
    ...base,
    replicas: 16,
    replicasOfMachine: 8,
    isRedirecting: true,
    registryCores: 128,
    objects: { cores: 128, gigabits: 400 },
  },
];

export function readMeasured(): MeasuredCosts {
  return JSON.parse(readFileSync(join(root, measuredPath), 'utf8')) as MeasuredCosts;
}

/** Of one replica: what several take is the same, and a busy machine tells less about them. */
function costsOf({ runs }: MeasuredCosts, isRedirecting: boolean): Costs {
  const run = runs.find((one) => one.isRedirecting === isRedirecting);
  if (run === undefined) throw new Error(`${measuredPath} has no such run`);
  return run.costs;
}

/** What stands between the marks of the page, in Markdown. */
export function sectionsOf(measured: MeasuredCosts): Readonly<Record<'asks' | 'measured' | 'storm', string>> {
  const { date, commit, machine, versions, sizeMiB } = measured;
  const { processor, cores, memoryGiB, kernel, load } = machine;
  const programs = Object.entries(versions).map(([name, version]) => `${name} ${version}`);
  const where = `Commit ${commit}, ${date.slice(0, 10)}, ${processor}, ${cores} cores, ${memoryGiB} GiB, Linux ${kernel}, load ${load.toFixed(1)} before it began; ${programs.join(', ')}; ${sizeMiB} MiB in each download.`;
  return {
    asks: markdown(tableOfSteps(firstBoot)),
    measured: [where, ...tablesOf(measured.runs).map(markdown)].join('\n\n'),
    storm: markdown(tableOfSites(sites, firstBoot, measured)),
  };
}

/** The page with fresh tables. @throws where a mark is missing */
export function freshPage(page: string, measured: MeasuredCosts): string {
  let fresh = page;
  for (const [name, text] of Object.entries(sectionsOf(measured))) {
    const marks = new RegExp(`(<!-- ${name}: begin -->\n).*?(<!-- ${name}: end -->)`, 's');
    if (!marks.test(fresh)) throw new Error(`${pagePath} has no marks for ${name}`);
    fresh = fresh.replace(marks, (_, begin: string, end: string) => `${begin}\n${text}\n\n${end}`);
  }
  return fresh;
}

function tableOfSteps(steps: readonly Step[]): Table {
  const requestsOf = ({ requests }: Fetched): number =>
    requestKinds.reduce((sum, kind) => sum + (requests[kind] ?? 0), 0);
  const rows = steps.map((step) =>
    'seconds' in step
      ? [step.name, '', '', `${step.seconds} s`]
      : [step.name, step.mebibytes === 0 ? '' : `${step.mebibytes} MiB`, String(requestsOf(step)), ''],
  );
  const pauses = steps.reduce((sum, step) => sum + ('seconds' in step ? step.seconds : 0), 0);
  const bytes = sumOf(steps, ({ mebibytes }) => mebibytes);
  const total = ['together', `${bytes.toFixed(0)} MiB`, String(sumOf(steps, requestsOf)), `${pauses} s`];
  return {
    head: ['', 'bytes', 'requests', 'pause'],
    rows: [...rows, total.map((cell) => `**${cell}**`)],
  };
}

export function tableOfSites(all: readonly Site[], steps: readonly Step[], measured: MeasuredCosts): Table {
  const rows = all.map((site) => {
    const costs = costsOf(measured, site.isRedirecting);
    const paper = estimate(site, steps, costs);
    const { half, all: last, gibibytes, usage, bottleneck } = bootAll(site, steps, costs, seed);
    const machines = Math.ceil(site.replicas / site.replicasOfMachine);
    return [
      `${site.replicas} on ${machines} × ${site.replicaGigabits} Gbit/s, ${site.isRedirecting ? 'redirected' : 'proxied'}`,
      `${site.objects.gigabits} Gbit/s, ${site.objects.cores} cores`,
      `${minutes(paper.seconds)}, ${paper.bottleneck}`,
      minutes(half),
      minutes(last),
      `${(gibibytes / last).toFixed(1)} GiB/s`,
      `${bottleneck}, ${((usage.get(bottleneck) ?? 0) * 100).toFixed(0)} %`,
    ];
  });
  return {
    head: [
      'replicas',
      'object store',
      'on paper, at least',
      'simulated: half',
      'all',
      'average',
      'used most',
    ],
    rows,
  };
}

const minutes = (seconds: number): string => `${(seconds / 60).toFixed(1)} min`;
