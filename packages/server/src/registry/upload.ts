/**
 * Uploads: bytes of a blob that come in over several requests and flow straight into the store's ingest folder,
 * hashed on the way. They get a name only when the client has said the digest and it is theirs. Open uploads are
 * bounded in number and in idle time; a restart forgets them, and clients begin again.
 */
import { randomUUID } from 'node:crypto';
import { PassThrough } from 'node:stream';
import { type Bytes, type Descriptor, MediaType } from '@omni-airgap/oci';
import { CodedError } from '@omni-airgap/oci/base';
import type { WritableSource } from '../source.ts';

export interface UploadLimits {
  /** Uploads open at once; default 64. */
  readonly maxOpen?: number;
  /** Milliseconds without a request after which an upload is given up; default 10 minutes. */
  readonly idleMs?: number;
}

/** Bytes in one blob: far above any layer, below what would be a mistake. */
const maxBlobBytes = 2 ** 40;

export class Upload {
  readonly id: string = randomUUID();
  readonly repository: string;
  readonly #stream = new PassThrough({ highWaterMark: 1024 * 1024 });
  readonly #stored: Promise<Descriptor>;
  #offset = 0;
  #isBusy = false;

  constructor(repository: string, target: WritableSource) {
    this.repository = repository;
    this.#stored = target.ingest(() => this.#stream, {
      mediaType: MediaType.octetStream,
      key: `upload ${this.id}`,
      maxSize: maxBlobBytes,
    });
    this.#stream.on('error', () => {});
    // Who waits for the result sees the error; until then it must not count as unhandled.
    this.#stored.catch(() => this.#stream.destroy());
  }

  /** Bytes received so far. */
  get offset(): number {
    return this.#offset;
  }

  /** True while a request is using it. */
  get isBusy(): boolean {
    return this.#isBusy;
  }

  /** True when the store takes nothing more, such as after a full disk. */
  get isBroken(): boolean {
    return this.#stream.destroyed;
  }

  /** Runs what a request does with it; nobody else may use it meanwhile. */
  async hold<T>(use: () => Promise<T>): Promise<T> {
    this.#isBusy = true;
    try {
      return await use();
    } finally {
      this.#isBusy = false;
    }
  }

  /** @throws what the sender or the store throws; bytes that came before that stay */
  async append(source: Bytes): Promise<void> {
    for await (const chunk of source) {
      if (this.#stream.destroyed) break;
      this.#offset += chunk.byteLength;
      if (!this.#stream.write(chunk)) await this.#room();
    }
    if (this.#stream.destroyed) await this.#stored;
  }

  /** Resolves when the store has taken what is buffered, or takes nothing more. */
  #room(): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        this.#stream.off('drain', done).off('close', done);
        resolve();
      };
      this.#stream.on('drain', done).on('close', done);
    });
  }

  /** Ends it: the bytes are in the store under the digest they have. */
  async finish(): Promise<Descriptor> {
    this.#stream.end();
    return this.#stored;
  }

  /** Gives it up; nothing stays on disk. */
  async cancel(): Promise<void> {
    // This code makes the store remove the bytes rather than keep them for a later attempt, which cannot come.
    this.#stream.destroy(new CodedError('DIGEST_MISMATCH', 'the upload was given up before its end'));
    await this.#stored.catch(() => {});
  }
}

export class Uploads {
  readonly #target: WritableSource;
  readonly #limits: Required<UploadLimits>;
  readonly #open = new Map<string, { readonly upload: Upload; readonly timer: NodeJS.Timeout }>();

  constructor(target: WritableSource, { maxOpen = 64, idleMs = 600_000 }: UploadLimits = {}) {
    this.#target = target;
    this.#limits = { maxOpen, idleMs };
  }

  /** @returns undefined when too many are open */
  start(repository: string): Upload | undefined {
    if (this.#open.size >= this.#limits.maxOpen) return undefined;
    const upload = new Upload(repository, this.#target);
    const timer = setTimeout(() => void this.#expire(upload), this.#limits.idleMs);
    timer.unref();
    this.#open.set(upload.id, { upload, timer });
    return upload;
  }

  /** The open upload of this id and repository; being asked for keeps it alive. */
  get(repository: string, id: string): Upload | undefined {
    const entry = this.#open.get(id);
    if (entry?.upload.repository !== repository) return undefined;
    entry.timer.refresh();
    return entry.upload;
  }

  /** Takes it off the list; the caller finishes or cancels it. */
  close(upload: Upload): void {
    clearTimeout(this.#open.get(upload.id)?.timer);
    this.#open.delete(upload.id);
  }

  /** Gives up all that are open. */
  async cancelAll(): Promise<void> {
    const all = [...this.#open.values()].map(({ upload }) => upload);
    for (const upload of all) this.close(upload);
    await Promise.all(all.map((upload) => upload.cancel()));
  }

  async #expire(upload: Upload): Promise<void> {
    const entry = this.#open.get(upload.id);
    if (entry === undefined) return;
    if (upload.isBusy) entry.timer.refresh();
    else {
      this.close(upload);
      await upload.cancel();
    }
  }
}
