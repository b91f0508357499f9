/**
 * One thing that mirror.yaml asks for, as a plan shows it: an image with what hangs on it, what the factory builds for a
 * schematic, a list of the factory.
 */

import {
  type Fetcher,
  formatPlatform,
  GraphBounds,
  graphOf,
  isOfPlatforms,
  type RangeFetcher,
  walk,
} from '@omni-airgap/oci';
import { CodedError, isCoded, messageOf, settleAll } from '@omni-airgap/oci/base';
import type { Layout } from '@omni-airgap/oci/layout';
import {
  bytesOf,
  childrenOf,
  type Descriptor,
  type Digest,
  fetchManifest,
  isIndexType,
  parseReference,
} from '@omni-airgap/oci/model';
import type { Network, RepositoryClient } from '@omni-airgap/oci/registry';
import type { LockDocument } from '@omni-airgap/store';
import {
  contentTypeOf,
  imagePath,
  isTalosctlName,
  publicFactoryHost,
  talosctlPath,
} from '@omni-airgap/talos';
import type { LimitFunction } from 'p-limit';
import pLimit from 'p-limit';
import { schematicArtifact } from './factory/artifacts.ts';
import type { FactoryClient } from './factory/client.ts';
import { type Builds, requireRight } from './factory/file.ts';
import { isChosen, listName, listNames, offeredTalosctl, offeredVersions } from './factory/lists.ts';
import {
  installerName,
  lockedSchematic,
  meaningOf,
  mediaSetName,
  readKnown,
  type StoredSchematic,
  schematicName,
  unbuildable,
  unknownSchematic,
  versionsOfBuilds,
} from './factory/media.ts';
import type { Offers } from './factory/offers.ts';
import { readCatalog } from './images/catalog.ts';
import { type Companions, companionName } from './images/companions.ts';
import { asAnnounced, localFirst, resolveReference, sum } from './images/image.ts';
import { findPlatforms, selectPlatforms } from './images/platforms.ts';
import type { WantedBuilds, WantedImage, WantedLists } from './mirror/resolved-mirror.ts';
import type { WantedSchematic } from './mirror/schematic.ts';
import { countBytes, type Planned, type PlannedItem } from './plan-totals.ts';

export interface PlanContext {
  readonly network: Network;
  readonly factory: FactoryClient;
  readonly offers: Offers;
  readonly layout: Layout | undefined;
  readonly lock: LockDocument | undefined;
  /** Whether the factory may be made to build. */
  readonly build: boolean;
  readonly builds: Builds;
  readonly companions: Companions;
  readonly requirePlatforms?: boolean | undefined;
  /** Whether schematics may hold secrets. */
  readonly allowSecrets: boolean;
  readonly limit: LimitFunction;
  readonly signal?: AbortSignal | undefined;
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
    const ask = (): Promise<ImageGraph> => imageGraph(context, repository, image);
    const { root, graph, perPlatform, missing, source } = await (isBuilt
      ? builds.run(image.reference, ask)
      : ask());
    const named = image.catalog === undefined ? [] : await readCatalog(source, root, image);
    const content = [...graph.values()];
    const counted = await countBytes(content, layout);
    const companions = await context.companions.find(repository, content);
    const signatures = companions.map(async (companion): Promise<Planned> => {
      const { descriptor } = companion;
      const announced = asAnnounced(source, descriptor, reference.registry);
      const below = await graphOf(walk(announced, [descriptor], { signal }));
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
        {
          item: {
            ...base,
            digest: root.digest,
            ...counted,
            ...(missing.length === 0 ? {} : { missingPlatforms: missing }),
          },
          content,
          perPlatform,
        },
        ...(await Promise.all(signatures)),
      ],
      named,
    };
  } catch (error) {
    return { planned: [problem(base, error)], named: [] };
  }
}

