/** The simulation behind docs/scaling.md, at a small size: laws that it must keep, and the page has what it says. */
import { describe, expect, test } from 'vitest';
import {
  bootAll,
  bytesOfGigabit,
  type Costs,
  estimate,
  type Site,
  type Step,
} from '../../scripts/boot-storm/boot.ts';
import { JobClass, Resource, Simulation } from '../../scripts/boot-storm/fair-sharing.ts';
import { firstBoot, freshPage, pagePath, readMeasured } from '../../scripts/boot-storm/report.ts';
import { read } from '../repository.ts';

const cost = (request: number, gibibyte: number) => ({
  ...{ manifest: request, blob: request, asset: request },
  gibibyte,
});
const costs: Costs = {
  replica: cost(0.001, 2),
  balancer: cost(0.0002, 0.5),
  registry: cost(0.0005, 1),
  objects: cost(0.0005, 1),
};
const machine = { cores: 4, gigabits: 10 };
const site: Site = {
  nodes: 300,
  replicas: 2,
  replicasOfMachine: 2,
  isRedirecting: false,
  balancer: machine,
  replicaGigabits: 10,
  registryCores: 4,
  objects: machine,
  nodeGigabits: 1,
  within: 10,
};
const shapes: readonly (Partial<Site> & { readonly what: string })[] = [
  { what: 'processor of the replicas', replicas: 1, replicasOfMachine: 1 },
  { what: 'network of the replicas', replicaGigabits: 1 },
  { what: 'network of the balancer', balancer: { cores: 4, gigabits: 1 } },
  { what: 'processor of the stores', registryCores: 1, objects: { cores: 1, gigabits: 10 } },
  { what: 'the nodes themselves', nodes: 20 },
  { what: 'stores after a redirect', isRedirecting: true, objects: { cores: 4, gigabits: 1 } },
];
const seeds = [1, 2, 3];

test('jobs share a resource evenly, and each goes at the rate of its tightest one', () => {
  const [link, disk] = [new Resource('link', 10), new Resource('disk', 4)];
  const fromLink = new JobClass([{ resource: link, cost: 1 }]);
  const fromBoth = new JobClass([
    { resource: link, cost: 1 },
    { resource: disk, cost: 1 },
  ]);
  const slow = new JobClass([{ resource: link, cost: 1 }], 1);
  const simulation = new Simulation([fromLink, fromBoth, slow]);
  const ends: (readonly [string, number])[] = [];
  const note = (name: string) => (): void => void ends.push([name, simulation.now]);
  simulation.add(fromLink, 10, note('one of two on the link'));
  simulation.add(fromBoth, 10, note('as fast as the disk'));
  simulation.after(10, () => simulation.add(slow, 2, note('no faster than itself')));
  simulation.run();
  expect(ends).toEqual([
    ['one of two on the link', 2],
    ['as fast as the disk', 2.5],
    ['no faster than itself', 12],
  ]);
  expect([link.used, disk.used, link.jobs, disk.jobs]).toEqual([22, 10, 0, 0]);
});

test('many equal downloads over one network take as long as all their bytes', () => {
  const download: Step = { name: 'file', mebibytes: 100, requests: {} };
  const nothing = cost(1e-12, 0);
  const free: Costs = { replica: nothing, balancer: nothing, registry: nothing, objects: nothing };
  const all = { ...site, within: 0, nodeGigabits: 100, balancer: { cores: 1, gigabits: 1 } };
  const outcome = bootAll(all, [download], free, 1);
  expect(outcome.all).toBeCloseTo((300 * 100 * 1024 ** 2) / bytesOfGigabit, 3);
  expect(outcome.half).toBeCloseTo(outcome.all, 3);
  expect(outcome.bottleneck).toBe('balancer: network');
  expect(outcome.usage.get('balancer: network')).toBeCloseTo(1, 6);
});

describe.each(shapes)('limited by $what', ({ what: _, ...shape }) => {
  const limited = { ...site, ...shape };

  test('all nodes end, no resource does more than it can, and nobody beats the estimate on paper', () => {
    for (const seed of seeds) {
      const { half, all, usage } = bootAll(limited, firstBoot, costs, seed);
      expect(half).toBeLessThanOrEqual(all);
      for (const [name, used] of usage) expect(used, name).toBeLessThanOrEqual(1 + 1e-9);
      expect(all).toBeGreaterThanOrEqual(estimate(limited, firstBoot, costs).seconds);
    }
  });

  test('twice the replicas, on twice the machines, are never slower', () => {
    for (const seed of seeds) {
      let before = Number.POSITIVE_INFINITY;
      for (let replicas = limited.replicas; replicas <= 16; replicas *= 2) {
        const { all } = bootAll({ ...limited, replicas }, firstBoot, costs, seed);
        // Once something else is the limit, only the order changes in which nodes come to their pauses.
        expect(all, `${replicas} replicas`).toBeLessThanOrEqual(before * 1.01);
        before = all;
      }
    }
  });

  test('twice the nodes are never faster; the same seed is the same boot', () => {
    const one = bootAll(limited, firstBoot, costs, 1);
    expect(bootAll(limited, firstBoot, costs, 1)).toEqual(one);
    const twice = bootAll({ ...limited, nodes: limited.nodes * 2 }, firstBoot, costs, 1);
    expect(twice.all).toBeGreaterThanOrEqual(one.all * (1 - 1e-9));
  });
});

test('docs/scaling.md has the tables that follow from docs/performance/serve-replicas.json: node scripts/boot-storm/main.ts --write', () => {
  const page = read(pagePath);
  expect(freshPage(page, readMeasured())).toBe(page);
});
