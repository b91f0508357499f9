/**
 * What this host has read back from an object store: one file for each object, written after all of its bytes were
 * read and hashed, never before. The metadata of an object is set when its upload begins, so it proves nothing; a
 * store's ETag and version tell whether the object is still the one that was read.
 */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { isCoded, type JsonObject, parseStrictObject } from '@omni-airgap/oci/base';
import { ensureFolder, readSmallFile, writeFileAtomic } from '@omni-airgap/oci/fs';
import type { Digest } from '@omni-airgap/oci/model';

/** One state of an object, as its store names it. */
export interface ObjectVersion {
  readonly key: string;
  /** Bytes. */
  readonly size: number;
  /** As the store gives it, with its quotes; undefined for a store that gives none. */
  readonly etag: string | undefined;
  /** Only where a bucket keeps versions. */
  readonly versionId: string | undefined;
}

const maxRecordBytes = 16 * 1024;

/** Read-backs on record, for the objects of one bucket. */
export class ReadBacks {
  readonly #folder: string;
  readonly #place: string;

  /**
   * @param folder made when it is needed
   * @param place endpoint and bucket, so that a bucket of the same name elsewhere is another one
   */
  constructor(folder: string, place: string) {
    this.#folder = folder;
    this.#place = place;
  }

  /** Whether this version was read and had this digest. A record that cannot be understood is none. @throws DISK */
  async has(object: ObjectVersion, digest: Digest): Promise<boolean> {
    if (object.etag === undefined) return false;
    const record = await this.#read(object.key);
    return (
      record?.['object'] === this.#nameOf(object.key) &&
      record['digest'] === digest &&
      record['size'] === object.size &&
      record['etag'] === object.etag &&
      record['versionId'] === object.versionId
    );
  }

  /** Records a read-back, on the disk when this resolves. Without ETag nothing can be recorded. @throws DISK */
  async add({ key, size, etag, versionId }: ObjectVersion, digest: Digest): Promise<void> {
    if (etag === undefined) return;
    await ensureFolder(this.#folder);
    const record = { object: this.#nameOf(key), digest, size, etag, versionId, at: new Date().toISOString() };
    await writeFileAtomic(this.#pathOf(key), `${JSON.stringify(record)}\n`);
  }

  async #read(key: string): Promise<JsonObject | undefined> {
    const path = this.#pathOf(key);
    try {
      const bytes = await readSmallFile(path, maxRecordBytes);
      return bytes === undefined ? undefined : parseStrictObject(bytes, { what: path });
    } catch (error) {
      if (isCoded(error, 'BAD_DOCUMENT')) return undefined;
      throw error;
    }
  }

  #nameOf(key: string): string {
    return `${this.#place}/${key}`;
  }

  #pathOf(key: string): string {
    return join(this.#folder, `${createHash('sha256').update(this.#nameOf(key)).digest('hex')}.json`);
  }
}
