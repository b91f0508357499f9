/**
 * Manifests, byte for byte as they came: what a tag or digest stands for, and how one is stored. A HEAD is enough where
 * the registry names digest and type; where it does not, the manifest is read, hashed and asked for its type.
 * Sources: distribution-spec v1.1.1 spec.md#checking-if-content-exists-in-the-registry, #pushing-manifests. Fault F38.
 */
import { CodedError, isCoded } from '../base/errors.ts';
import { parseStrictObject } from '../base/json.ts';
import { printable } from '../base/text.ts';
import type { GateResponse } from '../http/response.ts';
import { looksLikePage, saysPage, typeOfAnswer, unexpectedAnswer } from '../http/web-page.ts';
import { mismatch } from '../model/bytes.ts';
import { type Descriptor, descriptorOf } from '../model/descriptor.ts';
import { type Digest, digestOf, isDigest } from '../model/digest.ts';
import { maxManifestBytes, parseManifest } from '../model/manifest.ts';
import { isManifestType, manifestAccept, refusedType } from '../model/media-type.ts';
import { isTag } from '../model/reference.ts';
import type { PushResult } from '../storage.ts';
import { hasContent, isWordless } from './content.ts';
import type { RepositoryView } from './session.ts';

/** What a name stands for, and its bytes, verified. */
export interface NamedManifest {
  readonly descriptor: Descriptor;
  readonly bytes: Uint8Array;
}

/**
 * What a name stands for: always one of the four manifest types.
 * @returns undefined for 404
 * @throws UPSTREAM for an answer of another type, such as a web page; BAD_NAME, DIGEST_MISMATCH, DENIED, NETWORK
 */
export async function resolveName(
  repository: RepositoryView,
  name: string,
  signal: AbortSignal | undefined,
): Promise<Descriptor | undefined> {
  const response = await ask(repository, 'HEAD', name, signal);
  if (response.status === 404) return undefined;
  if (!isWordless(response)) {
    if (response.status !== 200) throw await repository.error(response, `resolve ${name}`);
    const digest = response.headers['docker-content-digest'];
    const length = response.headers['content-length'];
    const mediaType = manifestTypeOf(repository, name, response);
    if (mediaType !== undefined && isDigest(digest) && length !== undefined && /^[0-9]{1,10}$/.test(length)) {
      requireDigest(repository, name, digest);
      return { mediaType, digest, size: Number(length) };
    }
  }
  return (await readNamed(repository, name, signal))?.descriptor;
}

/** The manifest a name stands for, with its bytes. @returns undefined for 404 @throws as resolveName */
export async function readNamed(
  repository: RepositoryView,
  name: string,
  signal: AbortSignal | undefined,
): Promise<NamedManifest | undefined> {
  const response = await ask(repository, 'GET', name, signal);
  if (response.status === 404) {
    await response.cancel();
    return undefined;
  }
  if (response.status !== 200) throw await repository.error(response, `resolve ${name}`);
  const announced = manifestTypeOf(repository, name, response);
  const bytes = await response.bytes(resolving(repository, name), maxManifestBytes);
  if (announced === undefined || looksLikePage(bytes)) {
    const mediaType = labeledWrongly(repository, name, response, bytes);
    return { descriptor: descriptorOf(mediaType, bytes), bytes };
  }
  const digest = digestOf(bytes);
  const said = response.headers['docker-content-digest'];
  if (isDigest(said)) requireDigest(repository, said, digest);
  requireDigest(repository, name, digest);
  return { descriptor: { mediaType: announced, digest, size: bytes.byteLength }, bytes };
}

/**
 * The type of a manifest whose Content-Type is none: proxies and file servers label it application/json or text/plain.
 * Taken only when nothing can be doubted: it parses, says its type itself, and has the digest that was named.
 * @throws UPSTREAM
 */
function labeledWrongly(
  repository: RepositoryView,
  name: string,
  response: GateResponse,
  bytes: Uint8Array,
): string {
  const what = resolving(repository, name);
  const refuse = (cause?: unknown): CodedError =>
    unexpectedAnswer(response, what, 'a manifest', { bytes, cause });
  if (saysPage(response)) throw refuse();
  let mediaType: unknown;
  try {
    mediaType = parseStrictObject(bytes, { what })['mediaType'];
    if (typeof mediaType !== 'string') throw refuse();
    parseManifest(bytes, mediaType, what);
  } catch (cause) {
    throw isCoded(cause, 'UPSTREAM') ? cause : refuse(cause);
  }
  const digest = digestOf(bytes);
  const said = response.headers['docker-content-digest'];
  const wrong = [said, name].find((other) => isDigest(other) && other !== digest);
  if (wrong !== undefined) throw refuse(mismatch(descriptorOf(mediaType, bytes), `it is not ${wrong}`));
  const label = printable(typeOfAnswer(response) ?? 'no Content-Type', 100);
  repository.registry.note(
    `labels manifests as ${label}; their own mediaType is used instead`,
    `${repository.path}, ${name}`,
  );
  return mediaType;
}

