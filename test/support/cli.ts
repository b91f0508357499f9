/** The real command as a child process, as scripts/omni-airgap starts it. It ends when the tests do. */
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { expect } from 'vitest';
import { nodeFlags } from '../../scripts/lib/node-flags.ts';
import { remove, temporaryFolder } from '../services/temporary.ts';

/** Of the process alone; Linux counts. */
export interface Usage {
  /** Largest resident set. */
  readonly peakBytes: number;
  /** What it caused to be written to disks (tmpfs is none). */
  readonly diskBytesWritten: number;
}

export interface Ended {
  /** 128 and the signal's number for a process that was killed, as a shell says it. */
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
  /** Undefined for a process that was killed. */
  readonly usage: Usage | undefined;
}

export interface CliOptions {
  readonly cwd?: string;
  /** Added to an environment that has no settings of the developer in it. */
  readonly env?: Readonly<Record<string, string>>;
  readonly stdin?: string;
  /** A command that runs it, such as `ip netns exec NAME`. */
  readonly within?: readonly string[];
  /** Milliseconds; default 100 s. */
  readonly timeoutMs?: number;
}

export interface RunningCli {
  readonly pid: number;
  readonly ended: Promise<Ended>;
  stdout(): string;
  stderr(): string;
  kill(signal: NodeJS.Signals): void;
  /** Waits until the condition holds. @throws when the command ends before that */
  until(condition: () => boolean): Promise<void>;
}

const root = join(import.meta.dirname, '..', '..');
const main = join(root, 'packages', 'cli', 'src', 'main.ts');
const recorder = fileURLToPath(new URL('./usage-recorder.ts', import.meta.url));
const signalNumbers: Readonly<Record<string, number>> = { SIGINT: 2, SIGKILL: 9, SIGTERM: 15 };

export function startCli(args: readonly string[], options: CliOptions = {}): RunningCli {
  const { cwd = root, env = {}, stdin, within = [], timeoutMs = 100_000 } = options;
  const own = temporaryFolder('cli');
  const usageFile = join(own, 'usage.json');
  const home = join(own, 'home');
  mkdirSync(home);
  const command = [...within, process.execPath, ...nodeFlags, '--import', recorder, main, ...args];
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', '--', ...command], {
    cwd,
    env: {
      PATH: process.env['PATH'] ?? '',
      HOME: home,
      TMPDIR: tmpdir(),
      // Shared by all, or each start compiles everything again.
      NODE_COMPILE_CACHE: join(tmpdir(), 'compile-cache'),
      TEST_USAGE_FILE: usageFile,
      ...env,
    },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  let isOver = false;
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  // A command that does not read its input may be gone before it is written.
  child.stdin.on('error', () => undefined);
  child.stdin.end(stdin);
  const timer = setTimeout(() => child.kill('SIGKILL'), timeoutMs);
  const ended = new Promise<Ended>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => {
      clearTimeout(timer);
      isOver = true;
      const usage = existsSync(usageFile)
        ? (JSON.parse(readFileSync(usageFile, 'utf8')) as Usage)
        : undefined;
      remove(own);
      resolve({ code: code ?? 128 + (signalNumbers[signal ?? ''] ?? 0), stdout, stderr, usage });
    });
  });
  return {
    pid: child.pid ?? 0,
    ended,
    stdout: () => stdout,
    stderr: () => stderr,
    kill: (signal) => void child.kill(signal),
    async until(condition) {
      while (!condition()) {
        if (isOver) throw new Error(`omni-airgap ${args[0]} ended early: ${stdout}${stderr}`);
        await sleep(5);
      }
    },
  };
}

/** Runs a command to its end. */
export function cli(args: readonly string[], options?: CliOptions): Promise<Ended> {
  return startCli(args, options).ended;
}

/** Runs a command with `--json`, which must succeed. @returns the one document that it printed */
export async function cliJson<T = Record<string, unknown>>(
  args: readonly string[],
  options?: CliOptions,
): Promise<T> {
  const { code, stdout, stderr } = await cli([...args, '--json'], options);
  expect(code, stderr + stdout).toBe(0);
  return JSON.parse(stdout) as T;
}

/** Runs a command in this process, for tests that change what it runs on. */
export async function runHere(args: readonly string[]): Promise<Omit<Ended, 'usage'>> {
  const { run } = await import('../../packages/cli/src/run.ts');
  let stdout = '';
  let stderr = '';
  const code = await run(args, {
    stdout: (text) => {
      stdout += text;
    },
    notice: () => {},
    stderr: (text) => {
      stderr += text;
    },
    isTerminal: false,
    lost: async () => undefined,
  });
  return { code, stdout, stderr };
}

/** Starts `serve` on a port of its own choice. @returns its address, and the process to be stopped */
export async function startServe(
  args: readonly string[],
  options?: CliOptions,
): Promise<{ readonly host: string; readonly process: RunningCli; stop(): Promise<Ended> }> {
  const process = startCli(['serve', ...args, '--listen', '127.0.0.1:0', '--json'], options);
  await process.until(() => process.stdout().includes('\n'));
  const { url } = JSON.parse(process.stdout()) as { url: string };
  return {
    host: new URL(url).host,
    process,
    stop() {
      process.kill('SIGINT');
      return process.ended;
    },
  };
}

/** What a failed command must say: its exit code, and one line on stderr that ends in the code of the error. */
export function expectFailure(ended: Omit<Ended, 'usage'>, code: number, message: RegExp): void {
  expect(ended.code, ended.stderr).toBe(code);
  const lines = ended.stderr.trimEnd().split('\n');
  const last = lines.at(-1) ?? '';
  expect(last).toMatch(/^omni-airgap: .+ \[[A-Z_]+\]$/);
  expect(last).toMatch(message);
  expect(lines.filter((line) => line.startsWith('omni-airgap:'))).toHaveLength(1);
}
