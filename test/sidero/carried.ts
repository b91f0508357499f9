/** What a site carries for Omni, its Image Factory and the first machines, made once for each test file. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseLockDocument } from '../../packages/store/src/index.ts';
import { startSampleUpstream } from '../../scripts/sample-upstream/sample-upstream.ts';
import { currentVersions, type SampleVersions } from '../../scripts/sample-upstream/versions.ts';
import { temporaryFolder } from '../services/temporary.ts';
import { cliJson } from '../support/cli.ts';
import { upstreamFlags, type Workspace, workspace } from '../support/workspace.ts';

export const talosVersion = 'v1.13.9';
export const kubernetesVersion = 'v1.36.1';
/** Carried: no customization at all, and one with an extension. */
export const vanilla = '376567988ad370138ad8b2698212367b8edcb69b5fd68c80be1f2ec7d603b4ba';
export const withGuestAgent = 'ce4c980550dd2ab1b17bbf2b08801c7eb59418eafe8f279833297925d67c7515';

const mirror = `
omni: {version: v1.10.4}
talos:
  versions: [${talosVersion}]
  imageFactory: {version: v1.5.0, extensions: all, overlays: all}
kubernetes: {versions: [${kubernetesVersion}]}
media:
  - schematic: {customization: {}}
    files: [kernel-amd64, cmdline-metal-amd64]
    installers: [metal]
  - schematic: {customization: {systemExtensions: {officialExtensions: [siderolabs/qemu-guest-agent]}}}
    files: [cmdline-metal-amd64]
images: [ghcr.io/dexidp/dex:v2.41.1]
`;

/** Beside the version above: one that Omni never offers, and one that it offers when it is told to. */
export const deniedTalos = 'v1.13.1';
export const nextTalos = 'v1.14.0-rc.1';
const talosVersions = [deniedTalos, talosVersion, nextTalos];

/** As little of each of these as makes a factory offer it. */
const threeTalosVersions = `
omni: {version: v1.10.4}
talos: {versions: [${talosVersions.join(', ')}], talosctl: []}
kubernetes: {versions: [${kubernetesVersion}]}
media: [{schematic: {customization: {}}, files: [cmdline-metal-amd64]}]
`;

interface Manifest {
  readonly manifests?: readonly { readonly digest: string }[];
  readonly layers?: readonly { readonly digest: string }[];
}

export interface Carried {
  readonly site: Workspace;
  /** Digest of an image, by what its name upstream begins with. */
  digestOf(name: string): string;
  /** A file in the last layer of an image's first platform. */
  fileOf(name: string, path: string): Buffer;
}

export function carried(): Promise<Carried> {
  return carriedAs(mirror, currentVersions);
}

/** Three versions of Talos, and hardly more than that. */
export function carriedVersions(): Promise<Carried> {
  return carriedAs(threeTalosVersions, { ...currentVersions, talos: talosVersions });
}

async function carriedAs(text: string, versions: SampleVersions): Promise<Carried> {
  const upstream = await startSampleUpstream({
    dir: temporaryFolder('upstream'),
    sizeMiB: 3,
    buildMs: 5,
    versions,
  });
  try {
    const site = await workspace(text);
    await cliJson(['fetch', ...site.store, ...upstreamFlags(upstream.urls)]);
    await cliJson(['bundle', ...site.bundle]);
    const lock = parseLockDocument(readFileSync(site.at('store/lock.json')));
    const digestOf = (name: string): string => {
      const item = lock.items.find((one) => one.name.startsWith(name));
      if (item === undefined) throw new Error(`${name} was not fetched`);
      return item.descriptor.digest;
    };
    const blobOf = (digest = ''): string => site.at('store/blobs', digest.replace(':', '/'));
    const manifestOf = (digest?: string): Manifest => JSON.parse(readFileSync(blobOf(digest), 'utf8'));
    return {
      site,
      digestOf,
      fileOf(name, path) {
        const image = manifestOf(manifestOf(digestOf(name)).manifests?.[0]?.digest);
        const layer = blobOf(image.layers?.at(-1)?.digest);
        return execFileSync('tar', ['-xzOf', layer, path], { maxBuffer: 64 * 1024 * 1024 });
      },
    };
  } finally {
    await upstream.stop();
  }
}

/**
 * Loads inside, signing what a factory checks.
 * @param registry host and prefix
 * @param within what the command begins with to run inside
 * @returns the folder of the hand-off
 */
export async function load(
  { site }: Carried,
  registry: string,
  flags: readonly string[],
  within: readonly string[],
): Promise<string> {
  const handoff = join(temporaryFolder('loaded'), 'handoff');
  const command = [
    'load',
    ...site.media,
    '--registry',
    registry,
    '--resign-key',
    site.at('site.key'),
    ...flags,
  ];
  await cliJson([...command, '--state', site.at('state'), '--handoff', handoff], { within });
  return handoff;
}