function ask(
  repository: RepositoryView,
  method: 'GET' | 'HEAD',
  name: string,
  signal: AbortSignal | undefined,
): Promise<GateResponse> {
  if (!isTag(name) && !isDigest(name)) {
    throw new CodedError('BAD_NAME', `neither a tag nor a digest: ${printable(name)}`);
  }
  return repository.request({
    method,
    at: `manifests/${name}`,
    doing: `resolve ${name}`,
    headers: { accept: manifestAccept },
    anyEncoding: true,
    signal,
    digest: isDigest(name) ? name : undefined,
  });
}

/** A digest that was asked for, or that the registry names, must be the one of what it gives. */
function requireDigest(repository: RepositoryView, name: string, digest: string): void {
  if (!isDigest(name) || name === digest) return;
  throw new CodedError(
    'DIGEST_MISMATCH',
    `${name} (${repository.name}): the registry gives ${digest} for it`,
  );
}

/**
 * The manifest type that an answer announces; undefined when its label is none.
 * @throws UPSTREAM for types of manifests that cannot be carried
 */
function manifestTypeOf(
  repository: RepositoryView,
  name: string,
  response: GateResponse,
): string | undefined {
  const mediaType = typeOfAnswer(response) ?? '';
  const refused = refusedType(mediaType);
  if (refused !== undefined) throw new CodedError('UPSTREAM', `${resolving(repository, name)}: ${refused}`);
  return isManifestType(mediaType) ? mediaType : undefined;
}

function resolving(repository: RepositoryView, name: string): string {
  return `resolve ${name} (${repository.name})`;
}

/** Stores a manifest without a subject under its digest. @throws DIGEST_MISMATCH, DENIED, UPSTREAM, NETWORK */
export async function pushManifest(
  repository: RepositoryView,
  descriptor: Descriptor,
  bytes: Uint8Array,
  signal: AbortSignal | undefined,
): Promise<PushResult> {
  if (await hasContent(repository, descriptor, { right: 'push', signal })) return 'present';
  await putManifest(repository, descriptor, descriptor.digest, bytes, signal);
  return 'stored';
}

/**
 * The one request that stores a manifest.
 * @param name tag or digest
 * @throws DIGEST_MISMATCH when the registry says it stored something else
 */
export async function putManifest(
  repository: RepositoryView,
  descriptor: Descriptor,
  name: string,
  bytes: Uint8Array,
  signal: AbortSignal | undefined,
): Promise<GateResponse> {
  const doing = `push manifest ${name}`;
  const response = await repository.request({
    method: 'PUT',
    at: `manifests/${name}`,
    doing,
    right: 'push',
    headers: { 'content-type': descriptor.mediaType },
    body: bytes,
    digest: descriptor.digest,
    signal,
  });
  if (![200, 201, 202].includes(response.status)) {
    throw await repository.error(response, doing);
  }
  await response.cancel();
  const said = response.headers['docker-content-digest'];
  if (isDigest(said) && said !== descriptor.digest) {
    throw mismatch(descriptor, `the registry stored it as ${said}`, repository.name);
  }
  return response;
}

/** Bytes: some thousand manifests. A tag whose manifest has been dropped asks the registry for it. */
const maxCacheBytes = 4 * maxManifestBytes;

/** Manifests pushed a moment ago, kept for the tags that follow. */
export class ManifestCache {
  readonly #entries = new Map<Digest, Uint8Array>();
  #bytes = 0;

  get(digest: Digest): Uint8Array | undefined {
    return this.#entries.get(digest);
  }

  /** Keeps the latest. */
  add(digest: Digest, bytes: Uint8Array): void {
    if (this.#entries.has(digest)) return;
    this.#entries.set(digest, bytes);
    this.#bytes += bytes.byteLength;
    for (const [oldest, { byteLength }] of this.#entries) {
      if (this.#bytes <= maxCacheBytes) return;
      this.#entries.delete(oldest);
      this.#bytes -= byteLength;
    }
  }
}
