/**
 * Registries and object stores of other projects. What `scripts/test` installs must be there in CI; the others are
 * used where they are found on PATH or in the folder that STORES_BIN names.
 */
import { join } from 'node:path';
import { describe, test } from 'vitest';
import { findProgram, versionOf } from '../services/found-program.ts';
import { freePorts, startProcess } from '../services/server-process.ts';
import { remove, temporaryFolder } from '../services/temporary.ts';

export interface Program {
  /** As its project writes it. */
  readonly name: string;
  /** The name of its file, or the path of one in this repository. */
  readonly command: string;
  /** `scripts/test` installs it. */
  readonly inCi?: boolean;
  /** What makes it print its version; left out where nothing does. */
  readonly versionFlag?: string;
}

/** A group of tests for each program that is there; for each other one a skipped test that says so. */
export function describeEach<T extends Program>(
  programs: readonly T[],
  body: (program: T, path: string) => void,
): void {
  for (const program of programs) {
    const { name, command, inCi = false, versionFlag } = program;
    const path = findProgram(command, 'STORES_BIN');
    if (path === undefined) {
      test(name, ({ skip }) => {
        const reason = `${name}: ${command} is neither on PATH nor in the folder STORES_BIN`;
        if (inCi && process.env['CI'] === 'true') throw new Error(`${reason}; scripts/test installs it`);
        skip(reason);
      });
      continue;
    }
    const version = versionFlag === undefined ? '' : versionOf(path, versionFlag);
    describe(`${name} ${version}`.trim(), () => body(program, path));
  }
}

/** Starts a server on a port of loopback. @param command what to run, given a folder of its own and its port */
export async function startServer(
  name: string,
  command: (folder: string, port: number) => readonly [string, ...string[]],
): Promise<{ readonly host: string; readonly url: string; stop(): Promise<void> }> {
  const folder = temporaryFolder('store');
  const [port = 0] = await freePorts(1);
  const url = `http://127.0.0.1:${port}`;
  const server = startProcess(command(folder, port), join(folder, `${name}.log`));
  const stop = async (): Promise<void> => {
    await server.stop();
    remove(folder);
  };
  try {
    await server.until(async () => {
      const answer = await fetch(url, { redirect: 'manual' }).catch(() => undefined);
      await answer?.body?.cancel();
      return answer === undefined || answer.status >= 500 ? undefined : true;
    }, 120_000);
  } catch (error) {
    await stop();
    throw error;
  }
  return { host: `127.0.0.1:${port}`, url, stop };
}
