/**
 * What a tag or digest stands for. A HEAD is enough where the registry names the digest; where it does not, the
 * manifest is read and hashed.
 * Source: distribution-spec v1.1.1 spec.md#checking-if-content-exists-in-the-registry; facts differ by registry.
 */

import { CodedError } from '../base/errors.ts';
import { printable } from '../base/printable.ts';
import { errorFromResponse } from '../http/error-response.ts';
import type { GateResponse } from '../http/response.ts';
import { collect } from '../model/bytes.ts';
import { type Descriptor, isMediaType } from '../model/descriptor.ts';
import { digestOf, isDigest } from '../model/digest.ts';
import { maxManifestBytes } from '../model/manifest.ts';
import { manifestAccept, schema1Types } from '../model/media-type.ts';
import { isTag } from '../model/reference.ts';
import type { RepositorySession } from './repository-session.ts';

export interface NamedManifest {
  readonly descriptor: Descriptor;
  readonly bytes: Uint8Array;
}

/** @returns undefined for 404 @throws BAD_NAME, DIGEST_MISMATCH, DENIED, UPSTREAM, NETWORK */
export async function resolveName(
  repository: RepositorySession,
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
  repository: RepositorySession,
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
  repository: RepositorySession,
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
    ...(isDigest(name) ? { digest: name } : {}),
  });
}

/** A digest that was asked for, or that the registry names, must be the one of what it gives. */
function requireDigest(repository: RepositorySession, name: string, digest: string): void {
  if (!isDigest(name) || name === digest) return;
  throw new CodedError(
    'DIGEST_MISMATCH',
    `${name} (${repository.name}): the registry gives ${digest} for it`,
  );
}

function typeOf(repository: RepositorySession, name: string, response: GateResponse): string {
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

function resolving(repository: RepositorySession, name: string): string {
  return `resolve ${name} (${repository.name})`;
}
