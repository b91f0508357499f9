/** Media that were damaged, exchanged or left behind: verify and load say what and where, and nothing gets a name. */
import {
  appendFileSync,
  closeSync,
  cpSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { type RegistryDouble, startRegistryDouble } from '../../packages/oci/src/testing/index.ts';
import { startSampleUpstream } from '../../scripts/sample-upstream/sample-upstream.ts';
import { temporaryFolder } from '../services/temporary.ts';
import { cli, cliJson, expectFailure } from '../support/cli.ts';
import { addImage } from '../support/double-image.ts';
import { listing } from '../support/files.ts';
import { upstreamFlags, type Workspace, workspace } from '../support/workspace.ts';

let site: Workspace;
let upstream: RegistryDouble;

beforeAll(async () => {
  upstream = await startRegistryDouble();
  await addImage(upstream.repository('acme/app'), 'v1', 1, [700_000, 400_000]);
  await addImage(upstream.repository('acme/tool'), 'v1', 2, [300_000, 1_000]);
  const sample = await startSampleUpstream({ dir: temporaryFolder('upstream'), sizeMiB: 1, buildMs: 1 });
  site = await workspace(`
images: [ghcr.io/acme/app:v1, ghcr.io/acme/tool:v1]
media:
  - {schematic: {customization: {}}, versions: [v1.13.9], files: [kernel-amd64, metal-amd64.iso]}
`);
  await cliJson(['fetch', ...site.store, ...upstreamFlags({ ...sample.urls, 'ghcr.io': upstream.url })]);
  await sample.stop();
  await cliJson(['bundle', ...site.bundle, '--volume-size', '1MiB']);
  await cliJson(['keygen', '--out', site.at('other')]);
});
afterAll(() => upstream?.close());

/** A copy of the good medium with something done to it. */
function spoilt(how: (medium: string) => void): string {
  const medium = join(temporaryFolder('medium'), 'media');
  cpSync(site.at('media'), medium, { recursive: true });
  how(medium);
  return medium;
}

function flip(path: string, at: number): void {
  const file = openSync(path, 'r+');
  const byte = Buffer.alloc(1);
  readSync(file, byte, 0, 1, at);
  byte[0] = (byte[0] ?? 0) ^ 0x20;
  writeSync(file, byte, 0, 1, at);
  closeSync(file);
}

const largest = (medium: string): string =>
  readdirSync(medium)
    .filter((name) => name.startsWith('content.tar.'))
    .sort((a, b) => statSync(join(medium, b)).size - statSync(join(medium, a)).size)[0] ?? '';
const key = () => ['--verify-key', site.at('site.pub')];

/** Loads into targets that are empty. @returns how it ended, after checking that no name and no object is there */
async function loadNowhere(medium: string, trust: readonly string[]) {
  const registry = await startRegistryDouble();
  onTestFinished(() => registry.close());
  const objects = join(temporaryFolder('objects'), 'objects');
  const receipt = join(temporaryFolder('receipt'), 'receipt.json');
  const ended = await cli([
    ...['load', '--bundle', medium, ...trust, '--registry', registry.host, '--plain-http', registry.host],
    ...['--object-store', pathToFileURL(objects).href, '--receipt', receipt],
  ]);
  return { ended, registry, objects, receipt };
}

describe.each<[title: string, how: (medium: string) => void, code: number, message: RegExp]>([
  [
    'a flipped byte in a blob',
    (m) => flip(join(m, largest(m)), 70_000),
    3,
    /content\.tar\.\d+.*\[BAD_VOLUME\]/,
  ],
  [
    'a flipped byte in a manifest',
    (m) => flip(join(m, 'content.tar.000'), readFileSync(join(m, 'content.tar.000')).indexOf('"layers"') + 3),
    3,
    /content\.tar\.000.*\[BAD_VOLUME\]/,
  ],
  [
    'a truncated volume',
    (m) => truncateSync(join(m, largest(m)), 50_000),
    3,
    /content\.tar\.\d+.*\[BAD_VOLUME\]/,
  ],
  [
    'a volume with something behind its end',
    (m) => appendFileSync(join(m, largest(m)), 'more'),
    3,
    /content\.tar\.\d+.*\[BAD_VOLUME\]/,
  ],
])('%s', (_title, how, code, message) => {
  test('is found by verify, which names volume and place', async () => {
    const ended = await cli(['verify', '--bundle', spoilt(how), ...key()]);
    expectFailure(ended, code, message);
    const asJson = await cli(['verify', '--bundle', spoilt(how), ...key(), '--json']);
    expect(asJson.code).toBe(code);
    // One document, also when it is a report of damage.
    expect(() => JSON.parse(asJson.stdout)).not.toThrow();
  });

  test('keeps load from naming anything that it touches', async () => {
    const { ended, registry, objects, receipt } = await loadNowhere(spoilt(how), key());
    expectFailure(ended, code, /content\.tar\.\d+|sha256:[a-f0-9]{64}/);
    expect(listing(receipt)).toEqual([]);
    const tags = ['acme/app', 'acme/tool'].flatMap((path) => [...registry.repository(path).tags]);
    expect(tags).toEqual([]);
    expect(listing(objects).filter((path) => /\.tmp$/.test(path))).toEqual([]);
  });
});

test.each<
  [
    title: string,
    how: (medium: string) => void,
    trust: () => readonly string[],
    code: number,
    message: RegExp,
  ]
>([
  [
    'a medium without bundle.json',
    (m) => rmSync(join(m, 'bundle.json')),
    key,
    2,
    /bundle\.json|no bundle.*\[NO_INPUT\]/,
  ],
  [
    'a bundle.json that was changed',
    (m) =>
      writeFileSync(
        join(m, 'bundle.json'),
        readFileSync(join(m, 'bundle.json'), 'utf8').replace('acme/app', 'acme/apq'),
      ),
    key,
    3,
    /\[BAD_SIGNATURE\]/,
  ],
  [
    'a bundle.json that is none',
    (m) => writeFileSync(join(m, 'bundle.json'), '{"kind":'),
    () => ['--allow-unsigned'],
    3,
    /bundle\.json.*\[BAD_DOCUMENT\]/,
  ],
  [
    'the key of somebody else',
    () => {},
    () => ['--verify-key', site.at('other.pub')],
    3,
    /\[BAD_SIGNATURE\]/,
  ],
  ['a signature that is gone', (m) => rmSync(join(m, 'bundle.json.sig')), key, 4, /\[UNSIGNED\]/],
  ['no key named', () => {}, () => [], 4, /--verify-key PUB, or --allow-unsigned.*\[UNSIGNED\]/],
])('%s', async (_title, how, trust, code, message) => {
  const medium = spoilt(how);
  const { ended, registry, objects, receipt } = await loadNowhere(medium, trust());
  expectFailure(ended, code, message);
  expect(
    registry.requests.filter((request) => request.method !== 'GET' && request.method !== 'HEAD'),
  ).toEqual([]);
  expect([...listing(objects), ...listing(receipt)]).toEqual([]);
  const served = await cli(['serve', '--bundle', medium, ...trust(), '--listen', '127.0.0.1:0'], {
    timeoutMs: 10_000,
  });
  expectFailure(served, code, message);
});

test('T44 a bundle older than --max-age is refused by load and by serve', async () => {
  const old = join(temporaryFolder('old'), 'media');
  const made = ['bundle', '--store', site.at('store'), '--out', old, '--volume-size', '2MiB'];
  const env = { SOURCE_DATE_EPOCH: '1600000000' };
  expect((await cli([...made, '--sign-key', site.at('site.key')], { env })).code).toBe(0);
  const limit = [...key(), '--max-age', '30'];
  const { ended, registry } = await loadNowhere(old, limit);
  expectFailure(ended, 4, /made at 2020-09-13.*--max-age allows 30.*\[EXPIRED\]/);
  expect(registry.requests).toEqual([]);
  const served = await cli(['serve', '--bundle', old, ...limit, '--listen', '127.0.0.1:0']);
  expectFailure(served, 4, /\[EXPIRED\]/);
});

test('a report that was rewritten on the way is found by verify, at once too', async () => {
  const medium = spoilt((m) => appendFileSync(join(m, 'report.html'), '<p>Approved</p>'));
  for (const how of [[], ['--quick']]) {
    const ended = await cli(['verify', '--bundle', medium, ...key(), ...how]);
    expectFailure(ended, 3, /report\.html is not what bundle\.json says.*\[DIGEST_MISMATCH\]/);
    expect(ended.stdout).toContain('do not rely on it');
  }
});

test('verify says of a volume that was cut off what a person can read, and in --json each place', async () => {
  const medium = spoilt((m) => truncateSync(join(m, 'content.tar.000'), 1000));
  const ended = await cli(['verify', '--bundle', medium, ...key()]);
  expectFailure(
    ended,
    3,
    /^omni-airgap: content\.tar\.000: damaged.*; 0 of \d+ names.*copy the volume again/,
  );
  const looked = await cli(['inspect', '--bundle', medium]);
  expectFailure(looked, 3, /content\.tar\.000: 1000 bytes instead of \d+; copy it again \[BAD_VOLUME\]/);
  const lines = ended.stdout.trim().split('\n');
  expect(lines[0]).toMatch(/^Damaged: content\.tar\.000 at byte 1000: cut off: 1000 bytes instead of \d+$/);
  expect(lines).toContain('Not usable: any of it');
  expect(lines.length).toBeLessThan(12);
  const said = JSON.parse((await cli(['verify', '--bundle', medium, ...key(), '--json'])).stdout);
  expect(said.damages.length).toBeGreaterThan(12);
});

test('of one medium of several bundle says what is on it, and how the others are written', async () => {
  const out = join(temporaryFolder('disc'), 'disc');
  const make = ['bundle', '--store', site.at('store'), '--unsigned', '--volume-size', '1MiB'];
  const { stdout } = await cli([...make, '--out', out, '--volumes', '2']);
  expect(stdout).toMatch(/^Wrote 2 of 3 volumes, /);
  expect(stdout).toMatch(/^On it: 0,2; not on it: 1\.$/m);
  const [, next = ''] =
    /^Next: omni-airgap (bundle --issued [a-f0-9]{12}) --volumes RANGE --out OTHER$/m.exec(stdout) ?? [];
  const rest = ['--store', site.at('store'), '--volumes', '1', '--out', `${out}-2`];
  expect((await cli([...next.split(' '), ...rest])).stdout).toMatch(/^On it: 0-1; not on it: 2\.$/m);
  for (const line of stdout.split('\n')) expect(line.length, line).toBeLessThanOrEqual(100);
});

test('a flipped byte in a tar header is found by verify', async () => {
  const medium = spoilt((m) => flip(join(m, largest(m)), 3));
  expectFailure(await cli(['verify', '--bundle', medium, ...key()]), 3, /content\.tar\.\d+.*\[BAD_VOLUME\]/);
});

test('a volume that was left behind is asked for; what was given is loaded, and named when it has come', async () => {
  const rest = temporaryFolder('rest');
  const medium = spoilt((m) => {
    const name = largest(m);
    for (const file of ['bundle.json', 'bundle.json.sig', name]) cpSync(join(m, file), join(rest, file));
    rmSync(join(m, name));
  });
  const { ended, registry, objects, receipt } = await loadNowhere(medium, key());
  expectFailure(ended, 5, /\d of \d+ volumes (?:is|are) missing: [\d, -]+; mount .*\[INCOMPLETE\]/);
  expect(['acme/app', 'acme/tool'].flatMap((path) => [...registry.repository(path).tags])).toEqual([]);
  expect(listing(objects)).not.toContain('versions');
  expect(listing(receipt)).toEqual([]);
  const target = ['--registry', registry.host, '--plain-http', registry.host];
  await cliJson(['load', '--bundle', medium, '--bundle', rest, ...key(), ...target]);
  expect([...registry.repository('acme/app').tags.keys()]).toEqual(['v1']);
});

test('a store with a rotten blob is named, and is not bundled', async () => {
  const store = join(temporaryFolder('store'), 'store');
  cpSync(site.at('store'), store, { recursive: true });
  const blob = listing(store)
    .filter((path) => /^blobs\/sha256\/./.test(path))
    .find((path) => statSync(join(store, path)).size === 400_000);
  flip(join(store, blob ?? ''), 1000);
  expectFailure(
    await cli(['verify', '--store', store]),
    3,
    /blobs\/sha256\/[a-f0-9]{64}.*\[DIGEST_MISMATCH\]/,
  );
  const out = join(temporaryFolder('out'), 'media');
  expectFailure(
    await cli(['bundle', '--store', store, '--out', out, '--unsigned']),
    3,
    /blobs\/sha256\/[a-f0-9]{64}.*run fetch again \[DIGEST_MISMATCH\]/,
  );
  expect(listing(out)).not.toContain('bundle.json');
});

test('a tag that stands for something else is a conflict: nothing is changed until that is allowed', async () => {
  const registry = await startRegistryDouble();
  onTestFinished(() => registry.close());
  const before = await addImage(registry.repository('acme/app'), 'v1', 9, [1000]);
  const load = ['load', ...site.media, '--registry', registry.host, '--plain-http', registry.host];
  expectFailure(await cli(load), 4, /acme\/app:v1.*--overwrite-tags.*\[CONFLICT\]/);
  expect(registry.repository('acme/app').tags.get('v1')).toBe(before.manifest.digest);
  expect(registry.repository('acme/tool').tags.size).toBe(0);
  await cliJson([...load, '--overwrite-tags']);
  expect(registry.repository('acme/app').tags.get('v1')).not.toBe(before.manifest.digest);
});

test.each<[title: string, flags: () => readonly string[], code: number, message: RegExp]>([
  ['an empty value', () => ['--issued', ''], 2, /--issued: its value is empty.*\[USAGE\]/],
  [
    'a folder as key',
    () => ['--sign-key', site.root],
    2,
    /--sign-key .*is a folder; specify a file \[CONFIG\]/,
  ],
  ['a public key as private', () => ['--sign-key', site.at('site.pub')], 2, /keygen \[CONFIG\]/],
  ['no decision about a signature', () => [], 2, /--sign-key KEY or --unsigned.*keygen.*\[USAGE\]/],
  [
    'two decisions',
    () => ['--sign-key', site.at('site.key'), '--unsigned'],
    2,
    /either --sign-key KEY or --unsigned \[USAGE\]/,
  ],
  [
    'a base that is none',
    () => ['--unsigned', '--since', site.at('mirror.yaml')],
    3,
    /neither a bundle\.json nor a receipt/,
  ],
  [
    'an id that is too short',
    () => ['--unsigned', '--since', 'abc'],
    2,
    /8 characters of it at least\) \[NO_INPUT\]/,
  ],
])('%s is refused by bundle in words that help', async (_title, flags, code, message) => {
  const out = join(temporaryFolder('out'), 'media');
  const ended = await cli(['bundle', '--store', site.at('store'), '--out', out, ...flags()]);
  expectFailure(ended, code, message);
  expect(listing(out)).not.toContain('bundle.json');
});

