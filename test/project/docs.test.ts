/** The documentation says what is: commands and flags exist, codes and variables are all there, links lead somewhere. */
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { CodedError, type ErrorCode, exitCodeOf } from '../../packages/oci/src/base/index.ts';
import { registryKinds } from '../../packages/oci/src/registry/index.ts';
import { commandsBelow, freshCommandsPage, helpOf } from '../../scripts/docs-commands.ts';
import { read, root, trackedFiles } from '../repository.ts';
import { objectStores } from '../stores/object-stores.ts';
import { registries } from '../stores/registries.ts';

const pages = trackedFiles().filter((path) => path === 'README.md' || /^docs\/.*\.md$/.test(path));
const page = 'docs/commands.md';

/** Code in a page: lines of its blocks, where a backslash joins lines, and what stands between backticks. */
function codeIn(path: string): readonly string[] {
  const lines = read(path)
    .replaceAll(/ \\\n\s*/g, ' ')
    .split('\n');
  const code: string[] = [];
  let fenced = false;
  for (const line of lines) {
    if (/^\s*```/.test(line)) fenced = !fenced;
    else if (fenced || /^ {4}/.test(line)) code.push(line.trim().replace(/^\$ /, ''));
    else for (const [, inline = ''] of line.matchAll(/`([^`]+)`/g)) code.push(inline);
  }
  return code;
}

/** The flags a command line uses, in long form, without what follows a `#`. */
function flagsIn(command: string): readonly string[] {
  return [...command.replace(/\s#.*$/, '').matchAll(/(?<=^|\s)--[a-z][a-z0-9-]*/g)].map(([flag]) => flag);
}

function knows(help: string, flag: string): boolean {
  return new RegExp(`^ +(?:-[A-Za-z], )?${flag}\\b(?!-)`, 'm').test(help);
}

describe('commands in the documentation', () => {
  test.each(pages)('%s: each exists and knows its flags', async (path) => {
    const wrong: string[] = [];
    for (const line of codeIn(path)) {
      const [, call] = /^(?:\.\/scripts\/)?omni-airgap (.*)$/.exec(line) ?? [];
      if (call === undefined) continue;
      const words = call.split(/\s+/);
      const end = words.findIndex((word) => !/^[a-z][a-z-]*$/.test(word));
      const command = end < 0 ? words : words.slice(0, end);
      const help = await helpOf(...command);
      if (!help.startsWith(`Usage: omni-airgap ${command.join(' ')}`)) wrong.push(`no such command: ${line}`);
      for (const flag of flagsIn(call)) if (!knows(help, flag)) wrong.push(`no such flag ${flag}: ${line}`);
    }
    expect(wrong.join('\n')).toBe('');
  });

  test('help of more than a screen lists its options in groups', async () => {
    const ungrouped: string[] = [];
    for (const name of await commandsBelow()) {
      const help = await helpOf(name);
      if (help.split('\n').length > 40 && help.includes('\nOptions:\n')) ungrouped.push(name);
    }
    expect(ungrouped).toEqual([]);
  });

  test('flags named by themselves belong to some command', async () => {
    const helps = [read('scripts/demo.ts')];
    for (const name of await commandsBelow()) {
      helps.push(await helpOf(name));
      for (const below of await commandsBelow(name)) helps.push(await helpOf(name, below));
    }
    const all = helps.join('\n');
    const unknown = pages.flatMap((path) =>
      codeIn(path)
        .filter((code) => code.startsWith('--'))
        .flatMap(flagsIn)
        .filter((flag) => !knows(all, flag))
        .map((flag) => `${path}: ${flag}`),
    );
    expect(unknown.join('\n')).toBe('');
  });

  test('scripts that are named are there', () => {
    const named = pages.flatMap((path) => [...read(path).matchAll(/\bscripts\/[A-Za-z0-9_./-]*[a-z]/g)]);
    const missing = named.map(([path]) => path).filter((path) => !existsSync(join(root, path)));
    expect(missing.join('\n')).toBe('');
  });
});

test('docs/loading.md lists what registries refuse, as the remedies in messages have it', () => {
  const cells = (line: string): string => line.replaceAll(/\s*\|\s*/g, '|');
  const lines = new Set(read('docs/loading.md').split('\n').map(cells));
  const missing = registryKinds.flatMap(({ name, refuses }) =>
    refuses
      .map(({ refuses: what, remedy }) => `|${name}|${what}|${remedy}|`)
      .filter((line) => !lines.has(line)),
  );
  expect(missing).toEqual([]);
});

test('docs/pruning.md says how each kind of registry reclaims its space', () => {
  const lines = new Set(read('docs/pruning.md').split('\n'));
  const wanted = registryKinds.flatMap(({ name, reclaims }) =>
    reclaims === undefined ? [] : [`| ${name} | ${reclaims.how} |`],
  );
  expect(wanted.length).toBeGreaterThan(5);
  expect(wanted.filter((line) => !lines.has(line))).toEqual([]);
});

describe(page, () => {
  test('is what --help says', async () => {
    expect(read(page), 'stale: run node scripts/docs-commands.ts').toBe(await freshCommandsPage());
  });

  test('has every error code, under its exit code', () => {
    const declared = [
      ...read('packages/oci/src/base/errors.ts').matchAll(/^ {2}([A-Z_]+): ExitCode\.[a-z]+,$/gm),
    ].map(([, code]) => code);
    const rows = [...read(page).matchAll(/^\| *([0-9]+) *\|[^|]*\|([^|]*)\|/gm)];
    const documented = rows.flatMap(([, exit, codes = '']) =>
      [...codes.matchAll(/`([A-Z_]+)`/g)].map(([, code]) => ({ code, exit: Number(exit) })),
    );
    expect(documented.map(({ code }) => code).sort()).toEqual(declared.sort());
    for (const { code, exit } of documented) {
      expect(exitCodeOf(new CodedError(code as ErrorCode, '')), code).toBe(exit);
    }
  });

  test('has every environment variable that is read', () => {
    const sources = trackedFiles().filter((path) =>
      /^packages\/[a-z]+\/src\/(?!testing\/).*\.ts$/.test(path),
    );
    const variables = sources.flatMap((path) =>
      [...read(path).matchAll(/\benv\['([A-Z][A-Z0-9_]+)'\]|'(OMNI_AIRGAP_[A-Z_]+)'/g)].map(
        ([, read, own]) => read ?? own ?? '',
      ),
    );
    expect(variables).toContain('OMNI_AIRGAP_KEY_PASSPHRASE');
    const missing = [...new Set(variables)].filter((name) => !read(page).includes(`\`${name}\``));
    expect(missing).toEqual([]);
  });
});

test('docs/serving.md has every metric', () => {
  const metrics = [...read('packages/server/src/metrics.ts').matchAll(/'(omni_airgap_[a-z_]+)'/g)].map(
    ([, name]) => name,
  );
  expect(metrics.length).toBeGreaterThan(10);
  expect(metrics.filter((name) => !read('docs/serving.md').includes(`\`${name}\``))).toEqual([]);
});

test('links between pages lead to files that are there', () => {
  const broken = pages.flatMap((path) =>
    [...read(path).matchAll(/\]\((?!https?:)([^)#]+)[^)]*\)/g)]
      .map(([, target = '']) => target)
      .filter((target) => !existsSync(join(root, dirname(path), target)))
      .map((target) => `${path}: ${target}`),
  );
  expect(broken.join('\n')).toBe('');
});

test('docs/loading.md has a line for each registry and object store that the suite loads into', () => {
  const table = /^\| ([^|]+?) +\| [^|]+ \| (CI| {2}) +\|/gm;
  const listed = [...read('docs/loading.md').matchAll(table)]
    .map(([, name, ci]) => [name, ci === 'CI'])
    .filter(([name]) => name !== 'registry' && name !== 'object store');
  expect(listed).toEqual([...registries, ...objectStores].map(({ name, inCi = false }) => [name, inCi]));
});
