/**
 * OCI image layout on disk: the store, and any folder another OCI tool reads. Content gets its final name only
 * when its bytes are right and on the disk; several processes may write at once.
 * Source: image-spec v1.1.1 image-layout.md.
 */
import { chmod, lstat, rename, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { CodedError, isCoded, systemCodeOf } from '../base/errors.ts';
import { diskError } from '../fs/disk-error.ts';
import { ensureFolder, FolderSync, readSmallFile } from '../fs/files.ts';
import { fetchLocated } from '../fs/pieces.ts';
import { checkFound } from '../model/bytes.ts';
import { type Descriptor, plain } from '../model/descriptor.ts';
import { type Digest, digestOf, hexOf } from '../model/digest.ts';
import { fetchManifest, referrerOf } from '../model/manifest.ts';
import { isManifestType } from '../model/media-type.ts';
import type {
  Bytes,
  Located,
  NameLister,
  OpenBytes,
  Piece,
  PushResult,
  RangeFetcher,
  ReferrerLister,
  Target,
} from '../storage.ts';
import type { Names } from './index-file.ts';
import { type Checkpoints, Ingest, type Ingested } from './ingest.ts';
import { NameTable } from './name-table.ts';

/** Says of content whether it need not be here. */
interface Elsewhere {
  has(descriptor: Pick<Descriptor, 'digest' | 'size'>): boolean;
}

/** An image layout on disk as a store. Source: image-spec v1.1.1 image-layout.md. */
export class Layout implements Target, RangeFetcher, Located, NameLister, ReferrerLister {
  readonly root: string;
  readonly #blobs: string;
  readonly #names: NameTable;
  readonly #ingest: Ingest;
  readonly #synced: FolderSync;
  readonly #elsewhere: Elsewhere | undefined;

  private constructor(root: string, elsewhere: Elsewhere | undefined) {
    this.#elsewhere = elsewhere;
    this.root = root;
    this.#blobs = join(root, 'blobs', 'sha256');
    this.#ingest = new Ingest(root);
    this.#synced = new FolderSync(this.#blobs);
    // What has a name is on the disk, whichever process has stored it.
    this.#names = new NameTable(root, () => this.#syncBlobs());
  }

  /**
   * @param options.create makes an empty layout where there is none
   * @param options.elsewhere content that was here and is safe elsewhere: `has` and `push` take it for present, and
   * it cannot be read
   * @throws NO_INPUT when there is none, BAD_DOCUMENT, DISK
   */
  static async open(
    root: string,
    options: { readonly create?: boolean; readonly elsewhere?: Elsewhere } = {},
  ): Promise<Layout> {
    const layout = new Layout(root, options.elsewhere);
    const marker = await readSmallFile(join(root, 'oci-layout'), 4096);
    if (marker === undefined) {
      if (options.create !== true) {
        throw new CodedError('NO_INPUT', `${root}: no OCI layout here (there is no file oci-layout)`);
      }
      await ensureFolder(root);
    } else if (!/"imageLayoutVersion"\s*:\s*"1\.0\.0"/.test(Buffer.from(marker).toString())) {
      throw new CodedError('BAD_DOCUMENT', `${root}/oci-layout: not version 1.0.0 of the OCI image layout`);
    }
    if (options.create === true) {
      for (const folder of [join(root, 'blobs'), layout.#blobs, layout.#ingest.folder])
        await ensureFolder(folder);
      if (marker === undefined) await layout.#names.create();
    }
    await layout.#names.load();
    return layout;
  }

  /**
   * Removes names that stand for no manifest, such as a web page that was stored as an image: with one of them, the
   * layout cannot be opened.
   * @returns the removed names; empty where there is no layout
   * @throws BAD_DOCUMENT, BUSY, DISK
   */
  static removeForeignNames(root: string): Promise<Names> {
    return new NameTable(root).removeForeign();
  }

  /** Where a blob of this digest is or would be. */
  pathOf(digest: Digest): string {
    return join(this.#blobs, hexOf(digest));
  }

  /** Bytes of the blob with this digest; undefined when it is not there. @throws DISK */
  async stat(digest: Digest): Promise<number | undefined> {
    const path = this.pathOf(digest);
    try {
      const info = await lstat(path);
      return info.isFile() ? info.size : undefined;
    } catch (error) {
      if (systemCodeOf(error) === 'ENOENT') return undefined;
      throw diskError(error, path);
    }
  }

  async has(descriptor: Descriptor): Promise<boolean> {
    if ((await this.stat(descriptor.digest)) === descriptor.size) return true;
    return this.#elsewhere?.has(descriptor) === true;
  }

  async locate(descriptor: Pick<Descriptor, 'digest' | 'size'>): Promise<readonly Piece[] | undefined> {
    const { digest, size } = descriptor;
    return (await this.stat(digest)) === size ? [{ path: this.pathOf(digest), offset: 0, size }] : undefined;
  }

  fetch(descriptor: Descriptor, signal?: AbortSignal): Bytes {
    return this.fetchFrom(descriptor, 0, signal);
  }

  fetchFrom(descriptor: Descriptor, offset: number, signal?: AbortSignal): Bytes {
    return fetchLocated(this, descriptor, offset, this.root, signal);
  }

  /**
   * A manifest survives a power cut when this resolves, with all blobs that were pushed before it; a blob alone need not: it
   * is worth nothing without a manifest, and a folder sync for each would take longer than many of them do.
   * @throws DIGEST_MISMATCH, DISK, and what the stream throws
   */
  async push(descriptor: Descriptor, open: OpenBytes, signal?: AbortSignal): Promise<PushResult> {
    if (await this.has(descriptor)) return 'present';
    const { digest, size } = descriptor;
    const expected = { key: hexOf(digest), what: digest, maxSize: size, resume: 'all' } as const;
    let resumed = false;
    const opening: OpenBytes = (offset = 0) => {
      resumed = offset > 0;
      return open(offset);
    };
    const publish = async ({ path, ...found }: Ingested): Promise<void> => {
      try {
        checkFound(found, descriptor);
      } catch (error) {
        await this.#ingest.discard(path);
        throw error;
      }
      await this.#publish(path, digest);
      if (isManifestType(descriptor.mediaType)) await this.#syncBlobs();
    };
    try {
      await this.#ingest.receive(expected, opening, publish, signal);
    } catch (error) {
      // What an earlier attempt left may be what was wrong: once more, all of it.
      if (!resumed || !isCoded(error, 'DIGEST_MISMATCH', 'BAD_DOCUMENT')) throw error;
      await this.#ingest.receive({ ...expected, fresh: true }, opening, publish, signal);
    }
    return 'stored';
  }

  /**
   * Stores content whose digest is not known before it is here.
   * @param key names the download (such as its URL), so that a broken one can be found again
   * @param maxSize bytes
   * @param checkpoints where a broken one resumes; without them nothing tells whether what came is right and still
   * fits, so it begins at byte 0, and a failed attempt leaves nothing
   * @param accept throws what refuses the content, called when all of it is here; then nothing of it stays
   * @throws DIGEST_MISMATCH when there are more, DISK, and what the stream and `accept` throw
   */
  async ingest(
    open: OpenBytes,
    options: {
      readonly mediaType: string;
      readonly key: string;
      readonly maxSize: number;
      readonly checkpoints?: Checkpoints | undefined;
      readonly accept?: ((found: Descriptor) => void) | undefined;
    },
    signal?: AbortSignal,
  ): Promise<Descriptor> {
    const { key: what, maxSize, checkpoints: resume = 'none', mediaType, accept } = options;
    const key = hexOf(digestOf(Buffer.from(what)));
    const store = async ({ path, digest, size }: Ingested): Promise<Descriptor> => {
      const found = { mediaType, digest, size };
      try {
        accept?.(found);
      } catch (error) {
        await this.#ingest.discard(path);
        throw error;
      }
      await this.#publish(path, found.digest);
      await this.#syncBlobs();
      return found;
    };
    return this.#ingest.receive({ key, what, maxSize, resume }, open, store, signal);
  }

  /**
   * Says that a push relies on this content: its age begins anew, so no sweep within the grace period takes it. Never
   * throws: a file of another user keeps its age.
   * @param minAgeMs content that is younger is left as it is
   */
  async renew(digest: Digest, minAgeMs = 0): Promise<void> {
    const path = this.pathOf(digest);
    try {
      const now = Date.now();
      if (now - (await lstat(path)).mtimeMs >= minAgeMs) await utimes(path, now / 1000, now / 1000);
    } catch {
      // It is not here, or not ours.
    }
  }

  /** Removes what killed processes were ingesting and nobody can continue. Never throws. */
  removeAbandoned(): Promise<void> {
    return this.#ingest.removeAbandoned();
  }

  async resolve(name: string): Promise<Descriptor | undefined> {
    return this.#names.get(name);
  }

  /** @throws BAD_DOCUMENT for what is no manifest: nothing could read the names any more */
  async tag(descriptor: Descriptor, name: string): Promise<void> {
    if (!isManifestType(descriptor.mediaType)) {
      throw new CodedError(
        'BAD_DOCUMENT',
        `${name}: ${descriptor.mediaType} is not a manifest type, so it cannot have a name`,
        { descriptor },
      );
    }
    if (!(await this.has(descriptor))) {
      throw new CodedError(
        'MISSING_CONTENT',
        `${name}: ${descriptor.digest} cannot be named before it is there`,
        {
          descriptor,
        },
      );
    }
    await this.#names.set(name, plain(descriptor));
  }

  /** Removes a name; the content stays. */
  async untag(name: string): Promise<void> {
    await this.#names.set(name, undefined);
  }

  async *names(): AsyncIterable<readonly [string, Descriptor]> {
    yield* this.#names.entries();
  }

  async referrers(digest: Digest, signal?: AbortSignal): Promise<readonly Descriptor[]> {
    const found = new Map<Digest, Descriptor>();
    for (const [, descriptor] of this.#names.entries()) {
      if (found.has(descriptor.digest)) continue;
      const { manifest } = await fetchManifest(this, descriptor, signal);
      if (manifest.subject?.digest === digest) found.set(descriptor.digest, referrerOf(descriptor, manifest));
    }
    return [...found.values()];
  }

  async #publish(from: string, digest: Digest): Promise<void> {
    const to = this.pathOf(digest);
    try {
      await chmod(from, 0o444);
      await rename(from, to);
    } catch (error) {
      throw diskError(error, to);
    }
  }

  async #syncBlobs(): Promise<void> {
    try {
      await this.#synced.sync();
    } catch (error) {
      throw diskError(error, this.#blobs);
    }
  }
}
