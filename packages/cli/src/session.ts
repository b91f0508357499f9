/** One run of one command: where its output goes, how it is watched, how it is stopped. */

import { homedir, hostname, userInfo } from 'node:os';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { CodedError } from '@omni-airgap/oci/base';
import manifest from '../package.json' with { type: 'json' };
import { ProgressView } from './progress-view.ts';

export interface Output {
  /** What the command was run for: when it cannot be written, the run has failed. */
  readonly stdout: (text: string) => void;
  /** A line on the standard output that nothing depends on. */
  readonly notice: (text: string) => void;
  readonly stderr: (text: string) => void;
  /** Whether the standard error is a terminal that can redraw a line. */
  readonly isTerminal: boolean;
  /** Waits until everything is written. @returns why a part of stdout could not be, as DISK */
  readonly lost: () => Promise<CodedError | undefined>;
}

export interface CommonFlags {
  readonly json?: true;
  readonly quiet?: true;
  /** Of commands that retry. */
  readonly verbose?: true;
  readonly concurrency?: number;
}

export interface Session {
  readonly output: Output;
  readonly signal: AbortSignal;
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** Runs the work with progress shown, then prints the report: as one JSON document, or as text for people. */
export async function report<T extends object>(
  session: Session,
  flags: CommonFlags,
  verb: string,
  work: (progress: ProgressView) => Promise<T>,
  describe: (result: T, seconds: number) => string,
): Promise<T> {
  const { output } = session;
  const mode = flags.quiet === true ? 'quiet' : output.isTerminal ? 'terminal' : 'plain';
  const progress = new ProgressView(verb, mode, output.stderr, { isVerbose: flags.verbose === true });
  let result: T;
  try {
    result = await work(progress);
  } catch (error) {
    progress.end();
    throw error;
  }
  progress.end(true);
  if (flags.json === true) output.stdout(`${JSON.stringify(result, undefined, 2)}\n`);
  else if (flags.quiet !== true) output.stdout(`${describe(result, progress.seconds)}\n`);
  return result;
}

/**
 * For commands that run long or handle many names: V8 by default lets garbage come to several times what is in use
 * before it collects. Measured: serve over ten thousand aborted downloads 206 MiB in place of 299; fetch of 600 names
 * 31 MB in use, 118 MB of heap before.
 */
export function boundGarbage(): void {
  setFlagsFromString('--heap-growing-percent=30');
}

/** Where the passphrase of a private key comes from: never the command line, which others can see. */
export const passphraseVariable = 'OMNI_AIRGAP_KEY_PASSPHRASE';

/** @throws CONFIG when it is empty: whoever meant to set one would get a key that anybody can use */
export function passphraseOf(env: Session['env']): string | undefined {
  const passphrase = env[passphraseVariable];
  if (passphrase === '') throw new CodedError('CONFIG', `${passphraseVariable} is empty: set or unset it`);
  return passphrase;
}

/** `user@machine`; in a container without a name for the user, the number. */
export function account(): string {
  try {
    return `${userInfo().username}@${hostname()}`;
  } catch {
    return `${process.getuid?.() ?? 'somebody'}@${hostname()}`;
  }
}

export const version: string = manifest.version;
export const tool: string = `omni-airgap ${manifest.version}`;

/** What a host at a site remembers of loads, unless --state names it. Source: XDG Base Directory Specification. */
export function defaultState(env: Session['env']): string {
  const named = env['XDG_STATE_HOME'];
  const base = named?.startsWith('/') === true ? named : join(homedir(), '.local', 'state');
  return join(base, 'omni-airgap');
}
