/**
 * What a bundle is, for whoever approves or receives it: read from bundle.json and the manifests in volume 000, so
 * the first medium alone is enough. The report page, README.txt and `inspect` all say this.
 */
import type { BlobSize, BundleDocument, BundleRoot } from '@omni-airgap/format';
import { type Fetcher, formatPlatform, type Presence, walk } from '@omni-airgap/oci';
import { isCoded } from '@omni-airgap/oci/base';
import {
  Annotation,
  type Descriptor,
  type Digest,
  type ImageManifest,
  platformOfImage,
} from '@omni-airgap/oci/model';
import { type ProductVersions, versionsOf } from './versions.ts';

export interface SummaryItem {
  readonly name: string;
  readonly kind: string;
  readonly digest: Digest;
  /** Bytes of all content below it that this bundle carries; content that several items share counts for each. */
  readonly bytes: number;
  /** True when its manifest came with a base and is not carried. */
  readonly inBase: boolean;
  /** `linux/amd64`…; empty for what has none. */
  readonly platforms: readonly string[];
  /** Wanted at fetch, and not there upstream; undefined where that is not known, as of a bundle that is read. */
  readonly missingPlatforms?: readonly string[] | undefined;
  /** Files of an artifact. */
  readonly files: readonly { readonly name: string; readonly digest: Digest; readonly size: number }[];
  readonly signature: BundleRoot['signature'];
  /** Who signed it, as verified at fetch. */
  readonly verified: BundleRoot['verified'];
  readonly source: string | undefined;
  readonly fetchedAt: string | undefined;
  readonly fetchedBy: string | undefined;
}

export interface Summary {
  readonly document: BundleDocument;
  readonly items: readonly SummaryItem[];
  /** Bytes of all volumes. */
  readonly bytes: number;
  readonly versions: readonly ProductVersions[];
  /** Fingerprint of the key that the bundle was signed with when it was issued; undefined for unsigned, or one that is read. */
  readonly issuedBy?: string | undefined;
  /** Content that a base brought. */
  readonly relied: { readonly blobs: number; readonly bytes: number };
}

/**
 * @param source where the manifests are: the store, or the bundle itself
 * @throws DIGEST_MISMATCH, BAD_DOCUMENT, DISK
 */
export async function summarize(document: BundleDocument, source: Fetcher): Promise<Summary> {
  const carried = new Map(document.blobs.map((blob) => [blob.digest, blob]));
  const items: SummaryItem[] = [];
  for (const {
    name,
    descriptor,
    kind = 'image',
    signature,
    verified,
    source: from,
    fetchedAt,
    fetchedBy,
  } of document.roots) {
    const { digest } = descriptor;
    const found = await readGraph(source, carried, descriptor);
    items.push({
      name,
      kind,
      digest,
      ...found,
      inBase: !carried.has(digest),
      signature,
      verified,
      source: from,
      fetchedAt,
      fetchedBy,
    });
  }
  const relied = new Map(reliedBlobs(document).map(({ digest, size }) => [digest, size] as const));
  return {
    document,
    items,
    bytes: document.volumes.reduce((sum, volume) => sum + volume.size, 0),
    versions: versionsOf(document.roots.map(({ name }) => name)),
    relied: { blobs: relied.size, bytes: [...relied.values()].reduce((sum, size) => sum + size, 0) },
  };
}

/** What a base brought, wherever it lies: what lies in several places stands there several times. */
export function reliedBlobs({
  relies,
}: BundleDocument): readonly (BlobSize & { readonly kind?: string | undefined })[] {
  return [...(relies?.repositories ?? []).flatMap(({ blobs }) => blobs), ...(relies?.objects ?? [])];
}

type Found = Pick<SummaryItem, 'bytes' | 'platforms' | 'files'>;
type Carried = ReadonlyMap<Digest, unknown>;

async function readGraph(source: Fetcher, carried: Carried, root: Descriptor): Promise<Found> {
  const sizes = new Map<Digest, number>();
  const platforms = new Set<string>();
  const files: { name: string; digest: Digest; size: number }[] = [];
  const bundle: Fetcher & Presence = {
    fetch: (descriptor, signal) => source.fetch(descriptor, signal),
    // What a base brought may be in the store; it is no content of this bundle.
    has: async ({ digest }) => carried.has(digest),
  };
  for await (const visited of walk(bundle, [root], { missing: 'skip' })) {
    const { kind, descriptor, parents } = visited;
    const { digest, size, annotations } = descriptor;
    if (!sizes.has(digest)) sizes.set(digest, carried.has(digest) ? size : 0);
    const title = annotations?.[Annotation.title];
    if (kind === 'blob' && title !== undefined) files.push({ name: title, digest, size });
    if (kind !== 'manifest') continue;
    const { manifest } = visited;
    const found =
      manifest.kind === 'index'
        ? manifest.manifests.flatMap(({ platform }) =>
            platform === undefined ? [] : [formatPlatform(platform)],
          )
        : parents.length === 0
          ? await ownPlatform(bundle, manifest)
          : [];
    for (const platform of found) platforms.add(platform);
  }
  const bytes = [...sizes.values()].reduce((sum, size) => sum + size, 0);
  return { bytes, platforms: [...platforms].sort(), files };
}

/** The platform of an image that is in no index stands in its configuration. */
async function ownPlatform(bundle: Fetcher & Presence, image: ImageManifest): Promise<readonly string[]> {
  if (!(await bundle.has(image.config))) return [];
  try {
    const platform = await platformOfImage(bundle, image);
    return platform === undefined ? [] : [formatPlatform(platform)];
  } catch (error) {
    // A configuration in a volume that is not here cannot be read.
    if (isCoded(error, 'BAD_VOLUME')) return [];
    throw error;
  }
}
