/** What a start of the command loads: each module costs about half a millisecond of every run, so these are counted. */
import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { root } from '../repository.ts';
import { temporaryFolder } from '../services/temporary.ts';

const execute = promisify(execFile);

/** Modules that are files, relative to the clone: those of a package by its name alone. */
async function loadedBy(...args: readonly string[]): Promise<readonly string[]> {
  const hook = join(temporaryFolder('start-up'), 'hook.mjs');
  writeFileSync(
    hook,
    `import { registerHooks } from 'node:module';
const urls = [];
registerHooks({ load(url, context, next) { urls.push(url); return next(url, context); } });
process.on('exit', () => process.stderr.write(JSON.stringify(urls)));`,
  );
  const main = join(root, 'packages/cli/src/main.ts');
  const { stderr } = await execute(process.execPath, [
    '--disable-warning=ExperimentalWarning',
    ...['--import', hook, main, ...args],
  ]);
  const urls = JSON.parse(stderr) as readonly string[];
  return urls
    .filter((url) => url.startsWith('file://'))
    .map(
      (url) =>
        /node_modules\/((?:@[^/]+\/)?[^/]+)\/(?!.*node_modules)/.exec(url)?.[1] ??
        url.split('/packages/')[1] ??
        url,
    );
}

test('the help and the version of the program load no command and no library but commander', async () => {
  for (const flag of ['--help', '--version']) {
    const loaded = await loadedBy(flag);
    const other = loaded.filter((path) => !/^(?:cli\/|oci\/src\/base\/|commander$)/.test(path));
    expect(other).toEqual([]);
    expect(loaded.filter((path) => path.startsWith('cli/src/commands/'))).toEqual([]);
    expect(loaded.length).toBeLessThan(40);
  }
});

test('load from media loads nothing of the store and the bundler, which load --store needs', async () => {
  const loaded = await loadedBy('load', '--help');
  expect(loaded).toContain('loader/src/load.ts');
  expect(loaded.filter((path) => /^(?:store|bundler|fetcher|server|pki)\//.test(path))).toEqual([]);
});
