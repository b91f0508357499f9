/**
 * Real images for the end-to-end tests, as a publisher makes them: umoci builds them from files of this Debian
 * system, skopeo pushes them. One OCI index of two platforms, one Docker image (schema 2).
 */
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { command } from './command.ts';
import type { Registry } from './docker-registry.ts';
import { requireCommands } from './require.ts';
import { temporaryFolder } from './temporary.ts';

interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
}

interface ImageDescription {
  readonly repository: string;
  readonly tag: string;
  /** `HOST/REPOSITORY:TAG` at the registry it was pushed to. */
  readonly reference: string;
  /** Of what the tag stands for. */
  readonly digest: string;
}

export interface PublishedImages {
  readonly index: ImageDescription & { readonly manifests: readonly Descriptor[] };
  readonly docker: ImageDescription & { readonly config: Descriptor; readonly layers: readonly Descriptor[] };
}

/** The programs it needs, for `describeWith`. */
export const imageCommands: readonly string[] = ['umoci', 'skopeo', 'busybox'];

const indexName = { repository: 'debian/tools', tag: 'v1.0.0' };
const dockerName = { repository: 'debian/busybox', tag: '1.35' };
const ociIndexType = 'application/vnd.oci.image.index.v1+json';

let built: Promise<string> | undefined;

/**
 * Builds the images, once for each process, and pushes them with the registry's login.
 * @throws MissingService without umoci, skopeo or busybox-static
 */
export async function publishImages(registry: Registry): Promise<PublishedImages> {
  requireCommands(...imageCommands);
  built ??= build();
  const layout = await built;
  const index = await push(layout, 'index', registry, indexName, ['--all']);
  const docker = await push(layout, 'amd64', registry, dockerName, ['--format', 'v2s2']);
  const { manifests } = JSON.parse(index.manifest) as { manifests: Descriptor[] };
  const { config, layers } = JSON.parse(docker.manifest) as { config: Descriptor; layers: Descriptor[] };
  return { index: { ...index.image, manifests }, docker: { ...docker.image, config, layers } };
}

/** An OCI layout with the names `amd64`, `arm64` and `index`. */
async function build(): Promise<string> {
  const layout = join(temporaryFolder('images'), 'layout');
  await command('umoci', ['init', '--layout', layout]);
  await image(layout, 'amd64', [
    ['/usr/share/common-licenses', '/usr/share/common-licenses'],
    ['/bin/busybox', '/bin/busybox'],
    ['/etc/debian_version', '/etc/debian_version'],
  ]);
  // What is the same in both images is the same layer, as it is upstream.
  await image(layout, 'arm64', [
    ['/usr/share/common-licenses', '/usr/share/common-licenses'],
    ['/usr/share/perl5', '/usr/share/perl5'],
    ['/etc/debian_version', '/etc/debian_version'],
  ]);
  addIndex(layout, ['amd64', 'arm64']);
  return layout;
}

async function image(
  layout: string,
  architecture: string,
  contents: readonly (readonly [string, string])[],
): Promise<void> {
  const name = ['--image', `${layout}:${architecture}`];
  await command('umoci', ['new', ...name]);
  await command('umoci', ['config', ...name, '--os', 'linux', '--architecture', architecture]);
  for (const [from, to] of contents) await command('umoci', ['insert', '--rootless', ...name, from, to]);
}

/** umoci makes images only; the index over them is written here. */
function addIndex(layout: string, architectures: readonly string[]): void {
  const indexFile = join(layout, 'index.json');
  const names = JSON.parse(readFileSync(indexFile, 'utf8')) as {
    manifests: (Descriptor & { annotations: Record<string, string> })[];
  };
  const refName = 'org.opencontainers.image.ref.name';
  const manifests = architectures.map((architecture) => {
    const named = names.manifests.find((entry) => entry.annotations[refName] === architecture);
    if (named === undefined) throw new Error(`umoci did not name ${architecture}`);
    const { mediaType, digest, size } = named;
    return { mediaType, digest, size, platform: { os: 'linux', architecture } };
  });
  const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: ociIndexType, manifests }));
  const hex = createHash('sha256').update(bytes).digest('hex');
  writeFileSync(join(layout, 'blobs', 'sha256', hex), bytes);
  const digest = `sha256:${hex}`;
  const entry = {
    mediaType: ociIndexType,
    digest,
    size: bytes.byteLength,
    annotations: { [refName]: 'index' },
  };
  writeFileSync(indexFile, JSON.stringify({ ...names, manifests: [...names.manifests, entry] }));
}

async function push(
  layout: string,
  name: string,
  registry: Registry,
  target: { readonly repository: string; readonly tag: string },
  options: readonly string[],
): Promise<{ image: ImageDescription; manifest: string }> {
  const reference = `${registry.host}/${target.repository}:${target.tag}`;
  const login = registry.login === undefined ? 'none' : `${registry.login.user}:${registry.login.password}`;
  const credentials = (flag: string): string[] => (login === 'none' ? [] : [flag, login]);
  const copy = [
    '--insecure-policy',
    'copy',
    '--quiet',
    '--dest-tls-verify=false',
    ...credentials('--dest-creds'),
  ];
  await command('skopeo', [...copy, ...options, `oci:${layout}:${name}`, `docker://${reference}`]);
  const inspect = [
    'inspect',
    '--raw',
    '--tls-verify=false',
    ...credentials('--creds'),
    `docker://${reference}`,
  ];
  const manifest = await command('skopeo', inspect);
  const digest = `sha256:${createHash('sha256').update(manifest).digest('hex')}`;
  return { image: { ...target, reference, digest }, manifest };
}
