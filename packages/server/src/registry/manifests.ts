/**
 * Manifests: pulled verified, byte for byte, with the media type they were stored with; pushed with checks.
 * Source: distribution-spec v1.1.1 spec.md#pulling-manifests, #pushing-manifests, #deleting-manifests.
 */

import { type CodedError, isCoded } from '@omni-airgap/oci/base';
import {
  childrenOf,
  collect,
  type Descriptor,
  type Digest,
  descriptorOf,
  digestOf,
  isDigest,
  isForeignLayerType,
  isManifestType,
  isTag,
  type Manifest,
  maxManifestBytes,
  openerOf,
  parseManifest,
} from '@omni-airgap/oci/model';
import type { Answer, Methods, Request } from '../http/message.ts';
import type { Integrity } from '../integrity.ts';
import type { ContentSource, WritableSource } from '../source.ts';
import type { Catalog } from './catalog.ts';
import { isOtherDigest, refuse, registryHeaders } from './refusal.ts';

export interface ManifestOptions {
  readonly catalog: Catalog;
  readonly source: ContentSource;
  readonly integrity: Integrity;
  readonly writable: WritableSource | undefined;
  /** Takes an index whose children are missing (another platform's images that were not carried). */
  readonly allowSparse: boolean;
  readonly onMissing?: OnMissing | undefined;
}

/** Called with what was pulled and is not here. @param ns the registry a mirror was asked in place of */
export type OnMissing = (repository: string, reference: string, ns: string | null) => void;

/** Handlers for `/v2/<repository>/manifests/<reference>`. */
export function manifestMethods(options: ManifestOptions, repository: string, reference: string): Methods {
  const { writable } = options;
  const read = { GET: (request: Request) => get(options, repository, reference, request) };
  if (writable === undefined) return read;
  return {
    ...read,
    PUT: (request) => put(options, writable, repository, reference, request),
    DELETE: () => remove(options, writable, repository, reference),
  };
}

async function get(
  { catalog, integrity, onMissing }: ManifestOptions,
  repository: string,
  reference: string,
  request: Request,
): Promise<Answer> {
  if (isOtherDigest(reference)) return refuse('MANIFEST_UNKNOWN', `${repository} has no ${reference}`);
  if (!isDigest(reference) && !isTag(reference)) return badReference(reference);
  const found = catalog.repository(repository);
  const ns = request.query.get('ns');
  if (found === undefined) {
    onMissing?.(repository, reference, ns);
    return refuse('NAME_UNKNOWN', `no repository ${repository}`);
  }
  const at = (path: string): Descriptor | undefined =>
    isDigest(reference)
      ? catalog.repository(path)?.manifests.get(reference)
      : catalog.tagged(path, reference);
  // Two carried names that meet without their hosts are told apart by the host that a mirror stands for.
  const descriptor = at(repository) ?? (ns === null ? undefined : at(`${ns}/${repository}`));
  if (descriptor === undefined) {
    onMissing?.(repository, reference, ns);
    return refuse('MANIFEST_UNKNOWN', `${repository} has no ${reference}`);
  }
  const headers = {
    ...registryHeaders,
    'Content-Type': descriptor.mediaType,
    'Docker-Content-Digest': descriptor.digest,
    ETag: `"${descriptor.digest}"`,
  };
  if (request.method === 'HEAD') {
    return { status: 200, headers: { ...headers, 'Content-Length': String(descriptor.size) } };
  }
  const what = `manifest ${descriptor.digest}`;
  const body = await integrity.read(descriptor, maxManifestBytes, what, request.signal);
  return { status: 200, headers, body };
}

