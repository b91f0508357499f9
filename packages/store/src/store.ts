/**
 * The store on the connected host: an OCI image layout with the records of what was fetched into it and of the bundles that
 * it issued. Whoever reads or writes these records does so through an open store.
 *
 * Two locks, which the kernel frees when their process ends. `content.lock` is held while the store is open: shared by all
 * who add content or need it, exclusive for who removes some. `records.lock` is held for milliseconds, while a record is
 * read, changed and written. The order is content, then records; a lock is never upgraded.
 */
import { lstat } from 'node:fs/promises';
import { join } from 'node:path';
import { CodedError, isCoded } from '@omni-airgap/oci/base';
import {
  acquireLock,
  acquireReadLock,
  ensureFolder,
  type Lock,
  readSmallFile,
  removeTemporaries,
  type Unlocked,
  writeFileAtomic,
} from '@omni-airgap/oci/fs';
import { Layout } from '@omni-airgap/oci/layout';
import { isManifestType } from '@omni-airgap/oci/model';
import { DownloadJournal } from './download-journal.ts';
import { type EgressLog, type HostSummary, openEgressLog, summarizeEgress } from './egress-log.ts';
import { collectGarbage, type GcOptions, type GcReport } from './garbage.ts';
import { IssuedBundles } from './issued-bundles.ts';
import {
  type LockContents,
  type LockDocument,
  maxLockBytes,
  mergedLock,
  parseLockDocument,
  serializeLock,
  withoutForeignItems,
} from './lock-document.ts';

/** How a store is open, and so which others may have it open meanwhile. */
export type StoreAccess =
  /** Content is added or needed: beside others who do the same. */
  | 'shared'
  /** Content may be removed: alone. */
  | 'exclusive'
  /** As shared, for commands that change nothing: a store on a read-only file system opens too. */
  | 'read'
  /** As read, and no lock file is created either. */
  | 'look';

