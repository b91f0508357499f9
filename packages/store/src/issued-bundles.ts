/**
 * The bundles that a store has issued, in `bundles/<id>/`: bundle.json with its small files, from which media are written,
 * and consumed.jsonl, the volumes whose content has left the store. A bundle that was taken back has withdrawn.json in
 * place of bundle.json: no media are made of it any more, but content may have left the store with some. Beside them,
 * withdraws.json has the names that the last of them withdraws.
 */
import type { KeyObject } from 'node:crypto';
import { readdir, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import {
  type BundleDocument,
  documentName,
  isProgramFile,
  isSignedWith,
  mapOf,
  maxBundleDocumentBytes,
  maxSigstoreBytes,
  type PlacedBlob,
  parseBundleDocument,
  planHashOf,
  signatureName,
  signatureNames,
  signBytes,
  sigstoreName,
  writeSignature,
} from '@omni-airgap/format';
import { CodedError, isCoded, printable, systemCodeOf } from '@omni-airgap/oci/base';
import {
  diskError,
  ensureFolder,
  Journal,
  readSmallFile,
  removeFile,
  removeTemporaries,
  syncFolder,
  writeFileAtomic,
} from '@omni-airgap/oci/fs';
import type { Layout } from '@omni-airgap/oci/layout';
import { digestOf, hexOf, isHex64 } from '@omni-airgap/oci/model';
import { Carried, type ConsumedBundle } from './carried.ts';
import { type BundleNumber, isCurrent, nextOrigin, readOrigin, writeOrigin } from './origin.ts';
import { VolumeJournal } from './volume-journal.ts';
import { readWithdrawnNames, writeWithdrawnNames } from './withdrawn-names.ts';

const maxSmallFileBytes = 64 * 1024 * 1024;

export interface IssuedDocument {
  readonly document: BundleDocument;
  /** bundle.json */
  readonly bytes: Uint8Array;
}

/** A small file of a bundle. */
export interface SmallFile {
  readonly name: string;
  readonly bytes: Uint8Array;
}

export interface IssuedBundle extends IssuedDocument {
  /** README.txt, report.html, bom.cdx.json, and the signature in its two files when it is signed. */
  readonly files: readonly SmallFile[];
}

/** What became of the wish to issue a bundle. */
export interface Issue extends IssuedBundle {
  /** Its number before, when it was issued again under a new one. */
  readonly replaced?: number | undefined;
}

export interface NewIssue {
  readonly id: string;
  /** Hash, hex, of all that it gives a site, in whatever volumes and on whatever bases. */
  readonly content: string;
  /** Whether a bundle with this id says what was asked for: then no other is issued. */
  readonly isSame: (issued: BundleDocument) => boolean;
  /** Its bundle.json under this number, and the small files that this names. Other processes wait meanwhile. */
  readonly describe: (number: BundleNumber) => IssuedBundle;
  /** Undefined: unsigned, or with the signature that it has. */
  readonly signKey: KeyObject | undefined;
}

/** An issued bundle that is not written whole: what its other volumes hold must stay in the store until it is. */
export interface PendingBundle {
  readonly id: string;
  readonly sequence: number;
  /** Hash of its plan, hex. */
  readonly plan: string;
  /** Those that lie on no medium yet; never empty. */
  readonly volumes: readonly number[];
  /** What these hold, and volume 000, which goes to every medium. */
  readonly blobs: readonly PlacedBlob[];
}

/** What the store allows. */
interface Guard {
  /** Runs work that changes records: alone. */
  change<T>(work: () => Promise<T>): Promise<T>;
  /** @throws INTERNAL unless content may be removed */
  requireExclusive(): void;
}

export class IssuedBundles {
  readonly #root: string;
  readonly #folder: string;
  readonly #guard: Guard;

  constructor(root: string, guard: Guard) {
    this.#root = root;
    this.#folder = join(root, 'bundles');
    this.#guard = guard;
  }

  /** The name that the store issues bundles under; another one each time until it has issued its first. @throws BAD_DOCUMENT, DISK */
  async origin(): Promise<string> {
    return (await readOrigin(this.#root)).origin;
  }

  /**
   * @param text an id, or how it begins (8 characters at least)
   * @param flag for messages
   * @returns the id of a bundle that is issued
   * @throws NO_INPUT, USAGE when several begin so; DISK
   */
  async find(text: string, flag: string): Promise<string> {
    const id = await this.#findKnown(text.toLowerCase(), flag);
    const folder = join(this.#folder, id);
    const names = await readdir(folder).catch((error: unknown) => {
      throw diskError(error, folder);
    });
    if (names.includes(documentName)) return id;
    throw new CodedError(
      'NO_INPUT',
      names.includes('withdrawn.json')
        ? `${flag} ${text}: this bundle was taken back (its store was damaged) or was forgotten (gc --drop-issued); make a new one`
        : `${flag} ${text}: ${folder} has no bundle.json; restore it from a backup, or make a new bundle`,
    );
  }

  /** Undefined for a bundle that is not issued, or not any more. @throws BAD_DOCUMENT, DISK */
  document(id: string): Promise<IssuedDocument | undefined> {
    return readDocument(this.#pathOf(id, documentName));
  }

  /** Undefined when it, or what its bundle.json names beside the program, is not all there. @throws BAD_DOCUMENT, DISK */
  async read(id: string): Promise<IssuedBundle | undefined> {
    const issued = await this.document(id);
    if (issued === undefined) return undefined;
    const files: SmallFile[] = [];
    for (const { name, sha256 } of issued.document.files) {
      if (isProgramFile(name)) continue;
      const content = await readSmallFile(this.#pathOf(id, name), maxSmallFileBytes);
      if (content === undefined || hexOf(digestOf(content)) !== sha256) return undefined;
      files.push({ name, bytes: content });
    }
    for (const name of signatureNames) {
      const bytes = await readSmallFile(this.#pathOf(id, name), maxSigstoreBytes);
      if (bytes !== undefined) files.push({ name, bytes });
    }
    return { ...issued, files };
  }

  /** All that are whole, the newest first. @throws BAD_DOCUMENT, DISK */
  async all(): Promise<readonly IssuedBundle[]> {
    const all: IssuedBundle[] = [];
    for (const id of await this.#ids()) {
      const issued = await this.read(id);
      if (issued !== undefined) all.push(issued);
    }
    return all.sort((a, b) => b.document.sequence - a.document.sequence);
  }

  /**
   * The bundle with this id: the one that was issued before when it says the same and no later bundle had other content,
   * otherwise a new one under the next sequence number, in place of that. Of any number of processes that issue the same at
   * once, one makes the document.
   *
   * The number is counted up on disk before the bundle exists, so that none is used twice. So are the names that it withdraws:
   * once a bundle has withdrawn names, no later one forgets them.
   * @throws BAD_DOCUMENT, DISK, BUSY, and what `describe` throws; BUSY when another process withdrew names meanwhile
   */
  issue({ id, content, isSame, describe, signKey }: NewIssue): Promise<Issue> {
    return this.#guard.change(async () => {
      const before = await this.read(id);
      const last = await readOrigin(this.#root);
      const withdrawn = await this.withdrawnNames();
      // One that withdraws names which a later bundle has listed again withdraws nothing any more: its number is too low.
      const isLastSaid = isDeepStrictEqual(before?.document.withdraws ?? [], withdrawn);
      const isWanted = before !== undefined && isLastSaid && isSame(before.document);
      if (isWanted && isCurrent(before.document, last)) return this.#withSignature(before, signKey);
      const next = nextOrigin(last, content);
      const issued = describe({ origin: next.origin, sequence: next.sequence });
      const path = this.#pathOf(id, documentName);
      const { withdraws = [], roots } = parseBundleDocument(issued.bytes, path);
      requireRepeated(withdrawn, new Set([...withdraws, ...roots.map(({ name }) => name)]));
      const folder = join(this.#folder, id);
      for (const path of [this.#folder, folder]) await ensureFolder(path);
      await writeOrigin(this.#root, next);
      await removeTemporaries(folder);
      // What may be there is about another document.
      await this.#withdraw(id);
      if (withdrawn.length + withdraws.length > 0) await writeWithdrawnNames(this.#folder, withdraws);
      for (const name of signatureNames) await removeFile(this.#pathOf(id, name));
      for (const file of issued.files) await writeFileAtomic(join(folder, file.name), file.bytes);
      const signed = await this.#withSignature(issued, signKey);
      await writeFileAtomic(path, issued.bytes);
      await removeFile(this.#pathOf(id, 'withdrawn.json'));
      return { ...signed, replaced: before?.document.sequence };
    });
  }

  /** The number of the last bundle, when it is a later one of this store than the given one. @throws BAD_DOCUMENT, DISK */
  async laterThan(bundle: BundleNumber): Promise<number | undefined> {
    const { origin, sequence } = await readOrigin(this.#root);
    return origin === bundle.origin && sequence > bundle.sequence ? sequence : undefined;
  }

  /** With the signature that it has, or, where that is not the key's, with a new one. @throws DISK, BUSY */
  sign(issued: IssuedBundle, key: KeyObject): Promise<IssuedBundle> {
    return this.#guard.change(() => this.#withSignature(issued, key));
  }

  /** Takes a bundle back. What left the store with it stays on record. @throws DISK, BUSY */
  withdraw(id: string): Promise<void> {
    return this.#guard.change(() => this.#withdraw(id));
  }

  /** What is known of the volumes of a plan. @param plan its hash, hex @throws DISK */
  volumeJournal(plan: string): Promise<VolumeJournal> {
    return VolumeJournal.open(join(this.#folder, 'plans'), plan);
  }

  /** Bundles that are not written whole, the oldest first. @throws BAD_DOCUMENT, DISK */
  async pending(): Promise<readonly PendingBundle[]> {
    const found: PendingBundle[] = [];
    for (const id of await this.#ids()) {
      const pending = await this.#pendingOf(id);
      if (pending !== undefined) found.push(pending);
    }
    return found.sort((a, b) => a.sequence - b.sequence);
  }

  /**
   * Forgets what is kept for a pending bundle: it is taken back, and no more media of it can be written. Once more for the
   * same bundle does nothing.
   * @param text its id, or how that begins (8 characters at least)
   * @param flag for messages
   * @returns its id
   * @throws NO_INPUT, USAGE when it is written whole, or several begin so; BAD_DOCUMENT, DISK, BUSY
   */
  async drop(text: string, flag: string, dryRun: boolean): Promise<string> {
    const id = await this.#findKnown(text, flag);
    if ((await this.document(id)) === undefined) return id;
    const pending = await this.#pendingOf(id);
    if (pending === undefined) {
      throw new CodedError(
        'USAGE',
        `${flag} ${text}: all volumes of this bundle are written, so nothing is kept for it; leave it out`,
      );
    }
    if (dryRun) return id;
    await this.#guard.change(async () => {
      // Should the same be bundled again, it begins with its first volume: nobody knows where the old ones are.
      await (await this.volumeJournal(pending.plan)).remove();
      await this.#withdraw(id);
    });
    return id;
  }

  /** The documents of all that are issued, in any order, one in memory at a time. @throws BAD_DOCUMENT, DISK */
  async *documents(): AsyncGenerator<BundleDocument, void, undefined> {
    for (const id of await this.#ids()) {
      const issued = await this.document(id);
      if (issued !== undefined) yield issued.document;
    }
  }

  /** Names that the last bundle withdraws, sorted. @throws BAD_DOCUMENT, DISK */
  async withdrawnNames(): Promise<readonly string[]> {
    try {
      return await readWithdrawnNames(this.#folder);
    } catch (error) {
      throw withRemedy(
        error,
        'restore it from a backup, or take the list `withdraws` from bundle.json of the last bundle',
      );
    }
  }

  /** What has left the store with bundles; nothing for a store that is not there. @throws BAD_DOCUMENT, DISK */
  async carried(): Promise<Carried> {
    const consumed: ConsumedBundle[] = [];
    for (const id of await this.#ids()) {
      const volumes = await this.consumedVolumes(id);
      if (volumes.size === 0) continue;
      const issued = await this.document(id);
      const kept = issued ?? (await readDocument(this.#pathOf(id, 'withdrawn.json')));
      if (kept !== undefined)
        consumed.push({ document: kept.document, volumes, isIssued: issued !== undefined });
    }
    return new Carried(consumed);
  }

  /** Volumes whose content may have left the store with this bundle. @throws DISK */
  async consumedVolumes(id: string): Promise<ReadonlySet<number>> {
    const records = await this.#consumedJournal(id).read();
    return new Set(records.flatMap(({ volume }) => (typeof volume === 'number' ? [volume] : [])));
  }

  /**
   * Removes content from the store that is safe in volumes of a bundle. Which volumes these are is on the disk before any
   * of it goes. The store is open for this command alone.
   * @returns bytes that were removed
   * @throws DISK
   */
  async consume(
    id: string,
    volumes: Iterable<number>,
    blobs: readonly PlacedBlob[],
    layout: Layout,
  ): Promise<number> {
    this.#guard.requireExclusive();
    const recorded = await this.consumedVolumes(id);
    const unrecorded = [...new Set(volumes)].filter((volume) => !recorded.has(volume));
    if (unrecorded.length > 0)
      await this.#consumedJournal(id).append(...unrecorded.map((volume) => ({ volume })));
    let bytes = 0;
    for (const { digest, size } of blobs) {
      if ((await layout.stat(digest)) !== undefined) bytes += size;
      await removeFile(layout.pathOf(digest));
    }
    return bytes;
  }

  /** What killed processes left of files that they were writing. @throws DISK, BUSY */
  removeTemporaries(): Promise<void> {
    return this.#guard.change(async () => {
      for (const id of await this.#ids()) await removeTemporaries(join(this.#folder, id));
    });
  }

  /** Ids of all bundles that the store knows of, those that it took back among them. @throws DISK */
  async #ids(): Promise<readonly string[]> {
    try {
      return (await readdir(this.#folder)).filter(isHex64);
    } catch (error) {
      if (['ENOENT', 'ENOTDIR'].includes(systemCodeOf(error) ?? '')) return [];
      throw diskError(error, this.#folder);
    }
  }

  /** As find, for bundles that were taken back too. @throws NO_INPUT, USAGE; DISK */
  async #findKnown(text: string, flag: string): Promise<string> {
    const found = (await this.#ids()).filter((id) => id.startsWith(text));
    const [id] = found;
    if (id === undefined || text.length < 8) {
      throw new CodedError('NO_INPUT', `${flag} ${text}: ${this.#root} has issued no such bundle`);
    }
    if (found.length > 1) {
      throw new CodedError('USAGE', `${flag} ${text}: ${found.length} bundles begin so; write more of it`);
    }
    return id;
  }

  async #pendingOf(id: string): Promise<PendingBundle | undefined> {
    const issued = await this.document(id);
    if (issued === undefined) return undefined;
    const map = mapOf(issued.document);
    const plan = planHashOf(issued.document, map);
    const journal = await this.volumeJournal(plan);
    const volumes = [...map.sizes.keys()].filter((volume) => !journal.isWritten(volume));
    if (volumes.length === 0) return undefined;
    return { id, sequence: issued.document.sequence, plan, volumes, blobs: map.blobsIn([0, ...volumes]) };
  }

  async #withSignature(issued: IssuedBundle, key: KeyObject | undefined): Promise<IssuedBundle> {
    const { bytes, files, document } = issued;
    if (key === undefined) return issued;
    const file = files.find(({ name }) => name === signatureName);
    const before = file === undefined ? undefined : Buffer.from(file.bytes).toString('latin1');
    const isRight = before !== undefined && isSignedWith(bytes, before, key);
    if (isRight && files.some(({ name }) => name === sigstoreName)) return issued;
    const signature = isRight ? before : signBytes(bytes, key);
    const written = await writeSignature(join(this.#folder, document.id), bytes, signature, key);
    const others = files.filter(({ name }) => !signatureNames.includes(name));
    return { ...issued, files: [...others, ...written] };
  }

  async #withdraw(id: string): Promise<void> {
    const folder = join(this.#folder, id);
    try {
      await rename(this.#pathOf(id, documentName), this.#pathOf(id, 'withdrawn.json'));
      await syncFolder(folder);
    } catch (error) {
      if (systemCodeOf(error) !== 'ENOENT') throw diskError(error, folder);
    }
  }

  #consumedJournal(id: string): Journal {
    return new Journal(this.#pathOf(id, 'consumed.jsonl'));
  }

  #pathOf(id: string, name: string): string {
    return join(this.#folder, id, name);
  }
}

async function readDocument(path: string): Promise<IssuedDocument | undefined> {
  try {
    const bytes = await readSmallFile(path, maxBundleDocumentBytes);
    return bytes === undefined ? undefined : { document: parseBundleDocument(bytes, path), bytes };
  } catch (error) {
    throw withRemedy(error, 'restore it from a backup, or copy bundle.json from a medium of this bundle');
  }
}

/** What is wrong can also be that a newer version of this program wrote it. */
function withRemedy(error: unknown, remedy: string): unknown {
  return isCoded(error, 'BAD_DOCUMENT')
    ? new CodedError('BAD_DOCUMENT', `${error.message}; if the file is damaged, ${remedy}`, { cause: error })
    : error;
}

/** @throws BUSY */
function requireRepeated(withdrawn: readonly string[], decided: ReadonlySet<string>): void {
  const lost = withdrawn.find((name) => !decided.has(name));
  if (lost === undefined) return;
  throw new CodedError(
    'BUSY',
    `another command has withdrawn ${printable(lost)} while this one ran; run this command again, and the bundle withdraws it too`,
  );
}
