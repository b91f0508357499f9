/**
 * Writes the part of docs/commands.md that is the command's own help:
 *
 *   node scripts/docs-commands.ts
 *
 * A test fails when that part is stale.
 */
import { execFile } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';

const execute = promisify(execFile);
const program = join(import.meta.dirname, '..', 'packages/cli/src/main.ts');
const commandsPage = join(import.meta.dirname, '..', 'docs', 'commands.md');
const helps = new Map<string, Promise<string>>();
const begin = '<!-- From --help, by scripts/docs-commands.ts: do not edit below. -->\n';

/** What `omni-airgap WORDS --help` prints where there is no terminal, and so at a width of 80. */
export function helpOf(...words: readonly string[]): Promise<string> {
  const key = words.join(' ');
  const known = helps.get(key) ?? readHelp(words);
  helps.set(key, known);
  return known;
}

async function readHelp(words: readonly string[]): Promise<string> {
  const args = ['--disable-warning=ExperimentalWarning', program, ...words, '--help'];
  const { stdout } = await execute(process.execPath, args);
  return stdout.trimEnd();
}

/** Names of the commands below `words`, in the order of the help. */
export async function commandsBelow(...words: readonly string[]): Promise<readonly string[]> {
  const [, list = ''] = /\nCommands:\n((?: {2}.*(?:\n|$))+)/.exec(await helpOf(...words)) ?? [];
  return [...list.matchAll(/^ {2}([a-z][a-z-]*)/gm)].flatMap(([, name]) =>
    name === undefined || name === 'help' ? [] : [name],
  );
}

/** The page with its generated part as it must be. */
export async function freshCommandsPage(): Promise<string> {
  const page = readFileSync(commandsPage, 'utf8');
  const at = page.indexOf(begin);
  if (at < 0) throw new Error(`${commandsPage}: the line that begins the generated part is missing`);
  const sections = [`## omni-airgap\n\n\`\`\`text\n${await helpOf()}\n\`\`\`\n`];
  const add = async (words: readonly string[]): Promise<void> => {
    sections.push(`## ${words.join(' ')}\n\n\`\`\`text\n${await helpOf(...words)}\n\`\`\`\n`);
    for (const name of await commandsBelow(...words)) await add([...words, name]);
  };
  for (const name of await commandsBelow()) await add([name]);
  return `${page.slice(0, at)}${begin}\n${sections.join('\n')}`;
}

if (import.meta.main) writeFileSync(commandsPage, await freshCommandsPage());
