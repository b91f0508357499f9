/**
 * The real command, run as a user would: each call is shown as it would be typed, then started as a process of its
 * own. All processes end with ours, Ctrl-C and a closed terminal included.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join, relative } from 'node:path';
import { createInterface } from 'node:readline';

/** A command that did not succeed. */
export class CommandFailed extends Error {
  readonly exitCode: number;

  constructor(command: string, exitCode: number) {
    super(`${command} ended with exit code ${exitCode}`);
    this.name = 'CommandFailed';
    this.exitCode = exitCode;
  }
}

const program = join(import.meta.dirname, '..', 'omni-airgap');
const widest = 100;
/** Milliseconds that a process has to end after it was asked to. */
const patienceMs = 10_000;

/** How the command is called from the current folder. */
export function shownProgram(): string {
  const path = relative('', program);
  return path.startsWith('..') ? program : `./${path}`;
}

/** A heading between commands. */
export function title(text: string): void {
  console.log(`\n== ${text}`);
}

/** The words of a command line, in lines that a shell joins; a flag and its value stay together. */
function shownCommand(args: readonly string[], background = false): string {
  const parts = [shownProgram()];
  for (const arg of args) {
    const word = /^[A-Za-z0-9_./:=,@%+-]+$/.test(arg) ? arg : `'${arg.replaceAll("'", "'\\''")}'`;
    const before = parts.at(-1) ?? '';
    if (parts.length > 1 && before.startsWith('--') && !before.includes(' ') && !word.startsWith('--'))
      parts[parts.length - 1] = `${before} ${word}`;
    else parts.push(word);
  }
  if (background) parts.push('&');
  const lines = [''];
  for (const part of parts) {
    const line = lines.at(-1) ?? '';
    if (line === '') lines[lines.length - 1] = part;
    else if (line.length + part.length + 3 <= widest) lines[lines.length - 1] = `${line} ${part}`;
    else lines.push(`    ${part}`);
  }
  return lines.join(' \\\n');
}

export class CliProcesses {
  readonly #running = new Set<ChildProcess>();
  #stopped = false;

  /** Runs a command to its end, its output on ours. @throws CommandFailed */
  async run(...args: readonly string[]): Promise<void> {
    console.log(`\n$ ${shownCommand(args)}`);
    const child = this.#start(args, ['ignore', 'inherit', 'inherit']);
    const code = await exitOf(child);
    if (code !== 0) throw new CommandFailed(`omni-airgap ${args[0]}`, code);
  }

  /**
   * Starts a command that stays, such as `serve --json`.
   * @returns the first line it prints
   * @throws CommandFailed when it ends before that
   */
  async serve(...args: readonly string[]): Promise<string> {
    console.log(`\n$ ${shownCommand(args, true)}`);
    const child = this.#start(args, ['ignore', 'pipe', 'pipe']);
    if (child.stdout === null) throw new Error('a pipe was asked for');
    // Until `stop`: that it is stopping then is no news.
    child.stderr?.on('data', (chunk: Uint8Array) => this.#stopped || process.stderr.write(chunk));
    for await (const line of createInterface({ input: child.stdout })) {
      console.log(line);
      return line;
    }
    throw new CommandFailed(`omni-airgap ${args[0]}`, await exitOf(child));
  }

  /** Asks all that still run to stop, and waits for it; no other is started any more. */
  async stop(): Promise<void> {
    this.#stopped = true;
    const running = [...this.#running];
    const timer = setTimeout(() => {
      for (const child of running) child.kill('SIGKILL');
    }, patienceMs);
    for (const child of running) child.kill('SIGINT');
    await Promise.all(running.map(exitOf));
    clearTimeout(timer);
  }

  #start(args: readonly string[], stdio: ['ignore', 'inherit' | 'pipe', 'inherit' | 'pipe']): ChildProcess {
    if (this.#stopped) throw new CommandFailed(`omni-airgap ${args[0]}`, 130);
    // A session of its own: Ctrl-C reaches it once, by us, and not a second time from the terminal.
    const child = spawn(program, args, { stdio, detached: true });
    this.#running.add(child);
    child.once('exit', () => this.#running.delete(child));
    return child;
  }
}

async function exitOf(child: ChildProcess): Promise<number> {
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  return child.exitCode ?? 1;
}
