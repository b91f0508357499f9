/** --trim-indexes: an index of the carried platforms, for registries that refuse one that lacks some. Finding P8. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseReceiptDocument } from '@omni-airgap/format';
import type { Layout } from '@omni-airgap/oci/layout';
import { type Descriptor, type Digest, digestFromHex, digestOf, MediaType } from '@omni-airgap/oci/model';
import { quay } from '@omni-airgap/oci/testing';
import { describe, expect, test } from 'vitest';
import { dryRun } from '../src/load.ts';
import {
  addBlob,
  addImage,
  addManifest,
  addReferrer,
  addSignature,
  app,
  bytesFor,
  loadInto,
  makeBundle,
  settings,
  startDouble,
  type TestBundle,
  temporary,
  tool,
} from './support.ts';

const absent = digestFromHex('a'.repeat(64));

interface IndexOptions {
  /** Architectures of which an image is carried; one more never is. */
  readonly carried?: readonly string[];
  /** More members of the index. */
  readonly members?: object;
}

/** An index under a name, of which one platform is not carried. */
async function addPartial(
  layout: Layout,
  name: string,
  { carried = ['amd64', 'arm64'], members = {} }: IndexOptions = {},
): Promise<Descriptor> {
  const manifests: object[] = [
    { mediaType: MediaType.ociManifest, size: 400, ...image('s390x'), digest: absent },
  ];
  for (const architecture of carried) {
    const child = await addImage(layout, 'ghcr.io/acme/child:v1', bytesFor(`${name} ${architecture}`, 1000));
    await layout.untag('ghcr.io/acme/child:v1');
    manifests.push({ ...child, ...image(architecture) });
  }
  return addManifest(layout, name, MediaType.ociIndex, { manifests, ...members });
}

function image(architecture: string): object {
  return {
    platform: { os: 'linux', architecture },
    annotations: { 'com.example.of': architecture },
  };
}

/** A bundle that knows its indexes lack platforms. */
async function partial(fill: (layout: Layout) => Promise<readonly Descriptor[]>): Promise<TestBundle> {
  let sparse: readonly Descriptor[] = [];
  const make = async (layout: Layout): Promise<void> => {
    sparse = await fill(layout);
  };
  await makeBundle(make);
  return makeBundle(make, { sparse: [...sparse] });
}

