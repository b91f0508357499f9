/**
 * What was measured, as JSON Lines: the session, then for each comparison what it did, then one line for each run. Lines
 * are written as soon as they are measured, so that an interrupted session keeps what it has.
 */
import { spawnSync } from 'node:child_process';
import { appendFileSync, readFileSync, statfsSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus, loadavg, release, totalmem } from 'node:os';
import manifest from '../../../packages/cli/package.json' with { type: 'json' };
import { versionOf } from '../../../test/services/found-program.ts';
import type { Measured } from './measure.ts';

const kind = 'omni-airgap/benchmark';

/** Where and with what it was measured. */
export interface Session {
  readonly kind: typeof kind;
  readonly schema: 1;
  /** RFC 3339, when it began. */
  readonly date: string;
  readonly commit: string;
  readonly machine: {
    readonly processor: string;
    readonly cores: number;
    readonly memoryGiB: number;
    readonly kernel: string;
    readonly system: string;
    /** File system and device of the measured folder. */
    readonly disk: string;
    /** Load average of the last minute before it began, which falls slowly after other work has ended. */
    readonly load: number;
    /** Whose loopback device was counted: a namespace of the benchmark's own, or with all other traffic. */
    readonly wire: 'namespace' | 'machine';
  };
  readonly versions: Readonly<Record<string, string>>;
  /** The command line after `./scripts/bench`, without paths. */
  readonly flags: readonly string[];
  /** What was left out, and why. */
  readonly missing: readonly string[];
}

/** One thing that several programs do, or that one does at several sizes. */
export interface Comparison {
  readonly comparison: string;
  /** What is done, with how much. */
  readonly title: string;
  /** Of content, in each run. */
  readonly bytes: number;
  /** Of a curve: what its sizes count. */
  readonly unit?: string;
  /** Share of all processors that did other work just before: 0 to 1. */
  readonly otherWork?: number;
}

export interface Run extends Measured {
  readonly comparison: string;
  /** Who did it; of a curve, what was done. */
  readonly side: string;
  /** From 1; runs of the same round were made next to each other. */
  readonly round: number;
  /** Of a curve. */
  readonly size?: number;
}

export interface Results {
  readonly comparisons: readonly Comparison[];
  readonly runs: readonly Run[];
}

/** Collects the results of one session. */
export class Recorder implements Results {
  readonly session: Session;
  readonly comparisons: Comparison[] = [];
  readonly runs: Run[] = [];
  readonly #file: string | undefined;

  /** @param file to write all lines to; it is replaced */
  constructor(session: Session, file: string | undefined) {
    this.session = session;
    this.#file = file;
    if (file !== undefined) writeFileSync(file, line(session));
  }

  add(record: Comparison | Run): void {
    if ('side' in record) this.runs.push(record);
    else this.comparisons.push(record);
    if (this.#file !== undefined) appendFileSync(this.#file, line(record));
  }
}

/** @throws Error for a file that this program did not write */
export function readResults(file: string): Results & { readonly session: Session } {
  const lines = readFileSync(file, 'utf8').trim().split('\n');
  const [session, ...records] = lines.map((text) => JSON.parse(text)) as [Session, ...(Comparison | Run)[]];
  if (session?.kind !== kind || session.schema !== 1)
    throw new Error(`${file}: no results of ./scripts/bench`);
  const isRun = (record: Comparison | Run): record is Run => 'side' in record;
  return {
    session,
    comparisons: records.filter((record): record is Comparison => !isRun(record)),
    runs: records.filter(isRun),
  };
}

/** @param folder what is measured writes there */
export function describeSession(
  folder: string,
  wire: Session['machine']['wire'],
  flags: readonly string[],
  found: {
    readonly versions: Readonly<Record<string, string>>;
    readonly program: 'executable' | 'clone';
    readonly missing: readonly string[];
  },
): Session {
  const system = /^PRETTY_NAME="(.*)"$/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1] ?? 'Linux';
  return {
    kind,
    schema: 1,
    date: new Date().toISOString(),
    commit: commitOf(import.meta.dirname),
    machine: {
      processor: `${cpus()[0]?.model ?? process.arch}${shaInstructions()}`,
      cores: availableParallelism(),
      memoryGiB: Math.round(totalmem() / 1024 ** 3),
      kernel: release(),
      system,
      disk: diskOf(folder),
      load: Number(loadavg()[0]?.toFixed(2)),
      wire,
    },
    versions: {
      'omni-airgap': `${manifest.version}, ${found.program}`,
      'Node.js': process.version,
      ...found.versions,
      Distribution: versionOf('docker-registry', '--version'),
      OpenSSL: versionOf('openssl', 'version'),
      curl: versionOf('curl', '--version'),
    },
    flags,
    missing: found.missing,
  };
}

/** Of the clone that a folder is in. */
export function commitOf(folder: string): string {
  const git = (...args: string[]): string =>
    spawnSync('git', ['-C', folder, ...args], { encoding: 'utf8' }).stdout?.trim() ?? '';
  const isChanged =
    git('status', '--porcelain', '--untracked-files=no', '--', ':/packages', ':/scripts') !== '';
  return `${git('rev-parse', '--short=12', 'HEAD') || 'unknown'}${isChanged ? ', changed' : ''}`;
}

const line = (record: object): string => `${JSON.stringify(record)}\n`;

/** What decides how fast SHA-256 is. */
function shaInstructions(): string {
  return /^(?:flags|Features)\s*:.*\b(?:sha_ni|sha2)\b/m.test(readFileSync('/proc/cpuinfo', 'latin1'))
    ? ' with SHA-256 instructions'
    : '';
}

/** `ext4 on a virtual disk, 50 GiB free` */
function diskOf(folder: string): string {
  const mounts = readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .map((text) => text.split(' '))
    .filter(([, at = '?']) => folder === at || folder.startsWith(at === '/' ? '/' : `${at}/`))
    .sort(([, a = ''], [, b = '']) => b.length - a.length);
  const [device = '', , type = 'unknown'] = mounts[0] ?? [];
  const medium = device.startsWith('/dev/vd')
    ? 'a virtual disk'
    : device.startsWith('/dev/nvme')
      ? 'NVMe'
      : device;
  const { bavail, bsize } = statfsSync(folder);
  return `${type} on ${medium}, ${Math.round((bavail * bsize) / 1024 ** 3)} GiB free`;
}
