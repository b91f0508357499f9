/**
 * plan: what a fetch would bring, to the byte where that can be known, and what it takes. Asks upstream for
 * manifests and catalogs, changes nothing, and lets the factory build only when told to.
 */
import {
  collectGraph,
  type Descriptor,
  type Digest,
  isCoded,
  Layout,
  type LockDocument,
  messageOf,
  type Network,
  type NetworkSettings,
  openNetwork,
  parseReference,
} from '@omni-airgap/content';
import {
  contentTypeOf,
  type EgressHost,
  fitWarnings,
  hostPattern,
  imagePath,
  publicFactoryHost,
} from '@omni-airgap/talos';
import pLimit from 'p-limit';
import { readCatalog } from './catalog-images.ts';
import { listNames } from './fetch-lists.ts';
import { lockedSchematicId, mediaSetName, schematicName } from './fetch-media.ts';
import { freeBytes } from './free-bytes.ts';
import { imageGraph } from './image-graph.ts';
import { readLock } from './lock-file.ts';
import { type Mirror, readMirror } from './mirror/mirror.ts';
import { refuseSecrets } from './secrets.ts';
import { FactoryClient } from './sources/factory-client.ts';
import { hostsOf, type WantedBuilds, type WantedImage, wantedOf } from './wanted.ts';

export interface PlanOptions {
  readonly config: string;
  readonly store: string;
  readonly network: NetworkSettings;
  /** Have the factory build what its size is asked of; default false. */
  readonly build?: boolean;
  readonly allowSecrets?: boolean;
  readonly signal?: AbortSignal;
}

type Kind = 'image' | 'schematic' | 'media' | 'catalog';

interface PlannedItem {
  readonly name: string;
  readonly kind: Kind;
  /** Undefined when only a build at the factory, or the download, would tell. */
  readonly digest?: string;
  /** Bytes in all, and bytes that the store has not; undefined when unknown until built. */
  readonly bytes?: number;
  readonly missing?: number;
  readonly problem?: string;
}

/** Within one kind, content that items share counts once. */
interface KindTotal {
  readonly items: number;
  readonly bytes: number;
  readonly missing: number;
  /** Items whose size only a build would tell. */
  readonly unknown: number;
}

export interface Plan {
  readonly items: readonly PlannedItem[];
  readonly kinds: Readonly<Record<Kind, KindTotal>>;
  /** Content that several items share counts once. */
  readonly bytes: number;
  readonly bytesToFetch: number;
  /** Items whose size only a build would tell. */
  readonly unknown: number;
  /** Bytes of each platform, shared content included. */
  readonly platforms: Readonly<Record<string, number>>;
  readonly freeBytes: number;
  readonly hosts: readonly EgressHost[];
  readonly warnings: readonly string[];
}

interface PlanContext {
  readonly network: Network;
  readonly factory: FactoryClient;
  readonly layout: Layout | undefined;
  readonly lock: LockDocument | undefined;
  readonly build: boolean;
  readonly signal?: AbortSignal;
}

/** An item with its content. */
interface Found {
  readonly item: PlannedItem;
  readonly content: readonly Descriptor[];
  readonly perPlatform?: readonly (readonly [platform: string, bytes: number])[];
  /** What a catalog names besides. */
  readonly named?: readonly WantedImage[];
}

const itemsAtOnce = 16;

/** @throws CONFIG, NO_INPUT, SECRET; what an item's registry says against it stands in the item */
export async function plan(options: PlanOptions): Promise<Plan> {
  const { build = false, allowSecrets = false, signal } = options;
  const mirror = await readMirror(options.config);
  if (!allowSecrets) refuseSecrets(mirror);
  const wanted = wantedOf(mirror);
  const layout = await openIfThere(options.store);
  const hosts = hostsOf(wanted);
  const network = await openNetwork(options.network, {
    hosts: hosts.map(hostPattern),
    allowPrivate: false,
    connections: itemsAtOnce,
  });
  const stoppable = signal === undefined ? {} : { signal };
  const context: PlanContext = {
    network,
    factory: new FactoryClient({ gate: network.gate, host: publicFactoryHost, ...stoppable }),
    layout,
    lock: layout === undefined ? undefined : await readLock(options.store),
    build,
    ...stoppable,
  };
  try {
    const limit = pLimit(itemsAtOnce);
    const images = (list: readonly WantedImage[]): Promise<Found[]> =>
      Promise.all(list.map((image) => limit(() => planImage(context, image))));
    const [first, built] = await Promise.all([
      images(wanted.images),
      Promise.all(wanted.builds.map((one) => planBuilds(context, one, limit))),
    ]);
    const named = new Map(
      first.flatMap((found) => found.named ?? []).map((image) => [image.reference, image]),
    );
    const lists = wanted.lists === undefined ? [] : listNames(wanted.lists);
    const found = [
      ...first,
      ...(await images([...named.values()])),
      ...built.flat(),
      ...(await Promise.all(lists.map((name) => planList(context, name)))),
    ];
    return {
      ...(await summarize(found, layout)),
      freeBytes: await freeBytes(options.store),
      hosts,
      warnings: warningsOf(mirror),
    };
  } finally {
    await network.close();
  }
}

async function planImage(context: PlanContext, image: WantedImage): Promise<Found> {
  const base = { name: image.reference, kind: 'image' } as const;
  const { network, layout, lock, build, signal } = context;
  const reference = parseReference(image.reference);
  const isBuilt = reference.registry === publicFactoryHost;
  // Asking for its manifest would have it built.
  if (isBuilt && !build && !lock?.items.some((item) => item.name === image.reference))
    return { item: base, content: [] };
  try {
    const repository = network.registry(reference.registry).repository(reference.repository);
    const { root, graph, perPlatform, source } = await imageGraph(repository, layout, image, signal);
    const named = image.catalog === undefined ? [] : await readCatalog(source, root, image);
    const content = [...graph.values()];
    const counted = await countBytes(content, layout);
    return {
      item: { ...base, digest: root.digest, ...counted },
      content,
      perPlatform,
      named,
    };
  } catch (error) {
    return { item: problem(base, error), content: [] };
  }
}

