/**
 * What is known of an upload in parts that is under way, on disk: which upload, how it is cut, and each part that
 * arrived. A killed load goes on with it; a part is believed only when the store lists it with the same size and tag,
 * and the medium still gives the same bytes. Fault F43.
 */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { ensureFolder, Journal } from '@omni-airgap/oci/fs';

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

export class UploadJournal {
  readonly #folder: string;
  readonly #object: string;
  readonly #journal: Journal;

  /**
   * @param folder of the journals of all uploads; made when it is needed
   * @param object what is uploaded where, such as `s3://bucket/key sha256:…`
   */
  constructor(folder: string, object: string) {
    this.#folder = folder;
    this.#object = object;
    this.#journal = new Journal(join(folder, `${createHash('sha256').update(object).digest('hex')}.jsonl`));
  }

  /** Undefined when none is known to have begun. @throws BAD_DOCUMENT, DISK */
  async read(): Promise<UploadRecord | undefined> {
    const [begun, ...parts] = await this.#journal.read();
    const { object, uploadId, partSize } = begun ?? {};
    if (object !== this.#object || typeof uploadId !== 'string' || typeof partSize !== 'number') {
      return undefined;
    }
    return { uploadId, partSize, parts: parts as unknown as readonly UploadedPart[] };
  }

  /** @throws DISK */
  async begin(upload: Pick<UploadRecord, 'uploadId' | 'partSize'>): Promise<void> {
    await ensureFolder(this.#folder);
    await this.#journal.begin({ object: this.#object, ...upload });
  }

  /** @throws DISK */
  async add(part: UploadedPart): Promise<void> {
    await this.#journal.append(part);
  }

  /** @throws DISK */
  async remove(): Promise<void> {
    await this.#journal.remove();
  }
}
