/**
 * What load writes on its own host: tried before anything moves, written as soon as it is true, and tidied up after loads
 * that were killed. Faults F12, F13.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, expect, onTestFinished, test } from 'vitest';
import { acquireLock } from '../../packages/oci/src/fs/index.ts';
import { type RegistryDouble, startRegistryDouble } from '../../packages/oci/src/testing/index.ts';
import { temporaryFolder } from '../services/temporary.ts';
import { expectFailure, runHere } from '../support/cli.ts';
import { breakDisk } from '../support/disk-faults.ts';
import { type MadeBundle, makeBundle } from '../support/made-bundle.ts';

let bundle: MadeBundle;
beforeAll(async () => {
  bundle = await makeBundle({ 'ghcr.io/acme/app:v1': [1000] });
});

async function startSite() {
  const registry: RegistryDouble = await startRegistryDouble();
  onTestFinished(() => registry.close());
  const folder = temporaryFolder('outputs');
  const at = (...names: string[]): string => join(folder, ...names);
  const load = (flags: Readonly<Record<string, string>> = {}) => {
    const outputs = {
      state: at('state'),
      handoff: at('handoff'),
      receipt: at('receipt', 'receipt.json'),
      ...flags,
    };
    return runHere([
      ...['load', ...bundle.flags, '--registry', registry.host, '--plain-http', registry.host, '--json'],
      ...Object.entries(outputs).flatMap(([flag, path]) => [`--${flag}`, path]),
    ]);
  };
  return { registry, at, load };
}

test.each(['receipt', 'handoff', 'state', 'spool'])(
  '--%s that cannot be written is found before the first request, and its flag is named',
  async (flag) => {
    const { registry, at, load } = await startSite();
    mkdirSync(at('broken'));
    const path = flag === 'receipt' ? at('broken', 'receipt.json') : at('broken', 'folder');
    const faults = breakDisk({
      root: at('broken'),
      at: 1,
      first: 'EROFS',
      after: { code: 'EROFS', what: 'changes' },
    });
    const ended = await load({ [flag]: path });
    faults.end();
    expectFailure(
      ended,
      5,
      new RegExp(
        `--${flag} .*: the file system is read-only; specify another path with --${flag} \\[DISK\\]$`,
      ),
    );
    expect(registry.requests).toEqual([]);
    expect(existsSync(at('handoff'))).toBe(false);
    expect((await load({ [flag]: path })).code).toBe(0);
    expect(readdirSync(at('broken')).filter((name) => name.endsWith('.tmp'))).toEqual([]);
  },
);

test.each(['handoff', 'state', 'spool'])(
  '--%s that is a file: exit code 2 before the first request',
  async (flag) => {
    const { registry, at, load } = await startSite();
    writeFileSync(at('file'), '');
    for (const path of [at('file'), at('file', 'below')]) {
      const ended = await load({ [flag]: path });
      expectFailure(ended, 2, new RegExp(`--${flag} .*; specify another path \\[USAGE\\]$`));
    }
    expect(registry.requests).toEqual([]);
  },
);

test('a hand-off that cannot be written does not fail a finished load; the same command writes it later', async () => {
  const { registry, at, load } = await startSite();
  mkdirSync(at('handoff', 'README.txt'), { recursive: true });
  const first = await load();
  expect(first.code, first.stderr).toBe(0);
  const { warnings, handoff } = JSON.parse(first.stdout);
  expect(handoff).toBeUndefined();
  expect(warnings).toEqual([
    `${at('handoff', 'README.txt')}: not a regular file; everything is loaded; to write the hand-off, run the same command again with --handoff DIR`,
  ]);
  expect(readFileSync(at('receipt', 'receipt.json'), 'utf8')).toContain('omni-airgap/receipt');
  rmSync(at('handoff'), { recursive: true });
  const before = registry.requests.length;
  const second = await load();
  expect(JSON.parse(second.stdout)).toMatchObject({ warnings: [], handoff: { kept: [] } });
  const writes = registry.requests.slice(before).filter(({ method }) => !['GET', 'HEAD'].includes(method));
  expect(writes).toEqual([]);
});

test('a receipt that cannot be written is an error, and the hand-off is written all the same', async () => {
  const { at, load } = await startSite();
  mkdirSync(at('receipt'));
  // The probe is four operations: open, write, sync, remove.
  const faults = breakDisk({
    root: at('receipt'),
    at: 5,
    first: 'ENOSPC',
    after: { code: 'ENOSPC', what: 'changes' },
  });
  const ended = await load();
  faults.end();
  expectFailure(ended, 5, /receipt.json: no space left on this disk.* \[DISK\]$/);
  expect(existsSync(at('handoff', 'README.txt'))).toBe(true);
});

test('F12 temporary files of killed loads are removed by the next, unless another load is running', async () => {
  const { at, load } = await startSite();
  expect((await load()).code).toBe(0);
  const [target = ''] = readdirSync(at('state', 'accepted'));
  const left = [
    at('state', '.some.json.0123456789abcdef.tmp'),
    at('state', 'accepted', target, '.some.json.0123456789abcdef.tmp'),
    at('receipt', '.receipt.json.0123456789abcdef.tmp'),
    at('handoff', '.compose.yaml.0123456789abcdef.tmp'),
    at('handoff', 'quadlets', '.omni.container.0123456789abcdef.tmp'),
  ];
  const foreign = [at('receipt', '.other.json.0123456789abcdef.tmp'), at('state', 'notes.tmp')];
  for (const path of [...left, ...foreign]) writeFileSync(path, 'half');
  const lock = await acquireLock(at('state', 'load.lock'), 'shared');
  expect((await load()).code).toBe(0);
  expect(left.filter((path) => !existsSync(path))).toEqual([]);
  await lock.release();
  expect((await load()).code).toBe(0);
  expect(left.filter((path) => existsSync(path))).toEqual([]);
  expect(foreign.filter((path) => !existsSync(path))).toEqual([]);
});
