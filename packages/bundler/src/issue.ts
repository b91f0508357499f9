/**
 * Issuing: the bundle.json for a set of volumes, kept in the store with its signature, report and README, so that
 * media can be written from it at any time. The same content gives the document that was issued before.
 */
import type { KeyObject } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import {
  type BundleBase,
  type BundleDocument,
  type BundleRelies,
  type BundleRoot,
  bundleIdOf,
  CodedError,
  type Digest,
  ensureFolder,
  fetchManifest,
  hexOf,
  maxBundleDocumentBytes,
  type PlacedBlob,
  parseBundleDocument,
  readSmallFile,
  serializeBundleDocument,
  signBytes,
  verifyBytes,
  type WrittenVolume,
  writeFileAtomic,
} from '@omni-airgap/content';
import type { Contents } from './contents.ts';
import { summarizeEgress } from './egress-summary.ts';
import type { SmallFile } from './medium.ts';
import { nextOrigin, readOrigin } from './origin.ts';
import { readmeText } from './readme.ts';
import { reportPage } from './report-page.ts';
import type { SecretsRecord } from './secrets.ts';
import { sha256Of } from './sha256.ts';
import { repositoryOf } from './since.ts';
import { summarize } from './summary.ts';

export interface IssueRequest {
  readonly contents: Contents;
  readonly blobs: readonly PlacedBlob[];
  readonly volumes: readonly WrittenVolume[];
  readonly bases: readonly BundleBase[];
  readonly relies: BundleRelies | undefined;
  readonly changes: BundleDocument['changes'];
  readonly secrets: SecretsRecord;
  readonly signKey: KeyObject | undefined;
  readonly tool: string;
  readonly by: string | undefined;
  readonly now: number;
}

export interface Issued {
  readonly document: BundleDocument;
  /** bundle.json */
  readonly bytes: Uint8Array;
  /** README.txt, report.html, and bundle.json.sig when it is signed. */
  readonly files: readonly SmallFile[];
}

const maxSmallFileBytes = 64 * 1024 * 1024;

/** @throws BAD_DOCUMENT, DISK */
export async function issue(request: IssueRequest): Promise<Issued> {
  const { contents, signKey } = request;
  const store = contents.layout.root;
  const folder = join(store, 'bundles', bundleIdOf(request.volumes));
  const before = await readIssued(folder);
  if (before !== undefined && isSame(before.document, request)) {
    return { ...before, files: await withSignature(folder, before, signKey) };
  }
  const { origin, sequence } = await nextOrigin(store, await readOrigin(store));
  const document: BundleDocument = {
    kind: 'omni-airgap/bundle',
    schema: 1,
    id: bundleIdOf(request.volumes),
    origin,
    sequence,
    createdAt: new Date(request.now).toISOString(),
    ...(request.by === undefined ? {} : { createdBy: request.by }),
    tool: request.tool,
    ...(request.bases.length === 0 ? {} : { base: [...request.bases] }),
    ...(request.bases.length === 0 ? {} : { changes: request.changes }),
    roots: await rootsOf(contents),
    blobs: request.blobs.map((blob) => ({ ...blob, ...kindOf(contents, blob.digest) })),
    ...(request.relies === undefined || request.bases.length === 0
      ? {}
      : { relies: withKinds(contents, request.relies) }),
    volumes: [...request.volumes],
    files: [],
    ...(contents.sparse.length === 0 ? {} : { sparse: [...contents.sparse] }),
    secrets: request.secrets,
    egress: [...(await summarizeEgress(store))],
  };
  const summary = await summarize(document, contents.layout);
  const files: readonly SmallFile[] = [
    { name: 'README.txt', bytes: Buffer.from(readmeText(summary)) },
    { name: 'report.html', bytes: Buffer.from(reportPage(summary)) },
  ];
  const described = {
    ...document,
    files: files.map(({ name, bytes }) => ({ name, size: bytes.byteLength, sha256: sha256Of(bytes) })),
  };
  const bytes = Buffer.from(serializeBundleDocument(described));
  if (bytes.byteLength > maxBundleDocumentBytes) {
    throw new CodedError(
      'USAGE',
      `bundle.json would have ${bytes.byteLength} bytes; carry fewer names at a time`,
    );
  }
  await ensureFolder(folder);
  // What may be there is about another document.
  for (const name of ['bundle.json', 'bundle.json.sig']) await rm(join(folder, name), { force: true });
  for (const file of files) await writeFileAtomic(join(folder, file.name), file.bytes);
  const issued = { document: described, bytes, files };
  const signed = await withSignature(folder, issued, signKey);
  await writeFileAtomic(join(folder, 'bundle.json'), bytes);
  return { ...issued, files: signed };
}

