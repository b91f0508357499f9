/** Runs a program of the system to its end. */
import { execFileSync } from 'node:child_process';

/** Its standard output. @throws when it fails; the message holds its standard error */
export function run(
  program: string,
  args: readonly string[],
  options: { readonly cwd?: string; readonly input?: Uint8Array } = {},
): Buffer {
  return execFileSync(program, args, { ...options, stdio: 'pipe', maxBuffer: 64 * 1024 * 1024 });
}
