/**
 * Uploads in parts, with a journal of our own since the SDK's uploader can neither resume nor sign what it sends.
 * Parts are read and hashed in order, and sent while the next ones are read. Faults F43, F44.
 * Source: Amazon S3 API Reference, CreateMultipartUpload, UploadPart, ListParts, CompleteMultipartUpload.
 */

import { createHash } from 'node:crypto';
import { join } from 'node:path';
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  ListPartsCommand,
  UploadPartCommand,
  UploadPartCopyCommand,
} from '@aws-sdk/client-s3';
import type { Piece } from '@omni-airgap/oci';
import { CodedError, isCoded } from '@omni-airgap/oci/base';
import { ensureFolder, Journal, readInto, slicePieces } from '@omni-airgap/oci/fs';
import { checkFinished, Hasher } from '@omni-airgap/oci/model';
import type { NewObject } from './object-sink.ts';
import type { PartBuffers } from './part-buffers.ts';
import { abort, type S3Connection, withPayload } from './s3-connection.ts';

/** Source: Amazon S3 User Guide, "Amazon S3 multipart upload limits". */
const maxParts = 10_000;
const maxPages = 100;
/** Statuses of a store that does not have an upload, or does not list its parts to these credentials or to anybody. */
const unlistable: ReadonlySet<number> = new Set([403, 404, 405, 501]);

interface MultipartUpload {
  readonly connection: S3Connection;
  /** Folder for what is known of uploads that are under way. */
  readonly journals: string;
  /** What parts are sent from; shared by all uploads that run at once. */
  readonly buffers: PartBuffers;
  readonly object: NewObject;
  readonly pieces: readonly Piece[];
  /** Bytes of a part, when that does not make more than 10,000 of them. */
  readonly partSize: number;
  /** Input of CreateMultipartUpload. */
  readonly description: { readonly Bucket: string; readonly Key: string };
  /** Send Content-MD5 too: the store does not check the signed hash. */
  readonly md5: boolean;
  readonly onBytes: (bytes: number) => void;
  readonly signal?: AbortSignal | undefined;
}

interface Started {
  readonly uploadId: string;
  readonly partSize: number;
  /** Parts that the store has and the journal knows, by number. */
  readonly known: ReadonlyMap<number, UploadedPart>;
}

/** The least that a part may have that is not the last. Source: as maxParts. */
export const minPartSize: number = 5 * 1024 * 1024;

/** A body that is too large for something on the way. Source: RFC 9110 section 15.5.14. */
export function isTooLarge(error: unknown): boolean {
  return isCoded(error) && error.status === 413;
}

/** @throws DIGEST_MISMATCH before the object is visible; UPSTREAM with status 413 for parts that are too large; DENIED, UPSTREAM, NETWORK leave the upload to be resumed */
export async function putInParts(upload: MultipartUpload): Promise<void> {
  const { connection, journals, object, signal } = upload;
  const { key, descriptor } = object;
  const journal = new UploadJournal(journals, `${connection.url}/${key} ${descriptor.digest}`);
  const started = (await resume(upload, journal)) ?? (await start(upload, journal));
  const at = { ...connection.at(key), UploadId: started.uploadId };
  const parts = new Map<number, UploadedPart>(started.known);
  try {
    await sendParts(upload, started, async (part) => {
      parts.set(part.number, part);
      await journal.add(part);
    });
  } catch (error) {
    // Parts are cut anew when they were too large; until then an upload keeps its part size.
    if (isCoded(error, 'DIGEST_MISMATCH') || isTooLarge(error)) {
      await connection.client.send(new AbortMultipartUploadCommand(at)).catch(() => {});
      await journal.remove();
    }
    throw error;
  }
  const list = [...parts.values()]
    .sort((a, b) => a.number - b.number)
    .map(({ number, etag }) => ({ PartNumber: number, ETag: etag }));
  await connection.retrying(key, 's3:PutObject', signal, async () => {
    try {
      const complete = { ...at, MultipartUpload: { Parts: list } };
      return await connection.client.send(new CompleteMultipartUploadCommand(complete), abort(signal));
    } catch (error) {
      // An answer that was lost: the caller looks whether the object is there.
      if (isCoded(connection.explain(error, key, 's3:PutObject'), 'NOT_FOUND')) return undefined;
      throw error;
    }
  });
  await journal.remove();
}