async function put(
  options: ManifestOptions,
  writable: WritableSource,
  repository: string,
  reference: string,
  request: Request,
): Promise<Answer> {
  const { catalog } = options;
  if (!isDigest(reference) && !isTag(reference)) return badReference(reference);
  const bytes = await readBody(request);
  if (bytes === undefined)
    return refuse('SIZE_INVALID', `a manifest may have ${maxManifestBytes} bytes`, 413);
  if (isDigest(reference) && digestOf(bytes) !== reference) {
    return refuse('DIGEST_INVALID', `the manifest has ${digestOf(bytes)}, not ${reference}`);
  }
  const mediaType = (request.headers['content-type'] ?? '').split(';', 1)[0]?.trim() ?? '';
  const descriptor = descriptorOf(mediaType, bytes);
  let manifest: Manifest;
  try {
    manifest = parseManifest(bytes, mediaType);
  } catch (error) {
    if (!isCoded(error, 'BAD_DOCUMENT')) throw error;
    return refuse('MANIFEST_INVALID', (error satisfies CodedError).message);
  }
  const missing = await firstMissing(options, manifest);
  if (missing !== undefined) {
    return refuse('MANIFEST_BLOB_UNKNOWN', `${missing.digest} (${missing.mediaType}) must be pushed first`);
  }
  await writable.push(descriptor, openerOf(bytes));
  const refused = (await catalog.graph.read(options.source, [descriptor])).get(descriptor.digest);
  if (isCoded(refused, 'BAD_DOCUMENT')) return refuse('MANIFEST_INVALID', refused.message);
  if (refused !== undefined) throw refused;
  // The digest has a name of its own, so that it stays when its tag moves on.
  await keepName(options, writable, repository, descriptor, { digest: descriptor.digest });
  if (!isDigest(reference)) await keepName(options, writable, repository, descriptor, { tag: reference });
  const subject = manifest.subject?.digest;
  return {
    status: 201,
    headers: {
      ...registryHeaders,
      Location: `/v2/${repository}/manifests/${descriptor.digest}`,
      'Docker-Content-Digest': descriptor.digest,
      ...(subject === undefined ? {} : { 'OCI-Subject': subject }),
    },
  };
}

/** Names what was pushed, on disk and in the catalog. */
async function keepName(
  { catalog }: ManifestOptions,
  writable: WritableSource,
  repository: string,
  descriptor: Descriptor,
  at: { readonly tag: string } | { readonly digest: Digest },
): Promise<void> {
  const text = catalog.localName(repository, at);
  await writable.tag(descriptor, text);
  catalog.add(text, descriptor);
}

/** A child that is not there though it must be. Its subject may come later. */
async function firstMissing(
  { source, allowSparse }: ManifestOptions,
  manifest: Manifest,
): Promise<Descriptor | undefined> {
  for (const child of childrenOf(manifest)) {
    const isForeign = child.urls !== undefined && isForeignLayerType(child.mediaType);
    const mayBeMissing =
      isForeign || (allowSparse && manifest.kind === 'index' && isManifestType(child.mediaType));
    if (!mayBeMissing && (await source.stat(child.digest)) !== child.size) return child;
  }
  return undefined;
}

/**
 * A tag goes and leaves its manifest; a manifest goes with all its tags. The bytes stay in the store until its
 * garbage collection. What was carried here, or is part of an index that stays, cannot be deleted.
 */
async function remove(
  { catalog }: ManifestOptions,
  writable: WritableSource,
  repository: string,
  reference: string,
): Promise<Answer> {
  if (isOtherDigest(reference)) return refuse('MANIFEST_UNKNOWN', `${repository} has no ${reference}`);
  if (!isDigest(reference) && !isTag(reference)) return badReference(reference);
  if (catalog.repository(repository) === undefined)
    return refuse('NAME_UNKNOWN', `no repository ${repository}`);
  const found = catalog.without(repository, []);
  const has = ({ tags, manifests }: typeof found): boolean =>
    isDigest(reference) ? manifests.has(reference) : tags.has(reference);
  if (!has(found)) return refuse('MANIFEST_UNKNOWN', `${repository} has no ${reference}`);
  const names = isDigest(reference)
    ? catalog.pushedNames(repository, reference)
    : [catalog.localName(repository, { tag: reference })];
  if (has(catalog.without(repository, names))) {
    return refuse('DENIED', `${reference} was carried here or is part of an index that is still there`);
  }
  for (const text of names) await writable.untag(text);
  catalog.remove(repository, names);
  return { status: 202, headers: registryHeaders };
}

/** @returns undefined when it is too large */
async function readBody({ body, contentLength }: Request): Promise<Uint8Array | undefined> {
  if (contentLength !== undefined && contentLength > maxManifestBytes) return undefined;
  try {
    return await collect(body, maxManifestBytes, 'manifest');
  } catch (error) {
    if (isCoded(error, 'BAD_DOCUMENT')) return undefined;
    throw error;
  }
}

function badReference(reference: string): Answer {
  return reference.includes(':')
    ? refuse('DIGEST_INVALID', `not a digest that is supported (sha256:<64 lower-case hex>): ${reference}`)
    : refuse('MANIFEST_INVALID', `not a tag: ${reference}`);
}
