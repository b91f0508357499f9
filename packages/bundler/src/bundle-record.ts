/**
 * The record of a bundle: bundle.json for a set of volumes, with its report and README, kept in the store with its
 * signature, so that media can be written from it at any time. The same content gives the document that was issued before,
 * unless something else was issued in between: to go back is a new bundle.
 */
import type { KeyObject } from 'node:crypto';
import {
  type BundleBase,
  type BundleDocument,
  type BundleRelies,
  type BundleRoot,
  bundleIdOf,
  bundleSchemaOf,
  fingerprintOf,
  isProgramFile,
  maxBundleDocumentBytes,
  type PlacedBlob,
  serializeBundleDocument,
  type WrittenVolume,
} from '@omni-airgap/format';
import { byText, CodedError } from '@omni-airgap/oci/base';
import {
  type Digest,
  digestOf,
  fetchManifest,
  hexOf,
  isSignatureTag,
  subjectOfTag,
} from '@omni-airgap/oci/model';
import type { Issue, IssuedBundle, SmallFile, Store } from '@omni-airgap/store';
import type { InsideFinding } from '@omni-airgap/talos';
import { repositoryOf } from './base.ts';
import type { LockedContent } from './locked-content.ts';
import type { Program } from './program.ts';
import { inventory, inventoryName } from './report/inventory.ts';
import { reportPage } from './report/page.ts';
import { readmeText } from './report/readme.ts';
import { type Summary, summarize } from './report/summary.ts';

/** What was done about secrets in schematics. */
export type SecretsRecord = NonNullable<BundleDocument['secrets']>;

export interface IssueRequest {
  readonly contents: LockedContent;
  readonly blobs: readonly PlacedBlob[];
  readonly volumes: readonly WrittenVolume[];
  readonly bases: readonly BundleBase[];
  readonly relies: BundleRelies | undefined;
  readonly changes: BundleDocument['changes'];
  /** Names of earlier bundles, sorted. */
  readonly withdraws: readonly string[];
  readonly secrets: SecretsRecord;
  /** What is known against the set inside. */
  readonly inside: readonly InsideFinding[];
  /** Travels along; undefined for a bundle without. */
  readonly program: Program | undefined;
  readonly signKey: KeyObject | undefined;
  readonly tool: string;
  readonly by: string | undefined;
  readonly now: number;
}

/** @throws BAD_DOCUMENT, DISK, BUSY; USAGE when bundle.json would be too large */
export async function issue(store: Store, request: IssueRequest): Promise<Issue> {
  const { contents, signKey } = request;
  const id = bundleIdOf(request.volumes);
  const roots = await rootsOf(contents);
  const unnumbered: BundleDocument = {
    kind: 'omni-airgap/bundle',
    schema: bundleSchemaOf(request.withdraws),
    id,
    origin: '',
    sequence: 0,
    createdAt: new Date(request.now).toISOString(),
    ...(request.by === undefined ? {} : { createdBy: request.by }),
    tool: request.tool,
    ...(request.bases.length === 0 ? {} : { base: [...request.bases] }),
    ...(request.bases.length === 0 ? {} : { changes: request.changes }),
    roots,
    ...(request.withdraws.length === 0 ? {} : { withdraws: [...request.withdraws] }),
    blobs: request.blobs.map((blob) => ({ ...blob, ...kindOf(contents, blob.digest) })),
    ...(request.relies === undefined || request.bases.length === 0
      ? {}
      : { relies: withKinds(contents, request.relies) }),
    volumes: [...request.volumes],
    files: (request.program?.executables ?? []).map(({ name, size, sha256 }) => ({ name, size, sha256 })),
    ...(contents.sparse.length === 0 ? {} : { sparse: [...contents.sparse] }),
    secrets: request.secrets,
    egress: [...(await store.egressHosts())],
  };
  const summary: Summary = {
    ...withMissing(await summarize(unnumbered, contents.layout), contents),
    issuedBy: signKey === undefined ? undefined : fingerprintOf(signKey),
    inside: request.inside,
  };
  const bom: SmallFile = { name: inventoryName, bytes: await inventory(summary) };
  return store.bundles.issue({
    id,
    content: contentHash(contents),
    isSame: (issued) => isSame(issued, request, roots),
    describe: (number) =>
      described({ ...summary, document: { ...unnumbered, ...number } }, [
        bom,
        ...(request.program?.texts ?? []),
      ]),
    signKey,
  });
}

/** Of all names and all that they lead to: an increment has the hash of the full bundle. @returns hex */
function contentHash({ items, descriptors }: LockedContent): string {
  const names = items.map(({ name, descriptor }) => `${descriptor.digest} ${name}\n`);
  const lines = [...names, ...[...descriptors.keys()].map((digest) => `${digest}\n`)];
  return hexOf(digestOf(Buffer.from(lines.sort(byText).join(''))));
}

