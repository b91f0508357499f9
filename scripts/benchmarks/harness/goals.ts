/** The goals, each a bound that results are held against. */
import type { Quantity } from './measure.ts';
import type { Results } from './results.ts';
import { ours, range, ratioOf, runsOf, type Spread, seconds, spreadOf } from './statistics.ts';

interface GoalText {
  readonly goal: string;
  readonly atMost: number;
  /** What does the least that is possible in the same comparison. */
  readonly floor?: string;
}

/** `ratio`: to the fastest of several others, round by round. `value`: by itself. `reads`: contents read more. `peak`: of a curve. */
type Goal = GoalText &
  (
    | {
        readonly kind: 'ratio';
        readonly comparison: string;
        readonly key: Quantity;
        readonly of: string;
        readonly to: readonly string[];
      }
    | { readonly kind: 'value'; readonly comparison: string; readonly key: Quantity; readonly of: string }
    | { readonly kind: 'reads'; readonly comparison: string; readonly of: string; readonly than: string }
    | { readonly kind: 'peak'; readonly comparison: string }
  );

const clients = ['oras', 'crane'];
const [wall, cpu] = ['seconds', 'cpuSeconds'] as const;

const goals: readonly Goal[] = [
  {
    goal: 'fetch, wall',
    atMost: 1,
    kind: 'ratio',
    comparison: 'fetch',
    key: wall,
    of: ours,
    to: clients,
    floor: 'floor',
  },
  {
    goal: 'fetch, CPU',
    atMost: 1.2,
    kind: 'ratio',
    comparison: 'fetch',
    key: cpu,
    of: ours,
    to: clients,
    floor: 'floor',
  },
  {
    goal: 'fetch by TLS, wall',
    ...{
      atMost: 1.2,
      kind: 'ratio',
      comparison: 'fetch-tls',
      key: wall,
      of: ours,
      to: clients,
      floor: 'floor',
    },
  },
  {
    goal: 'long line, wall',
    ...{
      atMost: 0.9,
      kind: 'ratio',
      comparison: 'line',
      key: wall,
      of: ours,
      to: ['xargs -P8 oras'],
      floor: 'limit: curl',
    },
  },
  {
    goal: 'load, wall',
    atMost: 1.05,
    kind: 'ratio',
    comparison: 'load',
    key: wall,
    of: ours,
    to: ['oras'],
    floor: 'floor',
  },
  {
    goal: 'load, CPU',
    atMost: 0.6,
    kind: 'ratio',
    comparison: 'load',
    key: cpu,
    of: ours,
    to: ['baseline'],
    floor: 'floor',
  },
  {
    goal: 'bundle, wall',
    ...{
      atMost: 1.2,
      kind: 'ratio',
      comparison: 'bundle',
      key: wall,
      of: ours,
      to: ['cp and sync'],
      floor: 'floor',
    },
  },
  // The documents beside the volumes are read too: a thousandth.
  {
    goal: 'bundle, re-read',
    atMost: 1.01,
    kind: 'reads',
    comparison: 'bundle',
    of: 'with read-back',
    than: ours,
  },
  {
    goal: 'verify, wall',
    atMost: 1.05,
    kind: 'ratio',
    comparison: 'verify',
    key: wall,
    of: ours,
    to: ['openssl'],
    floor: 'floor',
  },
  {
    goal: 'fetch, unchanged',
    atMost: 5,
    kind: 'value',
    comparison: 'unchanged',
    key: wall,
    of: 'fetch',
    floor: 'floor of fetch',
  },
  {
    goal: 'load, unchanged',
    atMost: 8,
    kind: 'value',
    comparison: 'unchanged',
    key: wall,
    of: 'load',
    floor: 'floor of load',
  },
  { goal: 'peak, names', atMost: 200, kind: 'peak', comparison: 'scale-images' },
  { goal: 'peak, blob', atMost: 200, kind: 'peak', comparison: 'scale-size' },
  {
    goal: '--help, clone',
    atMost: 0.12,
    kind: 'value',
    comparison: 'start',
    key: wall,
    of: 'clone',
    floor: 'floor',
  },
  {
    goal: '--help, executable',
    atMost: 0.12,
    kind: 'value',
    comparison: 'start',
    key: wall,
    of: 'executable',
    floor: 'floor',
  },
];

