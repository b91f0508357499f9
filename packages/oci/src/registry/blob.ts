/**
 * Pushing blobs: mounted from a sibling repository, in one request, or in chunks. An upload that has seen an error is
 * never continued: registries disagree about its state, so we look whether the blob is there and start anew. Its
 * digest is what decides.
 * Sources: distribution-spec v1.1.1 spec.md#pushing-blobs, #mounting-a-blob-from-another-repository; distribution
 * v2.8.3 registry/handlers/blobupload.go. Threat T31; faults F34 to F39.
 */
import { createHash, type Hash } from 'node:crypto';
import { CodedError, isCoded } from '../base/errors.ts';
import { printable } from '../base/text.ts';
import type { GateResponse } from '../http/response.ts';
import { type ErrorBody, readErrorBody } from '../http/response.ts';
import { isTransient, retrying } from '../http/retry.ts';
import { mismatch, verified } from '../model/bytes.ts';
import type { Descriptor } from '../model/descriptor.ts';
import { type Digest, isDigest } from '../model/digest.ts';
import type { Bytes, OpenBytes, PushResult } from '../storage.ts';
import { headContent } from './content.ts';
import type { RepositoryView } from './session.ts';

/** Chunks for those who refuse the whole: the largest that common proxies let through, then smaller ones. */
const chunkSizes = [32, 8, 2, 0.5].map((mebibytes) => mebibytes * 1024 * 1024);
const smallestChunk = Math.min(...chunkSizes);
const largestChunk = Math.max(...chunkSizes);
/** A registry may have to copy the whole blob before it answers. */
const commitTimeoutMs = 300_000;

/** The session is gone or in a state we do not share: start a new one. */
class LostUpload extends CodedError {}

/** @throws DIGEST_MISMATCH, EGRESS_DENIED, DENIED, UPSTREAM, NETWORK, ABORTED */
export async function pushBlob(
  repository: RepositoryView,
  descriptor: Descriptor,
  open: OpenBytes,
  signal: AbortSignal | undefined,
): Promise<PushResult> {
  const task: Task = { repository, descriptor, open, signal };
  const { registry } = repository;
  const limits = registry.uploadLimits;
  let started = false;
  return retrying<PushResult>(
    async (attempt) => {
      if (await headContent(repository, descriptor, { right: 'push', signal })) {
        return started ? 'stored' : 'present';
      }
      started = true;
      // A proxy may cut the line instead of saying 413.
      const mayBeCut = attempt > 2 && descriptor.size > largestChunk;
      const isTooLarge = descriptor.size >= limits.tooLargeBytes;
      const isWhole = !limits.chunksOnly && !mayBeCut && !isTooLarge;
      if (isWhole && (await sendWhole(task, await beginUploadOf(task)))) return 'stored';
      for (;;) {
        const step = stepOf(task, mayBeCut);
        if (await sendChunks(task, await beginUploadOf(task), step)) return 'stored';
      }
    },
    {
      ...registry.retryOptions(signal),
      retryable: (error) => isTransient(error) || error instanceof LostUpload,
    },
  );
}

interface Task {
  readonly repository: RepositoryView;
  readonly descriptor: Descriptor;
  readonly open: OpenBytes;
  readonly signal: AbortSignal | undefined;
}

const doingOf = (task: Task): string => `push ${task.descriptor.digest}`;

/** Bytes of a chunk: all of them, where only the way matters and not the size. */
function stepOf({ repository, descriptor }: Task, mayBeCut: boolean): number {
  const { chunksOnly, tooLargeBytes } = repository.registry.uploadLimits;
  if (chunksOnly && !mayBeCut && descriptor.size < tooLargeBytes) return descriptor.size;
  return chunkSizes.find((size) => size < tooLargeBytes) ?? smallestChunk;
}

function beginUploadOf(task: Task): Promise<Upload> {
  const { repository, descriptor, signal } = task;
  return beginUpload(repository, doingOf(task), signal, descriptor.digest);
}

/** The next blobs are not sent in bodies of this size. @param bytes of one that was answered 413 */
function rememberTooLarge({ repository }: Task, bytes: number): void {
  const { uploadLimits } = repository.registry;
  uploadLimits.tooLargeBytes = Math.min(uploadLimits.tooLargeBytes, bytes);
}

