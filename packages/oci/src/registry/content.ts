/**
 * What blobs and manifests have in common, by digest: whether the registry has them, their bytes, and their removal.
 * Bodies resume by themselves after the connection was lost.
 * Sources: distribution-spec v1.1.1 spec.md#pull, #deleting-manifests, #deleting-blobs; RFC 9110 section 14 (ranges).
 * Threats T14, T37; faults F06, F07, F09.
 */
import { CodedError } from '../base/errors.ts';
import { printable } from '../base/text.ts';
import { TooSlow } from '../http/rate.ts';
import type { GateResponse } from '../http/response.ts';
import { backOff, isTransient, retrying } from '../http/retry.ts';
import { saysPage, unexpectedAnswer } from '../http/web-page.ts';
import { mismatch } from '../model/bytes.ts';
import type { Descriptor } from '../model/descriptor.ts';
import { type Digest, isDigest } from '../model/digest.ts';
import { isManifestType, manifestAccept, refusedType } from '../model/media-type.ts';
import type { Bytes } from '../storage.ts';
import type { RepositoryView } from './session.ts';

const accept = { accept: manifestAccept } as const;

export interface PresenceOptions {
  /** Asked for along with this, when pushing is what follows. */
  readonly right?: 'push' | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * True when the registry has it with this size. One attempt.
 * @throws DIGEST_MISMATCH when the registry names another digest
 */
export async function headContent(
  repository: RepositoryView,
  descriptor: Descriptor,
  options: PresenceOptions,
): Promise<boolean> {
  const doing = `look for ${descriptor.digest}`;
  const { digest } = descriptor;
  const at = contentPath(descriptor);
  const ask = (method: 'HEAD' | 'GET'): Promise<GateResponse> =>
    repository.once({ method, at, doing, headers: accept, digest, anyEncoding: true, ...options });
  let response = await ask('HEAD');
  if (isWordless(response)) response = await ask('GET');
  if (response.status !== 200 && response.status !== 404) throw await repository.error(response, doing);
  await response.cancel();
  if (response.status === 404) return false;
  if (isPage(response, descriptor)) throw notContent(response, doing, repository, descriptor);
  const named = response.headers['docker-content-digest'];
  if (isDigest(named) && named !== digest) {
    throw mismatch(descriptor, `the registry says ${named}`, repository.name);
  }
  const length = response.headers['content-length'];
  return length === undefined || Number(length) === descriptor.size;
}

/**
 * Whether a HEAD must be asked again as GET: some registries take none (405), and a refusal in answer to one has no
 * words. What 401 means is known.
 */
export function isWordless({ status }: GateResponse): boolean {
  return status !== 200 && status !== 404 && status !== 401;
}

/** headContent, tried again after what may pass by itself. */
export function hasContent(
  repository: RepositoryView,
  descriptor: Descriptor,
  options: PresenceOptions,
): Promise<boolean> {
  return retrying(
    () => headContent(repository, descriptor, options),
    repository.registry.retryOptions(options.signal),
  );
}

/**
 * Bytes of a blob that a registry may have under this digest.
 * @returns undefined for 404
 * @throws UPSTREAM for an answer without a length, or a web page; DENIED, NETWORK
 */
export async function blobSize(
  repository: RepositoryView,
  digest: Digest,
  signal: AbortSignal | undefined,
): Promise<number | undefined> {
  const doing = `look for ${digest}`;
  const at = `blobs/${digest}`;
  const ask = (method: 'HEAD' | 'GET'): Promise<GateResponse> =>
    repository.request({ method, at, doing, digest, anyEncoding: true, signal });
  let response = await ask('HEAD');
  if (isWordless(response)) response = await ask('GET');
  const { status, headers } = response;
  if (status !== 200 && status !== 404) throw await repository.error(response, doing);
  await response.cancel();
  if (status === 404) return undefined;
  const length = headers['content-length'] ?? '';
  if (/^[0-9]{1,15}$/.test(length)) return Number(length);
  throw new CodedError('UPSTREAM', `${doing} (${repository.name}): the registry does not say how long it is`);
}

/**
 * The bytes from `offset` to `end`, or to the descriptor's size, not verified. When the body breaks, the registry (never
 * the place it redirected to) is asked for the rest; tries are only counted while nothing arrives.
 * @throws NOT_FOUND, DENIED, UPSTREAM, NETWORK; DIGEST_MISMATCH when the registry's length is another
 */
export async function* fetchContent(
  repository: RepositoryView,
  descriptor: Descriptor,
  offset: number,
  signal: AbortSignal | undefined,
  end: number = descriptor.size,
): Bytes {
  const { digest, size, mediaType } = descriptor;
  const refused = refusedType(mediaType);
  if (refused !== undefined) {
    throw new CodedError('UPSTREAM', `pull ${digest} (${repository.name}): ${refused}`, { descriptor });
  }
  const retry = repository.registry.retryOptions(signal);
  let at = offset;
  let ranges = true;
  for (let failures = 0; at < end || size === 0; ) {
    const before = at;
    const last = end === size ? '' : String(end - 1);
    try {
      const response = await repository.once({
        method: 'GET',
        at: contentPath(descriptor),
        doing: `pull ${digest}`,
        headers: (at > 0 || end < size) && ranges ? { ...accept, range: `bytes=${at}-${last}` } : accept,
        digest,
        expectedBytes: size - at,
        // Some servers label a layer by the name of its file: its digest decides.
        anyEncoding: true,
        signal,
      });
      let start = await startOf(response, repository, descriptor, at, end);
      if (start === undefined) {
        await response.cancel();
        ranges = false;
        throw new CodedError(
          'NETWORK',
          `pull ${digest} (${repository.name}): not the range that was asked for`,
        );
      }
      for await (const chunk of response.body) {
        const fresh = start < at ? chunk.subarray(Math.min(at - start, chunk.byteLength)) : chunk;
        start += chunk.byteLength;
        if (start > size) throw mismatch(descriptor, `more than ${size} bytes`, repository.name);
        const wanted = start > end ? fresh.subarray(0, Math.max(0, fresh.byteLength - (start - end))) : fresh;
        at = Math.max(at, Math.min(start, end));
        if (wanted.byteLength > 0) yield wanted;
        // The rest of a body that is longer than asked for is not waited for.
        if (start > end) return;
      }
      if (at === end) return;
      // A body whose end is the end of the connection may be cut without anyone noticing.
      throw new CodedError('NETWORK', `pull ${digest} (${repository.name}): ${at} of ${end} bytes arrived`);
    } catch (error) {
      failures = at > before && !(error instanceof TooSlow) ? 1 : failures + 1;
      if (!isTransient(error) || failures >= (retry.tries ?? 1)) throw error;
      await backOff(error, failures, retry);
    }
  }
}

/**
 * Where the body of an answer starts.
 * @returns undefined for a range that was not asked for
 */
async function startOf(
  response: GateResponse,
  repository: RepositoryView,
  descriptor: Descriptor,
  at: number,
  end: number,
): Promise<number | undefined> {
  const { status, headers } = response;
  const { size } = descriptor;
  if (status === 206) {
    return headers['content-range']?.trim() === `bytes ${at}-${end - 1}/${size}` ? at : undefined;
  }
  if (status === 416 && at > 0) return undefined;
  if (status !== 200) {
    throw await repository.error(response, `pull ${descriptor.digest}`);
  }
  const length = headers['content-length'];
  if (isPage(response, descriptor)) {
    await response.cancel();
    throw notContent(response, `pull ${descriptor.digest}`, repository, descriptor);
  }
  if (length !== undefined && Number(length) !== size) {
    await response.cancel();
    throw mismatch(
      descriptor,
      `the registry announces ${printable(length)} bytes${encodingOf(headers)}, not ${size}`,
      repository.name,
    );
  }
  return 0;
}

/**
 * Whether an answer is a web page in place of the content. Content may be HTML itself, and some hosts label every blob
 * so: a page is what has this label and not the length that was announced.
 */
function isPage(response: GateResponse, { size, mediaType }: Descriptor): boolean {
  if (!saysPage(response)) return false;
  return isManifestType(mediaType) || Number(response.headers['content-length'] ?? -1) !== size;
}

function notContent(
  response: GateResponse,
  doing: string,
  repository: RepositoryView,
  { mediaType }: Descriptor,
): CodedError {
  const wanted = isManifestType(mediaType) ? 'a manifest' : 'a blob';
  return unexpectedAnswer(response, `${doing} (${repository.name})`, wanted);
}

/** Bytes that were packed on their way have another length. */
function encodingOf({ 'content-encoding': encoding }: GateResponse['headers']): string {
  return encoding === undefined
    ? ''
    : ` with Content-Encoding ${printable(encoding, 40)}, which was not asked for`;
}

/** @returns false when the registry deletes nothing (405), or does not have it @throws DENIED, UPSTREAM, NETWORK */
export async function removeContent(
  repository: RepositoryView,
  descriptor: Pick<Descriptor, 'digest' | 'mediaType'>,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  const doing = `delete ${descriptor.digest}`;
  const response = await repository.request({
    method: 'DELETE',
    at: contentPath(descriptor),
    doing,
    right: 'delete',
    signal,
  });
  if (response.status === 202 || response.status === 204) {
    await response.cancel();
    return true;
  }
  if ([200, 404, 405].includes(response.status)) {
    await response.cancel();
    return false;
  }
  throw await repository.error(response, doing);
}

/**
 * Deletes a manifest with all its tags. What the registry answers is not believed: the manifest is looked for afterwards.
 * @returns false for one that was not there
 * @throws DENIED, UPSTREAM (405 where deletions are switched off) with what to do; NETWORK
 */
export async function deleteManifest(
  repository: RepositoryView,
  descriptor: Descriptor,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  const isDeleted = await requestDeletion(repository, descriptor.digest, signal);
  if (!(await hasContent(repository, descriptor, { signal }))) return isDeleted;
  const what = isDeleted
    ? 'the registry says that it deleted the manifest, and still has it'
    : 'the registry has the manifest, and says that it does not';
  throw new CodedError('UPSTREAM', `delete ${descriptor.digest} (${repository.name}): ${what}`);
}

/** One request for a manifest. @returns false for 404 @throws as deleteManifest */
export async function requestDeletion(
  repository: RepositoryView,
  digest: Digest,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  const doing = `delete ${digest}`;
  const at = `manifests/${digest}`;
  const response = await repository.request({ method: 'DELETE', at, doing, right: 'delete', digest, signal });
  const { status } = response;
  if (![200, 202, 204, 404].includes(status)) {
    throw await repository.error(response, doing, undefined, 'delete');
  }
  await response.cancel();
  return status !== 404;
}

/** Where a descriptor's content is, below the repository. */
function contentPath(descriptor: Pick<Descriptor, 'digest' | 'mediaType'>): string {
  return `${isManifestType(descriptor.mediaType) ? 'manifests' : 'blobs'}/${descriptor.digest}`;
}
