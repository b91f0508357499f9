/** Medians, spreads and ratios of runs, and how they are written. */
import type { Quantity } from './measure.ts';
import type { Results, Run } from './results.ts';

/** The side that others are compared with. */
export const ours = 'omni-airgap';

/** Median, least and most. */
export interface Spread {
  readonly median: number;
  readonly least: number;
  readonly most: number;
}

export function runsOf(results: Results, comparison: string, side: string, size?: number): readonly Run[] {
  return results.runs.filter(
    (run) => run.comparison === comparison && run.side === side && (size === undefined || run.size === size),
  );
}

/** @throws Error for no values */
export function spreadOf(values: readonly number[]): Spread {
  const sorted = values.toSorted((a, b) => a - b);
  const [least, most] = [sorted[0], sorted.at(-1)];
  const [low, high] = [sorted[(sorted.length - 1) >> 1], sorted[sorted.length >> 1]];
  if (least === undefined || most === undefined || low === undefined || high === undefined)
    throw new Error('nothing was measured');
  return { median: (low + high) / 2, least, most };
}

/** The ratio of `of` to `to`, round by round: what disturbs a round disturbs both. Undefined where one is missing. */
export function ratioOf(
  results: Results,
  comparison: string,
  key: Quantity,
  of: string,
  to: string,
): Spread | undefined {
  const divisors = new Map(runsOf(results, comparison, to).map((run) => [run.round, run[key]]));
  const ratios = runsOf(results, comparison, of).flatMap((run) => {
    const divisor = divisors.get(run.round);
    return divisor === undefined || divisor === 0 ? [] : [run[key] / divisor];
  });
  return ratios.length === 0 ? undefined : spreadOf(ratios);
}

/** `1.02–1.31`, without the unit. */
export function range({ least, most }: Spread, format: (value: number) => string): string {
  return [least, most].map((value) => format(value).replace(/ .*$/, '')).join('–');
}

export function seconds(value: number): string {
  return value < 1 ? `${value.toFixed(3)} s` : `${value.toFixed(2)} s`;
}