interface PartCopy {
  readonly connection: S3Connection;
  readonly object: NewObject;
  /** Bucket and key, as CopyObject wants them. */
  readonly source: string;
  /** Input of CreateMultipartUpload. */
  readonly description: { readonly Bucket: string; readonly Key: string };
  readonly rights: string;
  /** Bytes; the most that one part may have. */
  readonly maxPartSize: number;
  readonly signal?: AbortSignal | undefined;
}

/** Bytes that a store copies for one answer: few enough that it comes within the time-out. */
const copiedPartSize = 256 * 1024 * 1024;

/** Copies what is too large for CopyObject, inside the store. Source: Amazon S3 API Reference, UploadPartCopy. */
export async function copyInParts(copy: PartCopy): Promise<void> {
  const { connection, object, source, description, rights, maxPartSize, signal } = copy;
  const { key, descriptor } = object;
  const { client } = connection;
  const { UploadId } = await connection.retrying(key, rights, signal, () =>
    client.send(new CreateMultipartUploadCommand(description), abort(signal)),
  );
  const at = { ...connection.at(key), UploadId };
  const size = Math.max(Math.min(copiedPartSize, maxPartSize), Math.ceil(descriptor.size / maxParts));
  const parts: { readonly PartNumber: number; readonly ETag: string | undefined }[] = [];
  try {
    for (let offset = 0; offset < descriptor.size; offset += size) {
      const PartNumber = parts.length + 1;
      const last = Math.min(offset + size, descriptor.size) - 1;
      const input = {
        ...at,
        PartNumber,
        CopySource: source,
        CopySourceRange: `bytes=${offset}-${last}`,
      };
      const { CopyPartResult: copied } = await connection.retrying(key, rights, signal, () =>
        client.send(new UploadPartCopyCommand(input), abort(signal)),
      );
      parts.push({ PartNumber, ETag: copied?.ETag });
    }
    const complete = { ...at, MultipartUpload: { Parts: parts } };
    await connection.retrying(key, rights, signal, () =>
      client.send(new CompleteMultipartUploadCommand(complete), abort(signal)),
    );
  } catch (error) {
    // A copy is not resumed: nothing moved through here.
    await client.send(new AbortMultipartUploadCommand(at)).catch(() => {});
    throw error;
  }
}

/** @param onStored told of each part that the store has taken */
async function sendParts(
  upload: MultipartUpload,
  { uploadId, partSize, known }: Started,
  onStored: (part: UploadedPart) => Promise<void>,
): Promise<void> {
  const { buffers, object, pieces, onBytes } = upload;
  const { key, descriptor, contentType } = object;
  const whole = new Hasher();
  const sending = new Set<Promise<void>>();
  let failure: unknown;
  for (let offset = 0, number = 1; offset < descriptor.size; offset += partSize, number++) {
    const size = Math.min(partSize, descriptor.size - offset);
    const hashed = Promise.withResolvers<void>();
    const task = buffers
      .lend(size, async (bytes) => {
        upload.signal?.throwIfAborted();
        await readInto(bytes, slicePieces(pieces, offset, size));
        whole.update(bytes);
        const sha256 = createHash('sha256').update(bytes).digest('hex');
        hashed.resolve();
        const before = known.get(number);
        if (before?.size !== size || before.sha256 !== sha256) {
          const etag = await sendPart(upload, uploadId, number, bytes, sha256);
          await onStored({ number, size, sha256, etag });
        }
        onBytes(size);
      })
      .catch((error: unknown) => {
        failure ??= error;
      })
      .finally(() => {
        hashed.resolve();
        sending.delete(task);
      });
    sending.add(task);
    // The next one may be read: the hash of the whole is that of all parts in their order.
    await hashed.promise;
    if (failure !== undefined) break;
  }
  await Promise.all(sending);
  if (failure !== undefined) throw failure;
  checkFinished(whole, { mediaType: contentType, ...descriptor }, key);
}

