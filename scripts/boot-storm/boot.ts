/**
 * What a node asks for from firmware to the first pod, and what that costs at a site: the model of docs/scaling.md. Costs
 * are those that `./scripts/bench serve-replicas` has measured, at a registry that keeps its layers in the object store and
 * sends those who ask for one there.
 */
import { seededRandom } from '../../packages/oci/src/testing/index.ts';
import { JobClass, Resource, Simulation, type Use } from './fair-sharing.ts';

/** One thing that a node gets, one after the other. */
export interface Fetched {
  readonly name: string;
  readonly mebibytes: number;
  /** How many, one kind after the other. */
  readonly requests: Readonly<Partial<Record<RequestKind, number>>>;
}

export const requestKinds = ['manifest', 'blob', 'asset'] as const;
type RequestKind = (typeof requestKinds)[number];

interface Pause {
  readonly name: string;
  /** Seconds on average; each node takes between half and one and a half times as long. */
  readonly seconds: number;
}

export type Step = Fetched | Pause;

/** Seconds of processor time that a program spends. */
export interface Cost extends Readonly<Record<RequestKind, number>> {
  /** On a GiB of content. */
  readonly gibibyte: number;
}

export const programs = ['replica', 'balancer', 'registry', 'objects'] as const;

/** Of one way to serve: through the replicas, or from the stores after a redirect. */
export type Costs = Readonly<Record<(typeof programs)[number], Cost>>;

export interface Machine {
  readonly cores: number;
  /** Of its network interface, both ways at once. */
  readonly gigabits: number;
}

export interface Site {
  readonly nodes: number;
  /** Processes, of a core each. */
  readonly replicas: number;
  /** Replicas that share a network interface. */
  readonly replicasOfMachine: number;
  readonly replicaGigabits: number;
  readonly isRedirecting: boolean;
  readonly balancer: Machine;
  /** Its network carries manifests alone. */
  readonly registryCores: number;
  readonly objects: Machine;
  readonly nodeGigabits: number;
  /** Seconds within which the nodes begin. */
  readonly within: number;
}

export interface Outcome {
  /** Seconds from the first node's first request until half of the nodes, and all, have everything. */
  readonly half: number;
  readonly all: number;
  readonly gibibytes: number;
  /** The part of its capacity that was used on average, by resource. */
  readonly usage: ReadonlyMap<string, number>;
  /** The resource that was used most. */
  readonly bottleneck: string;
}

const gibibyte = 1024 ** 3;
const mebibyte = 1024 ** 2;
/** Of a gigabit of Ethernet, what TCP with frames of 1500 bytes leaves for content: bytes a second. */
export const bytesOfGigabit: number = (1e9 / 8) * (1448 / 1538);

/** Over one replica, as the balancer chooses it. */
interface Way {
  /** Units: requests. */
  readonly requests: Readonly<Record<RequestKind, JobClass>>;
  /** Units: bytes. */
  readonly bytes: JobClass;
  /** Fetches under way. */
  load: number;
}

/** @param seed the same seed gives the same pauses */
export function bootAll(site: Site, steps: readonly Step[], costs: Costs, seed: number): Outcome {
  const { resources, ways } = modelOf(site, costs);
  const classes = new Set(ways.flatMap(({ requests, bytes }) => [...Object.values(requests), bytes]));
  const simulation = new Simulation([...classes]);
  const random = seededRandom(seed);
  const ends: number[] = [];
  let begun = Number.POSITIVE_INFINITY;
  const go = (at: number, paces: readonly number[]): void => {
    const step = steps[at];
    if (step === undefined) ends.push(simulation.now);
    else if ('seconds' in step)
      simulation.after(step.seconds * (0.5 + (paces[at] ?? 0)), () => go(at + 1, paces));
    else fetchOver(simulation, leastLoaded(ways), step, () => go(at + 1, paces));
  };
  for (let node = 0; node < site.nodes; node++) {
    const start = random() * site.within;
    begun = Math.min(begun, start);
    // Drawn before it begins: in another site the same node makes the same pauses.
    const paces = steps.map(random);
    simulation.after(start, () => go(0, paces));
  }
  simulation.run();
  if (ends.length !== site.nodes) throw new Error(`${site.nodes - ends.length} nodes never ended`);
  const usage = usageOf(resources, simulation.now - begun);
  const after = (part: number): number => (ends[Math.ceil(site.nodes * part) - 1] ?? 0) - begun;
  return {
    half: after(0.5),
    all: after(1),
    gibibytes: (site.nodes * sumOf(steps, ({ mebibytes }) => mebibytes)) / 1024,
    usage,
    bottleneck: [...usage].toSorted(([, a], [, b]) => b - a)[0]?.[0] ?? '',
  };
}

/**
 * The estimate on paper: no site ends sooner than its busiest resource has done all the work, nor than a node alone.
 * @returns seconds, and the resource
 */
