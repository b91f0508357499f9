/** diff: what changed between two bundles, stores or receipts: names, and the content behind them. */
import { lstat } from 'node:fs/promises';
import { join } from 'node:path';
import {
  documentName,
  maxBundleDocumentBytes,
  parseBundleDocument,
  parseReceiptDocument,
} from '@omni-airgap/format';
import { byText, CodedError, printable, systemCodeOf } from '@omni-airgap/oci/base';
import { diskError, readSmallFile } from '@omni-airgap/oci/fs';
import { type Digest, subjectOfTag } from '@omni-airgap/oci/model';
import { Store } from '@omni-airgap/store';
import { kindOf, readDocument } from './base.ts';
import { readLockedContent } from './locked-content.ts';
import { isCompanionName } from './report/attachments.ts';
import { repositoryIn, tagOf } from './report/names.ts';
import { reliedBlobs } from './report/summary.ts';

export interface DiffReport {
  readonly from: string;
  readonly to: string;
  readonly added: readonly string[];
  readonly removed: readonly string[];
  /** Names that stand for something else. */
  readonly moved: readonly { readonly name: string; readonly from: Digest; readonly to: Digest }[];
  /** Names that the later side withdraws and the earlier one does not. */
  readonly withdrawn: readonly string[];
  /** Names that are the same in both. */
  readonly unchanged: number;
  /** Changed signatures, attestations and SBOMs by what they are about; they are in none of the lists above. */
  readonly attached: readonly AttachedChange[];
  /** Content that only one side has, by the kind of the names that need it; undefined where a receipt is a side. */
  readonly content:
    | readonly { readonly kind: string; readonly addedBytes: number; readonly removedBytes: number }[]
    | undefined;
}

interface AttachedChange {
  /** An image; its repository when they are about one of its platforms, or about something that is not there. */
  readonly name: string;
  readonly added: number;
  readonly removed: number;
  /** Names that stand for something else. */
  readonly moved: number;
}

/** One side of the comparison. */
interface Side {
  readonly label: string;
  readonly names: ReadonlyMap<string, Digest>;
  /** Names that are about an image. */
  readonly companions: ReadonlyMap<string, Digest>;
  /** Names of earlier bundles. */
  readonly withdraws: readonly string[];
  /** Bytes and kind of all content; undefined for a receipt, which says names only. */
  readonly blobs: ReadonlyMap<Digest, { readonly size: number; readonly kind: string }> | undefined;
}

/** What a document or store says, name by name. */
interface ReadSide extends Pick<Side, 'label' | 'withdraws' | 'blobs'> {
  readonly entries: readonly {
    readonly name: string;
    readonly digest: Digest;
    readonly kind?: string | undefined;
  }[];
}

/**
 * @param from folder of a store or bundle, or path of a bundle.json or receipt
 * @throws NO_INPUT, BAD_DOCUMENT, MISSING_CONTENT
 */
export async function diff(from: string, to: string, signal?: AbortSignal): Promise<DiffReport> {
  const [a, b] = apart(await readSide(from, signal), await readSide(to, signal));
  const withdrawnBefore = new Set(a.withdraws);
  const added = [...b.names.keys()].filter((name) => !a.names.has(name));
  const removed = [...a.names.keys()].filter((name) => !b.names.has(name));
  const moved = [...b.names].flatMap(([name, digest]) => {
    const from = a.names.get(name);
    return from === undefined || from === digest ? [] : [{ name, from, to: digest }];
  });
  return {
    from: a.label,
    to: b.label,
    added: added.sort(byText),
    removed: removed.sort(byText),
    moved: moved.sort((x, y) => byText(x.name, y.name)),
    withdrawn: b.withdraws.filter((name) => !withdrawnBefore.has(name)),
    unchanged: b.names.size - added.length - moved.length,
    attached: attachedChanges(a, b),
    content: contentOf(a.blobs, b.blobs),
  };
}

function attachedChanges(a: Side, b: Side): readonly AttachedChange[] {
  const images = new Map(
    [...a.names, ...b.names].map(([name, digest]) => [`${repositoryIn(name)} ${digest}`, name]),
  );
  const found = new Map<string, { added: number; removed: number; moved: number }>();
  const count = (companion: string, what: 'added' | 'removed' | 'moved'): void => {
    const repository = repositoryIn(companion);
    const name = images.get(`${repository} ${subjectOfTag(tagOf(companion))}`) ?? repository;
    const entry = found.get(name) ?? { added: 0, removed: 0, moved: 0 };
    entry[what]++;
    found.set(name, entry);
  };
  for (const [name, digest] of b.companions) {
    const before = a.companions.get(name);
    if (before !== digest) count(name, before === undefined ? 'added' : 'moved');
  }
  for (const name of a.companions.keys()) if (!b.companions.has(name)) count(name, 'removed');
  return [...found].map(([name, counts]) => ({ name, ...counts })).sort((x, y) => byText(x.name, y.name));
}

