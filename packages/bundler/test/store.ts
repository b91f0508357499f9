/** Stores as a fetch leaves them, with made-up content: images of two platforms, signatures, media, a schematic. */
import { mkdtemp, open, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { serializeDocument } from '@omni-airgap/format';
import { graphOf, walk } from '@omni-airgap/oci';
import { byText } from '@omni-airgap/oci/base';
import { Layout } from '@omni-airgap/oci/layout';
import { type Descriptor, descriptorOf, MediaType, openerOf } from '@omni-airgap/oci/model';
import { buildManifest, generatedBlob } from '@omni-airgap/oci/testing';
import { type LockDocument, type LockedItem, parseLockDocument, Store } from '@omni-airgap/store';
import { onTestFinished } from 'vitest';
import type { BundleOptions } from '../src/index.ts';

const title = 'org.opencontainers.image.title';
const layerType = 'application/vnd.oci.image.layer.v1.tar+gzip';

/** An empty folder; call inside a test. */
export async function temporaryFolder(parent: string = tmpdir()): Promise<string> {
  const folder = await mkdtemp(join(parent, 'omni-airgap-bundler-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true, maxRetries: 3 }));
  return folder;
}

export class TestStore {
  readonly layout: Layout;
  readonly #items = new Map<string, LockedItem>();

  private constructor(layout: Layout) {
    this.layout = layout;
  }

  static async create(folder: string): Promise<TestStore> {
    return new TestStore(await Layout.open(folder, { create: true }));
  }

  get root(): string {
    return this.layout.root;
  }

  get names(): readonly string[] {
    return [...this.#items.keys()].sort(byText);
  }

  digestOf(name: string): string {
    return this.#items.get(name)?.descriptor.digest ?? '';
  }

  /** An index of two platforms; each seed is a layer, shared by both. */
  async image(name: string, seeds: readonly number[], layerSize = 90_000): Promise<Descriptor> {
    const layers: Descriptor[] = [];
    for (const seed of seeds) layers.push(await this.blob(seed, layerSize, layerType));
    const manifests: Descriptor[] = [];
    for (const architecture of ['amd64', 'arm64']) {
      const config = await this.#push(
        MediaType.ociConfig,
        Buffer.from(JSON.stringify({ os: 'linux', architecture, seeds })),
      );
      const { descriptor, bytes } = buildManifest(MediaType.ociManifest, { config, layers });
      await this.layout.push(descriptor, openerOf(bytes));
      manifests.push({ ...descriptor, platform: { os: 'linux', architecture } });
    }
    const index = buildManifest(MediaType.ociIndex, { manifests });
    await this.layout.push(index.descriptor, openerOf(index.bytes));
    return this.locked(name, 'image', index.descriptor);
  }

  /** An index within an index; of its two platforms, linux/amd64 alone was fetched. */
  async sparseImage(
    name: string,
    seed: number,
    platforms: string[] = ['linux/amd64'],
    missingPlatforms?: string[],
  ): Promise<{ outer: Descriptor; inner: Descriptor }> {
    const layers = [await this.blob(seed, 1000, layerType)];
    const manifests: Descriptor[] = [];
    for (const architecture of ['amd64', 'arm64']) {
      const config = await this.#push(
        MediaType.ociConfig,
        Buffer.from(JSON.stringify({ os: 'linux', architecture, seed })),
      );
      const { descriptor, bytes } = buildManifest(MediaType.ociManifest, { config, layers });
      if (architecture === 'amd64') await this.layout.push(descriptor, openerOf(bytes));
      manifests.push({ ...descriptor, platform: { os: 'linux', architecture } });
    }
    const inner = buildManifest(MediaType.ociIndex, { manifests });
    await this.layout.push(inner.descriptor, openerOf(inner.bytes));
    const outer = buildManifest(MediaType.ociIndex, { manifests: [inner.descriptor] });
    await this.layout.push(outer.descriptor, openerOf(outer.bytes));
    await this.locked(name, 'image', outer.descriptor, platforms, missingPlatforms);
    return { outer: outer.descriptor, inner: inner.descriptor };
  }

  /** What cosign makes for an image. */
  async signature(repository: string, subject: Descriptor): Promise<Descriptor> {
    return this.artifact(`${repository}:sha256-${subject.digest.slice(7)}.sig`, 'signature', {
      payload: 400,
    });
  }

  /** An artifact with a layer for each file. @param files name -> bytes */
  async artifact(
    name: string,
    kind: LockedItem['kind'],
    files: Readonly<Record<string, number>>,
  ): Promise<Descriptor> {
    const config = await this.#push(MediaType.empty, Buffer.from('{}'));
    const layers: object[] = [];
    for (const [file, size] of Object.entries(files)) {
      const blob = await this.blob(size + file.length, size, MediaType.octetStream);
      layers.push({ ...blob, annotations: { [title]: file } });
    }
    const { descriptor, bytes } = buildManifest(MediaType.ociManifest, {
      artifactType: 'application/vnd.test',
      config,
      layers,
    });
    await this.layout.push(descriptor, openerOf(bytes));
    return this.locked(name, kind, descriptor);
  }

  /** A manifest with one document, which is about another manifest by its name. */
  async attachment(name: string, mediaType: string, document: string): Promise<Descriptor> {
    const config = await this.#push(MediaType.empty, Buffer.from('{}'));
    const layers = [await this.#push(mediaType, Buffer.from(document))];
    const { descriptor, bytes } = buildManifest(MediaType.ociManifest, { config, layers });
    await this.layout.push(descriptor, openerOf(bytes));
    return this.locked(name, 'signature', descriptor);
  }

  /** An artifact about a manifest, known by its digest. */
  async referrer(repository: string, subject: Descriptor): Promise<Descriptor> {
    const config = await this.#push(MediaType.empty, Buffer.from('{}'));
    const { descriptor, bytes } = buildManifest(MediaType.ociManifest, {
      artifactType: 'application/vnd.test.sbom',
      config,
      layers: [config],
      subject,
    });
    await this.layout.push(descriptor, openerOf(bytes));
    return this.locked(`${repository}@${descriptor.digest}`, 'signature', descriptor);
  }

  /** A schematic as the Image Factory stores it. */
  async schematic(yaml: string): Promise<string> {
    const layer = await this.#push('application/vnd.sidero.dev-image.schematic', Buffer.from(yaml));
    const config = await this.#push(MediaType.dockerConfig, Buffer.from('{"os":""}'));
    const { descriptor, bytes } = buildManifest(MediaType.dockerManifest, { config, layers: [layer] });
    await this.layout.push(descriptor, openerOf(bytes));
    const id = layer.digest.slice(7);
    await this.locked(`factory.talos.dev/siderolabs/image-factory/schematics:${id}`, 'schematic', descriptor);
    return id;
  }

  async blob(seed: number, size: number, mediaType: string): Promise<Descriptor> {
    const { descriptor, open } = await generatedBlob(seed, size, mediaType);
    await this.layout.push(descriptor, open);
    return descriptor;
  }

  async remove(name: string): Promise<void> {
    this.#items.delete(name);
    await this.layout.untag(name);
    await this.#write();
  }

  async #push(mediaType: string, bytes: Uint8Array): Promise<Descriptor> {
    const descriptor = descriptorOf(mediaType, bytes);
    await this.layout.push(descriptor, openerOf(bytes));
    return descriptor;
  }

  /** Lets lock.json have the name, for content that is there. */
  async locked(
    name: string,
    kind: LockedItem['kind'],
    root: Descriptor,
    platforms?: string[],
    missingPlatforms?: string[],
  ): Promise<Descriptor> {
    const { mediaType, digest, size } = root;
    const descriptor = { mediaType, digest, size };
    await this.layout.tag(descriptor, name);
    const graph = await graphOf(walk(this.layout, [descriptor], { missing: 'skip' }));
    const bytes = [...graph.values()].reduce((sum, one) => sum + one.size, 0);
    const source = `https://${name.split('/')[0]}`;
    const item = { name, kind, descriptor, bytes, source, fetchedAt: '2026-01-01T00:00:00Z' };
    this.#items.set(name, {
      ...item,
      ...(platforms === undefined ? {} : { platforms }),
      ...(missingPlatforms === undefined ? {} : { missingPlatforms }),
    });
    await this.#write();
    return descriptor;
  }

  async #write(): Promise<void> {
    const items = [...this.#items.values()].sort((a, b) => byText(a.name, b.name));
    const lock: LockDocument = { kind: 'omni-airgap/lock', schema: 1, items, missing: [] };
    parseLockDocument(Buffer.from(serializeDocument(lock)));
    await writeFile(join(this.root, 'lock.json'), serializeDocument(lock));
  }
}