export interface StoreOptions {
  readonly access: StoreAccess;
  /** The command, for the message that others get while the store is open: `omni-airgap fetch`. */
  readonly purpose: string;
  /** Makes an empty store where there is none. Default false. */
  readonly create?: boolean;
  /**
   * Repairs the records of a store into which an earlier version put web pages as images, and is told each removed
   * name. Default: such a store is refused, with the remedy.
   */
  readonly onRepaired?: ((name: string, mediaType: string) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Others hold the records for a few small writes; this is long enough for the slowest disk. */
const recordsWaitMs = 30_000;

export class Store {
  readonly root: string;
  /** The bundles it has issued, and what has left the store with them. */
  readonly bundles: IssuedBundles;
  /** Downloads without a digest upstream that are not finished, or not in lock.json yet. */
  readonly downloads: DownloadJournal;
  readonly #access: StoreAccess;
  readonly #purpose: string;
  readonly #content: Lock | Unlocked;

  private constructor(root: string, { access, purpose }: StoreOptions, content: Lock | Unlocked) {
    this.root = root;
    this.#access = access;
    this.#purpose = purpose;
    this.#content = content;
    this.downloads = new DownloadJournal(root);
    this.bundles = new IssuedBundles(root, {
      change: (work) => this.#change(work),
      requireExclusive: () => this.#requireExclusive(),
    });
  }

  /**
   * Takes the content lock, which `close` frees; whatever is decided on the store's state is decided afterwards.
   * @throws NO_INPUT where there is no store; BUSY while others have it open and one of them must be alone, naming them;
   * BAD_DOCUMENT, DISK
   */
  static async open(root: string, options: StoreOptions): Promise<Store> {
    const { access, purpose, create = false, signal } = options;
    if (create) await ensureFolder(root);
    // No lock file is left in a folder that was named by mistake.
    else if (!(await Store.exists(root)))
      throw new CodedError('NO_INPUT', `${root}: no OCI layout here (there is no file oci-layout)`);
    const path = join(root, 'content.lock');
    const content =
      access === 'shared' || access === 'exclusive'
        ? await acquireLock(path, access, { purpose, signal })
        : await acquireReadLock(path, { purpose, signal, create: access === 'read' });
    try {
      const store = new Store(root, options, content);
      if (options.onRepaired !== undefined) await store.#repair(options.onRepaired);
      if (create) await Layout.open(root, { create });
      return store;
    } catch (error) {
      await content.release();
      throw withRemedy(error, root);
    }
  }

  /** True where there is a store, or another OCI image layout. @throws DISK */
  static async exists(root: string): Promise<boolean> {
    return (await readSmallFile(join(root, 'oci-layout'), 4096)) !== undefined;
  }

  /** Opens a store for one piece of work, and closes it. @throws as open, and what the work throws */
  static async use<T>(root: string, options: StoreOptions, work: (store: Store) => Promise<T>): Promise<T> {
    const store = await Store.open(root, options);
    try {
      return await work(store);
    } finally {
      await store.close();
    }
  }

  /** Lets others in, whatever they do. */
  async close(): Promise<void> {
    await this.#content.release();
  }

  /** What to tell whoever reads a store that could not be locked; undefined when it is, or nobody ever locked it. */
  get warning(): string | undefined {
    const { mode } = this.#content;
    if (mode !== 'none' || this.#content.why !== 'read-only') return undefined;
    return `${this.root}: not locked, since it is read-only here; do not run gc or bundle --consume on it elsewhere meanwhile`;
  }

  /**
   * The content, with its names as they are now.
   * @param options.carried true: content that has left the store with bundles counts as present, and cannot be read
   * @throws BAD_DOCUMENT, DISK
   */
  async openLayout({ carried = false }: { readonly carried?: boolean } = {}): Promise<Layout> {
    const elsewhere = carried ? { elsewhere: await this.bundles.carried() } : {};
    try {
      return await Layout.open(this.root, elsewhere);
    } catch (error) {
      throw withRemedy(error, this.root);
    }
  }

  /** lock.json; undefined when nothing was ever fetched into this store. @throws BAD_DOCUMENT, DISK */
  async lockDocument(): Promise<LockDocument | undefined> {
    const bytes = await readSmallFile(this.#lockPath, maxLockBytes);
    if (bytes === undefined) return undefined;
    try {
      return parseLockDocument(bytes, this.#lockPath);
    } catch (error) {
      throw withRemedy(error, this.root);
    }
  }

  /** lock.json, for what needs a store that is as mirror.yaml says. @throws NO_INPUT, INCOMPLETE; BAD_DOCUMENT, DISK */
  async completeLockDocument(): Promise<LockDocument> {
    const lock = await this.lockDocument();
    if (lock === undefined) {
      throw new CodedError('NO_INPUT', `${this.#lockPath}: not found; run omni-airgap fetch first`);
    }
    if (lock.missing.length > 0) {
      throw new CodedError(
        'INCOMPLETE',
        `${this.root}: the last fetch could not bring ${lock.missing.length} item(s), ${lock.missing[0]} among them; run it again first`,
      );
    }
    return lock;
  }

  /**
   * Writes lock.json, sorted by name. Items that have not changed keep the time they were fetched at and by whom, so a
   * fetch that brought nothing leaves the file as it was.
   * @param change is given what lock.json says now, and tells what it shall say
   * @param by account and machine
   * @throws BAD_DOCUMENT, DISK; BUSY when another process does not let go of the records
   */
  async updateLockDocument(
    change: (before: LockDocument | undefined) => LockContents,
    by: string | undefined,
  ): Promise<void> {
    await this.#change(async () => {
      const before = await this.lockDocument();
      const text = serializeLock(mergedLock(change(before), before, by));
      if (before !== undefined && text === serializeLock(before)) return;
      parseLockDocument(Buffer.from(text), this.#lockPath);
      await removeTemporaries(this.root, 'lock.json');
      await writeFileAtomic(this.#lockPath, text);
    });
  }

  /** The record of requests, for the HTTP gate. @throws DISK when it cannot be opened */
  openEgressLog(): Promise<EgressLog> {
    return openEgressLog(this.#egressPath);
  }

  /** Which hosts were contacted, sorted; empty when nothing was recorded. */
  egressHosts(): Promise<readonly HostSummary[]> {
    return summarizeEgress(this.#egressPath);
  }

  /**
   * Removes what neither lock.json nor a push names, but for what issued bundles need. With `dryRun` it only counts;
   * otherwise the store is open for this command alone.
   * @throws NO_INPUT without lock.json in a store that was fetched into; INCOMPLETE while lock.json is not what mirror.yaml says, since what is missing may
   * need what is here; NO_INPUT, USAGE for bundles to be dropped that are not issued or are written whole; BAD_DOCUMENT, DISK
   */
  async collectGarbage(options: GcOptions = {}): Promise<GcReport> {
    if (options.dryRun !== true) this.#requireExclusive();
    const lock = (await this.isOnlyPushed()) ? undefined : await this.completeLockDocument();
    return collectGarbage({ layout: await this.openLayout(), lock, bundles: this.bundles }, options);
  }

  /**
   * True for a folder of `serve --writable` and any other image layout that no fetch ever worked on: its names are all
   * that says what it holds. A fetch that was interrupted before lock.json has left its record of requests.
   */
  async isOnlyPushed(): Promise<boolean> {
    const records = [this.#lockPath, this.#egressPath];
    const found = await Promise.all(records.map((path) => lstat(path).catch(() => undefined)));
    return found.every((info) => info === undefined);
  }

  /** Names that stand for no manifest are removed from index.json and lock.json; their content is garbage. */
  async #repair(onRepaired: (name: string, mediaType: string) => void): Promise<void> {
    const found = new Map<string, string>();
    for (const [name, { mediaType }] of await Layout.removeForeignNames(this.root))
      found.set(name, mediaType);
    if ((await this.#foreignItems()) !== undefined) {
      await this.#change(async () => {
        const { lock, removed = [] } = (await this.#foreignItems()) ?? {};
        for (const { name, descriptor } of removed) found.set(name, descriptor.mediaType);
        if (lock !== undefined) await writeFileAtomic(this.#lockPath, serializeLock(lock));
      });
    }
    for (const [name, mediaType] of found) onRepaired(name, mediaType);
  }

  async #foreignItems(): Promise<ReturnType<typeof withoutForeignItems> | undefined> {
    const bytes = await readSmallFile(this.#lockPath, maxLockBytes);
    const found = bytes === undefined ? undefined : withoutForeignItems(bytes, this.#lockPath);
    return found?.removed.length === 0 ? undefined : found;
  }

  get #lockPath(): string {
    return join(this.root, 'lock.json');
  }

  get #egressPath(): string {
    return join(this.root, 'egress.jsonl');
  }

  /** Reads, changes and writes records; no other process does meanwhile. */
  async #change<T>(work: () => Promise<T>): Promise<T> {
    if (this.#access === 'read' || this.#access === 'look') {
      throw new CodedError(
        'INTERNAL',
        `${this.root}: records cannot change in a store that was opened for reading`,
      );
    }
    const path = join(this.root, 'records.lock');
    const lock = await acquireLock(path, 'exclusive', { purpose: this.#purpose, waitMs: recordsWaitMs });
    try {
      return await work();
    } finally {
      await lock.release();
    }
  }

  #requireExclusive(): void {
    if (this.#access === 'exclusive') return;
    throw new CodedError(
      'INTERNAL',
      `${this.root}: content cannot be removed while others may use the store`,
    );
  }
}

/** Tells what to do about a name that stands for no manifest. */
function withRemedy(error: unknown, root: string): unknown {
  if (!isCoded(error, 'BAD_DOCUMENT') || error.descriptor === undefined) return error;
  if (isManifestType(error.descriptor.mediaType)) return error;
  return new CodedError(
    error.code,
    `${error.message}: an earlier version stored another answer, such as a web page, as an image; run omni-airgap fetch --store ${root}, which repairs the store`,
    { cause: error, descriptor: error.descriptor },
  );
}
