/** What travels with an image is told apart, and shown with the image instead of beside it. */
import { join } from 'node:path';
import type { BundleDocument } from '@omni-airgap/format';
import type { Layout } from '@omni-airgap/oci/layout';
import { type Descriptor, type Digest, descriptorOf, MediaType, openerOf } from '@omni-airgap/oci/model';
import { buildManifest } from '@omni-airgap/oci/testing';
import { expect, test } from 'vitest';
import { attachmentsText } from '../src/report/attachments.ts';
import { type Summary, summarize } from '../src/report/summary.ts';
import { TestStore, temporaryFolder } from './store.ts';

const repository = 'ghcr.io/acme/app';
const dsse = 'application/vnd.dsse.envelope.v1+json';

interface Layer {
  readonly mediaType: string;
  readonly annotations?: Readonly<Record<string, string>>;
}

/** Pushes a manifest with one small layer for each of these. */
async function push(layout: Layout, layers: readonly Layer[], members: object = {}): Promise<Descriptor> {
  const put = async (descriptor: Descriptor, bytes: Uint8Array): Promise<Descriptor> => {
    await layout.push(descriptor, openerOf(bytes));
    return descriptor;
  };
  const config = await put(descriptorOf(MediaType.empty, Buffer.from('{}')), Buffer.from('{}'));
  const made: object[] = [];
  for (const layer of layers) {
    const bytes = Buffer.from(JSON.stringify([made.length, layer, members]));
    made.push({ ...layer, ...(await put(descriptorOf(layer.mediaType, bytes), bytes)) });
  }
  const { descriptor, bytes } = buildManifest(MediaType.ociManifest, { config, layers: made, ...members });
  return put(descriptor, bytes);
}

function companion(digest: Digest, suffix: string): string {
  return `${repository}:sha256-${digest.slice(7)}${suffix}`;
}

async function summaryOf(
  layout: Layout,
  roots: Readonly<Record<string, Descriptor>>,
  carried: (digest: Digest) => boolean = () => true,
): Promise<Summary> {
  const blobs = Object.values(roots).flatMap(({ digest, size }) =>
    carried(digest) ? [{ digest, size, volume: 0, offset: 0 }] : [],
  );
  const document: BundleDocument = {
    kind: 'omni-airgap/bundle',
    schema: 1,
    id: 'a'.repeat(64),
    origin: 'b'.repeat(32),
    sequence: 1,
    createdAt: '2026-01-01T00:00:00Z',
    tool: 'test',
    roots: Object.entries(roots).map(([name, { mediaType, digest, size }]) => ({
      name,
      descriptor: { mediaType, digest, size },
      kind: /[:@]sha256[-:]/.test(name) ? 'signature' : 'image',
    })),
    blobs,
    volumes: [],
    files: [],
    egress: [],
  };
  return summarize(document, layout);
}

test('signatures, attestations and SBOMs of all forms are properties of their image', async () => {
  const { layout } = await TestStore.create(join(await temporaryFolder(), 'store'));
  const child = await push(layout, [{ mediaType: 'application/vnd.oci.image.layer.v1.tar' }]);
  const built = await push(
    layout,
    [
      {
        mediaType: 'application/vnd.in-toto+json',
        annotations: { 'in-toto.io/predicate-type': 'https://spdx.dev/Document' },
      },
      {
        mediaType: 'application/vnd.in-toto+json',
        annotations: { 'in-toto.io/predicate-type': 'https://slsa.dev/provenance/v0.2' },
      },
    ],
    { annotations: { of: 'buildkit' } },
  );
  const index = buildManifest(MediaType.ociIndex, {
    manifests: [
      {
        ...built,
        platform: { os: 'unknown', architecture: 'unknown' },
        annotations: {
          'vnd.docker.reference.type': 'attestation-manifest',
          'vnd.docker.reference.digest': child.digest,
        },
      },
      { ...child, platform: { os: 'linux', architecture: 'amd64' } },
    ],
  });
  await layout.push(index.descriptor, openerOf(index.bytes));
  const image = index.descriptor;
  const signature = await push(layout, [
    { mediaType: 'application/vnd.dev.cosign.simplesigning.v1+json' },
    { mediaType: 'application/vnd.dev.cosign.simplesigning.v1+json', annotations: { second: '' } },
  ]);
  const attestation = await push(layout, [
    { mediaType: dsse, annotations: { predicateType: 'https://cyclonedx.org/bom' } },
    { mediaType: dsse, annotations: { predicateType: 'https://acme.example/scan' } },
  ]);
  const sbom = await push(layout, [{ mediaType: 'text/spdx+json' }]);
  const bundle = { artifactType: 'application/vnd.dev.sigstore.bundle.v0.3+json', subject: image };
  const referrer = await push(layout, [{ mediaType: bundle.artifactType }], {
    ...bundle,
    annotations: { 'dev.sigstore.bundle.predicateType': 'https://sigstore.dev/cosign/sign/v1' },
  });
  const ofSbom = await push(layout, [{ mediaType: 'application/vnd.dev.cosign.simplesigning.v1+json' }], {
    annotations: { of: 'the SBOM' },
  });
  const stranger = await push(layout, [{ mediaType: 'application/x-tar' }], {
    annotations: { of: 'elsewhere' },
  });
  const { items } = await summaryOf(layout, {
    [companion(sbom.digest, '.sig')]: ofSbom,
    [`${repository}:v1`]: image,
    [companion(image.digest, '.sig')]: signature,
    [companion(child.digest, '.att')]: attestation,
    [companion(image.digest, '.sbom')]: sbom,
    [`${repository}@${referrer.digest}`]: referrer,
    [companion(stranger.digest, '.sig')]: stranger,
    'ghcr.io/other/app:v1': child,
  });
  expect(items.map(({ name }) => name)).toEqual([
    `${repository}:v1`,
    'ghcr.io/other/app:v1',
    companion(stranger.digest, '.sig'),
  ]);
  const [app, other] = items;
  expect(other?.attachments).toEqual([]);
  expect(app?.platforms).toEqual(['linux/amd64']);
  expect(app?.companions).toHaveLength(5);
  expect(attachmentsText(app?.attachments ?? [])).toBe(
    '4 signatures, SBOM (CycloneDX) for linux/amd64, attestation (https://acme.example/scan) for linux/amd64, SBOM (SPDX) for linux/amd64, attestation (SLSA provenance) for linux/amd64',
  );
});

test('a signature that came with a base is known by its tag', async () => {
  const { layout } = await TestStore.create(join(await temporaryFolder(), 'store'));
  const image = await push(layout, [{ mediaType: 'application/vnd.oci.image.layer.v1.tar' }]);
  const lost = descriptorOf(MediaType.ociManifest, Buffer.from('with a base'));
  const { items } = await summaryOf(
    layout,
    { [`${repository}:v1`]: image, [companion(image.digest, '.sig')]: lost },
    (digest) => digest !== lost.digest,
  );
  expect(items).toHaveLength(1);
  expect(items[0]?.attachments).toEqual([{ kind: 'signature', manifest: lost.digest }]);
});
