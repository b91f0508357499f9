/** One run of the command line: parse, execute, explain errors in one line, answer with the exit code. */

import {
  CodedError,
  type ErrorCode,
  ExitCode,
  exitCodeOf,
  messageOf,
  printable,
  recoded,
} from '@omni-airgap/oci/base';
import { Command, CommanderError, Help, type Option, type OutputConfiguration } from 'commander';
import { commandsFor } from './command-list.ts';
import { takesOneValue } from './flags.ts';
import { type Output, type Session, version } from './session.ts';
import { standardOutput } from './streams.ts';

/**
 * @param args without node and script
 * @returns the exit code: that of the work, or of DISK where the work was done and its result could not be printed
 */
export async function run(args: readonly string[], output: Output = standardOutput()): Promise<ExitCode> {
  const code = await runCommand(args, output);
  const lost = await output.lost();
  if (code !== ExitCode.ok || lost === undefined) return code;
  const message = `the work is done, but its result could not be printed: ${lost.message}`;
  explain(lost, lost.code, message, output);
  return exitCodeOf(lost);
}

async function runCommand(args: readonly string[], output: Output): Promise<ExitCode> {
  const controller = new AbortController();
  const stop = (): void => {
    if (controller.signal.aborted) process.exit(ExitCode.interrupted);
    output.stderr('\nomni-airgap: stopping; press Ctrl-C again to stop at once\n');
    controller.abort();
  };
  process.on('SIGINT', stop);
  process.on('SIGTERM', stop);
  // With --json there is one document: an error is said in one of its own only where no report was printed.
  let needsDocument = args.includes('--json');
  const stdout: Output['stdout'] = (text) => {
    needsDocument = false;
    output.stdout(text);
  };
  const session: Session = { output: { ...output, stdout }, signal: controller.signal, env: process.env };
  try {
    const root = program(session, await commandsFor(args, session));
    await root.parseAsync([...args], { from: 'user' });
    return ExitCode.ok;
  } catch (thrown) {
    const error = await ownError(thrown);
    if (error instanceof CommanderError) {
      if (error.exitCode === 0) return ExitCode.ok;
      if (error.code === 'commander.excessArguments') output.stderr(excessHint(args[0], error.message));
      if (needsDocument) stdout(errorDocument('USAGE', usageText(error.message)));
      return ExitCode.usage;
    }
    const interrupted = controller.signal.aborted;
    const { code, message } = described(error, interrupted);
    if (needsDocument) stdout(errorDocument(code, message));
    explain(error, code, message, output);
    return interrupted ? ExitCode.interrupted : exitCodeOf(error);
  } finally {
    process.off('SIGINT', stop);
    process.off('SIGTERM', stop);
  }
}

function program(session: Session, commands: readonly Command[]): Command {
  const root = new Command('omni-airgap')
    .description('Carries Sidero Omni and Talos Linux across an air gap: fetch, bundle, load.')
    .version(version)
    .exitOverride()
    .configureOutput(outputOf(session))
    .showHelpAfterError('(run with --help to list the options)')
    .addHelpText(
      'after',
      '\nExit codes: 0 done, 1 unexpected, 2 usage or configuration, 3 integrity, 4 refused by policy,\n5 incomplete (run again to resume), 130 interrupted.',
    );
  for (const command of commands) {
    for (const one of [command, ...command.commands]) {
      refuseSecondValues(one);
      one.exitOverride().configureHelp({ optionDescription }).configureOutput(outputOf(session));
    }
    root.addCommand(command.showHelpAfterError('(run with --help to list the options)'));
  }
  root.hook('preAction', (_, command) => refuseEmpty(command));
  return root;
}

/** Where commander writes, with its errors in the form of ours. */
function outputOf({ output }: Session): OutputConfiguration {
  return {
    writeOut: output.stdout,
    writeErr: output.stderr,
    outputError: (text, write) => write(`omni-airgap: ${usageText(text)} [USAGE]\n`),
  };
}

/** @param message of commander: `error: `, what is wrong, and on a line of its own what was meant */
function usageText(message: string): string {
  return message
    .trim()
    .replace(/^error: /, '')
    .replace(/\n\(Did you mean (.+)\?\)$/, '; did you mean $1?');
}

/** What takes no argument takes it as a flag. @param message of commander, which ends with the argument */
function excessHint(command: string | undefined, message: string): string {
  const [, given] = /: ([^ ,]+)\.$/.exec(message) ?? [];
  if (given === undefined) return '';
  if (/\.ya?ml$/.test(given)) return `Did you mean --config ${printable(given)}?\n`;
  const isOfBundles = ['verify', 'inspect', 'load', 'serve'].includes(command ?? '');
  return isOfBundles ? `Did you mean --bundle ${printable(given)}?\n` : '';
}

/** The value that was meant may be either. @throws USAGE while the command line is parsed */
function refuseSecondValues(command: Command): void {
  for (const option of command.options.filter(takesOneValue)) {
    let isGiven = false;
    command.on(`option:${option.name()}`, () => {
      if (isGiven) throw new CodedError('USAGE', `${option.long}: specified twice; it takes one value`);
      isGiven = true;
    });
  }
}

/** `--issued "$ID"` where ID was never set must not do what no `--issued` at all would. @throws USAGE */
function refuseEmpty(command: Command): void {
  for (const option of command.options) {
    const value: unknown = command.getOptionValue(option.attributeName());
    if (value === '' || (Array.isArray(value) && value.includes('')))
      throw new CodedError('USAGE', `${option.long}: its value is empty; omit the flag or specify a value`);
  }
}

/** A list that is empty unless something is said is no default worth printing. */
function optionDescription(this: Help, option: Option): string {
  const { defaultValue, description } = option;
  const isEmptyList = Array.isArray(defaultValue) && defaultValue.length === 0;
  return isEmptyList ? description : Help.prototype.optionDescription.call(this, option);
}

/**
 * What is thrown across a border that forgot to say what it was about still has a code: that of the disk, or of text that
 * breaks a rule of Talos. Neither is a bug of this program.
 */
async function ownError(thrown: unknown): Promise<unknown> {
  if (thrown instanceof CodedError || thrown instanceof CommanderError) return thrown;
  // Most runs end without these, and they take their time to load.
  const { systemError } = await import('@omni-airgap/oci/fs');
  const { TalosError } = await import('@omni-airgap/talos');
  return recoded(systemError(thrown), TalosError, 'BAD_DOCUMENT');
}

function described(
  error: unknown,
  interrupted: boolean,
): { readonly code: ErrorCode; readonly message: string } {
  if (interrupted) return { code: 'ABORTED', message: 'stopped; the same command resumes where it left off' };
  const code = error instanceof CodedError ? error.code : 'INTERNAL';
  return { code, message: printable(messageOf(error), 2000) };
}

function errorDocument(code: ErrorCode, message: string): string {
  return `${JSON.stringify({ error: { code, message } }, undefined, 2)}\n`;
}

function explain(error: unknown, code: ErrorCode, message: string, output: Output): void {
  output.stderr(`omni-airgap: ${message} [${code}]\n`);
  const wantsTrace = process.env['OMNI_AIRGAP_TRACE'] === '1';
  if (wantsTrace && error instanceof Error) output.stderr(`${error.stack}\n`);
  else if (code === 'INTERNAL')
    output.stderr('omni-airgap: this is a bug; OMNI_AIRGAP_TRACE=1 shows where\n');
}
