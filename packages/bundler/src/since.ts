/**
 * What the site has already: the bundles and receipts that `--since` names, united. Only content whose place at the
 * site is known counts, so that whoever loads can find it.
 */
import { lstat } from 'node:fs/promises';
import { join } from 'node:path';
import {
  type BundleBase,
  type BundleDocument,
  byText,
  CodedError,
  type Descriptor,
  type Digest,
  findIssued,
  issuedFolder,
  knownGraph,
  type Layout,
  maxBundleDocumentBytes,
  parseBundleDocument,
  parseReceiptDocument,
  parseReference,
  parseStrictObject,
  printable,
  type ReceiptDocument,
  readSmallFile,
  systemCodeOf,
} from '@omni-airgap/content';
import { imagePath, schematicPath } from '@omni-airgap/talos';

/** What lies inside, and where. */
export interface Inside {
  readonly bases: readonly BundleBase[];
  /** Bytes of each blob that is inside. */
  readonly blobs: ReadonlyMap<Digest, number>;
  /** By repository, with its upstream host. */
  readonly repositories: ReadonlyMap<string, ReadonlySet<Digest>>;
  /** By key of the object store. */
  readonly objects: ReadonlyMap<string, { readonly digest: Digest; readonly size: number }>;
  /** What each name stood for when it was last carried in. */
  readonly names: ReadonlyMap<string, Digest>;
}

interface Growing {
  readonly names: Map<string, Digest>;
  readonly bases: Map<string, BundleBase>;
  readonly blobs: Map<Digest, number>;
  readonly repositories: Map<string, Set<Digest>>;
  readonly objects: Map<string, { readonly digest: Digest; readonly size: number }>;
}

const titleAnnotation = 'org.opencontainers.image.title';
const mediaName = /\/talos-media\/([a-f0-9]{64}):([A-Za-z0-9._-]+)$/;
const schematicName = /\/siderolabs\/image-factory\/schematics:([a-f0-9]{64})$/;

/** `ghcr.io/siderolabs/omni` for the name `ghcr.io/siderolabs/omni:v1.10.4`. */
export function repositoryOf(name: string): string {
  const { registry, repository } = parseReference(name);
  return `${registry}/${repository}`;
}

/**
 * @param since paths of bundle.json, of folders with one, of receipts; or ids (8 characters at least) of bundles that
 *   this store issued
 * @throws NO_INPUT, USAGE, BAD_DOCUMENT
 */
export async function readInside(store: string, layout: Layout, since: readonly string[]): Promise<Inside> {
  const inside: Growing = {
    names: new Map(),
    bases: new Map(),
    blobs: new Map(),
    repositories: new Map(),
    objects: new Map(),
  };
  const bases: Base[] = [];
  for (const text of since) bases.push(await readBase(store, text));
  // A later bundle of a store lists all names there were then: it speaks for the earlier ones too.
  bases.sort((a, b) => a.document.sequence - b.document.sequence);
  for (const [i, base] of bases.entries()) {
    const isLast = !bases.slice(i + 1).some((later) => later.document.origin === base.document.origin);
    if (isLast) for (const [name, digest] of namesOf(base)) inside.names.set(name, digest);
    if (base.kind === 'bundle') await addBundle(inside, base.document, layout);
    else await addReceipt(inside, base.document, layout);
  }
  return { ...inside, bases: [...inside.bases.values()].sort((a, b) => byText(a.id, b.id)) };
}

type Base =
  | { readonly kind: 'bundle'; readonly document: BundleDocument }
  | { readonly kind: 'receipt'; readonly document: ReceiptDocument };

function namesOf({ kind, document }: Base): readonly (readonly [string, Digest])[] {
  return kind === 'bundle'
    ? document.roots.map(({ name, descriptor }) => [name, descriptor.digest])
    : document.images.map(({ name, digest }) => [name, digest]);
}

