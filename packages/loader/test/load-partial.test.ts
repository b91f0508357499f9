/** One refused image is one refused image: what is whole is published, and all that is missing is listed. Finding P1. */

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseReceiptDocument } from '@omni-airgap/format';
import { noProgress } from '@omni-airgap/oci';
import type { Layout } from '@omni-airgap/oci/layout';
import type { RegistryDouble } from '@omni-airgap/oci/testing';
import { expect, test } from 'vitest';
import { dryRun } from '../src/load.ts';
import type { LoadOptions } from '../src/options.ts';
import { advertisedSets } from '../src/targets/registry/sets.ts';
import {
  addBlob,
  addImage,
  addSignature,
  app,
  bytesFor,
  loadInto,
  makeBundle,
  settings,
  signed,
  startDouble,
  temporary,
  tool,
  two,
} from './support.ts';

const kube = (name: string): string =>
  `${name === 'kubelet' ? 'ghcr.io/siderolabs' : 'registry.k8s.io'}/${name}:v1.36.1`;
const kubernetes = ['kubelet', 'kube-apiserver', 'kube-controller-manager', 'kube-scheduler', 'kube-proxy'];

function images(...names: readonly string[]) {
  return async (layout: Layout): Promise<void> => {
    for (const name of names) await addImage(layout, name, bytesFor(name, 100));
  };
}

const tagsOf = (double: RegistryDouble, path: string): readonly string[] => [
  ...double.repository(path).tags.keys(),
];

test('P1 a manifest that the registry refuses: the others are published, the receipt leaves it out, and load finishes later', async () => {
  const { folder, document } = await makeBundle(images(app, tool, 'ghcr.io/acme/third:v1'));
  const double = await startDouble();
  const digest = document.roots.find(({ name }) => name === tool)?.descriptor.digest;
  double.fault({
    match: { method: 'PUT', path: new RegExp(`acme/tool/manifests/${digest}`) },
    do: { status: 400, body: '{"errors":[{"code":"MANIFEST_INVALID","message":"schemaVersion"}]}' },
    times: 1,
  });
  const state = await temporary();
  const receipt = join(state, 'receipt.json');
  const notes: string[] = [];
  const progress = { ...noProgress, note: (text: string) => void notes.push(text) };
  const first = await loadInto(double, [folder], { state, receipt, progress });
  expect(first.missing).toEqual([
    {
      name: tool,
      why: 'refused',
      code: 'UPSTREAM',
      message: expect.stringMatching(/400.*MANIFEST_INVALID/),
    },
  ]);
  expect(notes.join()).toMatch(/not loaded: ghcr\.io\/acme\/tool:v1: .*the others are loaded/);
  expect(tagsOf(double, 'acme/tool')).toEqual([]);
  expect(tagsOf(double, 'acme/app')).toEqual(['v1']);
  expect(tagsOf(double, 'acme/third')).toEqual(['v1']);
  // For rollback protection it counts as loaded.
  expect(tagsOf(double, 'omni-airgap/state')).toHaveLength(1);
  const text = await readFile(receipt, 'utf8');
  expect(text.split('\n')[0]).not.toContain(document.id);
  expect(parseReceiptDocument(Buffer.from(text))).toMatchObject({
    missing: [{ name: tool, why: 'refused' }],
    images: [{ name: app }, { name: 'ghcr.io/acme/third:v1' }],
  });
  const second = await loadInto(double, [folder], { state, receipt });
  expect(second.missing).toEqual([]);
  expect(tagsOf(double, 'acme/tool')).toEqual(['v1']);
  expect((await readFile(receipt, 'utf8')).split('\n')[0]).toContain(document.id);
});

test.each([
  ['refused when it is looked up', { match: { path: /acme\/tool\/manifests\/v1/ }, do: { status: 400 } }],
  [
    'in a repository that cannot be pushed to',
    { match: { method: 'POST', path: /acme\/tool\/blobs/ }, do: { status: 403 } },
  ],
  [
    'too large for a proxy or quota',
    { match: { method: 'PUT', path: /acme\/tool\/blobs/ }, do: { status: 403 } },
  ],
  [
    'answered by an error of the registry itself',
    { match: { method: 'PUT', path: /acme\/tool\/manifests/ }, do: { status: 501 } },
  ],
] as const)('P1 an image %s', async (_, fault) => {
  const { folder } = await makeBundle(images(app, tool));
  const double = await startDouble({ script: [fault] });
  const { missing, receipt } = await loadInto(double, [folder]);
  expect(missing).toMatchObject([{ name: tool, why: 'refused' }]);
  expect(receipt.images.map(({ name }) => name)).toEqual([app]);
  expect(tagsOf(double, 'acme/app')).toEqual(['v1']);
});

