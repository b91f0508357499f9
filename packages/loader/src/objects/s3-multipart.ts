/**
 * Uploads in parts, with a journal of our own since the SDK's uploader can neither resume nor sign what it sends.
 * Parts are read and hashed in order, and sent while the next one is read. Faults F43, F44.
 * Source: Amazon S3 API Reference, CreateMultipartUpload, UploadPart, ListParts, CompleteMultipartUpload.
 */
import { createHash } from 'node:crypto';
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  ListPartsCommand,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import {
  CodedError,
  checkFinished,
  eachBlock,
  Hasher,
  isCoded,
  type Piece,
  readPieces,
  slicePieces,
} from '@omni-airgap/content';
import pLimit from 'p-limit';
import type { NewObject } from './object-sink.ts';
import { abort, type S3Connection, withPayload } from './s3-connection.ts';
import type { UploadedPart, UploadJournal } from './upload-journal.ts';

/** Source: Amazon S3 User Guide, "Amazon S3 multipart upload limits". */
const maxParts = 10_000;
/** Parts of one object on their way; more than a few only share the same line. */
const partsAtOnce = 2;
const maxPages = 100;

export interface MultipartUpload {
  readonly connection: S3Connection;
  readonly journal: UploadJournal;
  readonly object: NewObject;
  readonly pieces: readonly Piece[];
  /** Bytes of a part, when that does not make more than 10,000 of them. */
  readonly partSize: number;
  /** Input of CreateMultipartUpload. */
  readonly description: { readonly Bucket: string; readonly Key: string };
  /** Send Content-MD5 too: the store does not check the signed hash. */
  readonly md5: boolean;
  readonly onBytes: (bytes: number) => void;
  readonly signal?: AbortSignal;
}

interface Started {
  readonly uploadId: string;
  readonly partSize: number;
  /** Parts that the store has and the journal knows, by number. */
  readonly known: ReadonlyMap<number, UploadedPart>;
}

/** @throws DIGEST_MISMATCH before the object is visible; DENIED, UPSTREAM, NETWORK leave the upload to be resumed */
export async function putInParts(upload: MultipartUpload): Promise<void> {
  const { connection, journal, object, signal } = upload;
  const { key, descriptor } = object;
  const journalKey = `${connection.url}/${key} ${descriptor.digest}`;
  const started = (await resume(upload, journalKey)) ?? (await start(upload, journalKey));
  const { uploadId, partSize } = started;
  const at = { ...connection.at(key), UploadId: uploadId };
  const parts = new Map<number, UploadedPart>(started.known);
  const record = (): Promise<void> =>
    journal.write(journalKey, { uploadId, partSize, parts: [...parts.values()] });
  try {
    await sendParts(upload, started, parts, record);
  } catch (error) {
    if (isCoded(error, 'DIGEST_MISMATCH')) {
      await connection.client.send(new AbortMultipartUploadCommand(at)).catch(() => {});
      await journal.remove(journalKey);
    }
    throw error;
  }
  const list = [...parts.values()]
    .sort((a, b) => a.number - b.number)
    .map(({ number, etag }) => ({ PartNumber: number, ETag: etag }));
  await connection.retrying(key, signal, async () => {
    try {
      const complete = { ...at, MultipartUpload: { Parts: list } };
      return await connection.client.send(new CompleteMultipartUploadCommand(complete), abort(signal));
    } catch (error) {
      // An answer that was lost: the caller looks whether the object is there.
      if (isCoded(connection.explain(error, key), 'NOT_FOUND')) return undefined;
      throw error;
    }
  });
  await journal.remove(journalKey);
}

