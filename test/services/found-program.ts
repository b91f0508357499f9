/** Programs of other projects that are no Debian packages: used where they are found, on PATH or in a folder of their own. */
import { spawnSync } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

/**
 * @param command the name of its file, or the path of one
 * @param variable the environment variable that may name a folder with it; left out: on PATH alone
 * @returns undefined where there is none
 */
export function findProgram(command: string, variable = ''): string | undefined {
  const folders = [process.env[variable] ?? '', ...(process.env['PATH'] ?? '').split(delimiter)];
  const paths = command.includes('/') ? [command] : folders.filter(Boolean).map((one) => join(one, command));
  return paths.find((path) => {
    try {
      accessSync(path, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** What it prints as its version; empty where nothing looks like one. */
export function versionOf(path: string, ...args: readonly string[]): string {
  const { stdout, stderr } = spawnSync(path, args, { encoding: 'utf8', timeout: 30_000 });
  return /v?\d+\.\d+\.\d+[\w.+-]*/.exec(stdout + stderr)?.[0] ?? '';
}
