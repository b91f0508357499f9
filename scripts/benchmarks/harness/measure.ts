/**
 * Commands measured from outside, with all the processes that they start. Sources: Linux proc(5), /proc/PID/stat (cutime,
 * cstime), /proc/PID/io and /proc/net/dev; getrusage(2) for what counts as waited-for.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';

export interface Measured {
  readonly seconds: number;
  /** Time that processors spent on it and on its children, system time included; the kernel counts in 10 ms. */
  readonly cpuSeconds: number;
  /** Largest sum of resident sets seen, and at least the kernel's own peak of each process: MiB. */
  readonly peakMiB: number;
  /** Bytes that passed the loopback device, both directions with headers: the wire between client and server. */
  readonly wireBytes: number;
  /** Bytes that it made the disk write. */
  readonly writtenBytes: number;
  /** Bytes that its read calls returned, whether from the page cache or not; a socket's count too. */
  readonly inputBytes: number;
  /** Time that processors spent meanwhile on the registry that it asked, which runs on the same ones. */
  readonly serverSeconds?: number;
}

/** What every run has. */
export type Quantity = Exclude<keyof Measured, 'serverSeconds'>;

const sampleMs = 20;
/** USER_HZ, which Linux fixes for what it shows. */
const ticksPerSecond = 100;

/**
 * Runs a program to its end, without its output.
 * @param env added to the environment
 * @throws Error when it fails, with the end of its standard error
 */
export async function measure(
  program: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<Measured> {
  const sampler = new Sampler();
  const before = sampler.totals();
  const start = process.hrtime.bigint();
  const child = spawn(program, args, {
    stdio: ['ignore', 'ignore', 'pipe'],
    // That variable is for this process: what is measured starts as for its users.
    env: { ...process.env, NODE_COMPILE_CACHE: undefined, ...env },
  });
  let errors = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    errors = (errors + text).slice(-2000);
  });
  const timer = setInterval(() => sampler.sample(child.pid ?? 0), sampleMs);
  let code: number | null;
  try {
    [code] = (await once(child, 'close')) as [number | null];
  } finally {
    clearInterval(timer);
  }
  const seconds = Number(process.hrtime.bigint() - start) / 1e9;
  if (code !== 0) throw new Error(`${program} ${args.join(' ')} ended with ${code}: ${errors.trim()}`);
  const after = sampler.totals();
  return {
    seconds,
    cpuSeconds: (after.ticks - before.ticks) / ticksPerSecond,
    peakMiB: sampler.peakKiB / 1024,
    wireBytes: after.wire - before.wire,
    writtenBytes: after.written - before.written,
    inputBytes: after.input - before.input,
  };
}

/** @param args `$1` and so on of the script */
export function measureShell(
  script: string,
  args: readonly string[] = [],
  env: Readonly<Record<string, string>> = {},
): Promise<Measured> {
  return measure('sh', ['-ec', script, 'sh', ...args], env);
}

/** Adds what the registry took meanwhile. @param pid its process */
export async function withServerTime(pid: number, run: () => Promise<Measured>): Promise<Measured> {
  const taken = (): number => {
    const [user = 0, system = 0] = ticksOf(readFileSync(`/proc/${pid}/stat`, 'latin1'));
    return user + system;
  };
  const before = taken();
  const measured = await run();
  return { ...measured, serverSeconds: (taken() - before) / ticksPerSecond };
}

/** Of /proc/PID/stat: of the process itself in user and system, then of the children that it waited for. */
function ticksOf(stat: string): readonly number[] {
  // Fields 14 to 17, after the name in parentheses, which may hold anything.
  return stat
    .slice(stat.lastIndexOf(')') + 2)
    .split(' ')
    .slice(11, 15)
    .map(Number);
}

/** A command of omni-airgap. @param program its executable, or `scripts/omni-airgap` of a clone */
export function measureCli(program: string, args: readonly string[]): Promise<Measured> {
  return measure(program, [...args, '--quiet']);
}

/** What the kernel adds to this process for each child it has waited for, and looks at those that still run. */
class Sampler {
  peakKiB = 0;
  /** What this process itself has read meanwhile. */
  #own = 0;

  totals(): {
    readonly ticks: number;
    readonly wire: number;
    readonly written: number;
    readonly input: number;
  } {
    const [, , user = 0, system = 0] = ticksOf(this.#read('/proc/self/stat'));
    const loopback = /^\s*lo:\s*(\d+)/m.exec(this.#read('/proc/net/dev'))?.[1];
    const io = this.#read('/proc/self/io');
    const counter = (name: string): number => Number(new RegExp(`^${name}: (\\d+)`, 'm').exec(io)?.[1] ?? 0);
    return {
      ticks: user + system,
      wire: Number(loopback ?? 0),
      written: counter('write_bytes') - counter('cancelled_write_bytes'),
      input: counter('rchar') - this.#own,
    };
  }

  sample(pid: number): void {
    let sum = 0;
    for (const one of this.#treeOf(pid)) {
      try {
        const status = this.#read(`/proc/${one}/status`);
        const field = (name: string): number =>
          Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(status)?.[1] ?? 0);
        sum += field('VmRSS');
        this.peakKiB = Math.max(this.peakKiB, field('VmHWM'));
      } catch {
        // It has ended between two looks.
      }
    }
    this.peakKiB = Math.max(this.peakKiB, sum);
  }

  #treeOf(pid: number): readonly number[] {
    const found = [pid];
    for (const one of found) {
      try {
        for (const task of readdirSync(`/proc/${one}/task`)) {
          const children = this.#read(`/proc/${one}/task/${task}/children`);
          found.push(...children.split(' ').filter(Boolean).map(Number));
        }
      } catch {
        // It has ended between two looks.
      }
    }
    return found;
  }

  #read(path: string): string {
    const text = readFileSync(path, 'latin1');
    this.#own += text.length;
    return text;
  }
}
