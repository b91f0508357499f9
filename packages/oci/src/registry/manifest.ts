/**
 * Manifests, byte for byte as they came: what a tag or digest stands for, and how one is stored. A HEAD is enough where
 * the registry names the digest; where it does not, the manifest is read and hashed.
 * Sources: distribution-spec v1.1.1 spec.md#checking-if-content-exists-in-the-registry, #pushing-manifests. Fault F38.
 */
import { CodedError } from '../base/errors.ts';
import { printable } from '../base/text.ts';
import type { GateResponse } from '../http/response.ts';
import { errorFromResponse } from '../http/response.ts';
import { collect, mismatch } from '../model/bytes.ts';
import { type Descriptor, isMediaType } from '../model/descriptor.ts';
import { type Digest, digestOf, isDigest } from '../model/digest.ts';
import { maxManifestBytes } from '../model/manifest.ts';
import { manifestAccept, schema1Types } from '../model/media-type.ts';
import { isTag } from '../model/reference.ts';
import type { PushResult } from '../storage.ts';
import { hasContent } from './content.ts';
import type { RepositoryView } from './session.ts';

interface NamedManifest {
  readonly descriptor: Descriptor;
  readonly bytes: Uint8Array;
}

/** @returns undefined for 404 @throws BAD_NAME, DIGEST_MISMATCH, DENIED, UPSTREAM, NETWORK */
export async function resolveName(
  repository: RepositoryView,
  name: string,
  signal: AbortSignal | undefined,
): Promise<Descriptor | undefined> {
  const response = await ask(repository, 'HEAD', name, signal);
  if (response.status === 404) return undefined;
  if (response.status !== 405) {
    if (response.status !== 200) throw await errorFromResponse(response, resolving(repository, name));
    const digest = response.headers['docker-content-digest'];
    const length = response.headers['content-length'];
    if (isDigest(digest) && length !== undefined && /^[0-9]{1,10}$/.test(length)) {
      requireDigest(repository, name, digest);
      return { mediaType: typeOf(repository, name, response), digest, size: Number(length) };
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
  if (response.status !== 200) throw await errorFromResponse(response, resolving(repository, name));
  const mediaType = typeOf(repository, name, response);
  const bytes = await collect(response.body, maxManifestBytes, `manifest ${name} of ${repository.name}`);
  const digest = digestOf(bytes);
  const said = response.headers['docker-content-digest'];
  if (isDigest(said)) requireDigest(repository, said, digest);
  requireDigest(repository, name, digest);
  return { descriptor: { mediaType, digest, size: bytes.byteLength }, bytes };
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

function typeOf(repository: RepositoryView, name: string, response: GateResponse): string {
  const mediaType = response.headers['content-type']?.split(';')[0]?.trim();
  if (mediaType !== undefined && schema1Types.includes(mediaType)) {
    throw new CodedError(
      'UPSTREAM',
      `${resolving(repository, name)}: the registry only has Docker schema 1, which cannot be carried with its digest`,
    );
  }
  if (isMediaType(mediaType)) return mediaType;
  throw new CodedError('UPSTREAM', `${resolving(repository, name)}: no usable Content-Type`);
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
    throw await errorFromResponse(response, `${doing} (${repository.name})`);
  }
  await response.cancel();
  const said = response.headers['docker-content-digest'];
  if (isDigest(said) && said !== descriptor.digest) {
    throw mismatch(descriptor, `the registry stored it as ${said}`, repository.name);
  }
  return response;
}

/** Manifests pushed a moment ago, kept for the tag that follows. */
export class ManifestCache {
  readonly #entries = new Map<Digest, Uint8Array>();
  #bytes = 0;

  get(digest: Digest): Uint8Array | undefined {
    return this.#entries.get(digest);
  }

  /** Keeps the latest, up to 4 MiB in all. */
  add(digest: Digest, bytes: Uint8Array): void {
    if (this.#entries.has(digest)) return;
    this.#entries.set(digest, bytes);
    this.#bytes += bytes.byteLength;
    for (const [oldest, { byteLength }] of this.#entries) {
      if (this.#bytes <= maxManifestBytes) return;
      this.#entries.delete(oldest);
      this.#bytes -= byteLength;
    }
  }
}
