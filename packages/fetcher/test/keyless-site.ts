/** A site with one image and the keyless signatures that a test gives it. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Descriptor, type Digest, MediaType } from '@omni-airgap/oci/model';
import { buildManifest } from '@omni-airgap/oci/testing';
import type { FetchOptions } from '../src/fetch.ts';
import { authority, expected, type Made } from './keyless-cases.ts';
import { bundleType, claimType } from './sigstore-authority.ts';
import { publishImage, type Site, startSite } from './site.ts';

export const dex = 'ghcr.io/dexidp/dex:v1';
export const identities = {
  verifyImagesIdentities: [expected.identity],
  verifyImagesIssuers: [expected.issuer],
};

export async function site(
  make: (digest: Digest) => readonly Made[],
  options: Parameters<typeof startSite>[0] = { 'ghcr.io': {} },
): Promise<{ at: Site; root: Descriptor }> {
  const at = await startSite(options);
  const registry = at.registry('ghcr.io');
  const { root, children } = await publishImage(registry, 'dexidp/dex', 'v1');
  const repository = registry.repository('dexidp/dex');
  const base = root.digest.replace(':', '-');
  const layers: Descriptor[] = [];
  const referrers: Descriptor[] = [];
  for (const one of make(root.digest)) {
    if ('payload' in one) {
      layers.push({
        ...repository.addBlob(Buffer.from(one.payload), claimType),
        annotations: one.annotations,
      });
    } else {
      const { mediaType = bundleType } = one;
      const layer = repository.addBlob(Buffer.from(one.bundle), mediaType);
      const config = repository.addBlob(Buffer.from('{}'), MediaType.empty);
      const { bytes } = buildManifest(MediaType.ociManifest, {
        config,
        layers: [layer],
        artifactType: mediaType,
        subject: one.ofChild === true ? (children[0] ?? root) : root,
      });
      referrers.push(repository.addManifest(bytes, MediaType.ociManifest));
    }
  }
  if (layers.length > 0) {
    const config = repository.addBlob(Buffer.from('{}'), MediaType.ociConfig);
    const { bytes } = buildManifest(MediaType.ociManifest, { config, layers });
    repository.addManifest(bytes, MediaType.ociManifest, `${base}.sig`);
  }
  if (options?.['ghcr.io']?.referrersApi === false) {
    const { bytes } = buildManifest(MediaType.ociIndex, { manifests: referrers });
    repository.addManifest(bytes, MediaType.ociIndex, base);
  }
  await at.mirror(`images: ['${dex}']`);
  return { at, root };
}

export async function rootFile(
  at: Site,
  document: unknown = authority.trustedRoot(),
  name = 'root',
): Promise<string> {
  const path = join(at.folder, `${name}.json`);
  await writeFile(path, typeof document === 'string' ? document : JSON.stringify(document));
  return path;
}

export async function fetchWith(at: Site, options: Partial<FetchOptions> = {}) {
  return at.fetch({ sigstoreRoot: await rootFile(at), ...identities, ...options });
}

export const recorded = async (at: Site) => (await at.lock()).items.find((one) => one.name === dex)?.verified;
export const signer = { identity: 'somebody@example.com', issuer: 'https://accounts.example' };
