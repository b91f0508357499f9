/**
 * What travels with an image and speaks about it: signatures, attestations, SBOMs. They are content of the bundle under
 * names of their own, or children of the image's index; for people they are properties of the image.
 * Sources: sigstore/cosign specs/SIGNATURE_SPEC.md, ATTESTATION_SPEC.md, BUNDLE_SPEC.md; moby/buildkit
 * docs/attestations/attestation-storage.md; notaryproject/specifications signature-specification.md.
 */
import type { BundleRoot } from '@omni-airgap/format';
import { type Fetcher, formatPlatform, type Presence, walk } from '@omni-airgap/oci';
import {
  type Descriptor,
  type Digest,
  type ImageManifest,
  type Manifest,
  plain,
  subjectOfTag,
} from '@omni-airgap/oci/model';
import { repositoryIn, tagOf } from './names.ts';

export interface Attachment {
  readonly kind: 'signature' | 'attestation' | 'sbom' | 'other';
  /** Predicate type of an attestation, otherwise the media type of the document; undefined when it is not known. */
  readonly type?: string | undefined;
  /** `linux/amd64` when it is about one platform of the image. */
  readonly platform?: string | undefined;
  /** The manifest that holds it. */
  readonly manifest: Digest;
  /** The document; undefined when the manifest came with a base and cannot be read here. */
  readonly document?: Descriptor | undefined;
}

/** Manifests of an image, the index among them: by digest, the platform of each that has one. */
export type ImageManifests = ReadonlyMap<Digest, string | undefined>;

/** Media types of SBOM documents, as registered and as tools write them, and predicate types of SBOM attestations. */
const sbomPattern =
  /^(?:text|application)\/(?:vnd\.)?(?:spdx|cyclonedx|syft)\b|^https:\/\/(?:spdx\.dev\/Document|cyclonedx\.org\/bom|syft\.dev\/bom)/;
const signingPredicate = 'https://sigstore.dev/cosign/sign/v1';
const signatureTypes: readonly string[] = [
  'application/vnd.dev.cosign.simplesigning.v1+json',
  'application/vnd.cncf.notary.signature',
  'application/vnd.dev.cosign.artifact.sig.v1+json',
];
const bundlePrefix = 'application/vnd.dev.sigstore.bundle';
const statementTypes: readonly string[] = [
  'application/vnd.dsse.envelope.v1+json',
  'application/vnd.in-toto+json',
];

/** Whether a document states something about the image inside an in-toto statement, in whichever envelope. */
export function isStatementType(mediaType: string): boolean {
  return mediaType.startsWith(bundlePrefix) || statementTypes.includes(mediaType);
}

/** What an image manifest that holds attachments holds, a layer each. */
function attachmentsIn(
  { digest }: Descriptor,
  manifest: ImageManifest,
  platform: string | undefined,
): readonly Attachment[] {
  const artifactType = manifest.artifactType ?? manifest.config.mediaType;
  const predicateOfAll = manifest.annotations?.['dev.sigstore.bundle.predicateType'];
  return manifest.layers.map((layer) => {
    const { mediaType, annotations } = layer;
    const common = {
      ...(platform === undefined ? {} : { platform }),
      manifest: digest,
      document: plain(layer),
    };
    const predicate =
      annotations?.['in-toto.io/predicate-type'] ?? annotations?.['predicateType'] ?? predicateOfAll;
    const isBundle = mediaType.startsWith(bundlePrefix);
    const isSignature =
      signatureTypes.includes(mediaType) ||
      signatureTypes.includes(artifactType) ||
      (isBundle && (predicate === undefined || predicate === signingPredicate));
    if (isSignature) return { kind: 'signature', type: mediaType, ...common };
    if (isStatementType(mediaType)) {
      const isSbom = predicate !== undefined && sbomPattern.test(predicate);
      return { kind: isSbom ? 'sbom' : 'attestation', type: predicate, ...common };
    }
    const type = [mediaType, artifactType].find((one) => sbomPattern.test(one));
    return type === undefined
      ? { kind: 'other', type: artifactType, ...common }
      : { kind: 'sbom', type, ...common };
  });
}

/** BuildKit's attestations are children of the index, each for a sibling. Empty for any other child. */
export function attestationsOf(
  descriptor: Descriptor,
  manifest: Manifest,
  manifests: ImageManifests,
): readonly Attachment[] {
  const { annotations } = descriptor;
  if (manifest.kind !== 'image' || annotations?.['vnd.docker.reference.type'] !== 'attestation-manifest')
    return [];
  const subject = annotations['vnd.docker.reference.digest'];
  return attachmentsIn(descriptor, manifest, manifests.get(subject as Digest));
}

/** An image that attachments are looked for. */
export interface AttachedImage {
  readonly name: string;
  readonly manifests: ImageManifests;
}

type NamedRoot = Pick<BundleRoot, 'name' | 'descriptor'>;

/** A name of a bundle or store that is about another one. */
export interface Companion {
  readonly root: NamedRoot;
  /** The images it is about; empty when none of them is in the bundle. */
  readonly images: ReadonlySet<string>;
  readonly attachments: readonly Attachment[];
}

/** A signature of an attestation of an image is the most that makes sense. */
const maxLevels = 4;

/**
 * Finds the images that companions are about: by the tag, or by the subject of the manifest, in the same repository.
 * @param roots those of kind `signature`
 * @throws DIGEST_MISMATCH, BAD_DOCUMENT, DISK
 */
