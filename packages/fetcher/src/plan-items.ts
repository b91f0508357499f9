/**
 * One thing that mirror.yaml asks for, as a plan shows it: an image with what hangs on it, what the factory builds for a
 * schematic, a list of the factory.
 */
import { type Descriptor, graphOf, parseReference, walk } from '@omni-airgap/oci';
import { isCoded, messageOf } from '@omni-airgap/oci/base';
import type { Layout } from '@omni-airgap/oci/layout';
import type { Network } from '@omni-airgap/oci/registry';
import type { LockDocument } from '@omni-airgap/store';
import { contentTypeOf, imagePath, publicFactoryHost, talosctlPath } from '@omni-airgap/talos';
import type { LimitFunction } from 'p-limit';
import { schematicArtifact } from './artifacts.ts';
import type { Builds } from './builds.ts';
import { readCatalog } from './catalog-images.ts';
import { listName, listNames, offeredTalosctl } from './fetch-lists.ts';
import { lockedSchematic, mediaSetName, type StoredSchematic, schematicName } from './fetch-media.ts';
import { type ImageGraph, imageGraph } from './image-graph.ts';
import type { WantedSchematic } from './mirror/schematic.ts';
import { countBytes, type Planned, type PlannedItem } from './plan-totals.ts';
import { companionName, findCompanions } from './sources/companions.ts';
import type { FactoryClient } from './sources/factory-client.ts';
import type { WantedBuilds, WantedImage, WantedLists } from './wanted.ts';

export interface PlanContext {
  readonly network: Network;
  readonly factory: FactoryClient;
  readonly layout: Layout | undefined;
  readonly lock: LockDocument | undefined;
  /** Whether the factory may be made to build. */
  readonly build: boolean;
  readonly builds: Builds;
  readonly limit: LimitFunction;
  readonly signal?: AbortSignal;
}

export interface PlannedImage {
  /** The image, then its signatures. */
  readonly planned: readonly Planned[];
  /** What a catalog names besides. */
  readonly named: readonly WantedImage[];
}

/** Asks its registry for manifests only. What the registry says against it stands in the item. */
export async function planImage(context: PlanContext, image: WantedImage): Promise<PlannedImage> {
  const base = { name: image.reference, kind: 'image' } as const;
  const { network, layout, lock, build, builds, signal } = context;
  const reference = parseReference(image.reference);
  const isBuilt = reference.registry === publicFactoryHost;
  // Asking for its manifest would have it built.
  if (isBuilt && !build && !lock?.items.some((item) => item.name === image.reference))
    return { planned: [{ item: base, content: [] }], named: [] };
  try {
    const repository = network.registry(reference.registry).repository(reference.repository);
    const ask = (): Promise<ImageGraph> => imageGraph(repository, layout, image, signal);
    const { root, graph, perPlatform, source } = await (isBuilt ? builds.run(image.reference, ask) : ask());
    const named = image.catalog === undefined ? [] : await readCatalog(source, root, image);
    const content = [...graph.values()];
    const counted = await countBytes(content, layout);
    const companions = await findCompanions(repository, content, signal);
    const signatures = companions.map(async (companion): Promise<Planned> => {
      const { descriptor } = companion;
      const below = await graphOf(walk(source, [descriptor], { signal }));
      const item = {
        name: companionName(reference, companion),
        kind: 'signature',
        digest: descriptor.digest,
      } as const;
      return {
        item: { ...item, ...(await countBytes(below.values(), layout)) },
        content: [...below.values()],
      };
    });
    return {
      planned: [
        { item: { ...base, digest: root.digest, ...counted }, content, perPlatform },
        ...(await Promise.all(signatures)),
      ],
      named,
    };
  } catch (error) {
    return { planned: [problem(base, error)], named: [] };
  }
}

