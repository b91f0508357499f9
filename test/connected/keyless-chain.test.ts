/**
 * The chain of trust across the gap, with the real commands: who signed is verified outside, stands in every document
 * on the way, and inside the site's key takes over.
 */
import { existsSync, readFileSync } from 'node:fs';
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { authority, expected, signed, stranger } from '../../packages/fetcher/test/keyless-cases.ts';
import { claimType } from '../../packages/fetcher/test/sigstore-authority.ts';
import { publishImage } from '../../packages/fetcher/test/site.ts';
import { type Descriptor, MediaType } from '../../packages/oci/src/model/index.ts';
import {
  buildManifest,
  type RegistryDouble,
  startRegistryDouble,
} from '../../packages/oci/src/testing/index.ts';
import { cli, cliJson } from '../support/cli.ts';
import { upstreamFlags, type Workspace, workspace } from '../support/workspace.ts';

const imager = 'ghcr.io/siderolabs/imager:v1.13.9';
const kubelet = 'ghcr.io/siderolabs/kubelet:v1.34.1';
const sidero = { identity: 'ann@siderolabs.com', issuer: 'https://accounts.google.com' };

let upstream: RegistryDouble;
let site: Workspace;
let flags: readonly string[];

beforeAll(async () => {
  upstream = await startRegistryDouble();
  const { root } = await publishImage(upstream, 'siderolabs/imager', 'v1.13.9');
  attachLayer(root);
  await publishImage(upstream, 'siderolabs/kubelet', 'v1.34.1', { seed: 2 });
  site = await workspace(`images: ['${imager}', '${kubelet}']`);
  site.write('trusted_root.json', JSON.stringify(authority.trustedRoot()));
  flags = [...site.store, ...upstreamFlags({ 'ghcr.io': upstream.url }), '--sigstore-root'];
  return () => upstream.close();
});

function attachLayer(root: Descriptor): void {
  const made = signed('layer', root.digest, sidero, 'ghcr.io/siderolabs/imager');
  if (!('payload' in made)) throw new Error('no layer');
  const repository = upstream.repository('siderolabs/imager');
  const layer = {
    ...repository.addBlob(Buffer.from(made.payload), claimType),
    annotations: made.annotations,
  };
  const config = repository.addBlob(Buffer.from('{}'), MediaType.ociConfig);
  const { bytes } = buildManifest(MediaType.ociManifest, { config, layers: [layer] });
  repository.addManifest(bytes, MediaType.ociManifest, `${root.digest.replace(':', '-')}.sig`);
}

describe('the chain of trust', () => {
  test('an image without a signature is refused until it is named', async () => {
    const { code, stderr } = await cli(['fetch', ...flags, site.at('trusted_root.json')]);
    expect(code).toBe(3);
    expect(stderr).toContain(`${kubelet}: has no signature`);
    expect(stderr).toContain('--verify-images-except PREFIX');
  });

  test('another trust root, and another identity, are refused', async () => {
    site.write('other.json', JSON.stringify(stranger.trustedRoot()));
    const other = await cli(['fetch', ...flags, site.at('other.json')]);
    expect(other).toMatchObject({ code: 3, stderr: expect.stringContaining(`${imager}: signature sha256:`) });
    const identity = ['--verify-images-identity', `ghcr.io/siderolabs/imager=${expected.identity}`];
    const mirror = [
      'mirror',
      ...flags,
      site.at('trusted_root.json'),
      ...identity,
      '--out',
      site.at('media'),
      '--unsigned',
    ];
    expect(await cli(mirror)).toMatchObject({ code: 3 });
    expect(existsSync(site.at('media/bundle.json'))).toBe(false);
    const strange = await cli(['fetch', ...flags, site.at('trusted_root.json'), ...identity]);
    expect(strange).toMatchObject({
      code: 3,
      stderr: expect.stringContaining('it is by ann@siderolabs.com (https://accounts.google.com), not by'),
    });
  });

  test('who signed is shown when it is fetched, in the bundle and inside; then the key of the site signs', async () => {
    const except = ['--verify-images-except', 'ghcr.io/siderolabs/kubelet:'];
    const fetched = await cli(['fetch', ...flags, site.at('trusted_root.json'), ...except]);
    expect(fetched.code, fetched.stderr).toBe(0);
    const who = `${sidero.identity} (${sidero.issuer})`;
    expect(fetched.stdout).toContain(`Checked the signature of 1 image.\n  1 image by ${who}`);
    await cliJson(['bundle', ...site.bundle]);
    expect(readFileSync(site.at('media', 'report.html'), 'utf8')).toContain(
      `Signatures verified are by ${who}`,
    );
    const inspected = await cli(['inspect', ...site.media]);
    expect(inspected.stdout).toContain(`Signature verified when fetched: 1 image by ${who}`);

    const registry = await startRegistryDouble();
    onTestFinished(() => registry.close());
    const host = new URL(registry.url).host;
    const target = ['--registry', host, '--plain-http', host, '--resign-key', site.at('site.key')];
    const state = ['--state', site.at('state'), '--handoff', site.at('handoff')];
    const load = ['load', ...site.media, ...target, ...state, '--receipt', site.at('receipt.json')];
    const { code, stderr, stdout } = await cli(load);
    expect(code, stderr).toBe(0);
    expect(stdout).toContain('Of these, 1 image had no signature that was verified outside');
    const { images } = JSON.parse(readFileSync(site.at('receipt.json'), 'utf8'));
    const verifiedOf = (name: string) =>
      images.find((image: { name: string }) => image.name === name)?.verified;
    expect(verifiedOf(imager)).toMatchObject(sidero);
    expect(verifiedOf(kubelet)).toBeUndefined();
  });
});
