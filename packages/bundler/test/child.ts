/** Runs faulty-bundle.ts: bundles in a process of their own, with trouble. */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { BundleOptions } from '../src/index.ts';

export interface FaultyRun {
  readonly options: BundleOptions;
  /**
   * What happens at operation `at`: the process is killed, the run is stopped, or the operation fails with that code.
   * `blind` takes every disk for endless, so that a real one runs full.
   */
  readonly how: 'nothing' | 'kill' | 'stop' | 'EIO' | 'ENOSPC' | 'blind';
  /** Counted from 1. */
  readonly at?: number;
}

export interface Outcome {
  /** File operations that were begun. */
  readonly operations: number;
  /** Name of the one that went wrong; undefined when it never came to that. */
  readonly hit: string | undefined;
  /** Undefined for a bundle that was made, or stopped. */
  readonly failed: { readonly code: string; readonly message: string } | undefined;
}

/**
 * @param limit largest file it may write, in blocks of 512 bytes
 * @returns an outcome for each; undefined when the process was killed
 */
export function runFaulty(
  runs: readonly FaultyRun[],
  limit?: number,
): Promise<readonly Outcome[] | undefined> {
  return new Promise((resolve, reject) => {
    const script = fileURLToPath(new URL('./faulty-bundle.ts', import.meta.url));
    const node = ['--disable-warning=ExperimentalWarning', script, JSON.stringify(runs)];
    const limited = ['-c', `ulimit -f ${limit}; exec "$@"`, 'sh', process.execPath, ...node];
    const [program, args] = limit === undefined ? [process.execPath, node] : ['sh', limited];
    execFile(program, args, { timeout: 120_000 }, (error, stdout, stderr) => {
      if (error?.signal === 'SIGKILL') resolve(undefined);
      else if (error !== null) reject(new Error(`faulty-bundle.ts: ${stdout.slice(-300)} ${stderr}`));
      else
        resolve(
          stdout
            .trim()
            .split('\n')
            .map((line) => JSON.parse(line) as Outcome),
        );
    });
  });
}
