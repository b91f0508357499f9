/**
 * The bases of an incremental bundle: what `--since` names, and what a site has by it, in which repositories of its registry
 * and under which keys of its object store. A bundle counts as loaded into all that the site has; a receipt states what it
 * was loaded into, and counts for that alone. Only content whose place at the site is known counts, so that whoever loads
 * can find it.
 */
import { lstat } from 'node:fs/promises';
import { join } from 'node:path';
import {
  type BlobSize,
  type BundleBase,
  type BundleDocument,
  documentName,
  maxBundleDocumentBytes,
  parseBundleDocument,
  parseReceiptDocument,
  type ReceiptDocument,
} from '@omni-airgap/format';
import { graphOf, type SelectChild, walk } from '@omni-airgap/oci';
import {
  CodedError,
  formatTime,
  isCoded,
  parseStrictObject,
  printable,
  recoded,
  systemCodeOf,
} from '@omni-airgap/oci/base';
import { readSmallFile, textBytes } from '@omni-airgap/oci/fs';
import type { Layout } from '@omni-airgap/oci/layout';
import {
  Annotation,
  childrenOf,
  type Descriptor,
  type Digest,
  fetchManifest,
  isIndexType,
  parseReference,
} from '@omni-airgap/oci/model';
import { Store } from '@omni-airgap/store';
import { artifactPath, parseArtifact, TalosError, versionsPath } from '@omni-airgap/talos';

type Base =
  | { readonly kind: 'bundle'; readonly document: BundleDocument }
  | {
      readonly kind: 'receipt';
      readonly document: ReceiptDocument;
      /** The bundle that was loaded, when this store issued it. */
      readonly issued: BundleDocument | undefined;
    };

/** `ghcr.io/siderolabs/omni` for the name `ghcr.io/siderolabs/omni:v1.10.4`. */
export function repositoryOf(name: string): string {
  const { registry, repository } = parseReference(name);
  return `${registry}/${repository}`;
}

/**
 * @param since paths of bundle.json, of folders with one, of receipts; or ids (8 characters at least) of bundles that
 *   this store issued
 * @throws NO_INPUT, USAGE, BAD_DOCUMENT, CONFLICT
 */
export async function readSiteInventory(
  store: Store,
  layout: Layout,
  since: readonly string[],
): Promise<SiteInventory> {
  const bases = await readBases(store, since);
  const inside = new SiteInventory();
  for (const base of bases) {
    const { origin, sequence } = base.document;
    const id = base.kind === 'bundle' ? base.document.id : base.document.bundle;
    inside.bases.set(id, { id, origin, sequence });
    if (isLast(base, bases)) for (const [name, digest] of namesOf(base)) inside.names.set(name, digest);
    if (base.kind === 'bundle') await addBundle(inside, base.document, layout);
    else await addReceipt(inside, base.document, base.issued, layout);
  }
  return inside;
}

/**
 * The names that a site has by the same bases, for which their documents are enough.
 * @param root folder of the store that issued the bundles; where there is none, bases are files
 * @throws as readSiteInventory
 */
export async function namesInside(
  root: string,
  since: readonly string[],
  signal?: AbortSignal,
): Promise<readonly string[]> {
  const namesOfAll = async (store: Store | undefined): Promise<readonly string[]> => {
    const bases = await readBases(store, since);
    const last = bases.filter((base) => isLast(base, bases));
    return [...new Set(last.flatMap((base) => namesOf(base).map(([name]) => name)))];
  };
  if (!(await Store.exists(root))) return namesOfAll(undefined);
  return Store.use(root, { access: 'look', purpose: 'omni-airgap plan', signal }, namesOfAll);
}

/** The oldest first. @throws CONFLICT, and as readBase */
async function readBases(store: Store | undefined, since: readonly string[]): Promise<readonly Base[]> {
  const bases: Base[] = [];
  for (const text of since) bases.push(await readBase(store, text));
  requireUnpruned(bases);
  return bases.sort((a, b) => a.document.sequence - b.document.sequence);
}

