/** load --store: straight from a store, without a bundle; its receipt serves the increments that follow. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { beforeEach, expect, onTestFinished, test } from 'vitest';
import { type RegistryDouble, startRegistryDouble } from '../../packages/oci/src/testing/index.ts';
import { cli, cliJson, expectFailure, runHere, startCli } from '../support/cli.ts';
import { addImage } from '../support/double-image.ts';
import { type Workspace, workspace } from '../support/workspace.ts';

let upstream: RegistryDouble;
let inside: RegistryDouble;
let site: Workspace;

beforeEach(async () => {
  [upstream, inside] = await Promise.all([startRegistryDouble(), startRegistryDouble()]);
  await addImage(upstream.repository('acme/app'), 'v1', 1, [100_000, 1000]);
  await addImage(upstream.repository('acme/tool'), 'v1', 2, [90_000]);
  site = await workspace('images: [ghcr.io/acme/app:v1]\n');
  await fetchImages();
  onTestFinished(async () => void (await Promise.all([upstream.close(), inside.close()])));
});

const fetchImages = () => cliJson(['fetch', ...site.store, '--upstream', `ghcr.io=${upstream.url}`]);

const load = (...flags: readonly string[]): readonly string[] => [
  ...['load', ...flags, '--registry', inside.host, '--plain-http', inside.host],
  ...['--state', site.at('state'), '--handoff', site.at('handoff'), '--receipt', site.at('receipt.json')],
];
const fromStore = (...flags: readonly string[]) =>
  load('--store', site.at('store'), '--allow-unsigned', ...flags);

test('loads what the store has, records no number, and the receipt serves --since of this store', async () => {
  const loaded = await cli(fromStore('--verify', 'full'));
  expect(loaded.code, loaded.stderr).toBe(0);
  expect(loaded.stdout).toMatch(/^Loaded the store in /);
  expect([...inside.repository('acme/app').tags.keys()]).toEqual(['v1']);
  expect(inside.repository('omni-airgap/state').tags.size).toBe(0);
  expect(readdirSync(site.at('state'))).not.toContain('accepted');
  const receipt = JSON.parse(readFileSync(site.at('receipt.json'), 'utf8'));
  expect(receipt).toMatchObject({ sequence: 0, trust: { mode: 'unsigned' }, images: [{}] });

  site.write(
    'mirror.yaml',
    'apiVersion: omni-airgap/v1\nimages: [ghcr.io/acme/app:v1, ghcr.io/acme/tool:v1]\n',
  );
  await fetchImages();
  const bundled = await cliJson<{
    readonly sequence: number;
    readonly changes: object;
    readonly bytes: number;
  }>(['bundle', ...site.bundle, '--since', site.at('receipt.json')]);
  expect(bundled).toMatchObject({ sequence: 1, changes: { added: ['ghcr.io/acme/tool:v1'] } });
  expect(bundled.bytes).toBeLessThan(150_000);
  await cliJson(load(...site.media));
  expect([...inside.repository('acme/tool').tags.keys()]).toEqual(['v1']);
  // What was loaded from the store says nothing about which bundles are old.
  await cliJson(fromStore());
});

test('a store needs --allow-unsigned, and stands alone', async () => {
  expectFailure(await runHere(load('--store', site.at('store'))), 2, /--allow-unsigned \[USAGE\]$/);
  expectFailure(
    await runHere(fromStore('--bundle', site.at('media'))),
    2,
    /or --store DIR instead \[USAGE\]$/,
  );
  expectFailure(await runHere(load('--store', site.at('none'), '--allow-unsigned')), 2, /\[NO_INPUT\]$/);
  expect(inside.requests).toEqual([]);
});

test('nobody removes content meanwhile', async () => {
  let isHeld = true;
  inside.fault({ match: { method: 'PUT', path: /acme\/app\/manifests/ }, do: { until: () => !isHeld } });
  const running = startCli(fromStore());
  await running.until(() => inside.requests.some(({ path }) => path.includes('/acme/app/blobs/uploads/')));
  const gc = await cli(['gc', '--store', site.at('store')]);
  expectFailure(gc, 5, /in use by omni-airgap load.*\[BUSY\]$/);
  isHeld = false;
  expect((await running.ended).code).toBe(0);
});

test('a blob of the store that is damaged: exit code 3, and fetch is the way out', async () => {
  const [name = ''] = readdirSync(site.at('store', 'blobs', 'sha256')).filter(
    (one) => readFileSync(site.at('store', 'blobs', 'sha256', one)).byteLength === 100_000,
  );
  const path = site.at('store', 'blobs', 'sha256', name);
  writeFileSync(path, Buffer.alloc(100_000));
  expectFailure(
    await runHere(fromStore()),
    3,
    new RegExp(`${name}: its bytes.*run fetch again.*DIGEST_MISMATCH`),
  );
  expect(inside.repository('acme/app').tags.size).toBe(0);
  expect(inside.repository('acme/app').blobs.has(`sha256:${name}`)).toBe(false);
});
