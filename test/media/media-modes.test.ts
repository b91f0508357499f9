/** C16: another account inside can read the media, whatever the umask outside was, unless they are to be private. */
import { mkdirSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import { type RegistryDouble, startRegistryDouble } from '../../packages/oci/src/testing/index.ts';
import { cli } from '../support/cli.ts';
import { addImage } from '../support/double-image.ts';
import { upstreamFlags, type Workspace, workspace } from '../support/workspace.ts';

let site: Workspace;
let upstream: RegistryDouble;

beforeAll(async () => {
  upstream = await startRegistryDouble();
  await addImage(upstream.repository('acme/app'), 'v1', 1, [100_000]);
  site = await workspace('images: [ghcr.io/acme/app:v1]\n');
  await run('fetch', ...site.store, ...upstreamFlags({ 'ghcr.io': upstream.url }));
  return () => upstream.close();
});

/** Runs a command as an account whose files nobody else may read. */
async function run(...args: readonly string[]): Promise<void> {
  const within = ['sh', '-c', 'umask 077; exec "$@"', 'sh'];
  const { code, stdout, stderr } = await cli(args, { within, cwd: site.root });
  expect(code, stdout + stderr).toBe(0);
}

/** Bits of a folder, and of what is in it. */
function modesOf(folder: string): Readonly<Record<string, string>> {
  const bits = (path: string): string => (statSync(path).mode & 0o777).toString(8);
  const files = readdirSync(folder).map((name) => [name, bits(join(folder, name))]);
  return Object.fromEntries([['.', bits(folder)], ...files]);
}

const files = [
  'README.txt',
  'SHA256SUMS',
  'bundle.json',
  'bundle.json.sig',
  'content.tar.000',
  'content.tar.001',
  'report.html',
];
const all = (file: string, folder: string): Readonly<Record<string, string>> => ({
  '.': folder,
  ...Object.fromEntries(files.map((name) => [name, file])),
});

test('C16 everyone can read them, and the folders that were made for them', async () => {
  const store = ['--store', site.at('store'), '--sign-key', site.at('site.key')];
  const out = site.at('new', 'folder');
  await run('bundle', ...store, '--out', out);
  expect(modesOf(out)).toMatchObject(all('644', '755'));
  expect(modesOf(site.at('new'))).toMatchObject({ '.': '755' });
  // The folder of a mount point is what its owner made it.
  mkdirSync(site.at('mounted'), { mode: 0o700 });
  await run('bundle', ...store, '--out', site.at('mounted'));
  expect(modesOf(site.at('mounted'))).toMatchObject(all('644', '700'));
});

test('C16 --private keeps them to the account that writes them; the same command without it opens them', async () => {
  const store = ['--store', site.at('store'), '--sign-key', site.at('site.key')];
  const out = site.at('private');
  await run('bundle', ...store, '--out', out, '--private');
  expect(modesOf(out)).toMatchObject(all('600', '700'));
  await run('bundle', ...store, '--out', out);
  expect(modesOf(out)).toMatchObject(all('644', '700'));
});

test('C16 a signature that comes later can be read as bundle.json can', async () => {
  for (const [name, flags, mode] of [
    ['later', [], '644'],
    ['later-private', ['--private'], '600'],
  ] as const) {
    const out = site.at(name);
    await run(
      'bundle',
      '--store',
      site.at('store'),
      '--volume-size',
      '2MiB',
      '--unsigned',
      '--out',
      out,
      ...flags,
    );
    await run('sign', '--bundle', out, '--sign-key', site.at('site.key'));
    expect(modesOf(out)).toMatchObject({ 'bundle.json': mode, 'bundle.json.sig': mode });
  }
});
