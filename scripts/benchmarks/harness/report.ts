/** docs/performance.md, from the results that are committed beside it and from the notes of people. */
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { missedGoals, outcomesOf } from './goals.ts';
import { missedGrowths } from './growth.ts';
import { quietShare } from './quiet.ts';
import { type Comparison, readResults, type Session } from './results.ts';
import { comparisonTable, curveTable, goalTable, growthTable, markdown, type Table } from './tables.ts';

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
- **omni-airgap** is the released executable, which is what sites run; where none was built, the clone, whose start takes longer.
- **Alternating runs.** Programs run in rounds, one run of each; each round begins with another program. Ratios are made within a
  round; the tables show the median, least and most of all rounds. What no goal depends on runs in the first three rounds only.
- **CPU** is user and system time of the client with its children and threads, without the server. **Peak** is the largest sum of resident
  sets in the process tree, sampled every 20 ms, and at least the kernel's own peak of each process. **Server CPU** is that of the
  registry in the same run: it shares the processors with the client.
- **Wire** is the traffic of the loopback device in a network namespace, with headers. **Disk** is what the process tree made the disk write,
  from its I/O counters in /proc.
- **Limits and floors** are the least that this machine needs for the same work. \`floor\` is
  \`scripts/benchmarks/harness/floor.ts\`: raw reader, SHA-256, write and fsync in Node.js, without checks, retries or records. The floors
  of unchanged images send the requests of the first run, taken from the registry's log. \`limit: curl\` downloads the same blobs with 24
  connections, as many as omni-airgap opens at most, and syncs, without hashing. \`limit: hash\` is openssl's SHA-256 of the same bytes, which one
  processor has to do in order.
- **Growth** is the power of the size that time grows with, from the largest size and the next one that is at most an eighth of it, less
  what the smallest size takes: 1 is linear. The number after "of" is its bound; wall time has the noise of disks in it.
`;

const aboutGoals = `Wall time and CPU as a ratio to the fastest of the programs that the goal names, or in seconds. The floor is what the least takes by the
same measure, next to the same program: where it is above the bound, this machine does not allow the goal.
`;

const aboutMissed = `The floor, where one was measured, is the least that this machine needs for the same work. What is measured above it is omni-airgap's own cost.
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
    ...each.map(({ name, session, comparisons }) => machineSection(name, session, busiest(comparisons))),
    `## Goals\n\n${aboutGoals}\n${markdown(goalTable(results, verdicts))}\n`,
    ...(notMeasured.length === 0
      ? []
      : [`Not measured: ${notMeasured.map(({ goal }) => goal).join('; ')}.\n`]),
    `## Growth\n\n${markdown(growthTable(results, verdicts))}\n`,
    ...(missed.length === 0
      ? []
      : [`## Missed\n\n${aboutMissed}\n${missed.map((line) => `- ${line}`).join('\n')}\n`]),
    '## Measurements\n\nMedians; the peak in MiB, wire and disk in MB. The ratio is the wall time of omni-airgap to that of the program.\n',
    ...sections,
    readFileSync(join(sources, 'ways.md'), 'utf8').replaceAll(/^#/gm, '##'),
  ].join('\n');
}

/** Largest share of the processors that did other work before a comparison; undefined where none was looked at. */
function busiest(comparisons: readonly Comparison[]): number | undefined {
  const shares = comparisons.flatMap(({ otherWork }) => otherWork ?? []);
  return shares.length === 0 ? undefined : Math.max(...shares);
}

function machineSection(name: string, session: Session, otherWork: number | undefined): string {
  const table = markdown(machineTable(session, otherWork));
  let note = '';
  if (otherWork === undefined)
    note =
      '\nWhether the machine did other work was not measured: these times and ratios may not be reliable.\n';
  else if (otherWork > quietShare)
    note = '\nThe machine was busy with other work: these times and ratios are not reliable.\n';
  return `## Machine of ${name}\n\n${table}\n${note}`;
}

function machineTable(
  { date, commit, machine, versions, flags, missing }: Session,
  otherWork: number | undefined,
): Table {
  return {
    head: ['what', 'value'],
    rows: [
      ['date', date.slice(0, 10)],
      ['commit', commit],
      ['processor', `${machine.processor}, ${machine.cores} cores`],
      ['memory', `${machine.memoryGiB} GiB`],
      ['disk', machine.disk],
      ['system', `${machine.system}, Linux ${machine.kernel}`],
      [
        'processors at other work before a comparison, at most',
        otherWork === undefined ? 'not measured' : `${(otherWork * 100).toFixed(1)} %`,
      ],
      ['loopback device', machine.wire === 'namespace' ? 'in a namespace of its own' : 'with other traffic'],
      ...Object.entries(versions).map(([name, version]) => [name, version || 'unknown version']),
      ['command', `\`./scripts/bench ${flags.join(' ')}\``],
      ...missing.map((line) => ['left out', line]),
    ],
  };
}

const sentence = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);
