/** docs/performance.md, from the results that are committed beside it and from the notes of people. */
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { missedGoals, outcomesOf } from './goals.ts';
import { missedGrowths } from './growth.ts';
import { readResults, type Session } from './results.ts';
import { comparisonTable, curveTable, goalTable, growthTable, markdown } from './tables.ts';

const docs = join(import.meta.dirname, '..', '..', '..', 'docs');
/** Results and notes. */
const sources = join(docs, 'performance');

export const reportFile = join(docs, 'performance.md');

const introduction = `# Performance

<!-- By ./scripts/bench report, from the files in performance/: do not edit. -->

\`./scripts/bench goals\` compares omni-airgap with oras, crane and regctl, with floors, and with the goals below; \`./scripts/bench scale\`
measures growth. \`./scripts/bench report\` writes this page from the runs that \`--json docs/performance/NAME.jsonl\` keeps. Peers are used where
they are on PATH or in the folder that \`PEERS_BIN\` names.

- **Same work.** The same content from the same registry (Distribution, on loopback), verified by the client and flushed to the
  disk: omni-airgap syncs each file before it gets its name; the peers are followed by \`sync -f\` of their folder, within the
  measured time. After each run the benchmark checks that all blobs arrived in full.
- **Alternating runs.** Programs run in rounds, one run of each; each round begins with another program. Ratios are made within a
  round; the tables show the median, least and most of all rounds. What no goal depends on runs in the first three rounds only.
- **CPU** is user and system time of the client with its children and threads, without the server. **Peak** is the largest sum of resident
  sets in the process tree, sampled every 20 ms, and at least the kernel's own peak of each process.
- **Wire** is the traffic of the loopback device in a network namespace, with headers. **Disk** is what the process tree made the disk write,
  from its I/O counters in /proc.
- **Limits and floors.** \`limit: curl\` downloads the same blobs with eight connections and syncs, without hashing. \`floor\` is
  \`scripts/benchmarks/harness/floor.ts\`: raw sockets, SHA-256, write and fsync in Node.js, without checks, retries or records.
- **Growth** is the power of the size that time grows with, from the largest size and the next one that is at most an eighth of it, less
  what the smallest size takes: 1 is linear. The number after "of" is its bound; wall time has the noise of disks in it.
`;

const verdicts = ['met', '**missed**'] as const;

/** @param folder of results, `*.jsonl`; the notes are those of this repository */
export function freshReport(folder: string = sources): string {
  const each = globSync('*.jsonl', { cwd: folder })
    .sort()
    .map((name) => ({ name, ...readResults(join(folder, name)) }));
  const results = {
    comparisons: each.flatMap(({ comparisons }) => comparisons),
    runs: each.flatMap(({ runs }) => runs),
  };
  const missed = [...missedGoals(results), ...missedGrowths(results)];
  const notMeasured = outcomesOf(results).filter(({ measured }) => measured === undefined);
  const sections = results.comparisons.map((comparison) => {
    const table = comparison.unit === undefined ? comparisonTable : curveTable;
    return `### ${sentence(comparison.title)}\n\n${markdown(table(results, comparison))}\n`;
  });
  return [
    introduction,
    ...each.map(({ name, session }) => machineSection(name, session)),
    `## Goals\n\n${markdown(goalTable(results, verdicts))}\n`,
    ...(notMeasured.length === 0
      ? []
      : [`Not measured: ${notMeasured.map(({ goal }) => goal).join('; ')}.\n`]),
    `## Growth\n\n${markdown(growthTable(results, verdicts))}\n`,
    ...(missed.length === 0 ? [] : [`## Missed\n\n${missed.map((line) => `- ${line}`).join('\n')}\n`]),
    '## Measurements\n\nMedians; the peak in MiB, wire and disk in MB. The ratio is the wall time of omni-airgap to that of the program.\n',
    ...sections,
    readFileSync(join(sources, 'ways.md'), 'utf8').replaceAll(/^#/gm, '##'),
  ].join('\n');
}

/** Processors at work before the benchmark began, above which its times say little. */
const quiet = 0.5;

function machineSection(name: string, session: Session): string {
  const table = markdown(machineTable(session));
  const note =
    session.machine.load > quiet
      ? '\nThe machine was busy with other work: these times and ratios are not reliable.\n'
      : '';
  return `## Machine of ${name}\n\n${table}\n${note}`;
}

function machineTable({
  date,
  commit,
  machine,
  versions,
  flags,
  missing,
}: Session): Parameters<typeof markdown>[0] {
  return {
    head: ['what', 'value'],
    rows: [
      ['date', date.slice(0, 10)],
      ['commit', commit],
      ['processor', `${machine.processor}, ${machine.cores} cores`],
      ['memory', `${machine.memoryGiB} GiB`],
      ['disk', machine.disk],
      ['system', `${machine.system}, Linux ${machine.kernel}`],
      ['load average before the start', machine.load.toFixed(2)],
      ['loopback device', machine.wire === 'namespace' ? 'in a namespace of its own' : 'with other traffic'],
      ...Object.entries(versions).map(([name, version]) => [name, version || 'unknown version']),
      ['command', `\`./scripts/bench ${flags.join(' ')}\``],
      ...missing.map((line) => ['left out', line]),
    ],
  };
}

const sentence = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);
