/** fetch, plan, gc and egress as commands, against the sample upstream: flags, exit codes, what is printed. */
import { generateKeyPairSync } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type SampleUpstream, startSampleUpstream } from '../../scripts/sample-upstream/sample-upstream.ts';
import { remove, temporaryFolder } from '../services/temporary.ts';
import { cli, cliJson } from '../support/cli.ts';
import { listing } from '../support/files.ts';
import { upstreamFlags, type Workspace, workspace } from '../support/workspace.ts';

const mirror = `talos:
  versions: [v1.13.9]
  imageFactory: {version: v1.5.0, extensions: [siderolabs/iscsi-tools], overlays: all}
media:
  - schematic: {customization: {extraKernelArgs: [console=ttyS0]}}
    files: [metal-amd64.iso, kernel-amd64]
    installers: [metal]
images: [ghcr.io/dexidp/dex:v2.41.1]
`;
let folder: string;
let upstream: SampleUpstream;
let site: Workspace;
let flags: readonly string[];

beforeAll(async () => {
  folder = temporaryFolder('sample');
  upstream = await startSampleUpstream({ dir: folder, sizeMiB: 8, buildMs: 20 });
  site = await workspace(mirror);
  site.write('cosign.pub', upstream.publisherKey);
  flags = [...site.store, ...upstreamFlags(upstream.urls)];
});
afterAll(async () => {
  await upstream?.stop();
  if (folder !== undefined) remove(folder);
});

test('fetch --dry-run says what plan says and leaves nothing behind', async () => {
  const dry = await cliJson(['fetch', '--dry-run', ...flags]);
  const { freeBytes: _, ...planned } = await cliJson<{ freeBytes: number }>(['plan', ...flags]);
  expect(dry).toMatchObject(planned);
  expect(existsSync(site.at('store'))).toBe(false);
});

test.each([{ verb: ['plan'] }, { verb: ['fetch', '--dry-run'] }])(
  'P5 $verb exits as fetch would, problems counted and last',
  async ({ verb }) => {
    const other = await workspace('images: [ghcr.io/dexidp/dex:v2.41.1, ghcr.io/dexidp/dex:v9]\n');
    const args = [...verb, ...other.store, ...upstreamFlags(upstream.urls)];
    const { code, stdout, stderr } = await cli(args);
    expect(code).toBe(5);
    expect(stderr).toMatch(/ghcr\.io\/dexidp\/dex:v9: does not exist upstream; .* \[NOT_FOUND\]\n$/);
    expect(stdout).toMatch(/By kind: 2 images [\d.]+ [KM]iB \(without 1 that failed\)/);
    expect(stdout).toContain('The sums leave out 1 item with a problem, listed below.');
    expect(stdout).toMatch(
      /\nProblems: 1 of \d+ items cannot be fetched:\n {2}ghcr\.io\/dexidp\/dex:v9: does not exist upstream; .* \[NOT_FOUND\]\n$/,
    );
    const json = await cli([...args, '--json']);
    expect(json.code).toBe(5);
    expect(JSON.parse(json.stdout)).toMatchObject({
      problems: [{ name: 'ghcr.io/dexidp/dex:v9', code: 'NOT_FOUND', message: expect.any(String) }],
    });
    expect((await cli(['fetch', ...other.store, ...upstreamFlags(upstream.urls)])).code).toBe(5);
  },
);

test('plan --build knows every size', async () => {
  expect(await cliJson(['plan', '--build', ...flags])).toMatchObject({ unknown: 0 });
});

test('fetch checks signatures, says so, and a second run has nothing to do', async () => {
  const key = ['--verify-images-key', `ghcr.io/siderolabs/=${site.at('cosign.pub')}`];
  const { code, stdout, stderr } = await cli(['fetch', ...flags, ...key]);
  expect(code, stderr).toBe(0);
  expect(stdout).toMatch(/^(\d+) of \1 items in \S+: \1 new \(\S+ MiB in \d+ s\), 0 were there\.$/m);
  expect(stdout).toContain('Checked the signature of 9 images.');
  const again = await cli(['fetch', ...flags]);
  expect(again.stdout).toMatch(/^Nothing to do: all \d+ items/);
  const lock = JSON.parse(readFileSync(site.at('store/lock.json'), 'utf8')) as {
    items: { name: string; verified?: object }[];
  };
  expect(lock.items.find((item) => item.name.includes('iscsi-tools:v'))?.verified).toBeDefined();
});