export function estimate(
  site: Site,
  steps: readonly Step[],
  costs: Costs,
): { readonly seconds: number; readonly bottleneck: string } {
  const { ways } = modelOf(site, costs);
  const needs = new Map<Resource, number>();
  const need = (jobs: JobClass, work: number): void => {
    for (const { resource, cost } of jobs.uses)
      needs.set(resource, (needs.get(resource) ?? 0) + (work * cost * site.nodes) / ways.length);
  };
  let alone = 0;
  for (const step of steps) {
    if ('seconds' in step) {
      alone += step.seconds;
      continue;
    }
    const bytes = step.mebibytes * mebibyte;
    alone += bytes / (site.nodeGigabits * bytesOfGigabit);
    for (const way of ways) {
      for (const kind of requestKinds) need(way.requests[kind], step.requests[kind] ?? 0);
      need(way.bytes, bytes);
    }
  }
  let [seconds, bottleneck] = [alone, 'the node itself'];
  for (const [resource, amount] of needs) {
    const busy = amount / resource.capacity;
    if (busy > seconds) [seconds, bottleneck] = [busy, resource.name];
  }
  return { seconds, bottleneck };
}

function fetchOver(
  simulation: Simulation,
  way: Way,
  { mebibytes, requests }: Fetched,
  done: () => void,
): void {
  way.load++;
  const work = [
    ...requestKinds.map((kind) => [way.requests[kind], requests[kind] ?? 0] as const),
    [way.bytes, mebibytes * mebibyte] as const,
  ].filter(([, units]) => units > 0);
  const next = (at: number): void => {
    const [jobs, units] = work[at] ?? [];
    if (jobs !== undefined && units !== undefined) simulation.add(jobs, units, () => next(at + 1));
    else {
      way.load--;
      done();
    }
  };
  next(0);
}

/** Over all that is fetched. */
export function sumOf(steps: readonly Step[], amountOf: (fetched: Fetched) => number): number {
  return steps.reduce((sum, step) => ('seconds' in step ? sum : sum + amountOf(step)), 0);
}

/** As the balancer chooses: the replica with the fewest connections. */
function leastLoaded(ways: readonly Way[]): Way {
  let least = ways[0] as Way;
  for (const way of ways) if (way.load < least.load) least = way;
  return least;
}

/** What there is to share, and what a unit of work takes of it. */
function modelOf(site: Site, costs: Costs): { resources: readonly Resource[]; ways: readonly Way[] } {
  const resources: Resource[] = [];
  const made = (name: string, capacity: number): Resource => {
    const resource = new Resource(name, capacity);
    resources.push(resource);
    return resource;
  };
  const processor = (name: string, cores: number): Resource => made(`${name}: processor`, cores);
  const network = (name: string, gigabits: number): Resource =>
    made(`${name}: network`, gigabits * bytesOfGigabit);
  const cpus = {
    balancer: processor('balancer', site.balancer.cores),
    registry: processor('registry', site.registryCores),
    objects: processor('object store', site.objects.cores),
  };
  const nics = {
    balancer: network('balancer', site.balancer.gigabits),
    objects: network('object store', site.objects.gigabits),
  };
  const machines = Array.from({ length: Math.ceil(site.replicas / site.replicasOfMachine) }, () =>
    network('replicas', site.replicaGigabits),
  );
  const most = site.nodeGigabits * bytesOfGigabit;
  const fromStore: readonly Use[] = [
    { resource: cpus.objects, cost: costs.objects.gibibyte / gibibyte },
    { resource: cpus.registry, cost: costs.registry.gibibyte / gibibyte },
    { resource: nics.objects, cost: 1 },
  ];
  const direct = new JobClass(fromStore, most);
  const ways = Array.from({ length: site.replicas }, (_, i): Way => {
    const cpu = processor('replicas', 1);
    const nic = machines[i % machines.length] as Resource;
    const requests = (kind: RequestKind): JobClass =>
      new JobClass(
        programs.map((program) => ({
          resource: program === 'replica' ? cpu : cpus[program],
          cost: costs[program][kind],
        })),
      );
    const through: readonly Use[] = [
      { resource: cpu, cost: costs.replica.gibibyte / gibibyte },
      { resource: nic, cost: 1 },
      { resource: cpus.balancer, cost: costs.balancer.gibibyte / gibibyte },
      { resource: nics.balancer, cost: 1 },
    ];
    return {
      requests: { manifest: requests('manifest'), blob: requests('blob'), asset: requests('asset') },
      bytes: site.isRedirecting ? direct : new JobClass([...fromStore, ...through], most),
      load: 0,
    };
  });
  return { resources, ways };
}

/** Of several resources with one name, the one that was used most. */
function usageOf(list: readonly Resource[], seconds: number): ReadonlyMap<string, number> {
  const usage = new Map<string, number>();
  for (const { name, used, capacity } of list) {
    usage.set(name, Math.max(usage.get(name) ?? 0, used / capacity / seconds));
  }
  return usage;
}
