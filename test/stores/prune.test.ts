/**
 * prune in every registry that is found: what goes is gone, what stays is pulled and hashed by another reader; by the
 * commands of docs/pruning.md, and after a kill in the middle.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { expect, onTestFinished, test } from 'vitest';
import { all, image } from '../../packages/loader/test/prune-support.ts';
import {
  addManifest,
  loadInto,
  makeBundle,
  signed,
  type TestBundle,
  tool,
} from '../../packages/loader/test/support.ts';
import type { Layout } from '../../packages/oci/src/layout/index.ts';
import { type Descriptor, MediaType } from '../../packages/oci/src/model/index.ts';
import { read } from '../repository.ts';
import { startRegistry } from '../services/docker-registry.ts';
import { cli, cliJson, expectFailure, startCli } from '../support/cli.ts';
import { listing } from '../support/files.ts';
import { startFront } from '../support/front.ts';
import { pullAll } from '../support/site-reader.ts';
import { type Workspace, workspace } from '../support/workspace.ts';
import { describeEach } from './program.ts';
import { type RegistryProgram, registries } from './registries.ts';

const multi = 'ghcr.io/acme/multi:v1';
const layerBytes = 400_000;

/** Two platforms, one of which the second bundle has too. */
const index =
  (name: string, ...platforms: string[]) =>
  async (layout: Layout): Promise<void> => {
    const manifests: Descriptor[] = [];
    for (const architecture of platforms) {
      const child = await image(undefined, architecture, layerBytes)(layout);
      manifests.push({ ...child, platform: { os: 'linux', architecture } });
    }
    await addManifest(layout, name, MediaType.ociIndex, { manifests });
  };

interface Bundles {
  readonly first: TestBundle;
  readonly second: TestBundle;
}

async function makeBundles(): Promise<Bundles> {
  return {
    first: await makeBundle(async (layout) => {
      await all(
        signed,
        index(multi, 'amd64', 'arm64'),
        image(tool),
        image('registry.k8s.io/kube-proxy:v1.35.0'),
      )(layout);
    }),
    second: await makeBundle(
      async (layout) =>
        void (await all(index('ghcr.io/acme/multi:v2', 'arm64', 'riscv64'), image(tool))(layout)),
      { sequence: 2 },
    ),
  };
}

/** As `kubectl get pods,nodes -A -o json` prints it. */
const running = (kubernetes: string): string =>
  JSON.stringify({
    apiVersion: 'v1',
    kind: 'List',
    items: [
      { kind: 'Pod', spec: { containers: [{ image: 'quay.io/acme/other:v1' }] }, status: {} },
      { kind: 'Node', status: { nodeInfo: { kubeletVersion: kubernetes, osImage: 'Talos (v1.13.0)' } } },
    ],
  });

const statusOf = async (url: string, path: string, name: string): Promise<number> => {
  const accept = [MediaType.ociManifest, MediaType.ociIndex].join(', ');
  const answer = await fetch(`${url}/v2/${path}/manifests/${name}`, { headers: { accept } });
  await answer.body?.cancel();
  return answer.status;
};

const rootsOf = ({ document }: TestBundle) =>
  document.roots
    .filter(({ name }) => !name.startsWith('@'))
    .map(({ name, descriptor: { digest } }) => ({ name, digest }));

/** Loads both, the one after the other. */
async function loadBoth({ first, second }: Bundles, host: string, site: Workspace): Promise<void> {
  for (const { folder } of [first, second]) await loadInto({ host }, [folder], { state: site.at('state') });
}

function pruneOf(host: string, site: Workspace): readonly string[] {
  return ['prune', '--registry', host, '--plain-http', host, '--state', site.at('state')];
}

async function expectPruned(url: string, { first, second }: Bundles): Promise<void> {
  const kept = new Set(second.document.roots.map(({ descriptor }) => descriptor.digest));
  for (const { name, descriptor } of first.document.roots) {
    const path = /^[^/]+\/([^:@]+)/.exec(name)?.[1] ?? '';
    const isKept = kept.has(descriptor.digest) || name.includes('kube-proxy');
    expect([name, await statusOf(url, path, descriptor.digest)]).toEqual([name, isKept ? 200 : 404]);
  }
  const { wrong } = await pullAll(`${url}/v2`, rootsOf(second));
  expect(wrong).toEqual([]);
}

