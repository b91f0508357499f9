/** What a registry refuses is found before anything large moves, with what to do about it. */

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Layout } from '@omni-airgap/oci/layout';
import { type Descriptor, digestFromHex, MediaType } from '@omni-airgap/oci/model';
import { zot } from '@omni-airgap/oci/testing';
import { expect, test } from 'vitest';
import { checkInside } from '../src/inside-check/check-inside.ts';
import { dryRun } from '../src/load.ts';
import {
  addImage,
  addManifest,
  app,
  bytesFor,
  loadInto,
  makeBundle,
  settings,
  startDouble,
  temporary,
  two,
} from './support.ts';

test('F41 a sparse index on a registry that wants all children: the ways out are named, and --flatten is one', async () => {
  const { folder, document } = await makeBundle(sparse);
  const marked = await makeBundle(sparse, {
    sparse: document.roots.map(({ descriptor }) => descriptor),
  });
  const double = await startDouble();
  await expect(loadInto(double, [marked.folder])).rejects.toMatchObject({
    code: 'USAGE',
    message: expect.stringMatching(/leave `platforms` out.*--flatten/),
  });
  expect(double.repository('acme/app').manifests.size).toBe(0);
  const report = await loadInto(double, [marked.folder], { flatten: true });
  expect(report.flattened).toEqual([app]);
  const tagged = double.repository('acme/app').tags.get('v1');
  expect(tagged).not.toBe(document.roots[0]?.descriptor.digest);
  expect(report.receipt.images[0]?.digest).toBe(tagged);
  const lenient = await startDouble({ checkChildren: false });
  await loadInto(lenient, [marked.folder]);
  expect(lenient.repository('acme/app').tags.get('v1')).toBe(document.roots[0]?.descriptor.digest);
  expect(folder).not.toBe(marked.folder);
});

async function sparse(layout: Layout): Promise<void> {
  const image = await addImage(layout, 'ghcr.io/acme/app:amd64', bytesFor('amd64', 1000));
  await layout.untag('ghcr.io/acme/app:amd64');
  const absent = digestFromHex('a'.repeat(64));
  await addManifest(layout, app, MediaType.ociIndex, {
    manifests: [
      { ...image, platform: { os: 'linux', architecture: 'amd64' } },
      { ...image, digest: absent, platform: { os: 'linux', architecture: 'arm64' } },
    ],
  });
}

test('platforms may be left out of an index within an index; what is loaded, verified and in the receipt is what is carried', async () => {
  let indexes: readonly Descriptor[] = [];
  const fill = async (layout: Layout): Promise<void> => {
    await sparse(layout);
    const inner = await layout.resolve(app);
    if (inner === undefined) throw new Error('sparse names an index');
    const outer = await addManifest(layout, app, MediaType.ociIndex, { manifests: [inner] });
    indexes = [outer, inner];
  };
  await makeBundle(fill);
  const { folder } = await makeBundle(fill, { sparse: [...indexes] });
  const double = await startDouble({ checkChildren: false });
  const plan = await dryRun(await settings(double, [folder]));
  const { receipt, registry, verifiedBytes } = await loadInto(double, [folder], { verify: 'full' });
  expect(plan.bytes).toBe(registry?.storedBytes);
  expect(verifiedBytes).toBe(plan.bytes);
  // Two indexes and the image of one platform.
  expect(double.repository('acme/app').manifests.size).toBe(3);
  const [outer, inner] = indexes;
  expect(receipt.sparse?.map(({ digest, manifests }) => [digest, manifests.length])).toEqual([
    [outer?.digest, 1],
    [inner?.digest, 1],
  ]);
});

test('F41 missing rights and projects are found before anything moves', async () => {
  const { folder } = await makeBundle(two);
  for (const [status, advice] of [
    [403, /docker login/],
    [404, /create first: acme/],
  ] as const) {
    const double = await startDouble({
      script: [{ match: { method: 'POST', path: /acme\/.*\/blobs\/uploads/ }, do: { status } }],
    });
    await expect(loadInto(double, [folder])).rejects.toThrow(advice);
    expect(double.requests.some(({ method }) => method === 'PUT')).toBe(false);
  }
});

test.each([
  [308, '', /redirects to/, /create first/],
  [405, 'UNSUPPORTED', /read-only \(storage\.maintenance\.readonly\)/, /create first|too old/],
  [413, '', /client_max_body_size 0/, /create first/],
] as const)('S5 %i of an upload gets the advice for its cause only', async (status, code, remedy, other) => {
  const { folder } = await makeBundle(two);
  const body = code === '' ? '' : JSON.stringify({ errors: [{ code }] });
  const script = [{ match: { method: 'POST', path: /uploads/ }, do: { status, body } }];
  const double = await startDouble({ script });
  const error = await loadInto(double, [folder]).catch(String);
  expect(error).toMatch(remedy);
  expect(error).not.toMatch(other);
  const network = { upstreams: [], allowHosts: [], plainHttp: [double.host], env: {} };
  const report = await checkInside({ registry: { host: double.host, prefix: '' }, network, site: {} });
  expect(report.findings.find(({ what }) => what === 'push')?.detail).toMatch(remedy);
});

test('S6 egress check gives the remedies that load gives', async () => {
  const double = await startDouble(zot(false));
  const network = { upstreams: [], allowHosts: [], plainHttp: [double.host], env: {} };
  const report = await checkInside({ registry: { host: double.host, prefix: '' }, network, site: {} });
  expect(report.findings.find(({ what }) => what === 'Docker schema 2')?.detail).toMatch(/"docker2s2"/);
});

test.each(['basic', 'token'] as const)(
  'P16 credentials for the prefix alone are enough for a load and for the check (%s)',
  async (kind) => {
    const { folder } = await makeBundle(two);
    const double = await startDouble({ auth: { kind, username: 'robot', password: 'secret' } });
    const registryConfig = join(await temporary(), 'auth.json');
    const auth = Buffer.from('robot:secret').toString('base64');
    await writeFile(registryConfig, JSON.stringify({ auths: { [`${double.host}/site/sub`]: { auth } } }));
    const registry = { host: double.host, prefix: 'site/sub' };
    const network = { upstreams: [], allowHosts: [], plainHttp: [double.host], env: {}, registryConfig };
    await loadInto(double, [folder], { registry, network });
    expect(double.repository('site/sub/acme/app').tags.has('v1')).toBe(true);
    const { findings } = await checkInside({ registry, network, site: {} });
    expect(findings[0]).toMatchObject({ what: 'answers', state: 'ok' });
  },
);
