/**
 * Tags that only ever grow: signatures of an image, and the media of a schematic. What a site has under such a tag
 * and what comes are united, so that later loads and local signatures never erase each other.
 */

import { areSignatures, signatureManifest } from '@omni-airgap/format';
import type { Fetcher } from '@omni-airgap/oci';
import { byText, parseStrictObject } from '@omni-airgap/oci/base';
import {
  Annotation,
  collectVerified,
  type Descriptor,
  descriptorOf,
  fetchManifest,
  type ImageManifest,
  type IndexManifest,
  isSignatureTag,
} from '@omni-airgap/oci/model';
import { versionsPath } from '@omni-airgap/talos';
import { artifactOf, type PlacedName } from '../names.ts';
import { maxVersionListBytes, uniteVersions } from '../version-list.ts';

/**
 * True for names whose content is united with what is there, instead of being in conflict with it.
 * @param place `name` as the bundle has it: at the site, an artifact of anybody's may have the same path
 */
export function isGrowOnly({ name, tag }: Pick<PlacedName, 'name' | 'tag'>): boolean {
  const kind = artifactOf(name)?.kind;
  return (tag !== undefined && isSignatureTag(tag)) || kind === 'media' || kind === 'list';
}

export interface United {
  readonly descriptor: Descriptor;
  readonly bytes: Uint8Array;
  /** Blobs made for it, to be pushed before. */
  readonly blobs: readonly { readonly descriptor: Descriptor; readonly bytes: Uint8Array }[];
}

/**
 * One manifest with the layers (or, of indexes, the entries) of both, those of `theirs` first.
 * @returns 'contained' when `theirs` has them all already, 'different' when the two cannot be united
 * @throws BAD_DOCUMENT, DIGEST_MISMATCH and as the sources
 */
export async function unite(
  ours: Descriptor,
  ourSource: Fetcher,
  theirs: Descriptor,
  theirSource: Fetcher,
  signal?: AbortSignal,
): Promise<United | 'contained' | 'different'> {
  const mine = await fetchManifest(ourSource, ours, signal);
  const there = await fetchManifest(theirSource, theirs, signal);
  if (mine.manifest.kind === 'index' && there.manifest.kind === 'index') {
    return uniteIndexes(mine.bytes, mine.manifest, there.bytes, there.manifest, ours);
  }
  if (mine.manifest.kind !== 'image' || there.manifest.kind !== 'image') return 'different';
  if (mine.manifest.artifactType !== there.manifest.artifactType) return 'different';
  const known = new Set(there.manifest.layers.map(layerKey));
  const blobs: { descriptor: Descriptor; bytes: Uint8Array }[] = [];
  const added: Descriptor[] = [];
  for (const layer of mine.manifest.layers) {
    if (known.has(layerKey(layer))) continue;
    const list = await uniteVersionLayers(layer, ourSource, there.manifest, theirSource, signal);
    if (list !== undefined && known.has(layerKey(list.descriptor))) continue;
    if (list !== undefined) blobs.push(list);
    added.push(list?.descriptor ?? layer);
  }
  if (added.length === 0) return 'contained';
  // A file that was replaced under its name counts with its new content.
  const replaced = new Set(
    added.map((layer) => layer.annotations?.[Annotation.title]).filter((t) => t !== undefined),
  );
  const kept = there.manifest.layers.filter(
    (layer) => !replaced.has(layer.annotations?.[Annotation.title] ?? ''),
  );
  const layers = [...kept, ...added];
  if (areSignatures(layers)) {
    const { manifest, config } = signatureManifest(layers, there.manifest.annotations);
    return { ...manifest, blobs: [...blobs, config] };
  }
  if (isTitled(mine.manifest)) {
    layers.sort((a, b) =>
      byText(a.annotations?.[Annotation.title] ?? '', b.annotations?.[Annotation.title] ?? ''),
    );
  }
  const document = parseStrictObject(mine.bytes, { what: `manifest ${ours.digest}` });
  const bytes = Buffer.from(JSON.stringify({ ...document, layers }));
  return { descriptor: descriptorOf(ours.mediaType, bytes), bytes, blobs };
}

/** A list of versions keeps those that are there. Undefined for other files. */
async function uniteVersionLayers(
  layer: Descriptor,
  ourSource: Fetcher,
  there: ImageManifest,
  theirSource: Fetcher,
  signal?: AbortSignal,
): Promise<{ readonly descriptor: Descriptor; readonly bytes: Uint8Array } | undefined> {
  if (layer.annotations?.[Annotation.title] !== versionsPath) return undefined;
  const before = there.layers.find((one) => one.annotations?.[Annotation.title] === versionsPath);
  if (before === undefined) return undefined;
  const read = (source: Fetcher, one: Descriptor): Promise<Uint8Array> =>
    collectVerified(source.fetch(one, signal), one, maxVersionListBytes, 'list of Talos versions');
  const bytes = uniteVersions(await read(ourSource, layer), await read(theirSource, before));
  const descriptor = { ...descriptorOf(layer.mediaType, bytes), annotations: layer.annotations };
  return { descriptor, bytes };
}

/** Lists of referrers: the entries of both, theirs first and as they wrote them. */
function uniteIndexes(
  mine: Uint8Array,
  ourIndex: IndexManifest,
  theirs: Uint8Array,
  theirIndex: IndexManifest,
  ours: Descriptor,
): United | 'contained' {
  const known = new Set(theirIndex.manifests.map((entry) => entry.digest));
  const raw = (bytes: Uint8Array): readonly unknown[] =>
    (parseStrictObject(bytes, { what: 'index of referrers' })['manifests'] as readonly unknown[] | null) ??
    [];
  const added = raw(mine).filter((_, i) => {
    const entry = ourIndex.manifests[i];
    return entry !== undefined && !known.has(entry.digest);
  });
  if (added.length === 0) return 'contained';
  const document = { schemaVersion: 2, mediaType: ours.mediaType, manifests: [...raw(theirs), ...added] };
  const bytes = Buffer.from(JSON.stringify(document));
  return { descriptor: descriptorOf(ours.mediaType, bytes), bytes, blobs: [] };
}

function layerKey(layer: Descriptor): string {
  return `${layer.digest} ${JSON.stringify(layer.annotations ?? {})}`;
}

function isTitled(manifest: ImageManifest): boolean {
  return manifest.layers.some((layer) => layer.annotations?.[Annotation.title] !== undefined);
}
