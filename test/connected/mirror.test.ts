/** mirror: fetch and bundle with one copy on disk. What has left the store is known, and is never fetched twice. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, expect, onTestFinished, test } from 'vitest';
import { type RegistryDouble, startRegistryDouble } from '../../packages/oci/src/testing/index.ts';
import { startSampleUpstream } from '../../scripts/sample-upstream/sample-upstream.ts';
import { temporaryFolder } from '../services/temporary.ts';
import { cli, cliJson, expectFailure, startCli } from '../support/cli.ts';
import { addImage } from '../support/double-image.ts';
import { upstreamFlags, type Workspace, workspace } from '../support/workspace.ts';

let upstream: RegistryDouble;
let site: Workspace;
let network: readonly string[];
/** Requests that a test has looked at. */
let seen = 0;

beforeEach(async () => {
  seen = 0;
  upstream = await startRegistryDouble();
  onTestFinished(() => upstream.close());
  await addImage(upstream.repository('acme/app'), 'v1', 1, [2_700_000, 400_000]);
  await addImage(upstream.repository('acme/tool'), 'v1', 2, [300_000, 1_000]);
  site = await workspace('images: [ghcr.io/acme/app:v1, ghcr.io/acme/tool:v1]\n');
  network = upstreamFlags({ 'ghcr.io': upstream.url });
});

const mirror = (out: string, ...more: readonly string[]): readonly string[] => [
  ...['mirror', ...site.store, '--out', site.at(out), '--volume-size', '1MiB'],
  ...['--sign-key', site.at('site.key'), ...network, ...more],
];

/** Bytes of content in the store. */
function kept(): number {
  const blobs = join(site.at('store'), 'blobs', 'sha256');
  return readdirSync(blobs).reduce((sum, name) => sum + readFileSync(join(blobs, name)).byteLength, 0);
}

