/** gc beside bundles that are issued and not written whole: what they need stays until they are, or are let go. */
import { type SpawnSyncReturns, spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeEach, expect, onTestFinished, test } from 'vitest';
import { type RegistryDouble, startRegistryDouble } from '../../packages/oci/src/testing/index.ts';
import { cli, cliJson, expectFailure } from '../support/cli.ts';
import { addImage } from '../support/double-image.ts';
import { upstreamFlags, type Workspace, workspace } from '../support/workspace.ts';

interface Collected {
  readonly blobs: number;
  readonly names: readonly string[];
  readonly kept: readonly {
    readonly bundle: string;
    readonly volumes: readonly number[];
    readonly blobs: number;
  }[];
  readonly dropped: readonly string[];
}

let upstream: RegistryDouble;
let site: Workspace;
/** Of the bundle that was issued with its volumes 0 and 1 written; there are 2 and 3 too. */
let id: string;
/** Both media together. */
let verified: readonly string[];

/** Blobs in the store. */
const stored = (): readonly string[] => readdirSync(join(site.at('store'), 'blobs', 'sha256'));

const gc = (...more: readonly string[]): Promise<Collected> =>
  cliJson<Collected>(['gc', '--store', site.at('store'), ...more]);

const media = (out: string, volumes: string): readonly string[] => [
  ...['bundle', '--store', site.at('store'), '--out', site.at(out), '--volumes', volumes, '--unsigned'],
];

beforeEach(async () => {
  upstream = await startRegistryDouble();
  onTestFinished(() => upstream.close());
  await addImage(upstream.repository('acme/old'), 'v1', 1, [900_000, 800_000, 700_000]);
  await addImage(upstream.repository('acme/new'), 'v1', 2, [300_000]);
  site = await workspace('images: [ghcr.io/acme/old:v1]\n');
  verified = ['verify', '--bundle', site.at('first'), '--bundle', site.at('second')];
  const fetch = ['fetch', ...site.store, ...upstreamFlags({ 'ghcr.io': upstream.url })];
  await cliJson(fetch);
  ({ id } = await cliJson<{ id: string }>([...media('first', '1'), '--volume-size', '1MiB']));
  site.write('mirror.yaml', 'apiVersion: omni-airgap/v1\nimages: [ghcr.io/acme/new:v1]\n');
  await cliJson(fetch);
});

test('between the first medium and the second: what the second needs stays, and the bundle verifies', async () => {
  const before = stored();
  const said = await gc('--dry-run');
  expect(stored()).toEqual(before);
  const done = await gc();
  expect(done).toEqual(said);
  expect(done.names).toEqual(['ghcr.io/acme/old:v1']);
  expect(done.blobs).toBe(1);
  expect(done.kept).toMatchObject([{ bundle: id, sequence: 1, volumes: [2, 3] }]);
  await cliJson([...media('second', '2-3'), '--issued', id]);
  await cliJson(verified);
  // Written whole, it needs nothing more.
  const last = await gc();
  expect(last).toMatchObject({ kept: [], names: [] });
  expect(last.blobs).toBeGreaterThan(1);
  await cliJson(verified);
  await cliJson(['verify', '--store', site.at('store')]);
});

test('it says for whom and how to go on; what was let go goes, and is not issued any more', async () => {
  const said = await cli(['gc', '--store', site.at('store')]);
  const short = id.slice(0, 12);
  expect(said.stdout).toMatch(
    new RegExp(
      `Kept for bundle ${short} \\(number 1\\): .*volumes 2-3 not written yet\\.\n.*bundle .*--issued ${short} --volumes 2-3 --out DIR\n.*gc .*--drop-issued ${short}`,
    ),
  );
  const before = stored().length;
  expect(await gc('--drop-issued', short, '--dry-run')).toMatchObject({ dropped: [id], kept: [] });
  expect(stored()).toHaveLength(before);
  const done = await gc('--drop-issued', short);
  expect(done).toMatchObject({ dropped: [id], kept: [] });
  expect(stored()).toHaveLength(before - done.blobs);
  // As after a kill: the same command once more.
  expect(await gc('--drop-issued', short)).toMatchObject({ dropped: [id], blobs: 0 });
  expectFailure(
    await cli([...media('second', '2-3'), '--issued', short]),
    2,
    /--issued.*was forgotten.*\[NO_INPUT\]/,
  );
  expectFailure(
    await cli(['gc', '--store', site.at('store'), '--drop-issued', 'f'.repeat(12)]),
    2,
    /\[NO_INPUT\]/,
  );
  const small = ['--volume-size', '1MiB', '--unsigned'];
  const bundled = ['bundle', '--store', site.at('store'), '--out', site.at('whole'), ...small];
  expectFailure(await cli([...bundled, '--since', short]), 2, /--since.*was forgotten.*\[NO_INPUT\]/);
  await cliJson(bundled);
});

test('killed after each change it makes, it has removed nothing that the second medium needs', async () => {
  const script = fileURLToPath(new URL('../support/killed-gc.ts', import.meta.url));
  let ended: SpawnSyncReturns<string>;
  let kills = 0;
  do {
    // Each run goes on where the one before was killed.
    ended = spawnSync(process.execPath, [script, site.at('store'), '1'], { encoding: 'utf8' });
    if (ended.signal === 'SIGKILL') kills++;
    else expect(ended.status, ended.stderr).toBe(0);
  } while (ended.signal === 'SIGKILL');
  expect(kills).toBeGreaterThan(1);
  await cliJson([...media('second', '2-3'), '--issued', id]);
  await cliJson(verified);
});