async function readBase(store: string, text: string): Promise<Base> {
  const document = await readSmallFile(await pathOf(store, text), maxBundleDocumentBytes);
  if (document === undefined)
    throw new CodedError('NO_INPUT', `--since ${printable(text)}: no bundle.json there`);
  const { kind } = parseStrictObject(document, { what: text });
  if (kind !== 'omni-airgap/receipt')
    return { kind: 'bundle', document: parseBundleDocument(document, text) };
  const receipt = parseReceiptDocument(document, text);
  const issued = await readSmallFile(
    join(issuedFolder(store, receipt.bundle), 'bundle.json'),
    maxBundleDocumentBytes,
  );
  return issued === undefined
    ? { kind: 'receipt', document: receipt }
    : { kind: 'bundle', document: parseBundleDocument(issued, `bundle ${receipt.bundle}`) };
}

async function pathOf(store: string, text: string): Promise<string> {
  try {
    const info = await lstat(text);
    return info.isDirectory() ? join(text, 'bundle.json') : text;
  } catch (error) {
    if (!['ENOENT', 'ENAMETOOLONG'].includes(systemCodeOf(error) ?? '')) throw error;
  }
  if (!/^[a-f0-9]{8,64}$/.test(text))
    throw new CodedError('NO_INPUT', `--since ${printable(text)}: no such file`);
  return join(issuedFolder(store, await findIssued(store, text, '--since')), 'bundle.json');
}

async function addBundle(inside: Growing, document: BundleDocument, layout: Layout): Promise<void> {
  const { id, origin, sequence } = document;
  inside.bases.set(id, { id, origin, sequence });
  for (const { digest, size } of document.blobs) inside.blobs.set(digest, size);
  for (const { repository, blobs } of document.relies?.repositories ?? []) {
    for (const { digest, size } of blobs) {
      inside.blobs.set(digest, size);
      place(inside, repository, digest);
    }
  }
  for (const { key, digest, size } of document.relies?.objects ?? [])
    inside.objects.set(key, { digest, size });
  for (const { name, descriptor } of document.roots) {
    for (const found of await knownGraph(layout, [descriptor]).then((graph) => graph.values())) {
      if (inside.blobs.has(found.digest)) addPlace(inside, name, found);
    }
  }
}

/** A receipt of a bundle that this store did not issue: the names say what is there. */
async function addReceipt(inside: Growing, receipt: ReceiptDocument, layout: Layout): Promise<void> {
  const { bundle: id, origin, sequence } = receipt;
  inside.bases.set(id, { id, origin, sequence });
  const digests = new Map(receipt.images.map((image) => [image.name, image.digest]));
  for await (const [name, descriptor] of layout.names()) {
    if (digests.get(name) !== descriptor.digest) continue;
    for (const found of await knownGraph(layout, [descriptor]).then((graph) => graph.values())) {
      inside.blobs.set(found.digest, found.size);
      addPlace(inside, name, found);
    }
  }
  for (const { key, digest, size } of receipt.objects) inside.objects.set(key, { digest, size });
}

function place(inside: Growing, repository: string, digest: Digest): void {
  const digests = inside.repositories.get(repository) ?? new Set();
  inside.repositories.set(repository, digests.add(digest));
}

/** Its repository; for a file of Talos media or a schematic also its key in the object store. */
function addPlace(inside: Growing, name: string, { digest, size, annotations }: Descriptor): void {
  place(inside, repositoryOf(name), digest);
  const [, schematic, version] = mediaName.exec(name) ?? [];
  const title = annotations?.[titleAnnotation];
  if (schematic !== undefined && version !== undefined && title !== undefined) {
    inside.objects.set(imagePath(schematic, version, title), { digest, size });
  }
  const [, id] = schematicName.exec(name) ?? [];
  if (id !== undefined && digest === `sha256:${id}`) inside.objects.set(schematicPath(id), { digest, size });
}