/**
 * A later bundle of a store lists all names there were then: it speaks for the earlier ones too. Loads of one bundle in parts
 * have a receipt each.
 */
function isLast({ document: { origin, sequence } }: Base, bases: readonly Base[]): boolean {
  return !bases.some(({ document }) => document.origin === origin && document.sequence > sequence);
}

/** Of a bundle that was pruned nobody knows what is left, but for what the receipt after it says. @throws CONFLICT */
function requireUnpruned(bases: readonly Base[]): void {
  for (const { document } of bases) {
    const pruned = document.kind === 'omni-airgap/receipt' ? document.pruned : undefined;
    if (pruned === undefined) continue;
    const ids = new Set(pruned.bundles);
    const base = bases.find((one) => ids.has(one.kind === 'bundle' ? one.document.id : one.document.bundle));
    if (base === undefined) continue;
    const id = base.kind === 'bundle' ? base.document.id : base.document.bundle;
    throw new CodedError(
      'CONFLICT',
      `--since: content of bundle ${id.slice(0, 12)} was pruned at the site at ${formatTime(pruned.at)}, as the receipt of that says; leave this bundle out of --since`,
    );
  }
}

/** What was carried, whatever it became inside. */
function namesOf(base: Base): readonly (readonly [string, Digest])[] {
  const carried = base.kind === 'bundle' ? base.document : base.issued;
  const missing = new Set(base.kind === 'receipt' ? base.document.missing?.map(({ name }) => name) : []);
  const indexes = base.kind === 'receipt' ? trimmedIn(base.document) : new Map<string, Digest>();
  return carried === undefined
    ? (base.document as ReceiptDocument).images.map(({ name, digest }) => [name, indexes.get(name) ?? digest])
    : carried.roots
        .filter(({ name }) => !missing.has(name))
        .map(({ name, descriptor }) => [name, descriptor.digest]);
}

/** By name, the indexes that were trimmed inside. */
function trimmedIn({ trimmed = [] }: ReceiptDocument): ReadonlyMap<string, Digest> {
  return new Map(trimmed.map(({ name, index }) => [name, index]));
}

async function readBase(store: Store | undefined, text: string): Promise<Base> {
  const path = await pathOf(text);
  const bytes = await (path === undefined ? bytesIssued(store, text) : readDocument(path));
  if (bytes === undefined)
    throw new CodedError('NO_INPUT', `--since ${printable(text)}: no bundle.json there`);
  if (kindOf(bytes, text) === 'bundle') return { kind: 'bundle', document: parseBundleDocument(bytes, text) };
  const document = parseReceiptDocument(bytes, text);
  const issued = await store?.bundles.document(document.bundle);
  return { kind: 'receipt', document, issued: issued?.document };
}

/** bundle.json or a receipt that somebody may have opened in an editor. */
export async function readDocument(path: string): Promise<Uint8Array | undefined> {
  const bytes = await readSmallFile(path, maxBundleDocumentBytes);
  return bytes === undefined ? undefined : textBytes(bytes, printable(path));
}

/** Undefined for what is no path. */
async function pathOf(text: string): Promise<string | undefined> {
  try {
    const info = await lstat(text);
    return info.isDirectory() ? join(text, documentName) : text;
  } catch (error) {
    if (!['ENOENT', 'ENAMETOOLONG'].includes(systemCodeOf(error) ?? '')) throw error;
    return undefined;
  }
}

/** bundle.json of a bundle that this store issued. @param text its id, or how that begins @throws NO_INPUT, USAGE */
async function bytesIssued(store: Store | undefined, text: string): Promise<Uint8Array | undefined> {
  if (store === undefined || !/^[a-f0-9]{8,64}$/i.test(text)) {
    throw new CodedError(
      'NO_INPUT',
      `--since ${printable(text)}: no such file, nor the id of a bundle (8 characters of it at least)`,
    );
  }
  const id = await store.bundles.find(text, '--since');
  return (await store.bundles.document(id))?.bytes;
}

