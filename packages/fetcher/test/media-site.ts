/** What the Image Factory has for the vanilla schematic, and how tests look at what was kept of it. */
import type { ServerResponse } from 'node:http';
import { Layout } from '@omni-airgap/oci/layout';
import { collect, fetchManifest } from '@omni-airgap/oci/model';
import { schematicFrom } from '@omni-airgap/talos';
import { factoryHost } from './factory-double.ts';
import { assetBytes, type Site, startSite, talosVersion } from './site.ts';

export const vanilla = schematicFrom('customization: {}\n');
export const iso = `image/${vanilla.id}/${talosVersion}/metal-amd64.iso`;
const kernel = `image/${vanilla.id}/${talosVersion}/kernel-amd64`;
export const setName = `factory.talos.dev/talos-media/${vanilla.id}:${talosVersion}`;

export const mirrorOf = (files: readonly string[], schematic = '{customization: {}}', more = ''): string =>
  `talos: {versions: [${talosVersion}]${more}}\nmedia: [{schematic: ${schematic}, files: [${files.join(', ')}]}]`;

/** Everything that the factory has for the vanilla schematic. @param hosts registries besides */
export async function mediaSite(hosts: Parameters<typeof startSite>[0] = {}): Promise<Site> {
  const site = await startSite(hosts);
  const { files } = site.factory;
  files.set(iso, await assetBytes('metal-amd64.iso', 1, 700_000));
  files.set(kernel, await assetBytes('kernel-amd64', 2, 30_000));
  files.set('versions', Buffer.from('["v1.12.4","v1.13.9","v1.14.0-rc.1"]'));
  files.set(
    `version/${talosVersion}/extensions/official`,
    Buffer.from('[{"name":"siderolabs/iscsi-tools"}]\n'),
  );
  files.set(`version/${talosVersion}/overlays/official`, Buffer.from('[]\n'));
  files.set(
    `talosctl/${talosVersion}`,
    Buffer.from(
      JSON.stringify(
        ['linux-amd64', 'darwin-arm64'].map(
          (system) => `https://${factoryHost}/talosctl/${talosVersion}/talosctl-${system}`,
        ),
      ),
    ),
  );
  files.set(
    `talosctl/${talosVersion}/talosctl-linux-amd64`,
    await assetBytes('talosctl-linux-amd64', 3, 40_000),
  );
  files.set(
    `talosctl/${talosVersion}/talosctl-darwin-arm64`,
    await assetBytes('talosctl-darwin-arm64', 4, 40_000),
  );
  files.set('secureboot/signing-cert.pem', Buffer.from('-----BEGIN CERTIFICATE-----\n'));
  files.set('oci/cosign/signing-key.pub', Buffer.from('-----BEGIN PUBLIC KEY-----\n'));
  return site;
}

/** One answer, whole. */
export const text = (response: ServerResponse, status: number, body: string): void => {
  response.writeHead(status, { 'content-length': Buffer.byteLength(body) }).end(body);
};

/** As the factory's Enterprise edition signs. */
export const bundleOver = (digest: Uint8Array, change: object = {}): string =>
  JSON.stringify({
    mediaType: 'application/vnd.dev.sigstore.bundle.v0.3+json',
    verificationMaterial: { publicKey: { hint: 'aGludA==' } },
    messageSignature: {
      messageDigest: { algorithm: 'SHA2_256', digest: Buffer.from(digest).toString('base64') },
      signature: 'c2ln',
    },
    ...change,
  });

/** Files of an artifact in the store, by title. */
export async function filesOf(site: Site, name: string): Promise<Record<string, Buffer>> {
  const layout = await Layout.open(site.store);
  const root = await layout.resolve(name);
  if (root === undefined) throw new Error(`no ${name}`);
  const { manifest } = await fetchManifest(layout, root);
  if (manifest.kind !== 'image') throw new Error('an artifact was expected');
  const files: Record<string, Buffer> = {};
  for (const layer of manifest.layers) {
    const title = layer.annotations?.['org.opencontainers.image.title'] ?? '';
    files[title] = Buffer.from(await collect(layout.fetch(layer), 10_000_000, title));
  }
  return files;
}
