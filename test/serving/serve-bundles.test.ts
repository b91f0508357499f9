/** A month after the other: `serve` with several bundles of a store, and `bundle --withdraw` until names are gone. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type RegistryDouble, startRegistryDouble } from '../../packages/oci/src/testing/index.ts';
import { cli, cliJson, expectFailure, startServe } from '../support/cli.ts';
import { addImage } from '../support/double-image.ts';
import { upstreamFlags, type Workspace, workspace } from '../support/workspace.ts';

let upstream: RegistryDouble;
let site: Workspace;

/** Fetches these tags of one image and no others, and bundles them. */
async function month(tags: readonly string[], out: string, ...flags: readonly string[]) {
  site.write(
    'mirror.yaml',
    `apiVersion: omni-airgap/v1\nimages: [${tags.map((tag) => `ghcr.io/acme/app:${tag}`)}]\n`,
  );
  await cliJson(['fetch', ...site.store, ...upstreamFlags({ 'ghcr.io': upstream.url })]);
  return cliJson(bundleInto(out, ...flags));
}

function bundleInto(out: string, ...flags: readonly string[]): readonly string[] {
  const key = ['--sign-key', site.at('site.key')];
  return ['bundle', '--store', site.at('store'), '--out', site.at(out), ...key, ...flags];
}

/** Tags that are served from these bundles, and the log until then. */
async function served(bundles: readonly string[], ...flags: readonly string[]) {
  const media = bundles.flatMap((name) => ['--bundle', site.at(name)]);
  const server = await startServe([...media, '--verify-key', site.at('site.pub'), ...flags]);
  const list = await (await fetch(`http://${server.host}/v2/acme/app/tags/list`)).json();
  const { tags } = list as { readonly tags: readonly string[] };
  const { stderr } = await server.stop();
  return { tags, log: stderr.split('\n').filter((line) => line.includes('event=bundle')) };
}

beforeAll(async () => {
  upstream = await startRegistryDouble();
  for (const [i, tag] of ['v1', 'v2'].entries())
    await addImage(upstream.repository('acme/app'), tag, i + 1, [1000]);
  site = await workspace('images: [ghcr.io/acme/app:v1]\n');
  await month(['v1'], 'january');
  await month(['v2'], 'february', '--since', site.at('january'));
});
afterAll(() => upstream?.close());

describe('U-M9 two bundles of a store', () => {
  test('all names are served, and the log states which come from the older one', async () => {
    const { tags, log } = await served(['january', 'february']);
    expect(tags).toEqual(['v1', 'v2']);
    expect(log).toEqual([
      expect.stringMatching(
        /level=info event=bundle message="1 name of bundle \w{12} \(number 1\) that bundle \w{12} \(number 2\) does not list: ghcr\.io\/acme\/app:v1; --newest-only/,
      ),
    ]);
  });

  test('with --newest-only, those of the newest', async () => {
    expect(await served(['january', 'february'], '--newest-only')).toEqual({ tags: ['v2'], log: [] });
  });
});

test('a withdrawn name is in no list any more, and inspect and the next bundle repeat it', async () => {
  const report = await cliJson(bundleInto('march', '--withdraw', 'ghcr.io/acme/*:v1'));
  expect(report).toMatchObject({ sequence: 3, withdraws: ['ghcr.io/acme/app:v1'] });
  expect(await served(['january', 'february', 'march'])).toEqual({ tags: ['v2'], log: [] });
  const { stdout } = await cli([
    'inspect',
    '--bundle',
    site.at('march'),
    '--verify-key',
    site.at('site.pub'),
  ]);
  expect(stdout).toContain('\nWithdrawn: ghcr.io/acme/app:v1\n');
  const next = await cliJson(bundleInto('april', '--since', site.at('february')));
  expect(next['withdraws']).toEqual(['ghcr.io/acme/app:v1']);
});

test('flags that do not fit each other are refused', async () => {
  expectFailure(await cli(['serve', '--store', site.at('store'), '--newest-only']), 2, /needs --bundle/);
  const issued = bundleInto('again', '--issued', 'a'.repeat(12), '--withdraw', 'x');
  expectFailure(await cli(issued), 2, /--issued and --withdraw/);
  expectFailure(
    await cli(bundleInto('never', '--withdraw', '*app:v2')),
    2,
    /would carry ghcr.io\/acme\/app:v2/,
  );
});
