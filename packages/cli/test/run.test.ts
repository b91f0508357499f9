/** Words of the command line that no command has, flags that are there once too often, and errors without a code. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { temporaryFolder } from '@omni-airgap/oci/testing';
import { parseMediaName } from '@omni-airgap/talos';
import { Command } from 'commander';
import { expect, test, vi } from 'vitest';
import { run } from '../src/run.ts';

/** @returns exit code and all that was written */
async function runWith(args: readonly string[]): Promise<{ readonly code: number; readonly said: string }> {
  let said = '';
  const take = (text: string): void => {
    said += text;
  };
  const output = { stdout: take, notice: take, stderr: take, isTerminal: false };
  const code = await run(args, { ...output, lost: async () => undefined });
  return { code, said };
}

test.each(['constructor', '__proto__', 'toString', 'nothing'])(
  'A20 %s is no command, with --help neither',
  async (word) => {
    for (const args of [[word], [word, '--help']]) {
      const said = `omni-airgap: ${word}: no such command; omni-airgap --help lists them [USAGE]\n`;
      expect(await runWith(args)).toEqual({ code: 2, said });
    }
  },
);

test('U minor 7 a command that is misspelt, and what takes no argument, say what was meant', async () => {
  expect((await runWith(['fetsh'])).said).toContain('fetsh: no such command; did you mean fetch?');
  expect((await runWith(['fetch', 'mirror.yaml'])).said).toContain('Did you mean --config mirror.yaml?');
  expect((await runWith(['verify', '--quick', 'usb'])).said).toContain('Did you mean --bundle usb?');
  expect((await runWith(['fetch', '--stroe', 'x'])).said).toMatch(
    /^omni-airgap: unknown option '--stroe'; did you mean --store\? \[USAGE\]\n/,
  );
});

test('U minor 8 verify says what stands where a bundle was named', async () => {
  const folder = await temporaryFolder();
  const usb = join(folder, 'usb');
  await mkdir(usb);
  await writeFile(join(usb, 'bundle.json'), '{}');
  const store = join(folder, 'store');
  await mkdir(store);
  await writeFile(join(store, 'lock.json'), '{}');
  const said = async (path: string): Promise<string> => (await runWith(['verify', '--bundle', path])).said;
  expect(await said(join(usb, 'bundle.json'))).toContain(
    `is a file; specify the folder of the bundle: ${usb} [NO_INPUT]`,
  );
  expect(await said(folder)).toContain(`no bundle here; there is one in ${usb} [NO_INPUT]`);
  expect(await said(store)).toContain(`is a store and no bundle; use --store ${store} [NO_INPUT]`);
});

test.each([
  ['load', '--registry'],
  ['load', '--max-age'],
  ['bundle', '--sign-key'],
  ['bundle', '--volume-size'],
  ['fetch', '--concurrency'],
  ['serve', '--listen'],
  ['egress rules', '--config'],
])('U-M7 %s refuses a second %s: the first would be lost', async (command, flag) => {
  const said = `omni-airgap: ${flag}: specified twice; it takes one value [USAGE]\n`;
  expect(await runWith([...command.split(' '), flag, '1', flag, '1'])).toEqual({ code: 2, said });
});

test.each([
  ['load', '--plain-http'],
  ['verify', '--verify-key'],
  ['verify', '--bundle'],
  ['bundle', '--since'],
])('%s takes a second %s', async (command, flag) => {
  expect((await runWith([...command.split(' '), flag, '1', flag, '2'])).said).not.toContain('twice');
});

test.each([
  [[], 'prune needs --plan FILE to write a plan, or --apply FILE'],
  [['--plan', 'a', '--apply', 'b'], 'prune needs --plan FILE to write a plan, or --apply FILE'],
  [['--plan', 'a'], 'prune needs --registry HOST, --object-store URL, or both'],
  [['--plan', 'a', '--registry', 'r.site'], 'prune needs to know what runs'],
  [
    ['--plan', 'a', '--registry', 'r.site', '--keep-versions', 'new'],
    '--keep-versions new: specify versions',
  ],
  [['--plan', 'a', '--registry', 'r.site', '--keep', '0'], 'Must be 1 to 999'],
  [['--apply', 'a', '--registry', 'r.site', '--keep', '1'], '--keep: the plan says how many'],
  [['--apply', 'a', '--registry', 'r.site', '--receipt', 'b', '--receipt', 'c'], 'with --apply one file'],
] as const)('prune %j is refused before any request', async (args, message) => {
  const { code, said } = await runWith(['prune', ...args]);
  expect(said).toContain(message);
  expect(code).toBe(2);
});

test('plan --write needs to know what the site has, before anything is read', async () => {
  const { code, said } = await runWith(['plan', '--write', '--config', '/missing/mirror.yaml']);
  expect(said).toMatch(/^omni-airgap: --write .*; specify --since RECEIPT too \[USAGE\]\n$/);
  expect(code).toBe(2);
});

vi.mock('../src/commands/keygen.ts', () => ({
  addKeygen: () => new Command('keygen').action(() => void parseMediaName('a/b')),
}));

test('F9 an error of the talos package that nobody translated is no bug of the program', async () => {
  const { code, said } = await runWith(['keygen']);
  expect(said).toMatch(/^omni-airgap: not the name of a media file, .*: "a\/b" \[BAD_DOCUMENT\]\n$/);
  expect(code).toBe(3);
});
