/** Puts manifests into a registry by plain HTTP, for what no packager of the system makes: signatures, referrers. */
import { createHash } from 'node:crypto';
import { expect } from 'vitest';
import { type BuiltManifest, buildManifest } from '../../packages/oci/src/testing/index.ts';
import type { Registry } from '../services/docker-registry.ts';

const manifestType = 'application/vnd.oci.image.manifest.v1+json';
const indexType = 'application/vnd.oci.image.index.v1+json';
const emptyType = 'application/vnd.oci.empty.v1+json';

interface Subject {
  readonly repository: string;
  readonly digest: string;
}

/** What a registry holds besides the image itself: tag and digest of each. */
export interface Companions {
  readonly signature: { readonly tag: string; readonly digest: string };
  readonly referrers: { readonly tag: string; readonly digest: string; readonly sbom: string };
}

/** Pushes a cosign signature under its tag, and an SBOM that is listed in the referrers tag. */
export async function publishCompanions(registry: Registry, subject: Subject): Promise<Companions> {
  const { repository, digest } = subject;
  const base = digest.replace(':', '-');
  const payload = Buffer.from(
    JSON.stringify({ critical: { image: { 'docker-manifest-digest': digest } }, optional: null }),
  );
  const config = await pushBlob(registry, repository, Buffer.from('{}'), emptyType);
  const layer = await pushBlob(
    registry,
    repository,
    payload,
    'application/vnd.dev.cosign.simplesigning.v1+json',
  );
  const annotations = {
    'dev.cosignproject.cosign/signature': Buffer.from('not checked here').toString('base64'),
  };
  const signature = buildManifest(manifestType, { config, layers: [{ ...layer, annotations }] });
  await pushManifest(registry, repository, `${base}.sig`, signature);
  const text = await pushBlob(
    registry,
    repository,
    Buffer.from('{"spdxVersion":"SPDX-2.3"}'),
    'text/spdx+json',
  );
  const sbom = buildManifest(manifestType, {
    artifactType: 'application/spdx+json',
    config,
    layers: [text],
    subject: { mediaType: indexType, digest, size: await sizeOf(registry, repository, digest) },
  });
  await pushManifest(registry, repository, sbom.descriptor.digest, sbom);
  const listed = { ...sbom.descriptor, artifactType: 'application/spdx+json' };
  const referrers = buildManifest(indexType, { manifests: [listed] });
  await pushManifest(registry, repository, base, referrers);
  return {
    signature: { tag: `${base}.sig`, digest: signature.descriptor.digest },
    referrers: { tag: base, digest: referrers.descriptor.digest, sbom: sbom.descriptor.digest },
  };
}

/** The digest that a registry has under a name; undefined when it has none. */
export async function digestAt(
  registry: { readonly host: string },
  repository: string,
  name: string,
): Promise<string | undefined> {
  const answer = await fetch(`http://${registry.host}/v2/${repository}/manifests/${name}`, {
    headers: { Accept: `${manifestType}, ${indexType}` },
  });
  if (answer.status === 404) return undefined;
  expect(answer.status, `${repository}:${name}`).toBe(200);
  return `sha256:${createHash('sha256')
    .update(await answer.bytes())
    .digest('hex')}`;
}

async function sizeOf(registry: Registry, repository: string, digest: string): Promise<number> {
  const answer = await fetch(`${registry.url}/v2/${repository}/manifests/${digest}`, {
    headers: { Accept: indexType },
  });
  return (await answer.bytes()).byteLength;
}

async function pushBlob(registry: Registry, repository: string, bytes: Buffer, mediaType: string) {
  const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
  const started = await fetch(`${registry.url}/v2/${repository}/blobs/uploads/`, { method: 'POST' });
  const location = new URL(started.headers.get('location') ?? '', registry.url);
  location.searchParams.set('digest', digest);
  const answer = await fetch(location, { method: 'PUT', body: new Uint8Array(bytes) });
  expect(answer.status).toBe(201);
  return { mediaType, digest, size: bytes.byteLength };
}

async function pushManifest(
  registry: Registry,
  repository: string,
  name: string,
  { descriptor, bytes }: BuiltManifest,
): Promise<void> {
  const answer = await fetch(`${registry.url}/v2/${repository}/manifests/${name}`, {
    method: 'PUT',
    headers: { 'Content-Type': descriptor.mediaType },
    body: new Uint8Array(bytes),
  });
  expect(answer.status, await answer.text()).toBe(201);
}