async function addBundle(inside: SiteInventory, document: BundleDocument, layout: Layout): Promise<void> {
  const { relies } = document;
  const relied = (relies?.repositories ?? []).flatMap(({ repository, blobs }) =>
    blobs.map((blob) => ({ repository, ...blob })),
  );
  const held = new Map([...document.blobs, ...relied].map(({ digest, size }) => [digest, size]));
  // Made for a site that, as far as was known, has an object store only: so it is still.
  const hasRegistry = (relies?.objects ?? []).every(({ digest }) => held.has(digest));
  inside.addObjectStore();
  if (hasRegistry) inside.addRegistry();
  const placed = new Set<Digest>();
  for (const { name, descriptor } of document.roots) {
    for (const found of (await known(layout, descriptor)).values()) {
      // What it neither carries nor relies on was left out: other platforms.
      if (held.get(found.digest) !== found.size) continue;
      const key = keyOf(name, found);
      if (hasRegistry) inside.place(repositoryOf(name), found);
      if (hasRegistry || key !== undefined) inside.placeObject(key, found);
      placed.add(found.digest);
    }
  }
  for (const { key, digest, size } of relies?.objects ?? []) inside.placeObject(key, { digest, size });
  // Where a base of the bundle had it; the names of the bundle itself are the better answer.
  for (const blob of relied) {
    if (placed.has(blob.digest)) continue;
    inside.place(blob.repository, blob);
    inside.placeObject(undefined, blob);
  }
}

/** @param issued the bundle, when this store issued it; otherwise what its own names stand for is looked at */
async function addReceipt(
  inside: SiteInventory,
  receipt: ReceiptDocument,
  issued: BundleDocument | undefined,
  layout: Layout,
): Promise<void> {
  if (receipt.objectStore !== undefined) inside.addObjectStore();
  for (const { key, digest, size } of receipt.objects) inside.placeObject(key, { digest, size });
  if (receipt.registry === undefined) return;
  inside.addRegistry();
  const roots = new Map<string, Descriptor>(
    issued?.roots.map(({ name, descriptor }) => [name, descriptor]) ?? (await namesIn(layout)),
  );
  const sparse = new Map(receipt.sparse?.map(({ digest, manifests }) => [digest, new Set(manifests)]));
  const select: SelectChild = (child, index) => sparse.get(index.digest)?.has(child.digest) ?? true;
  const indexes = trimmedIn(receipt);
  for (const { name, digest } of receipt.images) {
    const root = roots.get(name);
    if (root === undefined) continue;
    const graph = await known(layout, root, select);
    const named = graph.get(digest);
    // Of a trimmed index all is inside but the index itself, which this drops like any other.
    const isOurs = issued !== undefined || indexes.get(name) === root.digest;
    const found =
      named !== undefined
        ? await known(layout, named, select)
        : isOurs
          ? await unitedContent(layout, root, graph)
          : new Map<Digest, Descriptor>();
    for (const one of found.values()) inside.place(repositoryOf(name), one, keyOf(name, one));
  }
}

/** What is below a root as far as the store has the manifests; blobs count whether they are here or not. */
function known(
  layout: Layout,
  root: Descriptor,
  select?: SelectChild,
): Promise<ReadonlyMap<Digest, Descriptor>> {
  return graphOf(walk(layout, [root], { select, missing: 'skip' }));
}

async function namesIn(layout: Layout): Promise<readonly (readonly [string, Descriptor])[]> {
  const names: (readonly [string, Descriptor])[] = [];
  for await (const entry of layout.names()) names.push(entry);
  return names;
}

/**
 * What the registry surely has of content that it united with its own: all that both need. Not the manifest, which no
 * name stands for any more, nor what that alone needed.
 */