export interface Outcome {
  readonly goal: string;
  readonly bound: string;
  /** Median and whom it is compared with; undefined where it was not measured. */
  readonly measured: string | undefined;
  /** Least and most. */
  readonly spread: string;
  readonly runs: number;
  readonly isMissed: boolean;
  /** What the least takes, by the same measure; with its name where that is not `floor`. */
  readonly floor: string | undefined;
}

/** Every goal, in the order of the table. */
export function outcomesOf(results: Results): readonly Outcome[] {
  return goals.map((goal) => outcomeOf(results, goal));
}

/** What missed its bound and by how much, a line each. */
export function missedGoals(results: Results): readonly string[] {
  return outcomesOf(results)
    .filter(({ isMissed }) => isMissed)
    .map(
      ({ goal, measured = '', spread, bound, floor }) =>
        `${goal}: ${measured} (${spread}), goal ${bound}${floor === undefined ? '' : `; ${floor.startsWith('limit') ? floor : `floor ${floor}`}`}`,
    );
}

function outcomeOf(results: Results, goal: Goal): Outcome {
  const found = measuredOf(results, goal);
  const format = formatOf(goal);
  const outcome = { goal: goal.goal, bound: `≤ ${format(goal.atMost)}` };
  if (found === undefined)
    return { ...outcome, measured: undefined, spread: '', runs: 0, isMissed: false, floor: undefined };
  const { spread, against, runs, floor } = found;
  return {
    ...outcome,
    measured: `${format(spread.median)}${against}`,
    spread: range(spread, format),
    runs,
    isMissed: spread.median > goal.atMost,
    floor:
      floor === undefined
        ? undefined
        : `${goal.floor?.startsWith('limit') ? `${goal.floor} ` : ''}${format(floor.median)} (${range(floor, format)})`,
  };
}

interface Found {
  readonly spread: Spread;
  readonly against: string;
  readonly runs: number;
  readonly floor?: Spread | undefined;
}

function measuredOf(results: Results, goal: Goal): Found | undefined {
  const { comparison } = goal;
  if (goal.kind === 'ratio') {
    const each = goal.to.flatMap((peer) => {
      const spread = ratioOf(results, comparison, goal.key, goal.of, peer);
      return spread === undefined ? [] : [{ spread, peer }];
    });
    // The largest ratio is the one to the fastest.
    const [best] = each.sort((a, b) => b.spread.median - a.spread.median);
    if (best === undefined) return undefined;
    return {
      spread: best.spread,
      against: ` ${best.peer}`,
      runs: runsOf(results, comparison, goal.of).length,
      floor:
        goal.floor === undefined ? undefined : ratioOf(results, comparison, goal.key, goal.floor, best.peer),
    };
  }
  if (goal.kind === 'value') {
    const value = (side: string): readonly number[] =>
      runsOf(results, comparison, side).map((run) => run[goal.key]);
    const values = value(goal.of);
    if (values.length === 0) return undefined;
    const least = goal.floor === undefined ? [] : value(goal.floor);
    const floor = least.length === 0 ? undefined : spreadOf(least);
    return { spread: spreadOf(values), against: '', runs: values.length, floor };
  }
  const { bytes = 0 } = results.comparisons.find((one) => one.comparison === comparison) ?? {};
  if (goal.kind === 'reads') {
    const before = new Map(
      runsOf(results, comparison, goal.than).map(({ round, inputBytes }) => [round, inputBytes]),
    );
    const more = runsOf(results, comparison, goal.of).flatMap(({ round, inputBytes }) => {
      const without = before.get(round);
      return without === undefined ? [] : [(inputBytes - without) / bytes];
    });
    return more.length === 0 ? undefined : { spread: spreadOf(more), against: '', runs: more.length };
  }
  const runs = results.runs.filter((run) => run.comparison === comparison);
  const largest = Math.max(...runs.map(({ size = 0 }) => size));
  const peaks = runs.filter(({ size }) => size === largest).map(({ peakMiB }) => peakMiB);
  if (peaks.length === 0) return undefined;
  const { unit = '' } = results.comparisons.find((one) => one.comparison === comparison) ?? {};
  // The highest counts, not the one in the middle.
  const spread = { ...spreadOf(peaks), median: Math.max(...peaks) };
  return { spread, against: `, ${largest.toLocaleString('en')} ${unit}`, runs: peaks.length };
}

function formatOf(goal: Goal): (value: number) => string {
  if (goal.kind === 'peak') return (value) => `${value.toFixed(0)} MiB`;
  if (goal.kind === 'value') return seconds;
  return (value) => `${value.toFixed(2)} ×`;
}