async function planBuilds(
  context: PlanContext,
  { schematic, media, installers }: WantedBuilds,
  limit: <T>(task: () => Promise<T>) => Promise<T>,
): Promise<readonly Found[]> {
  const { factory, layout, lock, build } = context;
  let id = lockedSchematicId(lock, schematic);
  const item = { name: schematicName(id), kind: 'schematic' } as const;
  const found: Found[] = [];
  try {
    if (build && schematic.kind === 'text') ({ id } = await factory.createSchematic(schematic.spellings));
    found.push({ item: { ...item, name: schematicName(id) }, content: [] });
  } catch (error) {
    found.push({ item: problem(item, error), content: [] });
  }
  const references = installers.map((one) => `${publicFactoryHost}/${one.repository}/${id}:${one.version}`);
  const files = media.flatMap(({ version, files: names }) => names.map((name) => ({ version, name })));
  const built = await Promise.all([
    ...references.map((reference) => limit(() => planImage(context, { reference, platforms: undefined }))),
    ...files.map(({ version, name }) =>
      limit(async (): Promise<Found> => {
        const base = { name: `${mediaSetName(id, version)} ${name}`, kind: 'media' } as const;
        const locked = lock?.items.find((one) => one.name === mediaSetName(id, version));
        const known = locked?.files?.find((file) => file.name === name);
        if (known !== undefined) {
          const content = [{ mediaType: contentTypeOf(name), digest: known.digest, size: known.size }];
          return { item: { ...base, digest: known.digest, ...(await countBytes(content, layout)) }, content };
        }
        if (!build) return { item: base, content: [] };
        try {
          const bytes = await factory.sizeOf(imagePath(id, version, name));
          return { item: { ...base, bytes, missing: bytes }, content: [] };
        } catch (error) {
          return { item: problem(base, error), content: [] };
        }
      }),
    ),
  ]);
  return [...found, ...built];
}

/** What the factory lists is small and changes; only what is here can be counted. */
async function planList({ layout, lock }: PlanContext, name: string): Promise<Found> {
  const base = { name, kind: 'catalog' } as const;
  const known = lock?.items.find((item) => item.name === name);
  if (known === undefined || layout === undefined || !(await layout.has(known.descriptor)))
    return { item: base, content: [] };
  const content = [...(await collectGraph(layout, known.descriptor)).values()];
  const counted = await countBytes(content, layout);
  return { item: { ...base, digest: known.descriptor.digest, ...counted }, content };
}

function problem(base: PlannedItem, error: unknown): PlannedItem {
  if (!isCoded(error)) throw error;
  if (error.code === 'ABORTED') throw error;
  return { ...base, problem: messageOf(error) };
}

async function summarize(
  found: readonly Found[],
  layout: Layout | undefined,
): Promise<Pick<Plan, 'items' | 'kinds' | 'bytes' | 'bytesToFetch' | 'unknown' | 'platforms'>> {
  const platforms: Record<string, number> = {};
  for (const { perPlatform = [] } of found)
    for (const [name, bytes] of perPlatform) platforms[name] = (platforms[name] ?? 0) + bytes;
  const total = async (some: readonly Found[]): Promise<KindTotal> => {
    const content = new Map<Digest, Descriptor>();
    for (const one of some) for (const descriptor of one.content) content.set(descriptor.digest, descriptor);
    const counted = await countBytes(content.values(), layout);
    // Files of which only the size is known share nothing.
    const loose = some.filter(({ item }) => item.digest === undefined).map(({ item }) => item.bytes ?? 0);
    const more = loose.reduce((sum, bytes) => sum + bytes, 0);
    return {
      items: some.length,
      bytes: counted.bytes + more,
      missing: counted.missing + more,
      unknown: some.filter(
        ({ item }) =>
          item.bytes === undefined &&
          (item.kind === 'image' || item.kind === 'media') &&
          item.problem === undefined,
      ).length,
    };
  };
  const of = (kind: Kind): Promise<KindTotal> => total(found.filter(({ item }) => item.kind === kind));
  const all = await total(found);
  return {
    items: found.map(({ item }) => item),
    kinds: {
      image: await of('image'),
      schematic: await of('schematic'),
      media: await of('media'),
      catalog: await of('catalog'),
    },
    bytes: all.bytes,
    bytesToFetch: all.missing,
    unknown: all.unknown,
    platforms,
  };
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

function warningsOf({ omni, talos, kubernetes, platforms, images }: Mirror): readonly string[] {
  const fits = fitWarnings({
    ...(omni === undefined ? {} : { omni: omni.version }),
    talos: talos?.versions ?? [],
    kubernetes: kubernetes?.versions ?? [],
    ...(talos?.imageFactory === undefined ? {} : { factory: talos.imageFactory.version }),
  });
  const isSparse = platforms !== undefined && (kubernetes !== undefined || images.length > 0);
  return isSparse
    ? [
        ...fits,
        `platforms leaves out part of each index: Distribution 2.8 ("registry:2") refuses such an index; carry all platforms, or load with --flatten`,
      ]
    : fits;
}

async function openIfThere(store: string): Promise<Layout | undefined> {
  try {
    return await Layout.open(store);
  } catch (error) {
    if (isCoded(error, 'NO_INPUT')) return undefined;
    throw error;
  }
}
