/**
 * plan: what a fetch would bring, to the byte where that can be known, and what it takes. Asks upstream for
 * manifests only, builds nothing and changes nothing.
 */
import { statfs } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import {
  childrenOf,
  collectGraph,
  type Descriptor,
  type Digest,
  fetchManifest,
  isCoded,
  isIndexType,
  Layout,
  messageOf,
  type Network,
  type NetworkSettings,
  openNetwork,
  parseReference,
  systemCodeOf,
} from '@omni-airgap/content';
import { fitWarnings, publicFactoryHost } from '@omni-airgap/talos';
import pLimit from 'p-limit';
import { refuseSecrets } from './fetch.ts';
import { localFirst, resolveReference, selectPlatforms, sum } from './fetch-image.ts';
import { readLock } from './lock-file.ts';
import { readMirror } from './mirror/mirror.ts';
import { hostsOf, type WantedImage, wantedOf } from './wanted.ts';

export interface PlanOptions {
  readonly config: string;
  readonly store: string;
  readonly network: NetworkSettings;
  readonly signal?: AbortSignal;
}

export interface PlannedItem {
  readonly name: string;
  readonly kind: 'image' | 'schematic' | 'media';
  /** Undefined when only a build at the factory would tell. */
  readonly digest?: string;
  /** Bytes in all, and bytes that the store has not; undefined when unknown until built. */
  readonly bytes?: number;
  readonly missing?: number;
  readonly problem?: string;
}

export interface Plan {
  readonly items: readonly PlannedItem[];
  /** Content that several items share counts once. */
  readonly bytes: number;
  readonly bytesToFetch: number;
  /** Items whose size only a build would tell. */
  readonly unknown: number;
  /** Bytes of each platform, shared content included. */
  readonly platforms: Readonly<Record<string, number>>;
  readonly freeBytes: number;
  readonly hosts: ReturnType<typeof hostsOf>;
  readonly warnings: readonly string[];
}

/** @throws CONFIG, NO_INPUT, SECRET; what an item's registry says against it stands in the item */
export async function plan(options: PlanOptions): Promise<Plan> {
  const mirror = await readMirror(options.config);
  refuseSecrets(mirror);
  const wanted = wantedOf(mirror);
  const layout = await openIfThere(options.store);
  const lock = layout === undefined ? undefined : await readLock(options.store);
  const hosts = hostsOf(wanted);
  const network = await openNetwork(options.network, {
    hosts: hosts.map((h) => h.pattern),
    allowPrivate: false,
  });
  const all = new Map<Digest, Descriptor>();
  const platforms: Record<string, number> = {};
  const items: PlannedItem[] = [];
  try {
    const limit = pLimit(16);
    const planned = await Promise.all(
      wanted.images.map((image) =>
        limit(async (): Promise<PlannedItem> => {
          const base = { name: image.reference, kind: 'image' } as const;
          const locked = lock?.items.find((item) => item.name === image.reference);
          if (locked === undefined && image.reference.startsWith(`${publicFactoryHost}/`)) return base;
          try {
            const { root, graph, perPlatform } = await graphOf(network, layout, image, options.signal);
            for (const [digest, descriptor] of graph) all.set(digest, descriptor);
            for (const [name, bytes] of perPlatform) platforms[name] = (platforms[name] ?? 0) + bytes;
            return { ...base, digest: root.digest, ...(await countBytes(graph.values(), layout)) };
          } catch (error) {
            if (!isCoded(error)) throw error;
            return { ...base, problem: messageOf(error) };
          }
        }),
      ),
    );
    items.push(...planned);
    for (const { id } of wanted.schematics) items.push({ name: `schematic ${id}`, kind: 'schematic' });
    for (const set of wanted.media) {
      const name = `${publicFactoryHost}/talos-media/${set.schematic.id}:${set.version}`;
      const pinned = new Map(lock?.items.find((item) => item.name === name)?.files?.map((f) => [f.name, f]));
      for (const file of set.files) {
        const known = pinned.get(file);
        const base = {
          name: `${set.schematic.id.slice(0, 12)}… ${set.version} ${file}`,
          kind: 'media',
        } as const;
        if (known === undefined) {
          items.push(base);
          continue;
        }
        const descriptor: Descriptor = {
          mediaType: 'application/octet-stream',
          digest: known.digest,
          size: known.size,
        };
        all.set(descriptor.digest, descriptor);
        items.push({ ...base, digest: known.digest, ...(await countBytes([descriptor], layout)) });
      }
    }
  } finally {
    await network.close();
  }
  const { bytes, missing } = await countBytes(all.values(), layout);
  return {
    items,
    bytes,
    bytesToFetch: missing,
    unknown: items.filter((item) => item.bytes === undefined && item.kind !== 'schematic').length,
    platforms,
    freeBytes: await freeBytes(options.store),
    hosts,
    warnings: fitWarnings({
      ...(mirror.omni === undefined ? {} : { omni: mirror.omni.version }),
      talos: mirror.talos?.versions ?? [],
      kubernetes: mirror.kubernetes?.versions ?? [],
      ...(mirror.talos?.imageFactory === undefined ? {} : { factory: mirror.talos.imageFactory.version }),
    }),
  };
}