test('P8 two platforms of three: the message names --trim-indexes, which tags an index of these two', async () => {
  const annotations = { 'org.opencontainers.image.version': '1.0' };
  const { folder, document } = await partial(async (layout) => {
    const index = await addPartial(layout, app, { members: { annotations } });
    const config = await addBlob(layout, MediaType.empty, Buffer.from('{}'));
    await addSignature(layout, 'ghcr.io/acme/app', index, config);
    await addReferrer(layout, 'application/vnd.test.sbom', index, config);
    return [index];
  });
  const index = document.roots.find(({ name }) => name === app)?.descriptor;
  const refusing = await startDouble();
  for (const flatten of [false, true]) {
    const { missing } = await loadInto(refusing, [folder], { flatten });
    expect(missing).toMatchObject([{ name: app, why: 'refused' }]);
    const error = missing[0]?.message;
    expect(error).toMatch(
      /leave `platforms` out.*--trim-indexes, which tags an index of the carried platforms/,
    );
    expect(error).not.toMatch(/--flatten/);
  }

  const double = await startDouble();
  const receipt = join(await temporary(), 'receipt.json');
  const handoff = await temporary();
  const options = { trimIndexes: true, receipt, handoff, verify: 'full' } as const;
  const plan = await dryRun({ ...(await settings(double, [folder])), trimIndexes: true });
  const report = await loadInto(double, [folder], options);
  expect(report.missing).toEqual([]);
  expect(report.verifiedBytes).toBe(plan.bytes);
  const repository = double.repository('acme/app');
  const tagged = repository.tags.get('v1') as Digest;
  const { bytes, mediaType } = repository.manifests.get(tagged) ?? { bytes: Buffer.of(), mediaType: '' };
  expect(mediaType).toBe(MediaType.ociIndex);
  const trimmed = JSON.parse(Buffer.from(bytes).toString()) as {
    manifests: (Descriptor & { digest: Digest })[];
  };
  expect(trimmed).toMatchObject({ schemaVersion: 2, mediaType: MediaType.ociIndex, annotations });
  expect(trimmed.manifests.map((child) => child.annotations)).toEqual([
    { 'com.example.of': 'amd64' },
    { 'com.example.of': 'arm64' },
  ]);
  for (const { digest } of trimmed.manifests) expect(repository.manifests.has(digest)).toBe(true);
  expect(repository.manifests.has(index?.digest as Digest)).toBe(false);

  const signatures = document.roots.map(({ name }) => name).filter((name) => name !== app);
  expect(signatures).toHaveLength(2);
  expect(report.trimmed).toEqual([{ name: app, index: index?.digest, digest: tagged, signatures }]);
  const text = await readFile(receipt, 'utf8');
  expect(text.split('\n')[0]).not.toContain(document.id);
  const written = parseReceiptDocument(Buffer.from(text));
  expect(written.trimmed).toEqual(report.trimmed);
  expect(written.images.find(({ name }) => name === app)?.digest).toBe(tagged);
  expect(written.images).toHaveLength(3);
  expect(await readFile(join(handoff, 'README.txt'), 'utf8')).toContain(`${double.host}/acme/app:v1\n`);

  const before = double.requests.length;
  const second = await loadInto(double, [folder], { trimIndexes: true });
  expect(second.registry?.storedBlobs).toBe(0);
  const writes = double.requests
    .slice(before)
    .filter(({ method, path }) => method === 'PUT' && path.includes('acme/app'));
  expect(writes).toEqual([]);
  expect(second.trimmed).toEqual(report.trimmed);

  // Elsewhere the same children make the same index.
  const elsewhere = await startDouble({ checkChildren: false });
  await loadInto(elsewhere, [folder], { trimIndexes: true });
  expect(elsewhere.repository('acme/app').tags.get('v1')).toBe(tagged);
  expect(digestOf(bytes)).toBe(tagged);
  // A tag that stands for the whole index is no business of the flag.
  const lenient = await startDouble({ checkChildren: false });
  await loadInto(lenient, [folder]);
  await expect(loadInto(lenient, [folder], { trimIndexes: true })).rejects.toMatchObject({
    code: 'CONFLICT',
  });
});

test('P8 one platform: both flags are named, each does what it says, and together --flatten comes first', async () => {
  const { folder } = await partial(async (layout) => [
    await addPartial(layout, app, { carried: ['amd64'] }),
    await addPartial(layout, tool),
  ]);
  const double = await startDouble();
  const notes: string[] = [];
  const progress = { note: (text: string) => void notes.push(text), expect: () => {}, advance: () => {} };
  await expect(loadInto(double, [folder], { progress })).rejects.toThrow(/--trim-indexes/);
  expect(notes.filter((note) => note.startsWith(`not loaded: ${app}`)).join()).toMatch(
    /index of the carried platform, or --flatten/,
  );
  expect(notes.filter((note) => note.startsWith(`not loaded: ${tool}`)).join()).not.toMatch(/--flatten/);
  const report = await loadInto(double, [folder], { flatten: true, trimIndexes: true });
  expect(report.flattened).toEqual([app]);
  expect(report.trimmed.map(({ name }) => name)).toEqual([tool]);
  const other = await startDouble();
  const both = await loadInto(other, [folder], { trimIndexes: true });
  expect(both.trimmed.map(({ name }) => name)).toEqual([app, tool]);
});

