/** The README's code blocks, in order, as one program against two registry doubles. */
import { spawn } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { openerOf } from '../src/model/bytes.ts';
import { type Descriptor, descriptorOf } from '../src/model/descriptor.ts';
import { MediaType } from '../src/model/media-type.ts';
import { finished } from '../src/testing/child.ts';
import { buildManifest } from '../src/testing/graph.ts';
import { connectToDouble } from '../src/testing/registry/client.ts';
import { startRegistryDouble } from '../src/testing/registry/double.ts';
import { temporaryFolder } from '../src/testing/temporary.ts';

const home = new URL('..', import.meta.url);
const readme = await readFile(new URL('README.md', home), 'utf8');
const { exports } = JSON.parse(await readFile(new URL('package.json', home), 'utf8')) as {
  readonly exports: Readonly<Record<string, string>>;
};

/** The blocks as a module whose imports lead to the files that package.json names. */
function programOf(upstreams: readonly string[]): string {
  const blocks = [...readme.matchAll(/^```ts\n(.*?)^```$/gms)].map(([, block = '']) => block);
  expect(blocks.length).toBeGreaterThan(5);
  return blocks
    .join('\n')
    .replaceAll(/'@omni-airgap\/oci(\/[a-z]+)?'/g, (_, path = '') => {
      const file = exports[`.${path}`];
      if (file === undefined) throw new Error(`the README imports what is not exported: ${path}`);
      return JSON.stringify(new URL(file, home).href);
    })
    .replace('upstreams: []', `upstreams: ${JSON.stringify(upstreams)}`);
}

test('every example runs and prints what it says', async () => {
  const upstream = await startRegistryDouble();
  const site = await startRegistryDouble();
  const { client, gate } = connectToDouble(upstream, { host: 'ghcr.io' });
  onTestFinished(async () => {
    await gate.close();
    await Promise.all([upstream.close(), site.close()]);
  });
  const repository = client.repository('siderolabs/omni');
  const push = async (bytes: Uint8Array, mediaType: string): Promise<Descriptor> => {
    const descriptor = descriptorOf(mediaType, bytes);
    await repository.push(descriptor, openerOf(bytes));
    return descriptor;
  };
  const config = await push(Buffer.from('{"architecture":"amd64","os":"linux"}'), MediaType.ociConfig);
  const layer = await push(Buffer.alloc(300_000, 'omni'), MediaType.octetStream);
  const platform = buildManifest(MediaType.ociManifest, {
    mediaType: MediaType.ociManifest,
    config,
    layers: [layer],
  });
  await push(platform.bytes, MediaType.ociManifest);
  const index = buildManifest(MediaType.ociIndex, {
    mediaType: MediaType.ociIndex,
    manifests: [{ ...platform.descriptor, platform: { os: 'linux', architecture: 'amd64' } }],
  });
  await push(index.bytes, MediaType.ociIndex);
  await repository.tag(index.descriptor, 'v1.10.4');
  const empty = await push(Buffer.from('{}'), MediaType.empty);
  const sbom = buildManifest(MediaType.ociManifest, {
    mediaType: MediaType.ociManifest,
    artifactType: 'application/spdx+json',
    config: empty,
    layers: [empty],
    subject: index.descriptor,
  });
  await push(sbom.bytes, MediaType.ociManifest);

  const folder = await temporaryFolder();
  const file = join(folder, 'readme.mts');
  await writeFile(file, programOf([`ghcr.io=${upstream.url}`, `registry.example=${site.url}`]));
  const child = spawn(process.execPath, [file], {
    cwd: folder,
    env: { PATH: process.env['PATH'], HOME: folder },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const printed = (await finished(child)).trimEnd().split('\n');

  expect(printed).toEqual([
    '{ stored: 6, present: 0, mounted: 2 }',
    `manifest ${index.bytes.byteLength} ${MediaType.ociIndex}`,
    `manifest ${platform.bytes.byteLength} ${MediaType.ociManifest}`,
    `blob ${config.size} ${MediaType.ociConfig}`,
    `blob ${layer.size} ${MediaType.octetStream}`,
    `application/spdx+json ${sbom.descriptor.digest}`,
    `true index ${MediaType.ociIndex}`,
    expect.stringMatching(/^refused registry-1\.docker\.io: the host is not on the allow-list/),
  ]);
  for (const line of printed.filter((text) => /^[{r]/.test(text))) expect(readme).toContain(`// ${line}`);
  for (const path of ['mirror/omni', 'team/omni']) {
    expect(site.repository(path).tags.get('v1.10.4')).toBe(index.descriptor.digest);
  }
  const layout = JSON.parse(await readFile(join(folder, 'layout', 'index.json'), 'utf8'));
  expect(layout.manifests).toMatchObject([{ digest: index.descriptor.digest }]);
});