async function sendParts(
  upload: MultipartUpload,
  { uploadId, partSize, known }: Started,
  parts: Map<number, UploadedPart>,
  record: () => Promise<void>,
): Promise<void> {
  const { connection, object, pieces, onBytes, signal } = upload;
  const { key, descriptor } = object;
  const at = { ...connection.at(key), UploadId: uploadId };
  const whole = new Hasher();
  const sending: Promise<void>[] = [];
  const limit = pLimit(partsAtOnce);
  let writing: Promise<void> = Promise.resolve();
  let failure: unknown;
  for (let offset = 0, number = 1; offset < descriptor.size; offset += partSize, number++) {
    const size = Math.min(partSize, descriptor.size - offset);
    const run = slicePieces(pieces, offset, size);
    // The signature needs the part's digest before its first byte; sending reads it again, from memory by then.
    const hashes = { sha256: createHash('sha256'), md5: upload.md5 ? createHash('md5') : undefined };
    await eachBlock(
      run,
      (block) => {
        hashes.sha256.update(block);
        hashes.md5?.update(block);
        whole.update(block);
      },
      signal,
    );
    const sha256 = hashes.sha256.digest('hex');
    const md5 = hashes.md5?.digest('base64');
    const before = known.get(number);
    if (before !== undefined && before.size === size && before.sha256 === sha256) {
      onBytes(size);
      continue;
    }
    while (limit.activeCount + limit.pendingCount >= partsAtOnce) {
      await Promise.race(sending);
      if (failure !== undefined) break;
    }
    if (failure !== undefined) break;
    const task = limit(async () => {
      const answer = await connection.retrying(key, signal, () => {
        const bytes = counted(readPieces(run, signal), onBytes);
        const input = {
          ...at,
          PartNumber: number,
          ...(md5 === undefined ? {} : { ContentMD5: md5 }),
        };
        return connection.client.send(
          new UploadPartCommand(withPayload(input, { bytes, size, sha256 })),
          abort(signal),
        );
      });
      if (answer.ETag === undefined) {
        throw new CodedError('UPSTREAM', `${connection.url}/${key}: part ${number} was stored without ETag`);
      }
      parts.set(number, { number, size, sha256, etag: answer.ETag });
      writing = writing.then(record);
      await writing;
    });
    const settled = task.catch((error: unknown) => {
      failure ??= error;
    });
    sending.push(settled);
    void settled.then(() => sending.splice(sending.indexOf(settled), 1));
  }
  await Promise.all([...sending]);
  if (failure !== undefined) throw failure;
  checkFinished(whole, { mediaType: object.contentType, ...descriptor }, key);
}

/** The upload that the journal knows, when the store still has it. */
async function resume(upload: MultipartUpload, journalKey: string): Promise<Started | undefined> {
  const { connection, journal, object, signal } = upload;
  const record = await journal.read(journalKey);
  if (record === undefined) return undefined;
  const there = new Map<number, { readonly size: number; readonly etag: string }>();
  try {
    let marker: string | undefined;
    for (let page = 0; page < maxPages; page++) {
      const input = {
        ...connection.at(object.key),
        UploadId: record.uploadId,
        ...(marker === undefined ? {} : { PartNumberMarker: marker }),
      };
      const answer = await connection.retrying(object.key, signal, () =>
        connection.client.send(new ListPartsCommand(input), abort(signal)),
      );
      for (const { PartNumber, Size, ETag } of answer.Parts ?? []) {
        there.set(PartNumber ?? 0, { size: Size ?? -1, etag: ETag ?? '' });
      }
      if (answer.IsTruncated !== true) break;
      marker = answer.NextPartNumberMarker;
    }
  } catch (error) {
    if (!isCoded(error, 'NOT_FOUND')) throw error;
    await journal.remove(journalKey);
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

async function start(upload: MultipartUpload, journalKey: string): Promise<Started> {
  const { connection, journal, object, description, signal } = upload;
  const { key, descriptor } = object;
  const created = await connection.retrying(key, signal, () =>
    connection.client.send(new CreateMultipartUploadCommand(description), abort(signal)),
  );
  const uploadId = created.UploadId;
  if (uploadId === undefined) {
    throw new CodedError('UPSTREAM', `${connection.url}/${key}: an upload was begun without an ID`);
  }
  const partSize = Math.max(upload.partSize, Math.ceil(descriptor.size / maxParts));
  await journal.write(journalKey, { uploadId, partSize, parts: [] });
  return { uploadId, partSize, known: new Map() };
}

async function* counted(
  bytes: AsyncIterable<Uint8Array>,
  onBytes: (bytes: number) => void,
): AsyncIterable<Uint8Array> {
  for await (const chunk of bytes) {
    onBytes(chunk.byteLength);
    yield chunk;
  }
}