async function unitedContent(
  layout: Layout,
  root: Descriptor,
  graph: ReadonlyMap<Digest, Descriptor>,
): Promise<ReadonlyMap<Digest, Descriptor>> {
  const found = new Map(graph);
  found.delete(root.digest);
  if (isIndexType(root.mediaType) || !(await layout.has(root))) return found;
  const { manifest } = await fetchManifest(layout, root);
  const layers = new Set(manifest.kind === 'image' ? manifest.layers.map(({ digest }) => digest) : []);
  for (const child of childrenOf(manifest)) {
    // A list that a registry unites with its own, so that nobody needs ours any more.
    const isList = child.annotations?.[Annotation.title] === versionsPath;
    if (isList || !layers.has(child.digest)) found.delete(child.digest);
  }
  return found;
}

/** The key of a file of Talos media, or of a schematic, in an object store. @throws BAD_DOCUMENT */
function keyOf(name: string, { digest, annotations }: Descriptor): string | undefined {
  const title = annotations?.[Annotation.title];
  try {
    const artifact = parseArtifact(parseReference(name));
    if (artifact?.kind === 'media') return title === undefined ? undefined : artifactPath(artifact, title);
    if (artifact?.kind !== 'schematic') return undefined;
    return digest === `sha256:${artifact.id}` ? artifactPath(artifact, '') : undefined;
  } catch (error) {
    throw recoded(error, TalosError, 'BAD_DOCUMENT', `${printable(name)}: `);
  }
}

/** What a site has already, by all bases together. */
export class SiteInventory {
  /** What was loaded, by id. */
  readonly bases = new Map<string, BundleBase>();
  /** What each name stood for when it was last carried in. */
  readonly names = new Map<string, Digest>();
  /** By repository, with its upstream host. */
  readonly repositories = new Map<string, Set<Digest>>();
  /** By key of the object store: where it lies, or will once what was loaded into the registry is loaded there too. */
  readonly objects = new Map<string, BlobSize>();
  /** Bytes of each blob; undefined when nothing was loaded into a registry. */
  #registry: Map<Digest, number> | undefined;
  /** Likewise for an object store. */
  #objectStore: Map<Digest, number> | undefined;

  /** The site has a registry, as far as is known. */
  addRegistry(): void {
    this.#registry ??= new Map();
  }

  /** The site has an object store, as far as is known. */
  addObjectStore(): void {
    this.#objectStore ??= new Map();
  }

  /** @param key under which an object store gets it, for a file whose key is known */
  place(repository: string, { digest, size }: BlobSize, key?: string): void {
    this.addRegistry();
    this.#registry?.set(digest, size);
    if (key !== undefined) this.objects.set(key, { digest, size });
    this.repositories.set(repository, (this.repositories.get(repository) ?? new Set()).add(digest));
  }

  /** @param key undefined where the object store has it, and nobody knows the key */
  placeObject(key: string | undefined, { digest, size }: BlobSize): void {
    this.addObjectStore();
    this.#objectStore?.set(digest, size);
    if (key !== undefined) this.objects.set(key, { digest, size });
  }

  /**
   * Whether a load finds it wherever it needs it, in everything that the site is known to have.
   * @param isObject whether an object store gets it, which holds nothing but files
   */
  holds({ digest, size }: Pick<Descriptor, 'digest' | 'size'>, isObject: boolean): boolean {
    const isInRegistry = this.#registry?.get(digest) === size;
    const isInObjectStore = this.#objectStore?.get(digest) === size;
    if (this.#registry === undefined) return isInObjectStore;
    return isInRegistry && (this.#objectStore === undefined || !isObject || isInObjectStore);
  }
}

/** Which of the two documents about a bundle a file is, where either will do. @throws BAD_DOCUMENT when it is neither */
export function kindOf(bytes: Uint8Array, path: string): 'bundle' | 'receipt' {
  const neither = (cause?: unknown): CodedError =>
    new CodedError('BAD_DOCUMENT', `${printable(path)}: neither a bundle.json nor a receipt`, { cause });
  try {
    const { kind } = parseStrictObject(bytes, { what: path });
    if (kind === 'omni-airgap/receipt') return 'receipt';
    if (kind === 'omni-airgap/bundle') return 'bundle';
  } catch (error) {
    if (isCoded(error, 'BAD_DOCUMENT')) throw neither(error);
    throw error;
  }
  throw neither();
}
