/**
 * bundle --with-program: the executables of a release on the medium, signed by way of bundle.json, and found changed by
 * verify, by load, and by the commands of README.txt.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  appendFileSync,
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { bundle } from '../../packages/bundler/src/index.ts';
import {
  sampleStore,
  optionsFor as smallOptions,
  TestStore,
  temporaryFolder,
} from '../../packages/bundler/test/store.ts';
import { BundleStore, parseBundleDocument, verifyBundle } from '../../packages/format/src/index.ts';
import { openBundles } from '../../packages/loader/src/source.ts';

const amd64 = 'omni-airgap-linux-amd64';
const arm64 = 'omni-airgap-linux-arm64';
const size = 300_000;

/** A folder as ./scripts/release makes it, with other bytes. */
function release(folder: string, word = 'one'): string {
  mkdirSync(folder);
  const lines = [amd64, arm64, 'omni-airgap.mjs', 'LICENSES.txt', 'RELEASE.txt'].map((name) => {
    const bytes = Buffer.alloc(name.includes('linux') ? size : 100, `${name} ${word}`);
    writeFileSync(join(folder, name), bytes);
    return `${createHash('sha256').update(bytes).digest('hex')}  ${name}\n`;
  });
  writeFileSync(join(folder, 'SHA256SUMS'), lines.join(''));
  return folder;
}

interface Made {
  readonly store: TestStore;
  readonly out: string;
  readonly dist: string;
  at(name: string): string;
}

async function made(): Promise<Made> {
  const folder = await temporaryFolder();
  const at = (name: string): string => join(folder, name);
  const store = await sampleStore(at('store'));
  return { store, out: at('out'), dist: release(at('dist')), at };
}

const optionsFor: typeof smallOptions = (store, out, more) =>
  smallOptions(store, out, { volumeSize: 2 * 1024 * 1024, ...more });
const documentOf = (medium: string) => parseBundleDocument(readFileSync(join(medium, 'bundle.json')));
const sh = (line: string, cwd: string): string =>
  execFileSync('sh', ['-ec', line], { cwd, stdio: 'pipe', encoding: 'utf8' });
const oracle = join(import.meta.dirname, '../support/bundle-oracle.py');
const checkOf = async (medium: string) =>
  (await verifyBundle(await BundleStore.open([medium], { mode: 'any' }, { volumes: 'present' }))).fileDamages;

test('the executables are on the medium, hashed in bundle.json; the same command has nothing to do', async () => {
  const { store, out, dist } = await made();
  const first = await bundle(optionsFor(store, out, { withProgram: dist }));
  const names = documentOf(out).files.map(({ name }) => name);
  expect(names).toEqual([
    'README.txt',
    'report.html',
    'bom.cdx.json',
    'LICENSES.txt',
    'RELEASE.txt',
    amd64,
    arm64,
  ]);
  for (const name of [amd64, arm64]) {
    expect(readFileSync(join(out, name))).toEqual(readFileSync(join(dist, name)));
    expect(statSync(join(out, name)).mode & 0o777).toBe(0o755);
    expect(readFileSync(join(out, 'SHA256SUMS'), 'latin1')).toContain(`  ${name}\n`);
    expect(readFileSync(join(out, 'report.html'), 'utf8')).toContain(name);
  }
  sh('sha256sum --check --strict --quiet SHA256SUMS', out);
  execFileSync('python3', [oracle, 'check', out]);
  expect(await checkOf(out)).toEqual([]);
  const before = statSync(join(out, amd64)).mtimeMs;
  expect(await bundle(optionsFor(store, out, { withProgram: dist }))).toMatchObject({
    id: first.id,
    written: false,
  });
  expect(statSync(join(out, amd64)).mtimeMs).toBe(before);
  // Without the flag it is another bundle.
  const plain = await bundle(optionsFor(store, `${out}-plain`));
  expect(plain.sequence).toBe(first.sequence + 1);
  expect(existsSync(join(`${out}-plain`, amd64))).toBe(false);
});

test('of a site with one platform, that executable alone', async () => {
  const { at, dist } = await made();
  const store = await TestStore.create(at('other'));
  await store.sparseImage('ghcr.io/acme/app:v1', 1, ['linux/amd64']);
  await bundle(optionsFor(store, at('one'), { withProgram: dist }));
  expect([amd64, arm64].map((name) => existsSync(join(at('one'), name)))).toEqual([true, false]);
});

test('README.txt: the executable is checked against bundle.json, then copied', async () => {
  const { store, out, dist, at } = await made();
  await bundle(optionsFor(store, out, { withProgram: dist }));
  const lines = readFileSync(join(out, 'README.txt'), 'latin1')
    .replaceAll('\r\n', '\n')
    .replaceAll(/\\\n +/g, '')
    .split('\n');
  const text = readFileSync(join(out, 'README.txt'), 'latin1').split('\r\n');
  expect(text.filter((line) => line.length > 79)).toEqual([]);
  const starting = (begin: string): string =>
    lines.map((line) => line.trim()).find((line) => line.startsWith(begin)) ?? expect.fail(begin);
  expect(sh(starting('sed '), out)).toBe(`${amd64}: OK\n${arm64}: OK\n`);
  sh(`HOME=${at('.')}; ${starting('install ')}`, out);
  expect(statSync(at('omni-airgap')).mode & 0o777).toBe(0o755);
  appendFileSync(join(out, amd64), 'x');
  expect(() => sh(starting('sed '), out)).toThrow(/did NOT match/);
});