test('P1 a registry that refuses three repositories in a row is failing: load stops and publishes nothing', async () => {
  const names = Array.from({ length: 12 }, (_, i) => `ghcr.io/acme/app${i}:v1`);
  const { folder } = await makeBundle(images(...names));
  const double = await startDouble();
  double.fault({ match: { method: 'PUT', path: /acme\/.*\/blobs/ }, do: { status: 403 } });
  await expect(loadInto(double, [folder], { concurrency: 1 })).rejects.toMatchObject({ code: 'DENIED' });
  const tried = double.requests.filter(({ method, path }) => method === 'PUT' && path.includes('acme'));
  expect(tried.length).toBeLessThan(names.length);
  expect(double.requests.some(({ path }) => path.endsWith('/manifests/v1') && path.includes('PUT'))).toBe(
    false,
  );
});

test('P1 nothing but refusals is a failure', async () => {
  const { folder } = await makeBundle(images(app));
  const double = await startDouble({
    script: [{ match: { method: 'PUT', path: /acme\/app\/manifests/ }, do: { status: 400 } }],
  });
  await expect(loadInto(double, [folder])).rejects.toMatchObject({ code: 'UPSTREAM' });
  expect(tagsOf(double, 'omni-airgap/state')).toEqual([]);
});

test('P1 what speaks about a refused image is held back with it', async () => {
  const { folder } = await makeBundle(async (layout) => {
    await signed(layout);
    await images(tool)(layout);
  });
  const double = await startDouble();
  // The image itself comes first.
  double.fault({
    match: { method: 'PUT', path: /acme\/app\/manifests\/sha256:/, nth: 1 },
    do: { status: 400 },
  });
  const { missing, receipt } = await loadInto(double, [folder]);
  expect(missing.map(({ why }) => why).sort()).toEqual(['held', 'held', 'held', 'refused']);
  expect(receipt.images.map(({ name }) => name)).toEqual([tool]);
  expect(double.repository('acme/app').manifests.size).toBe(0);
});

const load = (how: Partial<LoadOptions>, fill: (layout: Layout) => Promise<void>) =>
  (async () => {
    const { folder } = await makeBundle(fill);
    const double = await startDouble();
    return { double, folder, ...(await loadInto(double, [folder], how)) };
  })();

test('--only and --except: signatures go with their image, and the receipt says what was left out', async () => {
  const both = async (layout: Layout): Promise<void> => {
    await two(layout);
    const image = await layout.resolve(app);
    if (image === undefined) throw new Error('two names app');
    await addSignature(
      layout,
      'ghcr.io/acme/app',
      image,
      await addBlob(layout, 'application/vnd.oci.empty.v1+json', Buffer.from('{}')),
    );
  };
  const only = await load({ only: ['*/acme/app:v?'] }, both);
  expect(only.receipt.images).toHaveLength(2);
  expect(only.missing).toEqual([{ name: tool, why: 'excluded', message: expect.any(String) }]);
  const except = await load({ except: ['ghcr.io/acme/app:*'] }, both);
  expect(except.receipt.images.map(({ name }) => name)).toEqual([tool]);
  const unsigned = await load({ except: ['*.sig'] }, both);
  expect(unsigned.receipt.images.map(({ name }) => name)).toEqual([app, tool]);
  expect(tagsOf(unsigned.double, 'acme/app')).toEqual(['v1']);
  await expect(load({ only: ['*'], except: ['ghcr.io/acme/ap', 'v1'] }, both)).rejects.toMatchObject({
    code: 'USAGE',
    message: expect.stringMatching(/^--except ghcr.io\/acme\/ap, --except v1: matches no name/),
  });
});

