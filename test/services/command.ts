/** Runs a program of the system to its end. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** Its standard output. @throws when it fails or takes longer than a minute; the message holds its stderr */
export async function command(program: string, args: readonly string[], cwd?: string): Promise<string> {
  const { stdout } = await run(program, args, { cwd, timeout: 60_000, maxBuffer: 16 * 1024 * 1024 });
  return stdout;
}
