/** Machine configuration of the hand-off, and our lists of images, in the eyes of talosctl. */
import { readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import {
  type HandoffInput,
  handoffFiles,
  kubernetesImages,
  talosKubernetesImages,
} from '../../packages/talos/src/index.ts';
import { bare, full as sample } from '../../packages/talos/test/handoff-sample.ts';
import { command } from '../services/command.ts';
import { describeWith } from '../services/service-test.ts';
import { temporaryFolder } from '../services/temporary.ts';
import { type Certificates, makeCertificates } from '../services/tls.ts';
import { startServe } from '../support/cli.ts';
import { makeBundle } from '../support/made-bundle.ts';
import { kubernetesVersion, talosVersion } from './carried.ts';
import { describeSidero } from './programs.ts';

describeSidero(['talosctl'], describeWith, ['openssl'], ({ talosctl }) => {
  const folder = temporaryFolder('talosctl');
  const at = (name: string): string => join(folder, name);
  const run = (...args: string[]): Promise<string> => command(talosctl, args, folder);
  let certificates: Certificates;

  beforeAll(async () => {
    certificates = await makeCertificates('registry.site');
    for (const version of ['v1.11', 'v1.12', 'v1.13']) {
      const flags = ['--talos-version', version, '--output', at(version), '--with-docs=false'];
      await run('gen', 'config', 'air-gap', 'https://10.0.0.7:6443', ...flags);
    }
  });
  afterAll(() => certificates?.dispose());

  const registry = { ...sample.registry };
  const inputs: readonly (readonly [string, Partial<HandoffInput>])[] = [
    ['a full site', {}],
    ['nothing known', bare],
    ['plain HTTP', { registry: { ...registry, plainHttp: true } }],
    ['a prefix', { registry: { ...registry, prefix: 'proj/x' } }],
    ['hosts kept', { registry: { ...registry, keepHost: true } }],
    ['a registry with a log-in', { registry: { ...registry, needsLogIn: true } }],
  ];
  const textOf = (name: string, talos: string, input: Partial<HandoffInput> = {}): string => {
    const base = input === bare ? bare : { ...sample, ca: certificates.ca, ...input };
    const files = handoffFiles({ ...base, talosVersions: [talos] });
    return files.find((one) => one.name === name)?.text ?? expect.fail(`the hand-off has no ${name}`);
  };
  const patched = async (base: string, role: string, patch: string): Promise<void> => {
    const out = at('patched.yaml');
    await run('machineconfig', 'patch', at(`${base}/${role}.yaml`), '--patch', `@${patch}`, '--output', out);
    expect(await run('validate', '--config', out, '--mode', 'metal', '--strict')).toContain('is valid');
  };

  test.each(inputs)('%s: air-gap-patch.yaml is valid for Talos 1.12 and 1.13', async (_, input) => {
    for (const version of ['v1.12', 'v1.13']) {
      writeFileSync(at('patch.yaml'), textOf('air-gap-patch.yaml', `${version}.4`, input));
      for (const role of ['controlplane', 'worker']) await patched(version, role, at('patch.yaml'));
    }
  });

  test.each(inputs)('%s: air-gap-patch-1.11.yaml is valid for Talos 1.11', async (_, input) => {
    writeFileSync(at('patch.yaml'), textOf('air-gap-patch-1.11.yaml', 'v1.11.6', input));
    for (const role of ['controlplane', 'worker']) await patched('v1.11', role, at('patch.yaml'));
  });

  test('the embedded configuration is valid on its own', async () => {
    writeFileSync(at('embedded.yaml'), textOf('embedded-config.yaml', talosVersion));
    expect(await run('validate', '--config', at('embedded.yaml'), '--mode', 'metal', '--strict')).toContain(
      'is valid',
    );
  });

  test('it would say so of a document that is not: what passes above was read', async () => {
    const text = textOf('air-gap-patch.yaml', talosVersion);
    writeFileSync(at('wrong.yaml'), text.replace('skipFallback: true', 'skipFallbacks: true'));
    await expect(patched('v1.13', 'worker', at('wrong.yaml'))).rejects.toThrow(/skipFallbacks/);
  });

  test('an image cache can be made from serve, with the layers that were carried', async () => {
    const size = 300_000;
    const bundle = await makeBundle({ [`ghcr.io/siderolabs/kubelet:${kubernetesVersion}`]: [size] });
    const { host, stop } = await startServe(bundle.flags);
    onTestFinished(async () => void (await stop()));
    const image = `${host}/siderolabs/kubelet:${kubernetesVersion}`;
    const flags = ['--image-cache-path', at('cache'), '--insecure', '--cosign-signatures=false'];
    await run('image', 'cache-create', ...flags, '--images', image, '--layout', 'oci');
    const sizes = readdirSync(at('cache/blobs/sha256')).map(
      (name) => statSync(at(`cache/blobs/sha256/${name}`)).size,
    );
    expect(Math.max(...sizes)).toBeGreaterThanOrEqual(size);
  });

  test('its list of Kubernetes images is the one that is fetched', async () => {
    const theirs = await run('image', 'k8s-bundle', '--k8s-version', kubernetesVersion.slice(1));
    const ours = [...kubernetesImages(kubernetesVersion), ...talosKubernetesImages(talosVersion)];
    expect(theirs.trim().split('\n').sort()).toEqual(ours.sort());
  });
});