/** @returns the tag that the store gives it */
async function sendPart(
  { connection, object: { key }, md5, signal }: MultipartUpload,
  uploadId: string,
  number: number,
  bytes: Uint8Array,
  sha256: string,
): Promise<string> {
  const part = {
    ...connection.at(key),
    UploadId: uploadId,
    PartNumber: number,
    ...(md5 ? { ContentMD5: createHash('md5').update(bytes).digest('base64') } : {}),
  };
  const answer = await connection.retrying(key, 's3:PutObject', signal, () =>
    connection.client.send(new UploadPartCommand(withPayload(part, bytes, sha256)), abort(signal)),
  );
  if (answer.ETag !== undefined) return answer.ETag;
  throw new CodedError('UPSTREAM', `${connection.url}/${key}: part ${number} was stored without ETag`);
}

/** The upload that the journal knows, when the store still has it. */
async function resume(upload: MultipartUpload, journal: UploadJournal): Promise<Started | undefined> {
  const { connection, object, signal } = upload;
  const record = await journal.read();
  if (record === undefined) return undefined;
  const there = new Map<number, { readonly size: number; readonly etag: string }>();
  try {
    let marker: string | undefined;
    for (let page = 0; page < maxPages; page++) {
      const input = {
        ...connection.at(object.key),
        UploadId: record.uploadId,
        PartNumberMarker: marker,
      };
      const answer = await connection.retrying(object.key, 's3:ListMultipartUploadParts', signal, () =>
        connection.client.send(new ListPartsCommand(input), abort(signal)),
      );
      for (const { PartNumber, Size, ETag } of answer.Parts ?? []) {
        there.set(PartNumber ?? 0, { size: Size ?? -1, etag: ETag ?? '' });
      }
      if (answer.IsTruncated !== true) break;
      marker = answer.NextPartNumberMarker;
    }
  } catch (error) {
    // Resuming saves time; a store that forgot the upload, or does not list its parts, gets all of them again.
    if (!isCoded(error) || !unlistable.has(error.status ?? 0)) throw error;
    const at = { ...connection.at(object.key), UploadId: record.uploadId };
    await connection.client.send(new AbortMultipartUploadCommand(at)).catch(() => {});
    await journal.remove();
    return undefined;
  }
  const known = record.parts.filter(({ number, size, etag }) => {
    const part = there.get(number);
    return part?.size === size && part.etag === etag;
  });
  return {
    uploadId: record.uploadId,
    partSize: record.partSize,
    known: new Map(known.map((part) => [part.number, part])),
  };
}

async function start(upload: MultipartUpload, journal: UploadJournal): Promise<Started> {
  const { connection, object, description, signal } = upload;
  const { key, descriptor } = object;
  const created = await connection.retrying(key, 's3:PutObject', signal, () =>
    connection.client.send(new CreateMultipartUploadCommand(description), abort(signal)),
  );
  const uploadId = created.UploadId;
  if (uploadId === undefined) {
    throw new CodedError('UPSTREAM', `${connection.url}/${key}: an upload was begun without an ID`);
  }
  const partSize = Math.max(upload.partSize, Math.ceil(descriptor.size / maxParts));
  await journal.begin({ uploadId, partSize });
  return { uploadId, partSize, known: new Map() };
}

interface UploadedPart {
  /** From 1. */
  readonly number: number;
  /** Bytes. */
  readonly size: number;
  /** Hex. */
  readonly sha256: string;
  readonly etag: string;
}

interface UploadRecord {
  readonly uploadId: string;
  /** Bytes. */
  readonly partSize: number;
  readonly parts: readonly UploadedPart[];
}

/**
 * What is known of an upload in parts that is under way, on disk: which upload, how it is cut, and each part that
 * arrived. A killed load goes on with it; a part is believed only when the store lists it with the same size and tag,
 * and the medium still gives the same bytes. Fault F43.
 */
class UploadJournal {
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