test('outdated prints a table and ends well; a list that cannot be read is named, with exit 5', async () => {
  const compared = await cli(['outdated', ...flags]);
  expect(compared).toMatchObject({ code: 0 });
  expect(compared.stdout).toMatch(
    /^NAME +MIRROR\.YAML +LOCKED +WITHIN +BEYOND\nTalos +v1\.13\.9 +v1\.13\.9 +- +-\n/,
  );
  expect(compared.stdout).toMatch(/\nNothing is newer upstream\.\n$/);
  const urls = { ...upstream.urls, 'ghcr.io': upstream.urls['registry.k8s.io'] ?? '' };
  const partly = await cli(['outdated', ...site.store, ...upstreamFlags(urls)]);
  expect(partly.code).toBe(5);
  expect(partly.stdout).toMatch(/\nTalos +v1\.13\.9 +v1\.13\.9 +- +-\n/);
  expect(partly.stdout).toMatch(/\nghcr\.io\/dexidp\/dex +v2\.41\.1 +v2\.41\.1 +\? +\?\n/);
  expect(partly.stderr).toMatch(/Image Factory: .*\(and 1 more\) \[INCOMPLETE\]\n$/);
});

test('mirror takes the key too, and writes no bundle of what it does not fit', async () => {
  const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  site.write('other.pub', publicKey.export({ type: 'spki', format: 'pem' }).toString());
  const key = ['--verify-images-key', `ghcr.io/dexidp/=${site.at('other.pub')}`];
  const { code, stderr } = await cli(['mirror', ...flags, ...key, '--out', site.at('media'), '--unsigned']);
  expect(code).toBe(3);
  expect(stderr).toMatch(/ghcr\.io\/dexidp\/dex:v2\.41\.1: .*by another key/);
  expect(existsSync(site.at('media/bundle.json'))).toBe(false);
});

test('egress log sums up what was contacted', async () => {
  const { hosts } = await cliJson<{ hosts: { host: string; refused: number }[] }>([
    'egress',
    'log',
    '--store',
    site.at('store'),
  ]);
  expect(hosts.map((host) => host.host)).toEqual(
    Object.keys(upstream.urls)
      .filter((host) => host !== 'registry.k8s.io')
      .sort(),
  );
  expect(hosts.every((host) => host.refused === 0)).toBe(true);
});

test('fetch --repin takes names that lock.json pins, and says which there are', async () => {
  const slip = await cli(['fetch', ...flags, '--repin', 'metal-amd64.iso']);
  expect(slip.code).toBe(2);
  const pin =
    /did you mean (factory\.talos\.dev\/talos-media\/[a-f0-9]{64}:v1\.13\.9\/metal-amd64\.iso)\?/.exec(
      slip.stderr,
    )?.[1];
  expect(pin).toBeDefined();
  const dry = await cli(['fetch', ...flags, '--repin', pin ?? '', '--dry-run']);
  expect(dry.code).toBe(2);
  expect(dry.stderr).toContain('[USAGE]');
  const again = await cli(['fetch', ...flags, '--repin', pin ?? '']);
  expect(again.code, again.stderr).toBe(0);
});

test('gc --dry-run counts what gc removes', async () => {
  site.write('mirror.yaml', `apiVersion: omni-airgap/v1\nimages: [ghcr.io/dexidp/dex:v2.41.1]\n`);
  await cliJson(['fetch', ...flags]);
  const before = listing(site.at('store/blobs/sha256'));
  const said = await cliJson<{ blobs: number }>(['gc', '--dry-run', '--store', site.at('store')]);
  expect(listing(site.at('store/blobs/sha256'))).toEqual(before);
  expect(await cliJson(['gc', '--store', site.at('store')])).toEqual(said);
  expect(listing(site.at('store/blobs/sha256'))).toHaveLength(before.length - said.blobs);
  await cliJson(['verify', '--store', site.at('store')]);
});

test('wrong flags end with 2, a refusal with 4', async () => {
  expect((await cli(['egress', 'rules', '--for', 'nodes', '--format', 'nftables'])).code).toBe(2);
  expect((await cli(['egress', 'rules', '--wireguard-port', '70000'])).code).toBe(2);
  expect((await cli(['egress', 'log', '--file', site.at('none.jsonl')])).code).toBe(2);
  site.write(
    'mirror.yaml',
    'apiVersion: omni-airgap/v1\nmedia: [{schematic: {customization: {extraKernelArgs: ["a=?jointoken=canary-token"]}}, versions: [v1.13.9], files: [kernel-amd64]}]\n',
  );
  const { code, stdout, stderr } = await cli(['fetch', ...flags]);
  expect(code).toBe(4);
  expect(stdout + stderr).not.toContain('canary-token');
});
