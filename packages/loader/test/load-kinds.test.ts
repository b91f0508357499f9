/** Kinds of registries: what each wants is known, what it refuses is found before anything large moves. */
import { generateKeyPairSync } from 'node:crypto';
import type { Layout } from '@omni-airgap/oci/layout';
import { MediaType } from '@omni-airgap/oci/model';
import {
  artifactory,
  gitlab,
  harbor,
  lying,
  quay,
  type RegistryDouble,
  type RegistryDoubleOptions,
  zot,
} from '@omni-airgap/oci/testing';
import { describe, expect, test } from 'vitest';
import type { LoadOptions } from '../src/options.ts';
import {
  addImage,
  addManifest,
  app,
  big,
  bytesFor,
  loadInto,
  makeBundle,
  signed,
  startDouble,
  two,
} from './support.ts';

const dockerTypes = { manifest: MediaType.dockerManifest, config: MediaType.dockerConfig };

/** An index with an OCI image and a Docker image in it. */
async function mixed(layout: Layout): Promise<void> {
  const [one, other] = ['ghcr.io/acme/one:v1', 'ghcr.io/acme/other:v1'];
  const oci = await addImage(layout, one, bytesFor('oci', big));
  const docker = await addImage(layout, other, bytesFor('docker', big), dockerTypes);
  for (const name of [one, other]) await layout.untag(name);
  await addManifest(layout, app, MediaType.ociIndex, {
    manifests: [
      { ...oci, platform: { os: 'linux', architecture: 'amd64' } },
      { ...docker, platform: { os: 'linux', architecture: 'arm64' } },
    ],
  });
}

async function docker(layout: Layout): Promise<void> {
  await addImage(layout, app, bytesFor('docker', big), dockerTypes);
}

async function expectRefusal(
  options: RegistryDoubleOptions,
  fill: (layout: Layout) => Promise<void>,
  remedy: RegExp,
  how: Partial<LoadOptions> = {},
): Promise<void> {
  const { folder } = await makeBundle(fill);
  const double = await startDouble(options);
  await expect(loadInto(double, [folder], how)).rejects.toThrow(remedy);
  const stored = double.requests.filter(({ method, path }) => method === 'PUT' && !path.includes('/probe/'));
  expect(stored).toEqual([]);
  expect(double.requests.reduce((sum, { bytes }) => sum + bytes, 0)).toBeLessThan(8000);
  expect(double.openUploads).toBe(0);
}

async function expectLoaded(
  options: RegistryDoubleOptions,
  fill: (layout: Layout) => Promise<void>,
  prefix = '',
  how: Partial<LoadOptions> = {},
): Promise<RegistryDouble> {
  const { folder, document } = await makeBundle(fill);
  const double = await startDouble(options);
  const registry = { host: double.host, prefix };
  const report = await loadInto(double, [folder], { registry, verify: 'full', ...how });
  expect(report.receipt.images).toHaveLength(document.roots.length);
  expect(double.openUploads).toBe(0);
  return double;
}

describe('Harbor', () => {
  test('F40 takes subjects before what speaks about them', async () => {
    await expectLoaded(harbor(['acme', 'omni-airgap']), signed);
  });
  test('F41 projects that are missing are named, all at once', async () => {
    await expectRefusal(harbor([]), two, /create first: acme, omni-airgap \(projects of Harbor/);
    await expectRefusal(
      harbor(['acme']),
      two,
      /omni-airgap\/probe cannot be pushed to; create first: omni-airgap/,
    );
  });
  test('one project for everything, by a prefix', async () => {
    await expectLoaded(harbor(['site']), signed, 'site');
  });
});

describe('zot', () => {
  test('F41 Docker types are refused until it is told to take them', async () => {
    await expectRefusal(zot(false), docker, /http": \{"compat": \["docker2s2"\]\}/);
    await expectLoaded(zot(true), docker);
    await expectLoaded(zot(false), signed);
  });
});

describe('Quay', () => {
  test('F41 an index with Docker images in it', async () => {
    await expectRefusal(
      quay(true),
      mixed,
      /index with Docker images.*use another registry for these images \(/,
    );
  });
  test('F41 artifacts, until they are switched on', async () => {
    await expectRefusal(quay(false), signed, /FEATURE_GENERAL_OCI_SUPPORT: true/);
    await expectLoaded(quay(true), signed);
  });
});

describe('GitLab', () => {
  const project = 'infra/mirror';
  test('F41 paths outside of a project', async () => {
    await expectRefusal(
      gitlab([project]),
      two,
      /at most two levels below an existing project: load below it with --registry HOST\/GROUP\/PROJECT/,
    );
    await expectLoaded(gitlab([project]), two, project);
  });
  test('F19 F41 it gives the image itself under the tag that lists referrers: they cannot be kept there', async () => {
    const registry = { host: '', prefix: project };
    const { folder } = await makeBundle(signed);
    const double = await startDouble(gitlab([project]));
    const { missing } = await loadInto(double, [folder], { registry: { ...registry, host: double.host } });
    expect(missing).toHaveLength(2);
    for (const item of missing) {
      expect(item).toMatchObject({
        why: 'refused',
        message: expect.stringContaining('use another registry'),
      });
    }
    const { manifests, tags } = double.repository(`${project}/acme/app`);
    expect(missing.filter(({ name }) => manifests.has(name.split('@')[1] ?? ''))).toEqual([]);
    expect(tags.has('v1')).toBe(true);
  });
  test('signatures of cosign 2 are tags that it keeps', async () => {
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
    const name = 'ghcr.io/siderolabs/imager:v1.13.9';
    const fill = (layout: Layout) => addImage(layout, name, bytesFor('imager', 10)).then(() => {});
    const double = await expectLoaded(gitlab([project]), fill, project, { resignKey: privateKey });
    const { tags } = double.repository(`${project}/siderolabs/imager`);
    expect([...tags.keys()].some((tag) => tag.endsWith('.sig'))).toBe(true);
  });
});

describe('Artifactory', () => {
  test('F41 the key of a repository comes first', async () => {
    await expectRefusal(
      artifactory(['docker-local']),
      two,
      /create a local Docker repository: load below it with --registry HOST\/REPOSITORY-KEY/,
    );
  });
  test('blobs that it does not take whole come by PATCH, and the next ones at once', async () => {
    const double = await expectLoaded(artifactory(['docker-local']), signed, 'docker-local', {
      concurrency: 1,
    });
    const whole = double.requests.filter(
      ({ method, path, bytes }) => method === 'PUT' && path.includes('/blobs/uploads/') && bytes > 0,
    );
    expect(whole).toHaveLength(1);
  });
});

test('F38 a registry that names another digest than it was given is found out before anything large moves', async () => {
  await expectRefusal(lying(), two, /stored it as sha256:0000/);
});