/** The whole blob in one request. @returns false when it is too large for that (413), or that is no way to push */
async function sendWhole(task: Task, upload: Upload): Promise<boolean> {
  const { repository, descriptor, open, signal } = task;
  const response = await repository.once({
    method: 'PUT',
    at: withDigest(upload.location, descriptor),
    doing: doingOf(task),
    right: 'push',
    headers: { 'content-type': 'application/octet-stream' },
    body: { size: descriptor.size, open: () => verified(open(), descriptor) },
    headersTimeoutMs: commitTimeoutMs,
    digest: descriptor.digest,
    signal,
  });
  if (response.status === 413 && descriptor.size > smallestChunk) {
    await response.cancel();
    rememberTooLarge(task, descriptor.size);
    await cancelUpload(repository, doingOf(task), upload.location, signal);
    return false;
  }
  if (response.status === 404 || response.status === 405) {
    const body = await readErrorBody(response);
    // Of a session that is gone the registry says just that; Artifactory says that it has no such blob.
    if (body.codes.some(isLost)) throw await uploadErrorOf(task, response, body);
    repository.registry.uploadLimits.chunksOnly = true;
    await cancelUpload(repository, doingOf(task), upload.location, signal);
    return false;
  }
  await checkStored(task, response);
  return true;
}

/**
 * The blob in pieces; hashed on the way, so that nothing wrong is ever committed.
 * @returns false when even a piece is too large (413)
 */
async function sendChunks(task: Task, upload: Upload, wanted: number): Promise<boolean> {
  const { repository, descriptor, open, signal } = task;
  const { digest, size } = descriptor;
  const step = Math.max(wanted, upload.minChunk);
  let { location } = upload;
  let hash = createHash('sha256');
  for (let from = 0; from < size; from += step) {
    const length = Math.min(step, size - from);
    let hashed = hash;
    const response = await repository.once({
      method: 'PATCH',
      at: location,
      doing: doingOf(task),
      right: 'push',
      headers: {
        'content-type': 'application/octet-stream',
        'content-range': `${from}-${from + length - 1}`,
      },
      body: {
        size: length,
        open: () => {
          // A chunk that is sent again must not be hashed twice.
          hashed = hash.copy();
          return piece(open(from), length, hashed, descriptor);
        },
      },
      headersTimeoutMs: commitTimeoutMs,
      digest,
      signal,
    });
    if (response.status === 413 && length > smallestChunk && step > upload.minChunk) {
      await response.cancel();
      rememberTooLarge(task, length);
      await cancelUpload(repository, doingOf(task), location, signal);
      return false;
    }
    if (response.status !== 202 && response.status !== 204) throw await uploadError(task, response);
    await response.cancel();
    hash = hashed;
    // What Range says is not believed: some registries repeat the first chunk's for ever.
    location = locationOf(repository, doingOf(task), response);
  }
  if (`sha256:${hash.digest('hex')}` !== digest) throw mismatch(descriptor, 'the bytes have another digest');
  const response = await repository.once({
    method: 'PUT',
    at: withDigest(location, descriptor),
    doing: doingOf(task),
    right: 'push',
    headersTimeoutMs: commitTimeoutMs,
    digest,
    signal,
  });
  await checkStored(task, response);
  return true;
}

async function* piece(source: Bytes, length: number, hash: Hash, descriptor: Descriptor): Bytes {
  let left = length;
  for await (const chunk of source) {
    const part = chunk.byteLength > left ? chunk.subarray(0, left) : chunk;
    left -= part.byteLength;
    hash.update(part);
    if (part.byteLength > 0) yield part;
    if (left === 0) return;
  }
  throw mismatch(descriptor, `the source ends ${left} bytes early`);
}

async function checkStored(task: Task, response: GateResponse): Promise<void> {
  if (![200, 201, 204].includes(response.status)) throw await uploadError(task, response);
  await response.cancel();
  const said = response.headers['docker-content-digest'];
  if (isDigest(said) && said !== task.descriptor.digest) {
    throw mismatch(task.descriptor, `the registry stored it as ${said}`, task.repository.name);
  }
}

async function uploadError(task: Task, response: GateResponse): Promise<CodedError> {
  return uploadErrorOf(task, response, await readErrorBody(response));
}

async function uploadErrorOf(task: Task, response: GateResponse, body: ErrorBody): Promise<CodedError> {
  const error = await task.repository.error(response, doingOf(task), body);
  if (body.codes.includes('DIGEST_INVALID')) {
    return new CodedError('DIGEST_MISMATCH', error.message, { descriptor: task.descriptor });
  }
  return body.codes.some(isLost) || response.status === 404 || response.status === 416
    ? new LostUpload('UPSTREAM', error.message, { status: response.status })
    : error;
}

function isLost(code: string): boolean {
  return code === 'BLOB_UPLOAD_INVALID' || code === 'BLOB_UPLOAD_UNKNOWN';
}