test('keygen with an empty passphrase is refused; a wrong one is told from none', async () => {
  const env = (passphrase: string) => ({ env: { OMNI_AIRGAP_KEY_PASSPHRASE: passphrase } });
  const name = join(temporaryFolder('key'), 'locked');
  expectFailure(await cli(['keygen', '--out', name], env('')), 2, /OMNI_AIRGAP_KEY_PASSPHRASE is empty/);
  expect((await cli(['keygen', '--out', name], env('right'))).code).toBe(0);
  const bundle = [
    'bundle',
    '--store',
    site.at('store'),
    '--out',
    `${name}-media`,
    '--sign-key',
    `${name}.key`,
  ];
  expectFailure(await cli(bundle), 2, /has a passphrase; give it in OMNI_AIRGAP_KEY_PASSPHRASE \[CONFIG\]/);
  expectFailure(await cli(bundle, env('wrong')), 2, /does not open it \[CONFIG\]/);
});

test('another bundle in the folder is not written over', async () => {
  const medium = spoilt(() => {});
  const refused = await cli([
    'bundle',
    '--store',
    site.at('store'),
    '--out',
    medium,
    '--unsigned',
    '--volume-size',
    '2MiB',
  ]);
  expectFailure(refused, 4, /holds another bundle.*\[CONFLICT\]/);
  await cliJson(['verify', '--bundle', medium, ...key()]);
});
