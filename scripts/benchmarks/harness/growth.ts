/**
 * How steeply the curves grow: the power of the size that time grows with, from the largest size and the next one that is at
 * most an eighth of it. What the smallest size takes counts as start and is left out; of several runs the least time counts.
 */
import type { Quantity } from './measure.ts';
import type { Results } from './results.ts';
import { runsOf, spreadOf } from './statistics.ts';

export interface Growth {
  readonly done: string;
  readonly unit: string;
  readonly wall: number;
  readonly cpu: number;
  readonly bounds: Bounds;
  readonly isMissed: boolean;
}

/** A power of 1 is linear, 2 quadratic. CPU is bounded closely; wall time has the noise of disks and of other work in it. */
interface Bounds {
  readonly wall: number;
  readonly cpu: number;
}

const linear: Bounds = { wall: 1.5, cpu: 1.25 };
/** Where the size changes how the same work is done: eight times the connections. */
const flat: Bounds = { wall: 0.5, cpu: 0.2 };
/** Shorter times are taken for this: seconds. */
const noise = 0.1;

/** Of each thing done in each curve that is long enough. */
export function growthsOf(results: Results): readonly Growth[] {
  return results.comparisons.flatMap(({ comparison, unit }) => {
    if (unit === undefined) return [];
    const isFlat = unit === 'connections';
    const bounds = isFlat ? flat : linear;
    const runs = results.runs.filter((run) => run.comparison === comparison);
    return [...new Set(runs.map(({ side }) => side))].flatMap((done) => {
      const wall = exponentOf(results, comparison, done, 'seconds', isFlat);
      const cpu = exponentOf(results, comparison, done, 'cpuSeconds', isFlat);
      if (wall === undefined || cpu === undefined) return [];
      return [{ done, unit, wall, cpu, bounds, isMissed: wall > bounds.wall || cpu > bounds.cpu }];
    });
  });
}

/** What grows too steeply, a line each. */
export function missedGrowths(results: Results): readonly string[] {
  return growthsOf(results)
    .filter(({ isMissed }) => isMissed)
    .map(({ done, unit, wall, cpu, bounds }) => {
      const [ofWall, ofCpu] = [wall.toFixed(2), cpu.toFixed(2)];
      return `${done}: by ${unit}, wall grows to the power of ${ofWall} (at most ${bounds.wall}), CPU ${ofCpu} (${bounds.cpu})`;
    });
}

function exponentOf(
  results: Results,
  comparison: string,
  side: string,
  key: Quantity,
  isFlat: boolean,
): number | undefined {
  const runs = runsOf(results, comparison, side);
  const sizes = [...new Set(runs.map(({ size = 0 }) => size))].sort((a, b) => a - b);
  const largest = sizes.at(-1) ?? 0;
  const before = sizes.findLast((size) => size <= largest / 8);
  if (before === undefined) return undefined;
  const at = (size: number): number =>
    spreadOf(runsOf(results, comparison, side, size).map((run) => run[key])).least;
  // No more than half: the first run of all may have been slow for other reasons.
  const start = isFlat || before === sizes[0] ? 0 : Math.min(at(sizes[0] ?? 0), at(before) / 2);
  const net = (size: number): number => Math.max(noise, at(size) - start);
  return Math.log(net(largest) / net(before)) / Math.log(largest / before);
}
