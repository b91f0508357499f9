/**
 * Indexes of which only some platforms are carried, and what their tags stand for on request, since many registries refuse
 * them: the image of the only platform (--flatten), or an index of the carried children (--trim-indexes). An index that
 * something names by its digest is not trimmed: a pull by that digest would find nothing.
 */
import { parseStrictObject } from '@omni-airgap/oci/base';
import {
  type Descriptor,
  type Digest,
  descriptorOf,
  fetchManifest,
  type IndexManifest,
  isIndexType,
  isManifestType,
  parseReference,
} from '@omni-airgap/oci/model';
import { isDigestName, type Replacement } from '../names.ts';
import { hasOtherKind, type Shape } from './capability-probe.ts';
import type { RegistryContext, SiteSource } from './context.ts';
import { imageFactoryImages } from './sets.ts';

export interface PartialIndex {
  readonly index: Descriptor;
  /** Image of the only platform that is carried; undefined when several are. */
  readonly image: Descriptor | undefined;
  /** Index of the carried children: always the same bytes for the same children. */
  readonly trimmed: { readonly descriptor: Descriptor; readonly bytes: Uint8Array };
  /** True when the carried children are Docker manifests in an OCI index, or the other way round. */
  readonly isMixed: boolean;
  /** Why it is not trimmed; undefined when it can be. */
  readonly pinned: string | undefined;
}

/** Levels of indexes that are looked into; content deeper down is refused elsewhere. */
const maxNesting = 4;

/**
 * By digest, the indexes of which some children are carried and others are not.
 * @throws BAD_DOCUMENT, DIGEST_MISMATCH, and as the source
 */
export async function readPartialIndexes({
  bundles,
  source,
  signal,
}: RegistryContext): Promise<ReadonlyMap<Digest, PartialIndex>> {
  const found = new Map<Digest, PartialIndex>();
  const { sparse = [], roots } = bundles.document;
  if (sparse.length === 0) return found;
  const pins = await pinsOf(roots, source, signal);
  const marked = new Set(sparse.map(({ digest }) => digest));
  for (const index of sparse) {
    const read = await readIndex(source, index, signal);
    if (read === undefined) continue;
    const { bytes, manifest } = read;
    const isCarried = await Promise.all(manifest.manifests.map((child) => source.has(child)));
    const carried = manifest.manifests.filter((_, i) => isCarried[i]);
    if (carried.length === 0) continue;
    const inner = carried.find(({ digest }) => marked.has(digest));
    if (carried.length === manifest.manifests.length && inner === undefined) continue;
    const within =
      inner === undefined ? undefined : `it contains an index that lacks platforms itself (${inner.digest})`;
    const document = parseStrictObject(bytes, { what: `index ${index.digest}` });
    const entries = (document['manifests'] as readonly unknown[]).filter((_, i) => isCarried[i]);
    const trimmed = Buffer.from(JSON.stringify({ ...document, manifests: entries }));
    found.set(index.digest, {
      index,
      image: onlyImage(carried),
      trimmed: { descriptor: descriptorOf(index.mediaType, trimmed), bytes: trimmed },
      isMixed: hasOtherKind(manifest.mediaType, carried),
      pinned: within ?? pins.get(index.digest),
    });
  }
  return found;
}

/** Undefined for what is no index, and for one that is neither carried nor at the site. */
async function readIndex(
  source: SiteSource,
  index: Descriptor,
  signal?: AbortSignal,
): Promise<{ readonly bytes: Uint8Array; readonly manifest: IndexManifest } | undefined> {
  if (!isIndexType(index.mediaType) || !(await source.has(index))) return undefined;
  const { bytes, manifest } = await fetchManifest(source, index, signal);
  return manifest.kind === 'index' ? { bytes, manifest } : undefined;
}

/** The image of the one platform that is carried; undefined when several or none are. */
function onlyImage(carried: readonly Descriptor[]): Descriptor | undefined {
  const images = carried.filter(
    ({ platform, mediaType }) => platform !== undefined && isManifestType(mediaType),
  );
  const [image, ...others] = images;
  if (image === undefined || others.length > 0) return undefined;
  const { mediaType, digest, size } = image;
  return { mediaType, digest, size };
}

/** Digests that must stay what they are, and what names them. */
async function pinsOf(
  roots: RegistryContext['bundles']['document']['roots'],
  source: SiteSource,
  signal?: AbortSignal,
): Promise<ReadonlyMap<Digest, string>> {
  const pins = new Map<Digest, string>();
  const ofFactory = imageFactoryImages(roots.map(({ name }) => name));
  const addBelow = async (name: string, index: Descriptor, depth: number): Promise<void> => {
    const read = depth > maxNesting ? undefined : await readIndex(source, index, signal);
    for (const child of read?.manifest.manifests ?? []) {
      if (!isIndexType(child.mediaType)) continue;
      pins.set(child.digest, `the index ${name} contains it`);
      await addBelow(name, child, depth + 1);
    }
  };
  for (const { name, descriptor } of roots) {
    if (isDigestName(name)) pins.set(descriptor.digest, 'it is referred to by its digest');
    else {
      const { digest } = parseReference(name);
      if (digest !== undefined) pins.set(digest, `${name} names its digest`);
      if (ofFactory.has(name)) pins.set(descriptor.digest, `${name} belongs to the Image Factory`);
    }
    await addBelow(name, descriptor, 1);
  }
  return pins;
}

/** What takes the place of an index, as the operator asked; undefined when nothing does. */
export function replacementOf(
  { index, image, trimmed, pinned }: PartialIndex,
  { flatten, trimIndexes }: { readonly flatten: boolean; readonly trimIndexes: boolean },
): Replacement | undefined {
  if (flatten && image !== undefined) return { how: 'flattened', index, descriptor: image };
  if (!trimIndexes || pinned !== undefined) return undefined;
  return { how: 'trimmed', index, descriptor: trimmed.descriptor };
}

/**
 * What load itself can do about an index that a registry refuses, or what else helps.
 * @param partial undefined for an index that is carried whole
 * @returns undefined for other shapes
 */
export function wayOutOf(shape: Shape, partial: PartialIndex | undefined): string | undefined {
  if (shape !== 'sparse' && shape !== 'mixed') return undefined;
  const isOne = partial?.image !== undefined;
  const flatten = isOne ? ['--flatten, which tags the image of the one carried platform'] : [];
  const helps =
    partial !== undefined && partial.pinned === undefined && (shape === 'sparse' || !partial.isMixed);
  const trim = helps
    ? [`--trim-indexes, which tags an index of the carried ${isOne ? 'platform' : 'platforms'}`]
    : [];
  const advice =
    shape === 'sparse'
      ? 'leave `platforms` out of mirror.yaml and fetch again'
      : 'use another registry for these images';
  const flags = [...trim, ...flatten].join(', or ');
  const pinned = partial?.pinned === undefined ? [] : [`--trim-indexes is not possible: ${partial.pinned}`];
  return [...pinned, advice, ...(flags === '' ? [] : [`or use ${flags}`])].join('; ');
}