interface ImageGraph {
  readonly root: Descriptor;
  readonly graph: ReadonlyMap<Digest, Descriptor>;
  readonly perPlatform: readonly (readonly [platform: string, bytes: number])[];
}

async function graphOf(
  network: Network,
  layout: Layout | undefined,
  image: WantedImage,
  signal: AbortSignal | undefined,
): Promise<ImageGraph> {
  const reference = parseReference(image.reference);
  const repository = network.registry(reference.registry).repository(reference.repository);
  const root = await resolveReference(repository, reference, image.reference, signal);
  const source = layout === undefined ? repository : localFirst(layout, repository);
  const walk = signal === undefined ? {} : { signal };
  if (!isIndexType(root.mediaType)) {
    return { root, graph: await collectGraph(source, root, walk), perPlatform: [] };
  }
  const { manifest } = await fetchManifest(source, root, signal);
  const select = selectPlatforms(image.platforms) ?? (() => true);
  const graph = new Map<Digest, Descriptor>([[root.digest, root]]);
  const perPlatform: (readonly [string, number])[] = [];
  for (const child of childrenOf(manifest)) {
    if (!select(child, manifest)) continue;
    const below = await collectGraph(source, child, walk);
    for (const [digest, descriptor] of below) graph.set(digest, descriptor);
    const { os = 'unknown', architecture = '' } = child.platform ?? {};
    if (os !== 'unknown') perPlatform.push([`${os}/${architecture}`, sum(below)]);
  }
  return { root, graph, perPlatform };
}

async function countBytes(
  descriptors: Iterable<Descriptor>,
  layout: Layout | undefined,
): Promise<{ readonly bytes: number; readonly missing: number }> {
  let bytes = 0;
  let missing = 0;
  for (const descriptor of descriptors) {
    bytes += descriptor.size;
    if (layout === undefined || !(await layout.has(descriptor))) missing += descriptor.size;
  }
  return { bytes, missing };
}

async function openIfThere(store: string): Promise<Layout | undefined> {
  try {
    return await Layout.open(store);
  } catch (error) {
    if (isCoded(error, 'NO_INPUT')) return undefined;
    throw error;
  }
}

/** Bytes free where the store is or will be. */
async function freeBytes(store: string): Promise<number> {
  for (let folder = resolve(store); ; folder = dirname(folder)) {
    try {
      const { bavail, bsize } = await statfs(folder);
      return bavail * bsize;
    } catch (error) {
      if (systemCodeOf(error) !== 'ENOENT' || folder === dirname(folder)) throw error;
    }
  }
}