describeEach(registries, (program: RegistryProgram, path) => {
  const started = async () => {
    const registry = await program.start(path);
    onTestFinished(() => registry.stop());
    return { registry, site: await workspace(), bundles: await makeBundles() };
  };

  test('the commands of docs/pruning.md: what goes is gone, with its signatures, and the rest is whole', async () => {
    const { registry, site, bundles } = await started();
    await loadBoth(bundles, registry.host, site);
    site.write('pods.json', running('v1.35.0'));
    site.write(
      'images.txt',
      'NODE   IMAGE   DIGEST   SIZE   CREATED\n10.0.0.2   quay.io/acme/other:v1   sha256:1   1 B   now\n',
    );
    site.write(
      'clusters.json',
      '{"metadata":{"type":"Clusters.omni.sidero.dev"},"spec":{"talosversion":"1.13.0"}}\n',
    );
    for (const words of pruneCommands()) {
      const own = words.map((word) =>
        word === 'registry.site:5000'
          ? registry.host
          : word === '/var/lib/omni-airgap'
            ? site.at('state')
            : word === '2'
              ? '1'
              : word,
      );
      const ended = await cli([...own, '--plain-http', registry.host], { cwd: site.root });
      expect(ended.code, ended.stderr + ended.stdout).toBe(0);
      if (!own.includes('--apply')) {
        expect(ended.stdout).toContain(`${registry.host}/kube-proxy:v1.35.0`);
        expect(ended.stdout).toContain('Kubernetes v1.35.0 is in use');
        expect(ended.stdout).toContain('Nothing was deleted.');
        expect(await statusOf(registry.url, 'acme/multi', 'v1')).toBe(200);
      }
    }
    await expectPruned(registry.url, bundles);
    expect(JSON.parse(readFileSync(site.at('receipt.json'), 'utf8'))).toMatchObject({
      bundle: bundles.second.document.id,
      pruned: { bundles: [bundles.first.document.id] },
    });
    // There is nothing left to do.
    site.write('none.json', running('v1.35.0'));
    const again = pruneOf(registry.host, site);
    const { plan } = await cliJson<{ plan: { manifests: readonly object[] } }>([
      ...again,
      ...['--keep', '1', '--in-use', site.at('none.json'), '--plan', site.at('again.json')],
    ]);
    expect(plan.manifests).toEqual([]);
    // What is pruned can be loaded again.
    const load = [
      'load',
      '--bundle',
      bundles.first.folder,
      '--allow-unsigned',
      '--allow-rollback',
      ...again.slice(1),
    ];
    await cliJson([...load, '--handoff', site.at('handoff'), '--verify', 'full']);
    expect((await pullAll(`${registry.url}/v2`, rootsOf(bundles.first))).wrong).toEqual([]);
  });

  test('SIGKILL in the middle: the same command finishes', async () => {
    const { registry, site, bundles } = await started();
    const front = await startFront({ '/': registry.url });
    onTestFinished(() => front.stop());
    await loadBoth(bundles, front.host, site);
    const common = [
      'prune',
      '--registry',
      front.host,
      '--plain-http',
      front.host,
      '--state',
      site.at('state'),
    ];
    const plan = site.at('prune.json');
    site.write('pods.json', running('v1.35.0'));
    await cliJson([...common, '--keep', '1', '--in-use', site.at('pods.json'), '--plan', plan]);
    const deletions = () => front.requests.filter(({ method }) => method === 'DELETE').length;
    const before = deletions();
    const apply = startCli([...common, '--apply', plan]);
    // The probes come first.
    await apply.until(() => deletions() >= before + 4);
    apply.kill('SIGKILL');
    await apply.ended;
    await cliJson([...common, '--apply', plan]);
    await expectPruned(registry.url, bundles);
  });
});

/** The calls of prune in the page, as words. */
function pruneCommands(): readonly (readonly string[])[] {
  const text = read('docs/pruning.md').replaceAll(/ \\\n\s*/g, ' ');
  const lines = [...text.matchAll(/^ {4}omni-airgap (prune .*)$/gm)].map(([, line = '']) =>
    line.split(/\s+/),
  );
  expect(lines.length).toBeGreaterThan(1);
  return lines;
}

const distributions = registries.filter(({ name }) => name.startsWith('Distribution'));

describeEach(distributions, (_, path) => {
  test('with deletions off there is no plan, and the message says how to switch them on', async () => {
    const off = await startRegistry({ program: path, deletes: false });
    onTestFinished(() => off.stop());
    const site = await workspace();
    await loadBoth(await makeBundles(), off.host, site);
    const common = pruneOf(off.host, site);
    const ended = await cli([
      ...common,
      '--keep',
      '1',
      '--keep-versions',
      'v9.9.9',
      '--plan',
      site.at('prune.json'),
    ]);
    expectFailure(ended, 5, /storage\.delete\.enabled: true.*nothing was deleted/);
  });

  test('its garbage collection frees the space, and what stays is whole', async () => {
    const registry = await startRegistry({ program: path });
    onTestFinished(() => registry.stop());
    const [site, bundles] = [await workspace(), await makeBundles()];
    await loadBoth(bundles, registry.host, site);
    const common = pruneOf(registry.host, site);
    const inUse = ['--keep', '1', '--keep-versions', 'v1.35.0'];
    const { plan } = await cliJson<{ plan: { bytes: number } }>([
      ...common,
      ...inUse,
      '--plan',
      site.at('prune.json'),
    ]);
    const { reclaiming } = await cliJson<{ reclaiming: readonly { kind: string; how: string }[] }>([
      ...common,
      ...['--apply', site.at('prune.json')],
    ]);
    expect(reclaiming.map(({ how }) => how).join()).toContain('garbage-collect');
    const layers = (): number =>
      listing(registry.data).filter((file) => /\/blobs\/sha256\/.*\/data$/.test(file)).length;
    const before = layers();
    execFileSync(path, ['garbage-collect', registry.configuration], { stdio: 'pipe' });
    // The image for amd64, app and the signatures with their contents.
    expect(before - layers()).toBeGreaterThan(6);
    expect(plan.bytes).toBeGreaterThan(layerBytes);
    await expectPruned(registry.url, bundles);
  });
});
