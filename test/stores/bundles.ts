/**
 * What every store is loaded with: a bundle of a small sample upstream, and an increment made from it. They are made
 * once for each run of the tests. What a reader must find is taken from the upstream's files and from the list of
 * names in bundle.json, without the code that loads.
 */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { generatedBytes } from '../../packages/oci/src/testing/index.ts';
import { startSampleUpstream } from '../../scripts/sample-upstream/sample-upstream.ts';
import { kubernetesVersion, talosVersion } from '../../scripts/sample-upstream/versions.ts';
import { cliJson } from '../support/cli.ts';
import { digestOfFile, listing } from '../support/files.ts';
import { upstreamFlags, workspace } from '../support/workspace.ts';

/** A file as the Image Factory gives it, under its path there. */
interface WantedFile {
  readonly key: string;
  readonly digest: string;
  /** Bytes. */
  readonly size: number;
}

export interface StoreBundle {
  /** `--bundle … --verify-key …` */
  readonly flags: readonly string[];
  /** Names with the digest of what each stands for. */
  readonly roots: readonly { readonly name: string; readonly digest: string }[];
  readonly files: readonly WantedFile[];
}

export interface StoreBundles {
  readonly base: StoreBundle;
  /** Has an image more, and another schematic, whose kernel has the bytes of the one that the base brought. */
  readonly increment: StoreBundle;
  /** The key of the one file that goes up in parts. */
  readonly iso: string;
}

/** Two parts of 16 MiB, and a smaller one. */
const isoBytes = 40 * 1024 * 1024;

const images = [
  'ghcr.io/siderolabs/omni:v1.10.4',
  `ghcr.io/siderolabs/kubelet:${kubernetesVersion}`,
  // Of Docker's media types.
  'registry.k8s.io/pause:3.10.1',
];
const mediaFiles = ['metal-amd64.iso', 'kernel-amd64', 'initramfs-amd64.xz', 'cmdline-metal-amd64'];

const mirrorOf = (named: readonly string[], schematics: readonly string[]): string => `
images: [${named.join(', ')}]
talos:
  versions: [${talosVersion}]
media:
${schematics.join('\n')}
`;
const plain = `  - schematic: {customization: {}}
    files: [${mediaFiles.join(', ')}]
    installers: [metal]`;
const serial = `  - schematic: {customization: {extraKernelArgs: [console=ttyS0]}}
    files: [kernel-amd64, initramfs-amd64.xz]`;

export async function storeBundles(): Promise<StoreBundles> {
  const root = join(tmpdir(), 'store-bundles');
  const record = join(root, 'bundles.json');
  if (!existsSync(record)) await writeFile(record, JSON.stringify(await make(root)));
  return JSON.parse(readFileSync(record, 'utf8')) as StoreBundles;
}

async function make(root: string): Promise<StoreBundles> {
  await mkdir(root, { recursive: true });
  const iso = join(root, 'metal-amd64.iso');
  await writeFile(iso, generatedBytes(15, isoBytes)());
  const dir = join(root, 'upstream');
  const upstream = await startSampleUpstream({
    dir,
    sizeMiB: 8,
    buildMs: 0,
    mediaFiles: { 'metal-amd64.iso': iso },
  });
  const site = await workspace(mirrorOf(images, [plain]), join(root, 'site'));
  const fetch = ['fetch', ...site.store, ...upstreamFlags(upstream.urls)];
  const bundle = ['bundle', '--store', site.at('store'), '--sign-key', site.at('site.key')];
  const wanted = async (path: string, key: string): Promise<WantedFile> => ({
    key,
    digest: await digestOfFile(path),
    size: statSync(path).size,
  });
  /** What the upstream has handed out so far, which it keeps under the paths of its URLs; the given ISO lies elsewhere. */
  const filesSoFar = async (): Promise<readonly WantedFile[]> => {
    const folder = join(dir, 'media');
    const paths = listing(folder).filter((path) => statSync(join(folder, path)).isFile());
    const withIso = paths.filter((path) => path.endsWith('/cmdline-metal-amd64'));
    return Promise.all([
      ...withIso.map((path) => wanted(iso, `image/${dirname(path)}/metal-amd64.iso`)),
      ...paths.map((path) =>
        wanted(join(folder, path), path.startsWith('talosctl/') ? path : `image/${path}`),
      ),
    ]);
  };
  const made = async (name: string): Promise<StoreBundle> => {
    const document = JSON.parse(readFileSync(site.at(name, 'bundle.json'), 'utf8')) as {
      readonly roots: readonly { readonly name: string; readonly descriptor: { readonly digest: string } }[];
    };
    return {
      flags: ['--bundle', site.at(name), '--verify-key', site.at('site.pub')],
      roots: document.roots.map(({ name: root, descriptor: { digest } }) => ({ name: root, digest })),
      files: await filesSoFar(),
    };
  };
  try {
    await cliJson(fetch);
    await cliJson([...bundle, '--out', site.at('base')]);
    const base = await made('base');
    site.write(
      'mirror.yaml',
      `apiVersion: omni-airgap/v1\n${mirrorOf([...images, 'ghcr.io/dexidp/dex:v2.41.1'], [plain, serial])}`,
    );
    await cliJson(fetch);
    await cliJson([...bundle, '--out', site.at('increment'), '--since', site.at('base', 'bundle.json')]);
    const isoKey = base.files.find(({ key }) => key.endsWith('.iso'))?.key;
    if (isoKey === undefined) throw new Error('the base has no ISO');
    return { base, increment: await made('increment'), iso: isoKey };
  } finally {
    await upstream.stop();
  }
}