export const mediaSchematic = '1'.repeat(64);

/** A store with some of everything: about 1.2 MB. */
export async function sampleStore(folder: string): Promise<TestStore> {
  const store = await TestStore.create(folder);
  const omni = await store.image('ghcr.io/siderolabs/omni:v1', [1, 2, 3]);
  await store.signature('ghcr.io/siderolabs/omni', omni);
  await store.image('ghcr.io/dexidp/dex:v2', [2, 4]);
  await store.image('registry.k8s.io/pause:3.10', [5]);
  await store.schematic('customization: {}\n');
  await store.artifact(`factory.talos.dev/talos-media/${mediaSchematic}:v1.13.9`, 'media', {
    'cmdline-metal-amd64': 300,
    'kernel-amd64': 200_000,
    'metal-amd64.iso': 400_000,
  });
  return store;
}

/** Options of a bundle in small volumes. */
export function optionsFor(
  store: TestStore | string,
  out: string,
  more: Partial<BundleOptions> = {},
): BundleOptions {
  const root = typeof store === 'string' ? store : store.root;
  return {
    store: root,
    out,
    volumeSize: 256 * 1024,
    tool: 'omni-airgap test',
    now: 1_767_225_600_000,
    ...more,
  };
}

/** File name -> content, of all regular files in a folder. */
export async function filesOf(folder: string): Promise<Map<string, Buffer>> {
  const files = new Map<string, Buffer>();
  for (const name of (await readdir(folder)).sort()) files.set(name, await readFile(join(folder, name)));
  return files;
}

/** The volumes and their bytes, joined: one value to compare. */
export async function volumesOf(folder: string): Promise<string> {
  const files = await filesOf(folder);
  return [...files]
    .flatMap(([name, bytes]) =>
      name.startsWith('content.tar.') ? [`${name} ${bytes.toString('base64')}`] : [],
    )
    .join('\n');
}

/** A sample store in a folder of its own, which has room beside it. */
export async function made(): Promise<{ folder: string; store: TestStore }> {
  const folder = await temporaryFolder();
  return { folder, store: await sampleStore(join(folder, 'store')) };
}

/** Changes one byte of a file. */
export async function flip(path: string, at: number): Promise<void> {
  const file = await open(path, 'r+');
  const byte = Buffer.alloc(1);
  await file.read(byte, 0, 1, at);
  await file.write(Buffer.from([(byte[0] ?? 0) ^ 1]), 0, 1, at);
  await file.close();
}

/** For one look at its records. */
export function inStore<T>(root: string, look: (store: Store) => Promise<T>): Promise<T> {
  return Store.use(root, { access: 'shared', purpose: 'test' }, look);
}
