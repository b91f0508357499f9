/** Runs of several programs in turns. */

import type { Measured } from './measure.ts';
import type { Peers } from './peers.ts';
import { waitForQuiet } from './quiet.ts';
import type { Comparison, Recorder } from './results.ts';
import { showComparison } from './tables.ts';

/** What a benchmark is given. */
export interface BenchmarkContext {
  /** An empty folder on a disk; removed afterwards. */
  readonly folder: string;
  /** How much content to move: MiB. */
  readonly sizeMiB: number;
  /** Of each program. */
  readonly runs: number;
  readonly peers: Peers;
  /** What is measured as omni-airgap: its executable, or without one `scripts/omni-airgap` of the clone. */
  readonly program: string;
  /** `scripts/omni-airgap` of this clone. */
  readonly clone: string;
  /** The same of an older version, to compare the CPU of load with. */
  readonly baseline: string | undefined;
  readonly limits: Limits;
  /** How long to wait for a quiet machine before each comparison: seconds. */
  readonly waitSeconds: number;
  readonly recorder: Recorder;
  /** Where serve-replicas writes what it measured; left out, nowhere. */
  readonly costs: string | undefined;
}

/** How far curves go, and how many images there are to find unchanged. */
interface Limits {
  readonly unchanged: number;
  readonly images: number;
  readonly blobs: number;
  readonly blobMiB: number;
  readonly connections: number;
  /** Runs of each point of a curve. */
  readonly curveRuns: number;
}

/** Records or prints what it measured. @returns what missed a mark that goals.ts does not know, one line each */
export type Benchmark = (context: BenchmarkContext) => Promise<readonly string[]>;

/** Makes one run: prepares it, measures it, checks its result and cleans up. */
export type Side = () => Promise<Measured>;

/** Runs of what is measured for orientation alone. */
const referenceRuns = 3;

/** Records a comparison, with what else the machine does just before it, once that is little or has been waited for. */
export async function begin(
  { recorder, waitSeconds }: Pick<BenchmarkContext, 'recorder' | 'waitSeconds'>,
  comparison: Comparison,
): Promise<void> {
  const share = await waitForQuiet(waitSeconds);
  recorder.add({ ...comparison, otherWork: Number(share.toFixed(3)) });
}

/**
 * Runs each side `runs` times, in rounds of one run of each, so that whatever else the machine does meets all of them; each
 * round begins with another side. Prints a table.
 * @param references sides that no goal depends on, in the first rounds only
 */
export async function alternate(
  { runs, recorder, waitSeconds }: Pick<BenchmarkContext, 'runs' | 'recorder' | 'waitSeconds'>,
  comparison: Comparison,
  sides: Readonly<Record<string, Side | undefined>>,
  references: Readonly<Record<string, Side | undefined>> = {},
): Promise<void> {
  await begin({ recorder, waitSeconds }, comparison);
  for (let round = 1; round <= runs; round++) {
    const turns = Object.entries({ ...sides, ...(round <= referenceRuns ? references : {}) });
    const first = (round - 1) % turns.length;
    for (const [side, run] of [...turns.slice(first), ...turns.slice(0, first)]) {
      if (run !== undefined)
        recorder.add({ comparison: comparison.comparison, side, round, ...rounded(await run()) });
    }
  }
  showComparison(recorder, comparison);
}

/** Files are read by people too: no more digits than the clocks have. */
export function rounded(measured: Measured): Measured {
  const { seconds, cpuSeconds, peakMiB, serverSeconds } = measured;
  return {
    ...measured,
    seconds: Number(seconds.toFixed(4)),
    cpuSeconds: Number(cpuSeconds.toFixed(2)),
    peakMiB: Number(peakMiB.toFixed(1)),
    ...(serverSeconds === undefined ? {} : { serverSeconds: Number(serverSeconds.toFixed(2)) }),
  };
}