function withDigest(location: URL, descriptor: Descriptor): URL {
  const url = new URL(location);
  // Not through searchParams, which would write the registry's own part of the query anew.
  url.search = `${url.search === '' ? '?' : `${url.search}&`}digest=${encodeURIComponent(descriptor.digest)}`;
  return url;
}

/**
 * Takes a blob over from a sibling repository of the registry, without moving it. Fault F37.
 * @returns false when the registry does not mount it, for whatever reason
 * @throws UPSTREAM, NETWORK, EGRESS_DENIED, ABORTED
 */
export async function mountBlob(
  repository: RepositoryView,
  descriptor: Descriptor,
  from: string,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  const { digest } = descriptor;
  const doing = `mount ${digest} from ${from}`;
  const asking = repository.request({
    method: 'POST',
    at: `blobs/uploads/?mount=${encodeURIComponent(digest)}&from=${encodeURIComponent(from)}`,
    doing,
    right: 'push',
    from,
    digest,
    signal,
  });
  // Log-in itself may be refused when it names a repository we may not read.
  const response = await asking.catch((error: unknown) => {
    if (isCoded(error, 'DENIED')) return undefined;
    throw error;
  });
  if (response === undefined) return false;
  const { status } = response;
  if (status === 202) {
    await response.cancel();
    const { location } = uploadLocation(repository, response);
    if (location !== undefined) await cancelUpload(repository, doing, location, signal);
    return false;
  }
  if (status === 201 || [401, 403, 404, 405].includes(status)) {
    await response.cancel();
    return status === 201;
  }
  throw await repository.error(response, doing);
}

interface Upload {
  readonly location: URL;
  /** The smallest chunk the registry takes, bytes. */
  readonly minChunk: number;
}

/**
 * One attempt.
 * @param doing for messages
 * @throws DENIED, NOT_FOUND for a project that must exist, EGRESS_DENIED, UPSTREAM, NETWORK, ABORTED
 */
async function beginUpload(
  repository: RepositoryView,
  doing: string,
  signal: AbortSignal | undefined,
  digest?: Digest,
): Promise<Upload> {
  const response = await repository.once({
    method: 'POST',
    at: 'blobs/uploads/',
    doing,
    right: 'push',
    signal,
    digest,
  });
  if (response.status !== 202) throw await repository.error(response, doing);
  await response.cancel();
  const asked = Number(response.headers['oci-chunk-min-length'] ?? 0);
  return {
    location: locationOf(repository, doing, response),
    minChunk: Number.isSafeInteger(asked) ? asked : 0,
  };
}

/** Shows the right to push, without storing anything. @throws as beginUpload */
export async function probeUpload(
  repository: RepositoryView,
  signal: AbortSignal | undefined,
): Promise<void> {
  const doing = 'begin an upload';
  const { location } = await retrying(
    () => beginUpload(repository, doing, signal),
    repository.registry.retryOptions(signal),
  );
  await cancelUpload(repository, doing, location, signal);
}

/** Best effort: an upload that stays is the registry's to clean up. */
async function cancelUpload(
  repository: RepositoryView,
  doing: string,
  location: URL,
  signal: AbortSignal | undefined,
): Promise<void> {
  try {
    const response = await repository.once({ method: 'DELETE', at: location, doing, right: 'push', signal });
    await response.cancel();
  } catch (error) {
    if (signal?.aborted === true) throw error;
  }
}

/**
 * Where an upload goes on: at the registry's own origin, or where the request was redirected to.
 * @throws UPSTREAM, EGRESS_DENIED for any other place
 */
function locationOf(repository: RepositoryView, doing: string, response: GateResponse): URL {
  const { registry, name } = repository;
  const { location, named } = uploadLocation(repository, response);
  if (location !== undefined) return location;
  if (named === undefined) throw new CodedError('UPSTREAM', `${doing} (${name}): an upload without Location`);
  throw new CodedError(
    'EGRESS_DENIED',
    `${doing} (${name}): the registry sends the upload to ${named} instead of ${registry.origin.origin}; ` +
      'set http.host to that URL, or http.relativeurls: true, in its configuration',
  );
}

/** @returns `location` when it may be used, and the place that the answer names, for messages */
function uploadLocation(
  { registry }: RepositoryView,
  response: GateResponse,
): { readonly location: URL | undefined; readonly named: string | undefined } {
  const text = response.headers['location'];
  const url = text === undefined ? undefined : registry.logicalReference(text, response.url);
  const isKnown = url?.origin === registry.origin.origin || url?.origin === response.url.origin;
  const named = text === undefined ? undefined : printable(url?.origin ?? text);
  return { location: isKnown ? url : undefined, named };
}
