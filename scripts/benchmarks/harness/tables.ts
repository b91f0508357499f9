/** Tables that fit a terminal of 80 columns, and the same as Markdown. */

import { outcomesOf } from './goals.ts';
import { growthsOf } from './growth.ts';
import type { Comparison, Results, Run } from './results.ts';
import { ours, range, ratioOf, runsOf, seconds, spreadOf } from './statistics.ts';

export interface Table {
  readonly head: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

/**
 * One row for each side: seconds, MiB of memory, MB on the wire and to the disk; `ratio` is how many times the wall time of that
 * side ours takes, round by round.
 */
export function comparisonTable(results: Results, { comparison }: Comparison): Table {
  const sides = [
    ...new Set(results.runs.filter((run) => run.comparison === comparison).map(({ side }) => side)),
  ];
  const isCompared = sides.includes(ours);
  const hasServer = results.runs.some(
    (run) => run.comparison === comparison && run.serverSeconds !== undefined,
  );
  return {
    head: [
      ...['program', 'wall', 'least–most', 'CPU', ...(hasServer ? ['server CPU'] : [])],
      ...['peak', 'wire', 'disk', ...(isCompared ? ['ratio'] : [])],
    ],
    rows: sides.map((side) => {
      const runs = runsOf(results, comparison, side);
      const wall = spreadOf(runs.map(({ seconds }) => seconds));
      const ratio = side === ours ? undefined : ratioOf(results, comparison, 'seconds', ours, side);
      return [
        side,
        seconds(wall.median),
        range(wall, seconds),
        seconds(spreadOf(runs.map(({ cpuSeconds }) => cpuSeconds)).median),
        ...(hasServer ? [serverTime(runs)] : []),
        Math.max(...runs.map(({ peakMiB }) => peakMiB)).toFixed(0),
        megabytes(spreadOf(runs.map(({ wireBytes }) => wireBytes)).median),
        megabytes(spreadOf(runs.map(({ writtenBytes }) => writtenBytes)).median),
        ...(isCompared ? [ratio === undefined ? '' : ratio.median.toFixed(2)] : []),
      ];
    }),
  };
}

function serverTime(runs: readonly Run[]): string {
  const each = runs.flatMap(({ serverSeconds }) => serverSeconds ?? []);
  return each.length === 0 ? '' : seconds(spreadOf(each).median);
}

/** One row for each thing done and size, in the same units. */
export function curveTable(results: Results, { comparison, unit = 'size' }: Comparison): Table {
  const runs = results.runs.filter((run) => run.comparison === comparison);
  const sides = [...new Set(runs.map(({ side }) => side))];
  const sizes = [...new Set(runs.map(({ size = 0 }) => size))].sort((a, b) => a - b);
  return {
    head: ['done', unit, 'wall', 'CPU', 'peak', 'wire', 'disk'],
    rows: sides.flatMap((side) =>
      sizes.flatMap((size) => {
        const each = runsOf(results, comparison, side, size);
        if (each.length === 0) return [];
        return [
          [
            side,
            size.toLocaleString('en'),
            seconds(spreadOf(each.map((run) => run.seconds)).median),
            seconds(spreadOf(each.map(({ cpuSeconds }) => cpuSeconds)).median),
            Math.max(...each.map(({ peakMiB }) => peakMiB)).toFixed(0),
            megabytes(spreadOf(each.map(({ wireBytes }) => wireBytes)).median),
            megabytes(spreadOf(each.map(({ writtenBytes }) => writtenBytes)).median),
          ],
        ];
      }),
    ),
  };
}

/** The goals that were measured. @param verdicts what a goal that is met or missed says */
export function goalTable(results: Results, verdicts: readonly [string, string]): Table {
  return {
    head: ['goal', 'bound', 'median', 'least–most', 'runs', '', 'floor'],
    rows: outcomesOf(results).flatMap(({ goal, bound, measured, spread, runs, isMissed, floor = '' }) =>
      measured === undefined
        ? []
        : [[goal, bound, measured, spread, `${runs}`, verdicts[isMissed ? 1 : 0], floor]],
    ),
  };
}

/** The power of the size that time grows with, and its bound. */
export function growthTable(results: Results, verdicts: readonly [string, string]): Table {
  const power = (found: number, bound: number): string => `${found.toFixed(2)} of ${bound}`;
  return {
    head: ['grows', 'with', 'wall', 'CPU', ''],
    rows: growthsOf(results).map(({ done, unit, wall, cpu, bounds, isMissed }) => [
      ...[done, unit, power(wall, bounds.wall), power(cpu, bounds.cpu), verdicts[isMissed ? 1 : 0]],
    ]),
  };
}

/** For a terminal, where a table has no room for all columns. */
export function without({ head, rows }: Table, ...columns: readonly string[]): Table {
  const left = (row: readonly string[]): readonly string[] =>
    row.filter((_, i) => !columns.includes(head[i] ?? ''));
  return { head: left(head), rows: rows.map(left) };
}

export function showComparison(results: Results, comparison: Comparison): void {
  console.log(comparison.title);
  const table = comparison.unit === undefined ? comparisonTable : curveTable;
  const all = table(results, comparison);
  console.log(plain(all.head.includes('server CPU') ? without(all, 'disk') : all));
}

/** Columns as wide as they must be, numbers to the right. */
export function plain({ head, rows }: Table): string {
  const lines = [head, ...rows];
  const widths = head.map((_, i) => Math.max(...lines.map((line) => (line[i] ?? '').length)));
  const cell = (text: string, i: number): string =>
    i === 0 ? text.padEnd(widths[i] ?? 0) : text.padStart(widths[i] ?? 0);
  return lines.map((line) => `  ${line.map(cell).join('  ')}`.trimEnd()).join('\n');
}

export function markdown({ head, rows }: Table): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map((_, i) => (i === 0 ? '---' : '---:'))), ...rows.map(line)].join('\n');
}

const megabytes = (bytes: number): string => (bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0);
