/** init --for omni-site: the file is complete, fits, is all there upstream, and is the one that the docs show. */
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type SampleUpstream, startSampleUpstream } from '../../scripts/sample-upstream/sample-upstream.ts';
import { read } from '../repository.ts';
import { temporaryFolder } from '../services/temporary.ts';
import { cliJson } from '../support/cli.ts';
import { upstreamFlags, type Workspace, workspace } from '../support/workspace.ts';

let upstream: SampleUpstream;
let site: Workspace;

beforeAll(async () => {
  upstream = await startSampleUpstream({ dir: temporaryFolder('upstream'), sizeMiB: 4, buildMs: 5 });
  site = await workspace();
  await cliJson(['init', '--for', 'omni-site', '--config', site.at('mirror.yaml')]);
});
afterAll(() => upstream?.stop());

interface Plan {
  readonly items: readonly { readonly name: string; readonly kind: string; readonly problem?: string }[];
  readonly warnings: readonly string[];
}

test('plan has no problem and no warning for it, and everything that such a site needs', async () => {
  const flags = upstreamFlags(upstream.urls);
  const { items, warnings } = await cliJson<Plan & Record<string, unknown>>([
    'plan',
    ...site.store,
    ...flags,
  ]);
  expect(items.filter(({ problem }) => problem !== undefined)).toEqual([]);
  expect(warnings).toEqual([]);
  const names = items.map(({ name }) => name.replace(/:[^:/]*$/, ''));
  for (const needed of [
    'ghcr.io/siderolabs/omni',
    'ghcr.io/siderolabs/image-factory',
    'ghcr.io/siderolabs/imager',
    'ghcr.io/siderolabs/installer-base',
    'ghcr.io/siderolabs/extensions',
    'ghcr.io/siderolabs/iscsi-tools',
    'ghcr.io/siderolabs/kubelet',
    'registry.k8s.io/kube-apiserver',
    'registry.k8s.io/etcd',
    'registry.k8s.io/pause',
    'ghcr.io/dexidp/dex',
  ])
    expect(names).toContain(needed);
  expect(items.some(({ kind }) => kind === 'media')).toBe(true);
});

test('it is fetched and bundled as it is', async () => {
  await cliJson(['fetch', ...site.store, ...upstreamFlags(upstream.urls)]);
  await cliJson(['bundle', '--store', site.at('store'), '--out', site.at('media'), '--unsigned']);
});

test('the docs show it', () => {
  const [, shown] =
    /`omni-airgap init --for omni-site`[\s\S]*?```yaml\n([\s\S]*?)```/.exec(read('docs/mirror-yaml.md')) ??
    [];
  expect(shown).toBe(readFileSync(site.at('mirror.yaml'), 'utf8'));
});
