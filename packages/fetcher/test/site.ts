/** All that a fetch talks to, on loopback: registries and the Image Factory, and a folder to fetch into. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { EgressRecord } from '@omni-airgap/oci/http';
import { type Descriptor, hexOf, MediaType } from '@omni-airgap/oci/model';
import type { NetworkSettings } from '@omni-airgap/oci/registry';
import {
  buildManifest,
  generatedBytes,
  type RegistryDouble,
  type RegistryDoubleOptions,
  startRegistryDouble,
} from '@omni-airgap/oci/testing';
import { type LockDocument, parseLockDocument } from '@omni-airgap/store';
import { onTestFinished } from 'vitest';
import { type FetchOptions, type FetchReport, fetch } from '../src/fetch.ts';
import { type FactoryDouble, factoryHost, startFactoryDouble, storageHost } from './factory-double.ts';

export const talosVersion = 'v1.13.9';

export interface Site {
  readonly folder: string;
  readonly store: string;
  readonly config: string;
  readonly network: NetworkSettings;
  readonly factory: FactoryDouble;
  registry(host: string): RegistryDouble;
  /** Writes mirror.yaml; the first line is there already. */
  mirror(text: string): Promise<void>;
  fetch(options?: Partial<FetchOptions>): Promise<FetchReport>;
  lock(): Promise<LockDocument>;
  egress(): Promise<readonly EgressRecord[]>;
  /** Methods and paths that reached a host, such as `GET /versions`. */
  asked(host: string): readonly string[];
}

/** Call inside a test; everything ends with it. */
export async function startSite(
  hosts: Readonly<Record<string, RegistryDoubleOptions>> = { 'ghcr.io': {} },
): Promise<Site> {
  const folder = await mkdtemp(join(tmpdir(), 'omni-airgap-fetch-'));
  const factory = await startFactoryDouble();
  const registries = new Map<string, RegistryDouble>();
  for (const [host, options] of Object.entries(hosts))
    registries.set(host, await startRegistryDouble(options));
  onTestFinished(async () => {
    await factory.close();
    for (const registry of registries.values()) await registry.close();
    await rm(folder, { recursive: true, force: true, maxRetries: 3 });
  });
  const registry = (host: string): RegistryDouble => {
    const found = registries.get(host);
    if (found === undefined) throw new Error(`no registry ${host}`);
    return found;
  };
  const store = join(folder, 'store');
  const config = join(folder, 'mirror.yaml');
  const network: NetworkSettings = {
    upstreams: [
      ...[...registries].map(([host, double]) => `${host}=${double.url}`),
      `${factoryHost}=${factory.factory.url}`,
      `${storageHost}=${factory.storage.url}`,
    ],
    allowHosts: [],
    plainHttp: [],
    registryConfig: join(folder, 'auth.json'),
    env: {},
  };
  await writeFile(join(folder, 'auth.json'), '{}');
  return {
    folder,
    store,
    config,
    network,
    factory,
    registry,
    mirror: (text) => writeFile(config, `apiVersion: omni-airgap/v1\n${text}`),
    fetch: (options = {}) => fetch({ config, store, network, ...options }),
    lock: async () => parseLockDocument(await readFile(join(store, 'lock.json'))),
    egress: async () =>
      (await readFile(join(store, 'egress.jsonl'), 'utf8'))
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as EgressRecord),
    asked: (host) => {
      const seen =
        host === factoryHost
          ? factory.factory.requests
          : host === storageHost
            ? factory.storage.requests
            : registry(host).requests;
      return seen.map(({ method, path }) => `${method} ${path}`);
    },
  };
}

/** Random bytes, the same for the same seed. */
export async function someBytes(seed: number, size: number): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of generatedBytes(seed, size)()) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** Where the mark of a kind of file stands, and the mark. */
const marks: readonly (readonly [name: RegExp, at: number, mark: string])[] = [
  [/^kernel-|\.efi$|\.exe$/, 0, 'MZ'],
  [/^initramfs-|\.zst$/, 0, '\x28\xb5\x2f\xfd'],
  [/\.iso$/, 32_768, '\x01CD001\x01'],
  [/\.xz$/, 0, '\xfd7zXZ\0'],
  [/^talosctl-darwin/, 0, '\xcf\xfa\xed\xfe'],
  [/^talosctl-/, 0, '\x7fELF'],
];

/** A file of the factory with the first bytes of its kind, the same for the same seed. */
export async function assetBytes(name: string, seed: number, size: number): Promise<Buffer> {
  if (name.startsWith('cmdline-')) return Buffer.from(`talos.platform=metal console=tty0 seed=${seed}`);
  const bytes = await someBytes(seed, size);
  const [, at, mark] = marks.find(([pattern]) => pattern.test(name)) ?? [];
  if (at === undefined || mark === undefined) throw new Error(`no first bytes for ${name}`);
  bytes.write(mark, at, 'latin1');
  return bytes;
}

export interface PublishedImage {
  readonly root: Descriptor;
  readonly children: readonly Descriptor[];
}

/** An index of two platforms, each with its own layer and one they share. */
export async function publishImage(
  registry: RegistryDouble,
  path: string,
  tag: string,
  { seed = 1, layerBytes = 3000 }: { readonly seed?: number; readonly layerBytes?: number } = {},
): Promise<PublishedImage> {
  const repository = registry.repository(path);
  const layerType = 'application/vnd.oci.image.layer.v1.tar+gzip';
  const base = repository.addBlob(await someBytes(99, 500), layerType);
  const children: Descriptor[] = [];
  for (const [i, architecture] of ['amd64', 'arm64'].entries()) {
    const layer = repository.addBlob(await someBytes(seed * 10 + i, layerBytes), layerType);
    const config = repository.addBlob(
      Buffer.from(JSON.stringify({ os: 'linux', architecture, path })),
      MediaType.ociConfig,
    );
    const { bytes } = buildManifest(MediaType.ociManifest, { config, layers: [base, layer] });
    const child = repository.addManifest(bytes, MediaType.ociManifest);
    children.push({ ...child, platform: { os: 'linux', architecture } });
  }
  const { bytes } = buildManifest(MediaType.ociIndex, { manifests: children });
  return { root: repository.addManifest(bytes, MediaType.ociIndex, tag), children };
}

/** A manifest that hangs on another by tag, as cosign 2 does it: `<digest><suffix>`. */
export function attach(
  registry: RegistryDouble,
  path: string,
  subject: Descriptor,
  suffix: string,
  payload = `about ${subject.digest}`,
  annotations?: Readonly<Record<string, string>>,
): Descriptor {
  const repository = registry.repository(path);
  const layer = repository.addBlob(Buffer.from(payload), 'application/vnd.dev.cosign.simplesigning.v1+json');
  const config = repository.addBlob(Buffer.from('{}'), MediaType.ociConfig);
  const { bytes } = buildManifest(MediaType.ociManifest, {
    config,
    layers: [annotations === undefined ? layer : { ...layer, annotations }],
  });
  return repository.addManifest(bytes, MediaType.ociManifest, `sha256-${hexOf(subject.digest)}${suffix}`);
}

/** A manifest that refers to another as its subject, as image-spec 1.1 has it. */
export function refer(registry: RegistryDouble, path: string, subject: Descriptor): Descriptor {
  const repository = registry.repository(path);
  const config = repository.addBlob(Buffer.from('{}'), MediaType.empty);
  const { bytes } = buildManifest(MediaType.ociManifest, { config, layers: [config], subject });
  return repository.addManifest(bytes, MediaType.ociManifest);
}