/** What the upstream was asked for since the last call: digests of blobs. */
function blobsAsked(): readonly string[] {
  const paths = upstream.requests.slice(seen).map(({ method, path }) => `${method} ${path}`);
  seen = upstream.requests.length;
  return paths.filter((line) => /^GET .*\/blobs\//.test(line));
}

const volumes = (out: string): string[] =>
  readdirSync(site.at(out)).filter((name) => name.startsWith('content.tar.'));

test('one copy on disk; mirror, fetch and plan with nothing new bring nothing again', async () => {
  await cliJson(mirror('media'));
  expect(kept()).toBeLessThan(200_000);
  expect(blobsAsked()).not.toEqual([]);
  const again = await cli(mirror('media'));
  expect(again.stdout).toContain('Nothing to do');
  const fetched = await cli(['fetch', ...site.store, ...network]);
  expect(fetched.stdout).toContain('Nothing to do');
  const planned = await cliJson<{ bytesToFetch: number }>(['plan', ...site.store, ...network]);
  expect(planned.bytesToFetch).toBe(0);
  expect(blobsAsked()).toEqual([]);
  const verified = await cli(['verify', '--store', site.at('store')]);
  expect(verified.stdout).toMatch(/Left the store: .* now in bundle [a-f0-9]{64}\.\nComplete and undamaged/);
});

test('what is new is fetched alone, and carried on the bundle that has the rest', async () => {
  const { id } = await cliJson<{ id: string }>(mirror('media'));
  const fresh = await addImage(upstream.repository('acme/app'), 'v2', 3, [500_000]);
  site.write(
    'mirror.yaml',
    'apiVersion: omni-airgap/v1\nimages: [ghcr.io/acme/app:v1, ghcr.io/acme/app:v2]\n',
  );
  blobsAsked();
  // A full bundle cannot be: it says what can.
  expectFailure(
    await cli(mirror('second')),
    2,
    /have left .* with bundle .*--since.*fetch --restore.*\[USAGE\]/,
  );
  const asked = blobsAsked();
  expect(asked.some((line) => line.includes(fresh.layers[0]?.digest ?? ''))).toBe(true);
  expect(asked.length).toBeLessThan(3);
  const second = await cliJson<{ bases: string[]; consumedBytes: number }>(mirror('second', '--since', id));
  expect(second).toMatchObject({ bases: [id], consumedBytes: 500_000 });
  expect(blobsAsked()).toEqual([]);
  await cliJson(['verify', '--bundle', site.at('second'), '--verify-key', site.at('site.pub')]);
});

test('--withdraw: a typo is refused before the fetch, and names that are gone are withdrawn', async () => {
  const { id } = await cliJson<{ id: string }>(mirror('media'));
  site.write('mirror.yaml', 'apiVersion: omni-airgap/v1\nimages: [ghcr.io/acme/app:v1]\n');
  seen = upstream.requests.length;
  const typo = await cli(mirror('second', '--since', id, '--withdraw', '*/tol:v1'));
  expectFailure(typo, 2, /--withdraw \*\/tol:v1: matches no name/);
  expect(upstream.requests.length).toBe(seen);
  const second = mirror('second', '--since', id, '--withdraw', '*/tool:v1');
  const { stdout } = await cli(second);
  expect(stdout).toContain('Withdraws ghcr.io/acme/tool:v1: serve and prune');
  expect(stdout).toContain('update the program inside first');
  expect(await cliJson(second)).toMatchObject({ written: false, withdraws: ['ghcr.io/acme/tool:v1'] });
});

test('fetch --restore brings everything back, and a full bundle is as the first was', async () => {
  await cliJson(mirror('media'));
  blobsAsked();
  await cliJson(['fetch', ...site.store, ...network, '--restore']);
  expect(blobsAsked().length).toBeGreaterThan(2);
  await cliJson([
    'bundle',
    '--store',
    site.at('store'),
    '--out',
    site.at('again'),
    '--volume-size',
    '1MiB',
    '--unsigned',
  ]);
  for (const name of volumes('media')) {
    const [one, other] = ['media', 'again'].map((out) => readFileSync(site.at(out, name)));
    expect(one?.equals(other ?? Buffer.alloc(0)), name).toBe(true);
  }
});

test('killed while content leaves, it finishes what it began, whatever mirror.yaml says by then', async () => {
  const running = startCli(mirror('media'));
  await running.until(() => {
    try {
      return volumes('media').includes('content.tar.002') && kept() < 3_000_000;
    } catch {
      return false;
    }
  });
  running.kill('SIGKILL');
  await running.ended;
  const isFinished = readdirSync(site.at('media')).includes('bundle.json');
  blobsAsked();
  site.write('mirror.yaml', 'apiVersion: omni-airgap/v1\nimages: [ghcr.io/acme/tool:v1]\n');
  if (!isFinished) await cliJson(mirror('media'));
  expect(blobsAsked()).toEqual([]);
  await cliJson(['verify', '--bundle', site.at('media'), '--verify-key', site.at('site.pub')]);
});

test('media, installers, catalogs and lists of the Image Factory too', { timeout: 120_000 }, async () => {
  const sample = await startSampleUpstream({ dir: temporaryFolder('upstream'), sizeMiB: 1, buildMs: 1 });
  onTestFinished(() => sample.stop());
  network = upstreamFlags(sample.urls);
  site.write(
    'mirror.yaml',
    `apiVersion: omni-airgap/v1
talos:
  versions: [v1.13.9]
  imageFactory: {version: v1.5.0, extensions: [siderolabs/iscsi-tools], overlays: all}
media:
  - schematic: {customization: {}}
    files: [kernel-amd64, metal-amd64.iso]
    installers: [metal]
`,
  );
  await cliJson(mirror('media'));
  const egress = join(site.at('store'), 'egress.jsonl');
  const before = readFileSync(egress, 'utf8').length;
  const again = await cli(['fetch', ...site.store, ...network]);
  expect(again.stdout).toContain('Nothing to do');
  const lines = readFileSync(egress, 'utf8').slice(before).trim().split('\n');
  const bodies = lines.map((line) => JSON.parse(line) as { method: string; path: string; bytes: number });
  const files = bodies.filter(({ path, method }) => method === 'GET' && path.startsWith('/image/'));
  expect(files).toEqual([]);
  // A catalog's layer is read again for what it names, and not stored.
  expect(Math.max(...bodies.map(({ bytes }) => bytes ?? 0))).toBeLessThan(200_000);
});