/** The schematic, its installers and its files. */
export async function planBuilds(
  context: PlanContext,
  { schematic, media, installers }: WantedBuilds,
): Promise<readonly Planned[]> {
  const { factory, layout, lock, build, limit } = context;
  const locked = await lockedSchematic(layout, lock, schematic);
  let id = locked?.id ?? schematic.id;
  let planned: Planned;
  try {
    const built = build && schematic.kind === 'text' ? await factory.createSchematic(schematic) : undefined;
    id = built?.id ?? id;
    const content = await schematicContent(context, built?.bytes ?? textOf(schematic, id), locked);
    const counted = content.length === 0 ? {} : await countBytes(content, layout);
    planned = { item: { name: schematicName(id), kind: 'schematic', ...counted }, content };
  } catch (error) {
    planned = problem({ name: schematicName(id), kind: 'schematic' }, error);
  }
  const images = installers.map(async ({ repository, version }) => {
    const reference = `${publicFactoryHost}/${repository}/${id}:${version}`;
    return (await limit(() => planImage(context, { reference, platforms: undefined }))).planned;
  });
  const files = media.flatMap(({ version, files: names }) =>
    names.map(async (name) => [await limit(() => planFile(context, id, version, name))]),
  );
  return [planned, ...(await Promise.all([...images, ...files])).flat()];
}

/** What it has under this ID, where that can be told without asking. */
function textOf(schematic: WantedSchematic, id: string): Uint8Array | undefined {
  return schematic.kind === 'text' && schematic.id === id ? Buffer.from(schematic.canonical) : undefined;
}

/** Nothing for one that is known by its ID alone. */
async function schematicContent(
  { layout }: PlanContext,
  text: Uint8Array | undefined,
  locked: StoredSchematic | undefined,
): Promise<readonly Descriptor[]> {
  if (text !== undefined) {
    const { manifest, config, layer } = schematicArtifact(text);
    return [manifest, config, layer];
  }
  if (layout === undefined || locked === undefined) return [];
  return [...(await graphOf(walk(layout, [locked.item.descriptor]))).values()];
}

async function planFile(context: PlanContext, id: string, version: string, name: string): Promise<Planned> {
  const { factory, layout, lock, build, builds } = context;
  const base = { name: `${mediaSetName(id, version)} ${name}`, kind: 'media' } as const;
  const locked = lock?.items.find((one) => one.name === mediaSetName(id, version));
  const known = locked?.files?.find((file) => file.name === name);
  if (known !== undefined) {
    const content = [{ mediaType: contentTypeOf(name), digest: known.digest, size: known.size }];
    return { item: { ...base, digest: known.digest, ...(await countBytes(content, layout)) }, content };
  }
  if (!build) return { item: base, content: [] };
  try {
    const path = imagePath(id, version, name);
    const bytes = await builds.run(`${name} ${version}`, () => factory.sizeOf(path));
    return { item: { ...base, bytes, missing: bytes }, content: [] };
  } catch (error) {
    return problem(base, error);
  }
}

/** What is here is counted; of the rest only talosctl is large enough to be asked for. */
export async function planLists(context: PlanContext, wanted: WantedLists): Promise<readonly Planned[]> {
  const { layout, lock, limit } = context;
  const talosctl = new Map(
    wanted.talosctlVersions.map((version) => [listName('talosctl', version), version]),
  );
  const planned = listNames(wanted).map(async (name): Promise<Planned> => {
    const base = { name, kind: 'catalog' } as const;
    const known = lock?.items.find((item) => item.name === name);
    if (known !== undefined && layout !== undefined && (await layout.has(known.descriptor))) {
      const content = [...(await graphOf(walk(layout, [known.descriptor]))).values()];
      const counted = await countBytes(content, layout);
      return { item: { ...base, digest: known.descriptor.digest, ...counted }, content };
    }
    const version = talosctl.get(name);
    return version === undefined
      ? { item: base, content: [] }
      : limit(() => planTalosctl(context, base, version, wanted.talosctl));
  });
  return Promise.all(planned);
}

async function planTalosctl(
  { factory }: PlanContext,
  base: PlannedItem,
  version: string,
  wanted: WantedLists['talosctl'],
): Promise<Planned> {
  try {
    const names = (await offeredTalosctl(factory, version, wanted)) ?? [];
    const sizes = await Promise.all(names.map((name) => factory.sizeOf(talosctlPath(version, name))));
    const bytes = sizes.reduce((sum, size) => sum + size, 0);
    return { item: { ...base, bytes, missing: bytes }, content: [] };
  } catch (error) {
    return problem(base, error);
  }
}

function problem(base: PlannedItem, error: unknown): Planned {
  if (!isCoded(error) || error.code === 'ABORTED') throw error;
  return { item: { ...base, problem: messageOf(error) }, content: [] };
}