test('a changed executable is found by verify, and load moves nothing', async () => {
  const { store, out, dist } = await made();
  await bundle(optionsFor(store, out, { withProgram: dist }));
  await openBundles([out], { mode: 'any' }, undefined);
  chmodSync(join(out, arm64), 0o644);
  writeFileSync(join(out, arm64), Buffer.alloc(size, 'x'));
  expect(await checkOf(out)).toEqual([{ path: join(out, arm64), what: 'is not what bundle.json says' }]);
  await expect(openBundles([out], { mode: 'any' }, undefined)).rejects.toMatchObject({
    code: 'DIGEST_MISMATCH',
    message: `${join(out, arm64)} is not what bundle.json says: do not run it; copy it again or remove it, then run load again`,
  });
  expect(() => execFileSync('python3', [oracle, 'check', out], { stdio: 'pipe' })).toThrow(/SHA256SUMS/);
  rmSync(join(out, arm64));
  await openBundles([out], { mode: 'any' }, undefined);
});

test('volume 001 leaves room for it; of several media, one has it', async () => {
  const { store, out, dist, at } = await made();
  const volumeSize = 700 * 1024;
  const options = { withProgram: dist, volumeSize, volumes: '0-1' };
  const { id, volumes } = await bundle(optionsFor(store, out, options));
  const [zero, one] = volumes.map((volume) => volume.size);
  expect(volumes.length).toBeGreaterThan(2);
  expect(one).toBeLessThanOrEqual(volumeSize - 2 * size);
  expect(zero).toBeLessThan(volumeSize);
  const issued = { issued: id, volumes: `2-${volumes.length - 1}` };
  await bundle(optionsFor(store, at('second'), issued));
  expect(existsSync(join(at('second'), amd64))).toBe(false);
  expect(readFileSync(join(at('second'), 'SHA256SUMS'), 'latin1')).not.toContain(amd64);
  execFileSync('python3', [oracle, 'check', out, at('second')]);
  await bundle(optionsFor(store, at('third'), { ...issued, withProgram: dist }));
  expect(readFileSync(join(at('third'), arm64))).toEqual(readFileSync(join(dist, arm64)));
  // The same release and content make the same bytes.
  const again = await bundle(optionsFor(store, at('again'), { withProgram: dist, volumeSize }));
  expect(again.id).toBe(id);
  const tooSmall = bundle(optionsFor(store, at('none'), { withProgram: dist, volumeSize: 2 * size + 1024 }));
  await expect(tooSmall).rejects.toMatchObject({
    code: 'USAGE',
    message: expect.stringContaining('no room'),
  });
});

test.each<[title: string, spoil: (made: Made) => void, code: string, message: RegExp]>([
  [
    'no release',
    ({ dist }) => rmSync(join(dist, 'SHA256SUMS')),
    'NO_INPUT',
    /no release here.*scripts\/release/,
  ],
  ['an executable missing', ({ dist }) => rmSync(join(dist, arm64)), 'NO_INPUT', /linux-arm64 is missing/],
  [
    'licenses missing',
    ({ dist }) => rmSync(join(dist, 'LICENSES.txt')),
    'NO_INPUT',
    /LICENSES\.txt is missing/,
  ],
  [
    'a changed executable',
    ({ dist }) => appendFileSync(join(dist, arm64), 'x'),
    'DIGEST_MISMATCH',
    /is not what the SHA256SUMS/,
  ],
  [
    'a file of the same name on the medium',
    ({ out }) => {
      mkdirSync(out);
      writeFileSync(join(out, amd64), 'of someone else');
    },
    'CONFLICT',
    /already exists and is another file/,
  ],
])('%s is refused before anything is written', async (_title, spoil, code, message) => {
  const site = await made();
  spoil(site);
  const making = bundle(optionsFor(site.store, site.out, { withProgram: site.dist }));
  await expect(making).rejects.toMatchObject({ code, message: expect.stringMatching(message) });
  expect(existsSync(join(site.out, 'content.tar.000'))).toBe(false);
});

test('media of an issued bundle take the release that it was issued with, and no other', async () => {
  const { store, out, dist, at } = await made();
  const { id } = await bundle(optionsFor(store, out));
  const issued = { issued: id, withProgram: dist };
  await expect(bundle(optionsFor(store, at('late'), issued))).rejects.toMatchObject({ code: 'USAGE' });
  const { id: withIt } = await bundle(optionsFor(store, at('with'), { withProgram: dist }));
  const other = { issued: withIt, withProgram: release(at('dist2'), 'two') };
  await expect(bundle(optionsFor(store, at('other'), other))).rejects.toMatchObject({ code: 'CONFLICT' });
});
