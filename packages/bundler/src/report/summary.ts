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
import { type InsideFinding, type ProductVersions, versionsOf } from '@omni-airgap/talos';
import {
  type Attachment,
  attestationsOf,
  companionsOf,
  distinct,
  type ImageManifests,
  platformsOf,
} from './attachments.ts';

export interface SummaryItem {
  readonly name: string;
  readonly kind: string;
  readonly digest: Digest;
  /** Bytes of all content below it that this bundle carries; content that several items share counts for each. */
  readonly bytes: number;
  /** True when its manifest came with a base and is not carried. */
  readonly inBase: boolean;
  /** `linux/amd64`…, those that are carried or came with a base; empty for what has none. */
  readonly platforms: readonly string[];
  /** Wanted at fetch, and not there upstream; undefined where that is not known, as of a bundle that is read. */
  readonly missingPlatforms?: readonly string[] | undefined;
  /** Files of an artifact. */
  readonly files: readonly { readonly name: string; readonly digest: Digest; readonly size: number }[];
  /** What an image's annotations say: its licenses (an SPDX expression, or any text), and where its source code is. */
  readonly licenses?: string | undefined;
  readonly sourceCode?: string | undefined;
  readonly signature: BundleRoot['signature'];
  /** Signatures, attestations and SBOMs that travel with an image. */
  readonly attachments: readonly Attachment[];
  /** Names in the bundle that these have. */
  readonly companions: readonly string[];
  /** Who signed it, as verified at fetch. */
  readonly verified: BundleRoot['verified'];
  readonly source: string | undefined;
  readonly fetchedAt: string | undefined;
  readonly fetchedBy: string | undefined;
}

export interface Summary {
  readonly document: BundleDocument;
  /** All names, but those that are about an image here: they are its attachments. */
  readonly items: readonly SummaryItem[];
  /** Bytes of all volumes. */
  readonly bytes: number;
  readonly versions: readonly ProductVersions[];
  /** Fingerprint of the key that the bundle was signed with when it was issued; undefined for unsigned, or one that is read. */
  readonly issuedBy?: string | undefined;
  /** What is known against the set inside, judged when it was issued; undefined for a bundle that is read. */
  readonly inside?: readonly InsideFinding[];
  /** Content that a base brought. */
  readonly relied: { readonly blobs: number; readonly bytes: number };
}

/**
 * @param source where the manifests are: the store, or the bundle itself
 * @throws DIGEST_MISMATCH, BAD_DOCUMENT, DISK
 */
export async function summarize(document: BundleDocument, source: Fetcher & Presence): Promise<Summary> {
  const carried = new Set(document.blobs.map(({ digest }) => digest));
  const relied = new Map(reliedBlobs(document).map(({ digest, size }) => [digest, size] as const));
  const isPart = (digest: Digest): boolean => carried.has(digest) || relied.has(digest);
  const readGraph = (root: Descriptor): Promise<ReadGraph> => graphBelow(source, root, carried, isPart);
  const isCompanion = ({ kind }: BundleRoot): boolean => kind === 'signature';
  const read: { readonly root: BundleRoot; readonly graph: ReadGraph }[] = [];
  for (const root of document.roots) {
    if (!isCompanion(root)) read.push({ root, graph: await readGraph(root.descriptor) });
  }
  const images = read.map(({ root, graph }) => ({ name: root.name, manifests: graph.manifests }));
  const companions = await companionsOf(source, document.roots.filter(isCompanion), images);
  const named = new Map<string, Pick<SummaryItem, 'attachments' | 'companions'>>();
  for (const { root, images, attachments } of companions) {
    for (const image of images) {
      const { attachments: others = [], companions: names = [] } = named.get(image) ?? {};
      named.set(image, {
        attachments: [...others, ...attachments],
        companions: [...names, root.name],
      });
    }
  }
  const alone = companions.filter(({ images }) => images.size === 0);
  for (const { root } of alone) read.push({ root, graph: await readGraph(root.descriptor) });
  const items = read.map(({ root, graph }): SummaryItem => {
    const { name, descriptor, kind = 'image', signature, verified, fetchedAt, fetchedBy } = root;
    const { manifests: _, attachments: inside, ...found } = graph;
    const { attachments: beside = [], companions: names = [] } = named.get(name) ?? {};
    return {
      name,
      kind,
      digest: descriptor.digest,
      ...found,
      inBase: !carried.has(descriptor.digest),
      signature,
      attachments: distinct([...beside, ...inside]),
      companions: names,
      verified,
      source: root.source,
      fetchedAt,
      fetchedBy,
    };
  });
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

interface ReadGraph extends Pick<SummaryItem, 'bytes' | 'platforms' | 'files' | 'licenses' | 'sourceCode'> {
  readonly manifests: ImageManifests;
  /** Attestations within the image's own index. */
  readonly attachments: readonly Attachment[];
}

/**
 * @param carried what counts as bytes of the bundle: the store may have what a base brought, too
 * @param isPart whether content is carried or came with a base: of an index, children may be neither
 */
export async function graphBelow(
  source: Fetcher & Presence,
  root: Descriptor,
  carried: ReadonlySet<Digest>,
  isPart: (digest: Digest) => boolean,
): Promise<ReadGraph> {
  const sizes = new Map<Digest, number>();
  const platforms = new Set<string>();
  const files: { name: string; digest: Digest; size: number }[] = [];
  const manifests = new Map<Digest, string | undefined>([[root.digest, undefined]]);
  const attachments: Attachment[] = [];
  // Those of the index count, then those of its first image that has some.
  let licenses: string | undefined;
  let sourceCode: string | undefined;
  for await (const visited of walk(source, [root], { missing: 'skip' })) {
    const { kind, descriptor, parents } = visited;
    const { digest, size, annotations } = descriptor;
    if (!sizes.has(digest)) sizes.set(digest, carried.has(digest) ? size : 0);
    const title = annotations?.[Annotation.title];
    if (kind === 'blob' && title !== undefined) files.push({ name: title, digest, size });
    if (kind !== 'manifest') continue;
    const { manifest } = visited;
    licenses ??= manifest.annotations?.['org.opencontainers.image.licenses'];
    sourceCode ??= manifest.annotations?.['org.opencontainers.image.source'];
    for (const [child, platform] of platformsOf(manifest)) manifests.set(child, platform);
    attachments.push(...attestationsOf(descriptor, manifest, manifests));
    if (parents.length > 0 || manifest.kind === 'index') continue;
    const own = await ownPlatform(source, manifest);
    if (own !== undefined) platforms.add(own);
  }
  for (const [digest, platform] of manifests)
    if (platform !== undefined && isPart(digest)) platforms.add(platform);
  const bytes = [...sizes.values()].reduce((sum, size) => sum + size, 0);
  return {
    bytes,
    platforms: [...platforms].sort(),
    files,
    manifests,
    attachments,
    ...(licenses === undefined ? {} : { licenses }),
    ...(sourceCode === undefined ? {} : { sourceCode }),
  };
}

/** The platform of an image that is in no index stands in its configuration. */
async function ownPlatform(source: Fetcher & Presence, image: ImageManifest): Promise<string | undefined> {
  if (!(await source.has(image.config))) return undefined;
  try {
    const platform = await platformOfImage(source, image);
    return platform === undefined ? undefined : formatPlatform(platform);
  } catch (error) {
    // A configuration in a volume that is not here cannot be read.
    if (isCoded(error, 'BAD_VOLUME')) return undefined;
    throw error;
  }
}
