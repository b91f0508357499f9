/**
 * Tags that only ever grow: signatures of an image, and the media of a schematic. What a site has under such a tag
 * and what comes are united, so that later loads and local signatures never erase each other.
 */
import {
  byText,
  type Descriptor,
  descriptorOf,
  type Fetcher,
  fetchManifest,
  type ImageManifest,
  parseStrictObject,
} from '@omni-airgap/content';

const growingTag = /^sha256-[a-f0-9]{64}(?:\.(?:sig|att|sbom))?$/;
const titleAnnotation = 'org.opencontainers.image.title';

/** True for names whose content is united with what is there, instead of being in conflict with it. */
export function isGrowOnly(repository: string, tag: string): boolean {
  return growingTag.test(tag) || /(?:^|\/)talos-media\/[a-f0-9]{64}$/.test(repository);
}

export interface United {
  readonly descriptor: Descriptor;
  readonly bytes: Uint8Array;
}

/**
 * One manifest with the layers of both, those of `theirs` first. Undefined when `theirs` has them all already, or
 * when the two are not image manifests of the same kind and cannot be united.
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
  if (mine.manifest.kind !== 'image' || there.manifest.kind !== 'image') return 'different';
  if (mine.manifest.artifactType !== there.manifest.artifactType) return 'different';
  const known = new Set(there.manifest.layers.map(layerKey));
  const added = mine.manifest.layers.filter((layer) => !known.has(layerKey(layer)));
  if (added.length === 0) return 'contained';
  // A file that was replaced under its name counts with its new content.
  const replaced = new Set(
    added.map((layer) => layer.annotations?.[titleAnnotation]).filter((t) => t !== undefined),
  );
  const kept = there.manifest.layers.filter(
    (layer) => !replaced.has(layer.annotations?.[titleAnnotation] ?? ''),
  );
  const layers = [...kept, ...added];
  if (isTitled(mine.manifest)) {
    layers.sort((a, b) =>
      byText(a.annotations?.[titleAnnotation] ?? '', b.annotations?.[titleAnnotation] ?? ''),
    );
  }
  const document = parseStrictObject(mine.bytes, { what: `manifest ${ours.digest}` });
  const bytes = Buffer.from(JSON.stringify({ ...document, layers }));
  return { descriptor: descriptorOf(ours.mediaType, bytes), bytes };
}

function layerKey(layer: Descriptor): string {
  return `${layer.digest} ${JSON.stringify(layer.annotations ?? {})}`;
}

function isTitled(manifest: ImageManifest): boolean {
  return manifest.layers.some((layer) => layer.annotations?.[titleAnnotation] !== undefined);
}