/** The schematic, its installers and its files. */
export async function planBuilds(context: PlanContext, wanted: WantedBuilds): Promise<readonly Planned[]> {
  const { schematic, media, installers } = wanted;
  const { factory, layout, lock, build, limit } = context;
  const locked = await lockedSchematic(layout, lock, schematic);
  let id = locked?.id ?? schematic.id;
  let planned: Planned;
  let refused: ReadonlyMap<string, CodedError> = new Map();
  try {
    const known =
      schematic.kind === 'text'
        ? build && (await factory.createSchematic(schematic))
        : locked === undefined && (await readKnown(context, id));
    if (known !== false) id = known.id;
    const text = known === false ? textOf(schematic, id) : known.bytes;
    const content = await schematicContent(context, text, locked);
    const counted = content.length === 0 ? {} : await countBytes(content, layout);
    const item = { name: schematicName(id), kind: 'schematic', ...counted } as const;
    refused = await refusals(context, wanted, known === false ? undefined : known.bytes, locked);
    const [first] = refused.values();
    planned =
      first === undefined
        ? { item, content }
        : problem(item, new CodedError(first.code, [...refused.values()].map(messageOf).join('; ')));
  } catch (error) {
    planned = problem({ name: schematicName(id), kind: 'schematic' }, error);
  }
  // Asked for each by itself, the factory would only say again that it does not know or build the schematic.
  const whyNot = (version: string): CodedError | undefined =>
    refused.size > 0
      ? refused.has(version)
        ? unbuildable(id, version)
        : undefined
      : planned.code && unknownSchematic(id);
  const follows = (base: PlannedItem, error: CodedError): Planned => ({
    ...problem(base, error),
    because: schematicName(id),
  });
  const images = installers.map(async (installer): Promise<readonly Planned[]> => {
    const reference = installerName(id, installer);
    const error = whyNot(installer.version);
    if (error !== undefined) return [follows({ name: reference, kind: 'image' }, error)];
    return (await limit(() => planImage(context, { reference, platforms: undefined }))).planned;
  });
  const files = media.flatMap(({ version, files: names }) =>
    names.map(async (name) => {
      const error = whyNot(version);
      if (error !== undefined) return [follows(fileItem(id, version, name), error)];
      return [await limit(() => planFile(context, id, version, name))];
    }),
  );
  return [planned, ...(await Promise.all([...images, ...files])).flat()];
}