/** The names of two sides, apart from those that are about an image: a receipt records no kinds, the other side may. */
function apart(a: ReadSide, b: ReadSide): readonly [Side, Side] {
  const all = [...a.entries, ...b.entries];
  const about = new Set(
    all.flatMap(({ name, kind }) => (kind === 'signature' || isCompanionName(name) ? [name] : [])),
  );
  const side = ({ entries, ...others }: ReadSide): Side => {
    const of = (isAbout: boolean): ReadonlyMap<string, Digest> =>
      new Map(
        entries.filter(({ name }) => about.has(name) === isAbout).map(({ name, digest }) => [name, digest]),
      );
    return { ...others, names: of(false), companions: of(true) };
  };
  return [side(a), side(b)];
}

function contentOf(a: Side['blobs'], b: Side['blobs']): DiffReport['content'] {
  if (a === undefined || b === undefined) return undefined;
  const kinds = new Map<string, { addedBytes: number; removedBytes: number }>();
  const count = (kind: string): { addedBytes: number; removedBytes: number } => {
    const entry = kinds.get(kind) ?? { addedBytes: 0, removedBytes: 0 };
    kinds.set(kind, entry);
    return entry;
  };
  for (const [digest, { size, kind }] of b) if (!a.has(digest)) count(kind).addedBytes += size;
  for (const [digest, { size, kind }] of a) if (!b.has(digest)) count(kind).removedBytes += size;
  return [...kinds].map(([kind, bytes]) => ({ kind, ...bytes })).sort((x, y) => byText(x.kind, y.kind));
}

async function readSide(path: string, signal?: AbortSignal): Promise<ReadSide> {
  let isFolder: boolean;
  try {
    isFolder = (await lstat(path)).isDirectory();
  } catch (error) {
    if (systemCodeOf(error) !== 'ENOENT') throw diskError(error, printable(path));
    throw new CodedError('NO_INPUT', `${printable(path)}: no such file or folder`);
  }
  if (!isFolder) return readDocumentSide(path);
  const document = join(path, documentName);
  if ((await readSmallFile(document, maxBundleDocumentBytes)) !== undefined)
    return readDocumentSide(document);
  return readStoreSide(path, signal);
}

async function readDocumentSide(path: string): Promise<ReadSide> {
  const bytes = await readDocument(path);
  if (bytes === undefined) throw new CodedError('NO_INPUT', `${path}: no such file`);
  if (kindOf(bytes, path) === 'receipt') {
    const receipt = parseReceiptDocument(bytes, path);
    const { bundle, images, withdraws = [] } = receipt;
    return { label: `receipt of ${bundle}`, entries: images, withdraws, blobs: undefined };
  }
  const document = parseBundleDocument(bytes, path);
  const blobs = new Map<Digest, { size: number; kind: string }>();
  // Where a place says no kind, another one may.
  for (const { digest, size, kind } of [...document.blobs, ...reliedBlobs(document)])
    blobs.set(digest, { size, kind: kind ?? blobs.get(digest)?.kind ?? 'image' });
  const entries = document.roots.map(({ name, descriptor, kind }) => ({
    name,
    digest: descriptor.digest,
    kind,
  }));
  return { label: `bundle ${document.id}`, entries, withdraws: document.withdraws ?? [], blobs };
}

async function readStoreSide(path: string, signal?: AbortSignal): Promise<ReadSide> {
  const opening = { access: 'read', purpose: 'omni-airgap diff', signal } as const;
  const { contents, withdrawn } = await Store.use(path, opening, async (store) => ({
    contents: await readLockedContent(store, signal),
    withdrawn: await store.bundles.withdrawnNames(),
  }));
  const blobs = new Map<Digest, { size: number; kind: string }>();
  for (const { digest, size } of contents.descriptors.values()) {
    blobs.set(digest, { size, kind: contents.kinds.get(digest) ?? 'image' });
  }
  const entries = contents.items.map(({ name, descriptor, kind }) => ({
    name,
    digest: descriptor.digest,
    kind,
  }));
  const names = new Set(entries.map(({ name }) => name));
  const withdraws = withdrawn.filter((name) => !names.has(name));
  return { label: `store ${path}`, entries, withdraws, blobs };
}