describe('P8 an index that something names by its digest is not trimmed', () => {
  const pinned = 'ghcr.io/acme/pinned';
  const extension = 'ghcr.io/siderolabs/tool:v1';
  test.each([
    [
      'by a tag with a digest',
      async (layout: Layout) => {
        const index = await addPartial(layout, `${pinned}:v2`);
        await layout.tag(index, `${pinned}:v1@${index.digest}`);
        return [index];
      },
      /acme\/pinned:v1@sha256:[a-f0-9]{64} names its digest/,
    ],
    [
      'by a digest alone',
      async (layout: Layout) => {
        const index = await addPartial(layout, `${pinned}:v2`);
        await layout.tag(index, `${pinned}@${index.digest}`);
        return [index];
      },
      /acme\/pinned@sha256:[a-f0-9]{64} names its digest/,
    ],
    [
      'by a catalog',
      async (layout: Layout) => {
        await addImage(layout, 'ghcr.io/siderolabs/extensions:v1.13.9', bytesFor('catalog', 10));
        return [await addPartial(layout, extension)];
      },
      /siderolabs\/tool:v1 belongs to the Image Factory/,
    ],
    [
      'as a source of an Image Factory',
      async (layout: Layout) => [await addPartial(layout, 'ghcr.io/siderolabs/imager:v1.13.9')],
      /siderolabs\/imager:v1\.13\.9 belongs to the Image Factory/,
    ],
    [
      'by an index that contains it',
      async (layout: Layout) => {
        const inner = await addPartial(layout, `${pinned}:inner`);
        return [await addManifest(layout, `${pinned}:v1`, MediaType.ociIndex, { manifests: [inner] }), inner];
      },
      /acme\/pinned:v1 contains it/,
    ],
  ] as const)('%s', async (_, fill, reason) => {
    const { folder, document } = await partial(async (layout) => {
      await addImage(layout, app, bytesFor('app', 1000));
      return fill(layout);
    });
    const own = document.sparse?.map(({ digest }) => digest) ?? [];
    const names = document.roots.filter(({ descriptor }) => own.includes(descriptor.digest));
    const double = await startDouble();
    const { missing, trimmed } = await loadInto(double, [folder], { trimIndexes: true });
    expect(missing.map(({ name }) => name)).toEqual(expect.arrayContaining(names.map(({ name }) => name)));
    expect(missing.map(({ message }) => message).join()).toMatch(reason);
    expect(trimmed).toEqual([]);
    expect(double.repository('acme/app').tags.has('v1')).toBe(true);
    const lenient = await startDouble({ checkChildren: false });
    const report = await loadInto(lenient, [folder], { trimIndexes: true });
    expect(report.missing).toEqual([]);
    expect(report.trimmed).toEqual([]);
    expect(report.warnings.join()).toMatch(reason);
    for (const { name, descriptor } of names) {
      expect(report.receipt.images.find((image) => image.name === name)?.digest).toBe(descriptor.digest);
    }
  });
});

test('P8 Kubernetes is offered when its images were trimmed by an earlier load', async () => {
  const kubelet = 'ghcr.io/siderolabs/kubelet:v1.36.1';
  const { folder } = await partial(async (layout) => [
    await addPartial(layout, kubelet),
    await addPartial(layout, 'registry.k8s.io/kube-proxy:v1.36.1'),
  ]);
  const double = await startDouble();
  const first = await loadInto(double, [folder], { trimIndexes: true, except: [kubelet] });
  expect(first.trimmed).toHaveLength(1);
  const { missing } = await loadInto(double, [folder], { trimIndexes: true, only: [kubelet] });
  expect(missing.filter(({ why }) => why !== 'excluded')).toEqual([]);
  expect(double.repository('siderolabs/kubelet').tags.has('v1.36.1')).toBe(true);
});

test.each([
  [
    'all of them OCI images',
    MediaType.dockerManifest,
    MediaType.ociManifest,
    /another registry.*--trim-indexes/,
  ],
  ['a Docker image among them', MediaType.ociManifest, MediaType.dockerManifest, /another registry/],
])(
  'P8 an index with Docker images, %s: --trim-indexes is named where it helps',
  async (_, left, kept, advice) => {
    const { folder } = await partial(async (layout) => {
      const types = { manifest: kept, config: MediaType.ociConfig };
      const manifests: object[] = [{ mediaType: left, size: 400, ...image('s390x'), digest: absent }];
      for (const architecture of ['amd64', 'arm64']) {
        const child = await addImage(layout, 'ghcr.io/acme/child:v1', bytesFor(architecture, 1000), types);
        manifests.push({ ...child, platform: { os: 'linux', architecture } });
      }
      await layout.untag('ghcr.io/acme/child:v1');
      return [await addManifest(layout, app, MediaType.ociIndex, { manifests })];
    });
    const double = await startDouble({ ...quay(true), checkChildren: false });
    const error = await loadInto(double, [folder]).catch(String);
    expect(error).toMatch(advice);
    expect(/--flatten/.test(String(error))).toBe(false);
    expect(/--trim-indexes/.test(String(error))).toBe(kept === MediaType.ociManifest);
  },
);