/** What was issued into this folder; undefined when that is not all there. */
export async function readIssued(folder: string): Promise<Issued | undefined> {
  const path = join(folder, 'bundle.json');
  const bytes = await readSmallFile(path, maxBundleDocumentBytes);
  if (bytes === undefined) return undefined;
  const document = parseBundleDocument(bytes, path);
  const files: SmallFile[] = [];
  for (const { name, sha256 } of document.files) {
    const content = await readSmallFile(join(folder, name), maxSmallFileBytes);
    if (content === undefined || sha256Of(content) !== sha256) return undefined;
    files.push({ name, bytes: content });
  }
  return { document, bytes, files };
}

/** Its files and the signature: the one it has, or a new one where that is not the key's. */
async function withSignature(
  folder: string,
  { bytes, files }: Issued,
  key: KeyObject | undefined,
): Promise<readonly SmallFile[]> {
  const name = 'bundle.json.sig';
  const path = join(folder, name);
  const before = await readSmallFile(path, 4096);
  if (key === undefined) return before === undefined ? files : [...files, { name, bytes: before }];
  if (before !== undefined && isSignature(bytes, before, key)) return [...files, { name, bytes: before }];
  const signature = Buffer.from(signBytes(bytes, key));
  await writeFileAtomic(path, signature);
  return [...files, { name, bytes: signature }];
}

function isSignature(bytes: Uint8Array, signature: Uint8Array, key: KeyObject): boolean {
  try {
    verifyBytes(bytes, Buffer.from(signature).toString('latin1'), key, 'bundle.json.sig');
    return true;
  } catch (error) {
    if (!(error instanceof CodedError)) throw error;
    return false;
  }
}

/** Whether the document says what was asked for; its volumes are the same already. */
function isSame(document: BundleDocument, request: IssueRequest): boolean {
  const says = (value: unknown): string => JSON.stringify(value) ?? '';
  return (
    says(document.base?.map(({ id }) => id) ?? []) === says(request.bases.map(({ id }) => id)) &&
    says(document.relies?.repositories.length ?? 0) === says(request.relies?.repositories.length ?? 0) &&
    says(document.secrets) === says(request.secrets)
  );
}

/** Images need no word: they are most of it. */
function kindOf({ kinds }: Contents, digest: Digest): { readonly kind?: string } {
  const kind = kinds.get(digest) ?? 'image';
  return kind === 'image' ? {} : { kind };
}

function withKinds(contents: Contents, { repositories, objects }: BundleRelies): BundleRelies {
  const named = repositories.map(({ repository, blobs }) => ({
    repository,
    blobs: blobs.map((blob) => ({ ...blob, ...kindOf(contents, blob.digest) })),
  }));
  return { repositories: named, objects };
}

async function rootsOf({ items, layout }: Contents): Promise<BundleRoot[]> {
  const signed = new Set<string>();
  for (const { kind, name, descriptor } of items) {
    if (kind !== 'signature') continue;
    const subject =
      /:sha256-([a-f0-9]{64})/.exec(name)?.[1] ??
      (await fetchManifest(layout, descriptor)).manifest.subject?.digest.slice(7);
    signed.add(`${repositoryOf(name)} ${subject}`);
  }
  return items.map(({ name, descriptor, kind, source, fetchedAt, verified }) => {
    const isSigned = signed.has(`${repositoryOf(name)} ${hexOf(descriptor.digest)}`);
    const signature = verified !== undefined ? 'verified' : isSigned ? 'carried' : 'none';
    const checked = verified === undefined ? {} : { verified };
    return {
      name,
      descriptor,
      kind,
      source,
      fetchedAt,
      ...(kind === 'image' ? { signature } : {}),
      ...checked,
    };
  });
}
