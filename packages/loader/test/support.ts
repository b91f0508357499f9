/** What tests of loading share: a bundle made in a temporary folder, a registry double, and load between them. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { BundleDocument } from '@omni-airgap/format';
import { type TestBundleOptions, writeTestBundle } from '@omni-airgap/format/testing';
import { Layout } from '@omni-airgap/oci/layout';
import { type Descriptor, descriptorOf, hexOf, MediaType, openerOf } from '@omni-airgap/oci/model';
import {
  type RegistryDouble,
  type RegistryDoubleOptions,
  startRegistryDouble,
} from '@omni-airgap/oci/testing';
import { onTestFinished } from 'vitest';
import { type LoadReport, load } from '../src/load.ts';
import type { LoadOptions } from '../src/options.ts';
import { openBundles } from '../src/source.ts';

export async function temporary(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'omni-airgap-load-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

export interface TestBundle {
  readonly folder: string;
  readonly document: BundleDocument;
}

/** A bundle of what `fill` puts into a layout. */
export async function makeBundle(
  fill: (layout: Layout) => Promise<void>,
  options: TestBundleOptions &
    Partial<Pick<BundleDocument, 'origin' | 'sequence' | 'relies' | 'sparse'>> = {},
): Promise<TestBundle> {
  const root = await temporary();
  const layout = await Layout.open(join(root, 'store'), { create: true });
  await fill(layout);
  const folder = join(root, 'bundle');
  const { volumeSize, key, base, withdraws, ...members } = options;
  await writeTestBundle(layout, folder, {
    ...(volumeSize === undefined ? {} : { volumeSize }),
    ...(key === undefined ? {} : { key }),
    ...(base === undefined ? {} : { base }),
    ...(withdraws === undefined ? {} : { withdraws }),
  });
  const path = join(folder, 'bundle.json');
  const document = { ...(JSON.parse(await readFile(path, 'utf8')) as BundleDocument), ...members };
  if (Object.keys(members).length > 0) await writeFile(path, JSON.stringify(document));
  return { folder, document };
}

export async function startDouble(options: RegistryDoubleOptions = {}): Promise<RegistryDouble> {
  const double = await startRegistryDouble(options);
  onTestFinished(() => double.close());
  return double;
}

/** Loads without waiting for anybody's signature. */
export async function loadInto(
  double: Pick<RegistryDouble, 'host'>,
  bundles: readonly string[],
  { spool, ...options }: Partial<LoadOptions> & { readonly spool?: string } = {},
): Promise<LoadReport> {
  return load({ ...(await settings(double, bundles, spool)), ...options });
}

export async function settings(
  { host }: Pick<RegistryDouble, 'host'>,
  bundles: readonly string[],
  spool?: string,
): Promise<LoadOptions> {
  return {
    source: await openBundles(bundles, { mode: 'any' }, spool),
    registry: { host, prefix: '' },
    state: await temporary(),
    network: { upstreams: [], allowHosts: [], plainHttp: [host], env: {} },
    tool: 'test',
  };
}

export const app = 'ghcr.io/acme/app:v1';
export const tool = 'ghcr.io/acme/tool:v1';
/** Bytes of each layer of `two`. */
export const big = 300_000;

/** Two images of one layer each. */
export async function two(layout: Layout): Promise<void> {
  await addImage(layout, app, bytesFor('app', big));
  await addImage(layout, tool, bytesFor('tool', big));
}

/** An image with a cosign signature, a referrer, and a referrer of that one. */
export async function signed(layout: Layout): Promise<void> {
  const image = await addImage(layout, app, bytesFor('app', 1000));
  const config = await addBlob(layout, MediaType.empty, Buffer.from('{}'));
  await addSignature(layout, 'ghcr.io/acme/app', image, config);
  const sbom = await addReferrer(layout, 'application/vnd.test.sbom', image, config);
  await addReferrer(layout, 'application/vnd.test.signature', sbom, config);
}

/** A referrer of a manifest of ghcr.io/acme/app, known by its digest. @param content its config and only layer */
export async function addReferrer(
  layout: Layout,
  artifactType: string,
  subject: Descriptor,
  content: Descriptor,
): Promise<Descriptor> {
  const members = { artifactType, config: content, layers: [content], subject };
  const referrer = await addManifest(layout, undefined, MediaType.ociManifest, members);
  await layout.tag(referrer, `ghcr.io/acme/app@${referrer.digest}`);
  return referrer;
}

/** A signature of cosign's under its tag; nobody's key made it. */
export async function addSignature(
  layout: Layout,
  repository: string,
  { digest }: Descriptor,
  config: Descriptor,
): Promise<void> {
  const payload = Buffer.from('{"a":1}');
  const layer = await addBlob(layout, 'application/vnd.dev.cosign.simplesigning.v1+json', payload);
  const annotations = { 'dev.cosignproject.cosign/signature': 'AAAA' };
  await addManifest(layout, `${repository}:sha256-${hexOf(digest)}.sig`, MediaType.ociManifest, {
    config,
    layers: [{ ...layer, annotations }],
  });
}

/** An image of one layer in a layout, under a name. */
export async function addImage(
  layout: Layout,
  name: string,
  layer: Uint8Array,
  types = {
    manifest: 'application/vnd.oci.image.manifest.v1+json',
    config: 'application/vnd.oci.image.config.v1+json',
  },
): Promise<Descriptor> {
  const blob = await addBlob(layout, 'application/vnd.oci.image.layer.v1.tar', layer);
  const config = await addBlob(layout, types.config, Buffer.from(JSON.stringify({ of: blob.digest })));
  return addManifest(layout, name, types.manifest, { config, layers: [blob] });
}

export async function addBlob(layout: Layout, mediaType: string, bytes: Uint8Array): Promise<Descriptor> {
  const descriptor = descriptorOf(mediaType, bytes);
  await layout.push(descriptor, openerOf(bytes));
  return descriptor;
}

export async function addManifest(
  layout: Layout,
  name: string | undefined,
  mediaType: string,
  members: object,
): Promise<Descriptor> {
  const descriptor = await addBlob(
    layout,
    mediaType,
    Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType, ...members })),
  );
  if (name !== undefined) await layout.tag(descriptor, name);
  return descriptor;
}

/** Bytes that compress to nothing else: the same for the same seed. */
export function bytesFor(seed: string, size: number): Buffer {
  return Buffer.alloc(size, `${seed} `);
}
