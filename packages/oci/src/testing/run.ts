/** Runs a program of the system to its end. */
import { execFileSync } from 'node:child_process';
import type { TestContext } from 'vitest';

/** Its standard output, in no language but English. @throws when it fails; the message holds its standard error */
export function run(
  program: string,
  args: readonly string[],
  options: { readonly cwd?: string; readonly input?: Uint8Array } = {},
): Buffer {
  return execFileSync(program, args, {
    ...options,
    env: { ...process.env, LANGUAGE: '', LC_ALL: 'C' },
    stdio: 'pipe',
    maxBuffer: 64 * 1024 * 1024,
  });
}

/** Leaves the test out where a program is not installed; under CI=true that is a failure. */
export function skipWithout(context: TestContext, program: string): void {
  try {
    run('sh', ['-c', 'command -v "$0"', program]);
  } catch {
    if (process.env['CI'] === 'true') throw new Error(`not installed: ${program}`);
    context.skip(`not installed: ${program}`);
  }
}
