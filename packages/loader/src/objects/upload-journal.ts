/**
 * What is known of uploads in parts that are under way, on disk: which upload, how it is cut, and a line for each part
 * that arrived. A killed load goes on with it; a part is believed only when the store lists it with the same size and
 * tag, and the medium still gives the same bytes. So nothing is lost when the last line is. Fault F43.
 */
import { createHash } from 'node:crypto';
import { appendFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import {
  diskError,
  ensureFolder,
  type JsonObject,
  parseStrictObject,
  readSmallFile,
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

  /**
   * @param object what is uploaded where, such as `s3://bucket/key sha256:…`
   * @throws BAD_DOCUMENT, DISK
   */
  async read(object: string): Promise<UploadRecord | undefined> {
    const path = this.#path(object);
    const bytes = await readSmallFile(path, maxRecordBytes);
    if (bytes === undefined) return undefined;
    // What follows the last end of a line was being written when the load was killed.
    const [first = '', ...rest] = Buffer.from(bytes).toString('utf8').split('\n').slice(0, -1);
    const begun = parseLine(first, path);
    const { uploadId, partSize } = begun;
    if (begun['object'] !== object || typeof uploadId !== 'string' || typeof partSize !== 'number') {
      return undefined;
    }
    const parts = rest.map((line) => parseLine(line, path) as unknown as UploadedPart);
    return { uploadId, partSize, parts };
  }

  /** @throws DISK */
  async begin(object: string, upload: Pick<UploadRecord, 'uploadId' | 'partSize'>): Promise<void> {
    await ensureFolder(this.#folder);
    await writeFileAtomic(this.#path(object), `${JSON.stringify({ object, ...upload })}\n`);
  }

  /** @throws DISK */
  async add(object: string, part: UploadedPart): Promise<void> {
    const path = this.#path(object);
    await appendFile(path, `${JSON.stringify(part)}\n`).catch((error: unknown) => {
      throw diskError(error, path);
    });
  }

  async remove(object: string): Promise<void> {
    await rm(this.#path(object), { force: true });
  }

  #path(object: string): string {
    return join(this.#folder, `${createHash('sha256').update(object).digest('hex')}.jsonl`);
  }
}

function parseLine(line: string, path: string): JsonObject {
  return parseStrictObject(Buffer.from(line), { what: path });
}
