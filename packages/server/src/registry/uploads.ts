/**
 * Uploads: bytes of a blob that come in over several requests and flow straight into the store's ingest folder,
 * hashed on the way. They are stored only when the client has said the digest and it is theirs. Open uploads are bounded
 * in number and in idle time: when there are too many, the longest idle one gives way to the new one. A restart forgets
 * them, and clients begin again.
 */

import { randomUUID } from 'node:crypto';
import { PassThrough } from 'node:stream';
import type { Bytes } from '@omni-airgap/oci';
import { CodedError, isCoded } from '@omni-airgap/oci/base';
import { type Descriptor, type Digest, isDigest, MediaType } from '@omni-airgap/oci/model';
import type { Answer, Methods, Request } from '../http/message.ts';
import type { WritableSource } from '../source.ts';
import type { Blobs } from './blobs.ts';
import type { Claims } from './claims.ts';
import { refuse, registryHeaders } from './refusal.ts';

export interface UploadLimits {
  /** Uploads open at once; default 128, of which each that is sending holds up to 3 MiB of memory. */
  readonly maxOpen?: number;
  /** Milliseconds without a request after which an upload is given up; default 10 minutes. */
  readonly idleMs?: number;
}

/** Seconds after which a client that found every upload in use may try again. */
const retryAfter = 5;

/** Bytes in one blob: far above any layer, below what would be a mistake. */
const maxBlobBytes = 2 ** 40;

class Upload {
  readonly id: string = randomUUID();
  readonly repository: string;
  readonly #stream = new PassThrough({ highWaterMark: 256 * 1024 });
  readonly #stored: Promise<Descriptor>;
  #offset = 0;
  #digest: Digest | undefined;
  #isBusy = false;

