/**
 * What is known of uploads in parts that are under way, on disk: which upload, how it is cut, what each part is. A
 * killed load goes on with it; a part is believed only when the store lists it with the same size and tag, and the
 * medium still gives the same bytes. Fault F43.
 */
import { createHash } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import {
  ensureFolder,
  parseStrictObject,
  readSmallFile,
  serializeDocument,
  writeFileAtomic,
} from '@omni-airgap/content';

export interface UploadedPart {
  /** From 1. */
  readonly number: number;
  /** Bytes. */
  readonly size: number;
  /** Hex. */
  readonly sha256: string;
  readonly etag: string;
}

export interface UploadRecord {
  readonly uploadId: string;
  /** Bytes. */
  readonly partSize: number;
  readonly parts: readonly UploadedPart[];
}

/** 10,000 parts of some 200 bytes. */
const maxRecordBytes = 4 * 1024 * 1024;

export class UploadJournal {
  readonly #folder: string;

  /** @param folder made when it is needed */
  constructor(folder: string) {
    this.#folder = folder;
  }

  /** @param object what is uploaded where, such as `s3://bucket/key sha256:…` */
  async read(object: string): Promise<UploadRecord | undefined> {
    const path = this.#path(object);
    const bytes = await readSmallFile(path, maxRecordBytes);
    if (bytes === undefined) return undefined;
    const record = parseStrictObject(bytes, { what: path }) as unknown as UploadRecord & {
      readonly object: string;
    };
    return record.object === object && Array.isArray(record.parts) ? record : undefined;
  }

  /** @throws DISK */
  async write(object: string, record: UploadRecord): Promise<void> {
    await ensureFolder(this.#folder);
    await writeFileAtomic(this.#path(object), serializeDocument({ object, ...record }));
  }

  async remove(object: string): Promise<void> {
    await rm(this.#path(object), { force: true });
  }

  #path(object: string): string {
    return join(this.#folder, `${createHash('sha256').update(object).digest('hex')}.json`);
  }
}