/** By Talos version, why the factory cannot build the schematic. @param text as the factory gave it */
async function refusals(
  { offers, layout }: PlanContext,
  wanted: WantedBuilds,
  text: Uint8Array | undefined,
  stored: StoredSchematic | undefined,
): Promise<ReadonlyMap<string, CodedError>> {
  const found = new Map<string, CodedError>();
  const meaning = await meaningOf(wanted, text, layout, stored);
  for (const version of meaning === undefined ? [] : versionsOfBuilds(wanted)) {
    const error = meaning && (await offers.refusal(meaning, version, wanted.place));
    if (error !== undefined) found.set(version, error);
  }
  return found;
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

function fileItem(id: string, version: string, name: string): PlannedItem {
  return { name: `${mediaSetName(id, version)} ${name}`, kind: 'media' };
}

async function planFile(context: PlanContext, id: string, version: string, name: string): Promise<Planned> {
  const { factory, layout, lock, build, builds } = context;
  const base = fileItem(id, version, name);
  const locked = lock?.items.find((one) => one.name === mediaSetName(id, version));
  const known = locked?.files?.find((file) => file.name === name);
  if (known !== undefined) {
    try {
      if (layout !== undefined) await requireRight(layout, mediaSetName(id, version), known);
    } catch (error) {
      return problem(base, error);
    }
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

/**
 * What is here is counted; of the rest only talosctl is large enough to be asked for. The list of versions is read each
 * time, as fetch does: a version that the factory does not offer is its problem.
 */
export async function planLists(context: PlanContext, wanted: WantedLists): Promise<readonly Planned[]> {
  const { factory, layout, lock, limit } = context;
  const talosctl = new Map(
    wanted.talosctlVersions.map((version) => [listName('talosctl', version), version]),
  );
  const planned = listNames(wanted).map(async (name): Promise<Planned> => {
    const base = { name, kind: 'catalog' } as const;
    if (name === listName('versions')) {
      try {
        await limit(() => offeredVersions(factory, wanted.versions));
      } catch (error) {
        return problem(base, error);
      }
    }
    const known = lock?.items.find((item) => item.name === name);
    const version = talosctl.get(name);
    // Another choice of systems than the last time is asked for.
    const isKept =
      version === undefined || wanted.talosctl === 'all' || isChosen(known?.files ?? [], wanted.talosctl);
    if (isKept && known !== undefined && layout !== undefined && (await layout.has(known.descriptor))) {
      try {
        for (const file of known.files ?? [])
          if (isTalosctlName(file.name)) await requireRight(layout, name, file);
      } catch (error) {
        return problem(base, error);
      }
      const content = [...(await graphOf(walk(layout, [known.descriptor]))).values()];
      const counted = await countBytes(content, layout);
      return { item: { ...base, digest: known.descriptor.digest, ...counted }, content };
    }
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
  return { item: { ...base, problem: messageOf(error) }, code: error.code, content: [] };
}

/** Each reads one manifest after the other over the network. */
const platformsAtOnce = 8;

interface ImageGraph {
  readonly root: Descriptor;
  readonly graph: ReadonlyMap<Digest, Descriptor>;
  readonly perPlatform: readonly (readonly [platform: string, bytes: number])[];
  /** Wanted platforms that it lacks. */
  readonly missing: readonly string[];
  /** Where its content can be read. */
  readonly source: Fetcher & RangeFetcher;
}

/** The store, when there is one, is asked first. @throws NOT_FOUND, CONFIG, and as pulls */
async function imageGraph(
  { layout, requirePlatforms, signal }: PlanContext,
  repository: RepositoryClient,
  image: WantedImage,
): Promise<ImageGraph> {
  const reference = parseReference(image.reference);
  const root = await resolveReference(repository, reference, signal, image.from);
  const anywhere = layout === undefined ? repository : localFirst(layout, repository);
  const announced = asAnnounced(anywhere, root, reference.registry);
  const { bytes, manifest } = await fetchManifest(announced, root, signal);
  // Read once: registries count the pulls of a manifest.
  const source: Fetcher & RangeFetcher = {
    fetch: (descriptor, stop) =>
      descriptor.digest === root.digest ? bytesOf(bytes) : anywhere.fetch(descriptor, stop),
    fetchFrom: (descriptor, offset, stop) => anywhere.fetchFrom(descriptor, offset, stop),
  };
  const found = await findPlatforms(source, root, image, { all: requirePlatforms, signal });
  const missing = found?.missing ?? [];
  if (!isIndexType(root.mediaType)) {
    return { root, graph: await graphOf(walk(source, [root], { signal })), perPlatform: [], missing, source };
  }
  const select = selectPlatforms(image.platforms);
  const { platforms } = image;
  const chosen = childrenOf(manifest).filter(
    (child) => platforms === undefined || isOfPlatforms(child, platforms),
  );
  // A walk for each: what several platforms share counts for each of them, and once for all.
  const limit = pLimit(platformsAtOnce);
  const bounds = new GraphBounds(root);
  const seen = new Set<Digest>();
  const stop = new AbortController();
  const stoppable = AbortSignal.any([stop.signal, ...(signal === undefined ? [] : [signal])]);
  const below = await settleAll(
    chosen.map((child) =>
      limit(async () => {
        try {
          const content = await graphOf(walk(source, [child], { select, signal: stoppable }));
          for (const digest of content.keys()) if (!seen.has(digest)) bounds.countOne();
          for (const digest of content.keys()) seen.add(digest);
          return content;
        } catch (error) {
          // The first failure ends the others, and is what is thrown.
          stop.abort(error);
          throw stop.signal.reason;
        }
      }),
    ),
  );
  const graph = new Map<Digest, Descriptor>([[root.digest, root]]);
  const perPlatform: (readonly [string, number])[] = [];
  for (const [i, content] of below.entries()) {
    for (const [digest, descriptor] of content) graph.set(digest, descriptor);
    const platform = chosen[i]?.platform;
    if (platform !== undefined) perPlatform.push([formatPlatform(platform), sum(content)]);
  }
  return { root, graph, perPlatform, missing, source };
}
