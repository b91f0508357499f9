/**
 * The commands by name, in the order of the help. Each is loaded when it is asked for, and all of them for the help:
 * what a command does not need takes longer to load than its own part.
 */
import { CodedError, printable } from '@omni-airgap/oci/base';
import type { Command } from 'commander';
import type { Session } from './session.ts';

type AddCommand = (session: Session) => Command;

const commands: Readonly<Record<string, () => Promise<AddCommand>>> = {
  init: async () => (await import('./commands/init.ts')).addInit,
  plan: async () => (await import('./commands/plan.ts')).addPlan,
  fetch: async () => (await import('./commands/fetch.ts')).addFetch,
  egress: async () => (await import('./commands/egress.ts')).addEgress,
  gc: async () => (await import('./commands/gc.ts')).addGc,
  bundle: async () => (await import('./commands/bundle.ts')).addBundle,
  mirror: async () => (await import('./commands/mirror.ts')).addMirror,
  verify: async () => (await import('./commands/verify.ts')).addVerify,
  inspect: async () => (await import('./commands/inspect.ts')).addInspect,
  diff: async () => (await import('./commands/diff.ts')).addDiff,
  load: async () => (await import('./commands/load.ts')).addLoad,
  serve: async () => (await import('./commands/serve.ts')).addServe,
  wants: async () => (await import('./commands/wants.ts')).addWants,
  keygen: async () => (await import('./commands/keygen.ts')).addKeygen,
};

/**
 * @param word the first of the command line
 * @returns the command of that name alone; all of them for help
 * @throws USAGE when there is none: commander would show the help of the program and end well for `nothing --help`
 */
export async function commandsFor(word: string | undefined, session: Session): Promise<readonly Command[]> {
  const isNamed = word !== undefined && !word.startsWith('-') && word !== 'help';
  if (isNamed && !Object.hasOwn(commands, word)) {
    throw new CodedError('USAGE', `${printable(word)}: no such command; omni-airgap --help lists them`);
  }
  const names = isNamed ? [word] : Object.keys(commands);
  const adders = await Promise.all(names.map(async (name) => commands[name]?.()));
  return adders.flatMap((add) => add?.(session) ?? []);
}
