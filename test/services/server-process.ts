/**
 * A server as a child process: started with its output in a file, awaited with a bounded poll, ended by its own
 * pid. It also ends when this process dies in any way: util-linux' setpriv asks the kernel for that (Linux only).
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

export interface ServerProcess {
  readonly pid: number;
  /** What it has printed so far. */
  output(): string;
  /** Resolves with what `ready` answers, once it is not undefined. @throws with the output when it ends or `ms` pass */
  until<T>(ready: () => Promise<T | undefined> | T | undefined, ms: number): Promise<T>;
  /** SIGTERM, and SIGKILL after 10 s; resolves when it is gone. */
  stop(): Promise<void>;
}

/** @param logFile gets stdout and stderr */
export function startProcess(command: readonly [string, ...string[]], logFile: string): ServerProcess {
  const log = openSync(logFile, 'a');
  // The developer's cloud settings are not for test servers (and AWS_CA_BUNDLE stops Distribution's S3 driver).
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('AWS_')));
  const child = spawn('setpriv', ['--pdeathsig', 'TERM', '--', ...command], {
    env,
    stdio: ['ignore', log, log],
  });
  closeSync(log);
  let failure: Error | undefined;
  child.on('error', (error) => {
    failure = error;
  });
  const output = (): string => readFileSync(logFile, 'utf8');
  const hasEnded = (): boolean =>
    failure !== undefined || child.exitCode !== null || child.signalCode !== null;
  return {
    // Missing for a program that could not be started: `until` says why.
    pid: child.pid ?? 0,
    output,
    async until(ready, ms) {
      const end = Date.now() + ms;
      for (;;) {
        if (hasEnded()) throw new Error(`${command[0]} ended early: ${failure?.message ?? tail(output())}`);
        const answer = await ready();
        if (answer !== undefined) return answer;
        if (Date.now() > end) throw new Error(`${command[0]} was not ready in ${ms} ms: ${tail(output())}`);
        await sleep(25);
      }
    },
    async stop() {
      if (!hasEnded()) await end(child);
    },
  };
}

async function end(child: ChildProcess): Promise<void> {
  const gone = once(child, 'exit');
  child.kill('SIGTERM');
  const force = setTimeout(() => child.kill('SIGKILL'), 10_000);
  await gone;
  clearTimeout(force);
}

function tail(text: string): string {
  return text.trim().split('\n').slice(-5).join(' | ');
}

/** Ports that were free a moment ago, for servers that cannot choose their own. */
export async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'));
  await Promise.all(servers.map((server) => once(server, 'listening')));
  const ports = servers.map((server) => (server.address() as { port: number }).port);
  await Promise.all(servers.map((server) => once(server.close(), 'close')));
  return ports;
}
