/** Runs faulty-bundle.ts: a bundle in a process of its own, with trouble. */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { BundleOptions } from '../src/index.ts';

interface Outcome {
  /** Null for a process that was killed. */
  readonly code: number | null;
  readonly signal: string | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** @param limit largest file it may write, in blocks of 512 bytes */
export function runChild(options: BundleOptions, fault: string, limit?: number): Promise<Outcome> {
  return new Promise((resolve) => {
    const script = fileURLToPath(new URL('./faulty-bundle.ts', import.meta.url));
    const node = ['--disable-warning=ExperimentalWarning', script, JSON.stringify(options), fault];
    const limited = ['-c', `ulimit -f ${limit}; exec "$@"`, 'sh', process.execPath, ...node];
    const [program, args] = limit === undefined ? [process.execPath, node] : ['sh', limited];
    execFile(program, args, { timeout: 60_000 }, (error, stdout, stderr) => {
      const code = error === null ? 0 : typeof error.code === 'number' ? error.code : null;
      resolve({ code, signal: error?.signal ?? null, stdout, stderr });
    });
  });
}