  constructor(repository: string, target: WritableSource) {
    this.repository = repository;
    this.#stored = target.ingest(() => this.#stream, {
      mediaType: MediaType.octetStream,
      key: `upload ${this.id}`,
      maxSize: maxBlobBytes,
      accept: ({ digest, size }) => {
        if (digest === this.#digest) return;
        throw new CodedError('DIGEST_MISMATCH', `the ${size} bytes have ${digest}, not ${this.#digest}`);
      },
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

  /** Ends it: the bytes are in the store. @throws DIGEST_MISMATCH when they have another digest; nothing stays */
  async finish(digest: Digest): Promise<void> {
    this.#digest = digest;
    this.#stream.end();
    await this.#stored;
  }

  /** Gives it up; nothing stays on disk. */
  async cancel(): Promise<void> {
    this.#stream.destroy(new CodedError('ABORTED', 'the upload was given up before its end'));
    await this.#stored.catch(() => {});
  }
}

export class Uploads {
  readonly #target: WritableSource;
  readonly #claims: Claims;
  readonly #limits: Required<UploadLimits>;
  /** The one that has been idle the longest comes first, but for those in use. */
  readonly #open = new Map<string, { readonly upload: Upload; readonly timer: NodeJS.Timeout }>();

  constructor(
    target: WritableSource,
    claims: Claims,
    { maxOpen = 128, idleMs = 600_000 }: UploadLimits = {},
  ) {
    this.#target = target;
    this.#claims = claims;
    this.#limits = { maxOpen, idleMs };
  }

  /** Where too many are open, the longest idle one is given up for it. @returns undefined when all are in use */
  async start(repository: string): Promise<Upload | undefined> {
    const idle = this.#open.size < this.#limits.maxOpen ? undefined : this.#longestIdle();
    if (idle === undefined && this.#open.size >= this.#limits.maxOpen) return undefined;
    if (idle !== undefined) this.close(idle);
    const upload = new Upload(repository, this.#target);
    const timer = setTimeout(() => void this.#expire(upload), this.#limits.idleMs);
    timer.unref();
    this.#open.set(upload.id, { upload, timer });
    // In use, or another one could take its place before its own request has begun.
    await upload.hold(async () => idle?.cancel());
    return upload;
  }

  /** How many are open. */
  get open(): number {
    return this.#open.size;
  }

  #longestIdle(): Upload | undefined {
    return [...this.#open.values()].find(({ upload }) => !upload.isBusy)?.upload;
  }

  /** The open upload of this id and repository; being asked for keeps it alive. */
  get(repository: string, id: string): Upload | undefined {
    const entry = this.#open.get(id);
    if (entry?.upload.repository !== repository) return undefined;
    this.touch(entry.upload);
    return entry.upload;
  }

  /** A request for it began or ended: its idle time begins anew. */
  touch({ id }: Upload): void {
    const entry = this.#open.get(id);
    if (entry === undefined) return;
    entry.timer.refresh();
    this.#open.delete(id);
    this.#open.set(id, entry);
  }

  /** Repositories with an open upload. */
  get repositories(): ReadonlySet<string> {
    return new Set([...this.#open.values()].map(({ upload }) => upload.repository));
  }

  /** Ends it: the blob is in the store, and the push relies on it. @throws as Upload.finish */
  async finish(upload: Upload, digest: Digest): Promise<void> {
    this.close(upload);
    await this.#claims.claim(upload.repository, [digest]);
    try {
      await upload.finish(digest);
    } catch (error) {
      this.#claims.release(upload.repository, [digest]);
      throw error;
    }
  }

  /** Takes it off the list and removes what came of it; of a finished one, nothing. */
  async giveUp(upload: Upload): Promise<void> {
    this.close(upload);
    await upload.cancel();
  }

  /** Takes it off the list; the caller finishes or cancels it. */
  close(upload: Upload): void {
    clearTimeout(this.#open.get(upload.id)?.timer);
    this.#open.delete(upload.id);
  }

  /** Gives up all that are open. */
  async cancelAll(): Promise<void> {
    const all = [...this.#open.values()].map(({ upload }) => upload);
    await Promise.all(all.map((upload) => this.giveUp(upload)));
  }

  async #expire(upload: Upload): Promise<void> {
    const entry = this.#open.get(upload.id);
    if (entry === undefined) return;
    if (upload.isBusy) entry.timer.refresh();
    else await this.giveUp(upload);
  }
}

const contentRangePattern = /^([0-9]{1,15})-([0-9]{1,15})$/;

/**
 * The requests of a blob upload: begin, chunk, finish, status, cancel, single POST, mount.
 * Source: distribution-spec v1.1.1 spec.md#pushing-blobs (endpoints 4a, 4b, 5, 6, 11, 13, 14).
 * Handlers for `/v2/<repository>/blobs/uploads/`.
 */
export function beginMethods(uploads: Uploads, blobs: Blobs, repository: string): Methods {
  return { POST: (request) => begin(uploads, blobs, repository, request) };
}

/** Handlers for `/v2/<repository>/blobs/uploads/<id>`. */
export function uploadMethods(uploads: Uploads, repository: string, id: string): Methods {
  const withUpload =
    (use: (upload: Upload, request: Request) => Promise<Answer>) =>
    async (request: Request): Promise<Answer> => {
      const upload = uploads.get(repository, id);
      if (upload === undefined) return refuse('BLOB_UPLOAD_UNKNOWN', 'no such upload, or it was given up');
      if (upload.isBusy) return refuse('BLOB_UPLOAD_INVALID', 'another request is using this upload', 409);
      try {
        return await upload.hold(() => use(upload, request));
      } catch (error) {
        if (upload.isBroken) uploads.close(upload);
        throw error;
      } finally {
        uploads.touch(upload);
      }
    };
  return {
    GET: withUpload(async (upload) => progress(upload, 204)),
    PATCH: withUpload(async (upload, request) => {
      const refused = await append(upload, request);
      return refused ?? progress(upload, 202);
    }),
    PUT: withUpload((upload, request) => finish(uploads, upload, request)),
    DELETE: withUpload(async (upload) => {
      await uploads.giveUp(upload);
      return { status: 204, headers: registryHeaders };
    }),
  };
}

async function begin(uploads: Uploads, blobs: Blobs, repository: string, request: Request): Promise<Answer> {
  const { query } = request;
  const mount = query.get('mount');
  if (mount !== null && isDigest(mount) && (await blobs.claim(repository, mount)) !== undefined) {
    return created(repository, mount);
  }
  const digest = query.get('digest');
  if (digest !== null && !isDigest(digest)) return badDigest(digest);
  const upload = await uploads.start(repository);
  if (upload === undefined) return tooMany;
  if (digest === null) return progress(upload, 202);
  try {
    return await upload.hold(() => finish(uploads, upload, request));
  } finally {
    // The client does not know where the upload is, so nobody can go on with it.
    await uploads.giveUp(upload);
  }
}

/** A refusal ends the upload, but for 416: that says where the client can go on. */
async function finish(uploads: Uploads, upload: Upload, request: Request): Promise<Answer> {
  const digest = request.query.get('digest');
  if (digest === null || !isDigest(digest)) {
    await uploads.giveUp(upload);
    return badDigest(digest ?? '');
  }
  const refused = await append(upload, request);
  if (refused?.status === 416) return refused;
  if (refused !== undefined) {
    await uploads.giveUp(upload);
    return refused;
  }
  try {
    await uploads.finish(upload, digest);
  } catch (error) {
    if (!isCoded(error, 'DIGEST_MISMATCH')) throw error;
    return refuse('DIGEST_INVALID', error.message);
  }
  return created(upload.repository, digest);
}

/** @returns a refusal when the chunk does not fit where the upload stands */
async function append(upload: Upload, request: Request): Promise<Answer | undefined> {
  const header = request.headers['content-range'];
  if (header !== undefined) {
    const [, first, last] = contentRangePattern.exec(header) ?? [];
    if (first === undefined || last === undefined) {
      return refuse('BLOB_UPLOAD_INVALID', `Content-Range must be <first>-<last>, not ${header}`);
    }
    if (Number(first) !== upload.offset) return progress(upload, 416);
    const size = Number(last) - Number(first) + 1;
    if (request.contentLength !== undefined && request.contentLength !== size) {
      return refuse(
        'SIZE_INVALID',
        `Content-Range has ${size} bytes, Content-Length ${request.contentLength}`,
      );
    }
  }
  await upload.append(request.body);
  return undefined;
}

function progress(upload: Upload, status: number): Answer {
  return {
    status,
    headers: {
      ...registryHeaders,
      Location: `/v2/${upload.repository}/blobs/uploads/${upload.id}`,
      // As every registry does, an empty upload says 0-0; the specification has no form for it.
      Range: `0-${Math.max(0, upload.offset - 1)}`,
      'Docker-Upload-UUID': upload.id,
    },
  };
}

function created(repository: string, digest: string): Answer {
  return {
    status: 201,
    headers: {
      ...registryHeaders,
      Location: `/v2/${repository}/blobs/${digest}`,
      'Docker-Content-Digest': digest,
    },
  };
}

const tooManyUploads = refuse('TOOMANYREQUESTS', 'every upload that may be open is in use; try again later');
const tooMany: Answer = {
  ...tooManyUploads,
  headers: { ...tooManyUploads.headers, 'Retry-After': String(retryAfter) },
};

function badDigest(digest: string): Answer {
  return refuse('DIGEST_INVALID', `digest=sha256:<64 lower-case hex> is needed, not ${digest}`);
}