test('--except takes away what the registry refuses, a conflict too', async () => {
  const { folder } = await makeBundle(images(app, tool));
  const double = await startDouble();
  double
    .repository('acme/tool')
    .addManifest(Buffer.from('{"schemaVersion":2}'), 'application/vnd.oci.image.manifest.v1+json', 'v1');
  await expect(loadInto(double, [folder])).rejects.toMatchObject({ code: 'CONFLICT', message: /--except/ });
  const plan = await dryRun({ ...(await settings(double, [folder])), except: [tool] });
  expect(plan.images.map(({ name }) => name)).toEqual([app]);
  expect(plan.missing).toMatchObject([{ name: tool, why: 'excluded' }]);
  const { receipt } = await loadInto(double, [folder], { except: [tool] });
  expect(receipt.images.map(({ name }) => name)).toEqual([app]);
});

test('a kubelet, which makes Omni offer its version, comes last, and only when its set is there', async () => {
  const { folder } = await makeBundle(images(app, ...kubernetes.map(kube)));
  const double = await startDouble();
  double.fault({ match: { method: 'PUT', path: /kube-proxy\/manifests/ }, do: { status: 400 }, times: 1 });
  const first = await loadInto(double, [folder]);
  expect(first.missing.find(({ why }) => why === 'held')).toEqual({
    name: kube('kubelet'),
    why: 'held',
    message: `Kubernetes v1.36.1 is held back as a whole: ${kube('kube-proxy')} is missing`,
  });
  expect(tagsOf(double, 'siderolabs/kubelet')).toEqual([]);
  expect(tagsOf(double, 'kube-scheduler')).toEqual(['v1.36.1']);
  // Its set may come in parts.
  const second = await loadInto(double, [folder], { only: [kube('kube-proxy')] });
  expect(second.receipt.images).toHaveLength(1);
  const third = await loadInto(double, [folder], { only: ['*kubelet*'] });
  expect(third.receipt.images.map(({ name }) => name)).toEqual([kube('kubelet')]);
  const puts = double.requests.filter(({ method }) => method === 'PUT').map(({ path }) => path);
  expect(puts.at(-1)).toMatch(/siderolabs\/kubelet\/manifests\/v1\.36\.1$/);
  const whole = await startDouble();
  await loadInto(whole, [folder]);
  expect(whole.requests.filter(({ method }) => method === 'PUT').at(-1)?.path).toMatch(
    /kubelet\/manifests\/v1/,
  );
});

test('sets: a catalog waits for extensions, an imager for its catalogs, the list of versions for all', () => {
  const names = [
    'factory.talos.dev/talos-catalog/versions:latest',
    'factory.talos.dev/talos-catalog/extensions:v1.13.9',
    'ghcr.io/siderolabs/imager:v1.13.9',
    'ghcr.io/siderolabs/installer-base:v1.13.9',
    'ghcr.io/siderolabs/extensions:v1.13.9',
    'ghcr.io/siderolabs/iscsi-tools:v0.2.0',
    'ghcr.io/siderolabs/omni:v1.10.4',
    'ghcr.io/siderolabs/kubelet:v1.36.1',
    'registry.k8s.io/kube-proxy:v1.36.1',
    `ghcr.io/siderolabs/imager:sha256-${'a'.repeat(64)}.sig`,
  ];
  expect(advertisedSets(names)).toEqual([
    {
      name: 'factory.talos.dev/talos-catalog/extensions:v1.13.9',
      what: 'the catalog factory.talos.dev/talos-catalog/extensions:v1.13.9',
      members: ['ghcr.io/siderolabs/iscsi-tools:v0.2.0'],
    },
    {
      name: 'ghcr.io/siderolabs/extensions:v1.13.9',
      what: 'the catalog ghcr.io/siderolabs/extensions:v1.13.9',
      members: ['ghcr.io/siderolabs/iscsi-tools:v0.2.0'],
    },
    {
      name: 'ghcr.io/siderolabs/imager:v1.13.9',
      what: 'Talos v1.13.9',
      members: ['ghcr.io/siderolabs/installer-base:v1.13.9', 'ghcr.io/siderolabs/extensions:v1.13.9'],
    },
    {
      name: 'ghcr.io/siderolabs/kubelet:v1.36.1',
      what: 'Kubernetes v1.36.1',
      members: ['registry.k8s.io/kube-proxy:v1.36.1'],
    },
    {
      name: 'factory.talos.dev/talos-catalog/versions:latest',
      what: 'the list of Talos versions',
      members: ['factory.talos.dev/talos-catalog/extensions:v1.13.9', 'ghcr.io/siderolabs/imager:v1.13.9'],
    },
  ]);
});
