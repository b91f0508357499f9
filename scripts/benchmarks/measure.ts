/** Processes measured from outside: time, and the largest resident set. */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { nodeFlags } from '../lib/node-flags.ts';

export interface Measured {
  readonly seconds: number;
  /** Time that processors spent on it, system time included. */
  readonly cpuSeconds: number;
  /** Largest resident set seen, in MiB. */
  readonly peakMiB: number;
}

const main = join(import.meta.dirname, '..', '..', 'packages', 'cli', 'src', 'main.ts');
const sampleMs = 20;
/** USER_HZ, which Linux fixes for what it shows. */
const ticksPerSecond = 100;

/** Runs a program to its end. @throws when it fails */
export async function measure(program: string, ...args: readonly string[]): Promise<Measured> {
  const start = process.hrtime.bigint();
  const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'inherit'] });
  let peakKiB = 0;
  let ticks = 0;
  const timer = setInterval(() => {
    try {
      const status = readFileSync(`/proc/${child.pid}/status`, 'latin1');
      const stat = readFileSync(`/proc/${child.pid}/stat`, 'latin1');
      // Fields 14 and 15, after the name in parentheses, which may hold anything.
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      ticks = Number(fields[11]) + Number(fields[12]);
      peakKiB = Math.max(peakKiB, Number(/^VmHWM:\s+([0-9]+) kB$/m.exec(status)?.[1] ?? 0));
    } catch {
      // It has ended between two looks.
    }
  }, sampleMs);
  const [code] = (await once(child, 'exit')) as [number | null];
  clearInterval(timer);
  const seconds = Number(process.hrtime.bigint() - start) / 1e9;
  if (code !== 0) throw new Error(`${program} ${args.join(' ')} ended with ${code}`);
  return { seconds, cpuSeconds: ticks / ticksPerSecond, peakMiB: peakKiB / 1024 };
}

export function measureShell(script: string, ...args: readonly string[]): Promise<Measured> {
  return measure('sh', '-ec', script, 'sh', ...args);
}

/** The real command. */
export function measureCli(...args: readonly string[]): Promise<Measured> {
  return measure(process.execPath, ...nodeFlags, main, ...args, '--quiet');
}

/** The run in the middle. */
export function median(runs: readonly Measured[]): Measured {
  const sorted = runs.toSorted((a, b) => a.seconds - b.seconds);
  const middle = sorted[Math.floor(sorted.length / 2)];
  if (middle === undefined) throw new Error('nothing was measured');
  const { seconds, cpuSeconds } = middle;
  return { seconds, cpuSeconds, peakMiB: Math.max(...runs.map((run) => run.peakMiB)) };
}

/** One line of a table. */
export function show(what: string, run: Measured, sizeMiB: number): void {
  const rate = `${Math.round(sizeMiB / run.seconds)} MiB/s`;
  console.log(
    `${what.padEnd(34)} ${run.seconds.toFixed(2).padStart(8)} s ${rate.padStart(12)} ${run.peakMiB.toFixed(0).padStart(6)} MiB peak`,
  );
}

/** What a benchmark is given, and what it gives back. */
export interface BenchmarkContext {
  /** An empty folder on a disk; removed afterwards. */
  readonly folder: string;
  /** How much content to move: MiB. */
  readonly sizeMiB: number;
}

/** Prints what it measured. @returns what missed its mark, one line each */
export type Benchmark = (context: BenchmarkContext) => Promise<readonly string[]>;