export async function companionsOf(
  source: Fetcher & Presence,
  roots: readonly NamedRoot[],
  images: readonly AttachedImage[],
): Promise<readonly Companion[]> {
  const owners = new Map<string, { readonly images: Set<string>; readonly platform: string | undefined }>();
  const own = (repository: string, digest: Digest, platform: string | undefined, names: Iterable<string>) => {
    const key = `${repository} ${digest}`;
    const known = owners.get(key) ?? { images: new Set(), platform };
    for (const name of names) known.images.add(name);
    owners.set(key, known);
  };
  for (const { name, manifests } of images)
    for (const [digest, platform] of manifests) own(repositoryIn(name), digest, platform, [name]);

  let waiting: readonly FoundCompanion[] = await Promise.all(
    roots.map((root) => readCompanion(source, root)),
  );
  const resolved: Companion[] = [];
  for (let level = 0; level < maxLevels && waiting.length > 0; level++) {
    const left: FoundCompanion[] = [];
    for (const found of waiting) {
      const { root, subject, manifests } = found;
      const repository = repositoryIn(root.name);
      const owner = owners.get(`${repository} ${subject}`);
      if (owner === undefined) {
        left.push(found);
        continue;
      }
      for (const digest of manifests.keys()) own(repository, digest, owner.platform, owner.images);
      resolved.push(companionFrom(found, owner.images, owner.platform));
    }
    if (left.length === waiting.length) break;
    waiting = left;
  }
  return [...resolved, ...waiting.map((found) => companionFrom(found, new Set(), undefined))];
}

interface FoundCompanion {
  readonly root: NamedRoot;
  readonly subject: Digest | undefined;
  readonly manifests: ReadonlyMap<Digest, { readonly descriptor: Descriptor; readonly manifest: Manifest }>;
}

async function readCompanion(source: Fetcher & Presence, root: NamedRoot): Promise<FoundCompanion> {
  const manifests = new Map<Digest, { readonly descriptor: Descriptor; readonly manifest: Manifest }>();
  for await (const visited of walk(source, [root.descriptor], { missing: 'skip', blobs: false })) {
    const { kind, descriptor } = visited;
    if (kind === 'manifest') manifests.set(descriptor.digest, { descriptor, manifest: visited.manifest });
  }
  const tagged = subjectOfTag(tagOf(root.name));
  return {
    root,
    subject: tagged ?? manifests.get(root.descriptor.digest)?.manifest.subject?.digest,
    manifests,
  };
}

function companionFrom(
  { root, manifests }: FoundCompanion,
  images: ReadonlySet<string>,
  platform: string | undefined,
): Companion {
  const attachments = [...manifests.values()].flatMap(({ descriptor, manifest }) =>
    manifest.kind === 'image' ? attachmentsIn(descriptor, manifest, platform) : [],
  );
  // Where the content says nothing, the tag may.
  const kind = kindBySuffix(root.name);
  const unread: Attachment = {
    kind,
    ...(platform === undefined ? {} : { platform }),
    manifest: root.descriptor.digest,
  };
  return {
    root,
    images,
    attachments:
      manifests.size === 0
        ? [unread]
        : attachments.map((one) => (one.kind === 'other' ? { ...one, kind } : one)),
  };
}

function kindBySuffix(name: string): Attachment['kind'] {
  if (name.endsWith('.sig')) return 'signature';
  if (name.endsWith('.att')) return 'attestation';
  return name.endsWith('.sbom') ? 'sbom' : 'other';
}

/** A referrer may be found under its digest and in the list of a referrers tag. */
export function distinct(attachments: readonly Attachment[]): readonly Attachment[] {
  const byContent = new Map(attachments.map((one) => [`${one.manifest} ${one.document?.digest}`, one]));
  return [...byContent.values()];
}

/** Platforms of the children of an index, by digest; they need not be there. */
export function platformsOf(manifest: Manifest): readonly (readonly [Digest, string | undefined])[] {
  if (manifest.kind !== 'index') return [];
  return manifest.manifests.map(({ digest, platform }) => [
    digest,
    platform === undefined ? undefined : formatPlatform(platform),
  ]);
}

/** Whether a name says that it is about another manifest. */
export function isCompanionName(name: string): boolean {
  return subjectOfTag(tagOf(name)) !== undefined;
}

const labels: readonly (readonly [pattern: RegExp, label: string])[] = [
  [/spdx/i, 'SPDX'],
  [/cyclonedx/i, 'CycloneDX'],
  [/syft/i, 'Syft'],
  [/slsa\.dev\/provenance/, 'SLSA provenance'],
];

/** What it is, in words: `signature`, `SBOM (SPDX)`, `attestation (SLSA provenance)`. Not yet made safe to print. */
function attachmentLabel({ kind, type }: Attachment): string {
  if (kind === 'signature') return 'signature';
  const [, label] = labels.find(([pattern]) => type !== undefined && pattern.test(type)) ?? [];
  const what = kind === 'sbom' ? 'SBOM' : kind === 'attestation' ? 'attestation' : 'attachment';
  const detail = label ?? type;
  return detail === undefined ? what : `${what} (${detail})`;
}

/**
 * All that travels with an image in one line: `2 signatures, SBOM (SPDX): linux/amd64, linux/arm64`. Not yet made safe
 * to print.
 */
export function attachmentsText(attachments: readonly Attachment[]): string {
  const groups = new Map<string, { n: number; platforms: Set<string> }>();
  for (const attachment of attachments) {
    const label = attachmentLabel(attachment);
    const group = groups.get(label) ?? { n: 0, platforms: new Set() };
    group.n++;
    if (attachment.platform !== undefined) group.platforms.add(attachment.platform);
    groups.set(label, group);
  }
  return [...groups]
    .map(([label, { n, platforms }]) => {
      if (label === 'signature') return n === 1 ? label : `${n} signatures`;
      const of = platforms.size === 0 ? '' : ` for ${[...platforms].sort().join(' and ')}`;
      return `${label}${of}`;
    })
    .join(', ');
}