/** Whoever approves the bundle sees which platforms were wanted and could not be had. */
function withMissing(summary: Summary, { items }: LockedContent): Summary {
  const missing = new Map(items.map(({ name, missingPlatforms }) => [name, missingPlatforms]));
  return {
    ...summary,
    items: summary.items.map((item) => ({ ...item, missingPlatforms: missing.get(item.name) })),
  };
}

/**
 * With the files that people read, before those of the program.
 * @param others bom.cdx.json, and what goes with the program
 * @throws USAGE when bundle.json would be too large
 */
function described(summary: Summary, others: readonly SmallFile[]): IssuedBundle {
  const files: readonly SmallFile[] = [
    { name: 'README.txt', bytes: Buffer.from(readmeText(summary)) },
    { name: 'report.html', bytes: Buffer.from(reportPage(summary)) },
    ...others,
  ];
  const document: BundleDocument = {
    ...summary.document,
    files: [
      ...files.map(({ name, bytes }) => ({ name, size: bytes.byteLength, sha256: hexOf(digestOf(bytes)) })),
      ...summary.document.files,
    ],
  };
  const bytes = Buffer.from(serializeBundleDocument(document));
  if (bytes.byteLength > maxBundleDocumentBytes) {
    throw new CodedError(
      'USAGE',
      `bundle.json would have ${bytes.byteLength} bytes; carry fewer names at a time`,
    );
  }
  return { document, bytes, files };
}

/** Whether the document says what was asked for; its volumes are the same already. */
function isSame(document: BundleDocument, request: IssueRequest, roots: readonly BundleRoot[]): boolean {
  const says = (value: unknown): string => JSON.stringify(value) ?? '';
  const places = (relies: BundleRelies | undefined): string =>
    says([
      relies?.repositories.map(({ repository, blobs }) => [repository, ...blobs.map((b) => b.digest)]),
      relies?.objects.map(({ key, digest }) => [key, digest]),
    ]);
  const programOf = ({ files }: BundleDocument): unknown =>
    files.filter(({ name }) => isProgramFile(name)).map(({ name, sha256 }) => [name, sha256]);
  const checks = (list: readonly BundleRoot[]): string =>
    says(list.map(({ name, signature, verified }) => [name, signature, verified]));
  return (
    checks(document.roots) === checks(roots) &&
    says(document.base?.map(({ id }) => id) ?? []) === says(request.bases.map(({ id }) => id)) &&
    places(document.relies) === places(request.bases.length === 0 ? undefined : request.relies) &&
    says(document.withdraws ?? []) === says(request.withdraws) &&
    says(document.secrets) === says(request.secrets) &&
    says(programOf(document)) ===
      says((request.program?.executables ?? []).map(({ name, sha256 }) => [name, sha256]))
  );
}

/** Images need no word: they are most of it. */
function kindOf({ kinds }: LockedContent, digest: Digest): { readonly kind?: string } {
  const kind = kinds.get(digest) ?? 'image';
  return kind === 'image' ? {} : { kind };
}

function withKinds(contents: LockedContent, { repositories, objects }: BundleRelies): BundleRelies {
  const named = repositories.map(({ repository, blobs }) => ({
    repository,
    blobs: blobs.map((blob) => ({ ...blob, ...kindOf(contents, blob.digest) })),
  }));
  return { repositories: named, objects };
}

/** What bundle.json says of the names of a store. @throws BAD_DOCUMENT, DIGEST_MISMATCH, DISK */
export async function rootsOf({ items, layout }: LockedContent): Promise<BundleRoot[]> {
  const signed = new Set<string>();
  for (const { kind, name, descriptor } of items) {
    if (kind !== 'signature') continue;
    const tag = name.slice(name.lastIndexOf(':') + 1);
    const tagged = subjectOfTag(tag);
    // Sources and the like hang on an image too, and are no signature.
    if (tagged !== undefined && !isSignatureTag(tag)) continue;
    const subject = tagged ?? (await fetchManifest(layout, descriptor)).manifest.subject?.digest;
    signed.add(`${repositoryOf(name)} ${subject}`);
  }
  return items.map(({ name, descriptor, kind, source, fetchedAt, fetchedBy, verified }) => {
    const isSigned = signed.has(`${repositoryOf(name)} ${descriptor.digest}`);
    const signature = verified !== undefined ? 'verified' : isSigned ? 'carried' : 'none';
    const checked = verified === undefined ? {} : { verified };
    return {
      name,
      descriptor,
      kind,
      source,
      fetchedAt,
      ...(fetchedBy === undefined ? {} : { fetchedBy }),
      ...(kind === 'image' ? { signature } : {}),
      ...checked,
    };
  });
}
