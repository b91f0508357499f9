/**
 * Manifests: pulled verified, byte for byte, with the media type they were stored with; pushed with checks.
 * Source: distribution-spec v1.1.1 spec.md#pulling-manifests, #pushing-manifests, #deleting-manifests.
 */

import { graphOf, walk } from '@omni-airgap/oci';
import { type CodedError, isCoded } from '@omni-airgap/oci/base';
import { formatPushedName } from '@omni-airgap/oci/layout';
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
import type { ContentSource, WritableSource } from '../source.ts';
import type { Catalog } from './catalog.ts';
import type { Claims } from './claims.ts';
import { askedFor, type Images } from './images.ts';
import { isOtherDigest, refuse, registryHeaders } from './refusal.ts';

export interface ManifestOptions {
  readonly images: Images;
  readonly push: PushOptions | undefined;
  readonly onMissing?: OnMissing | undefined;
}

/** Where pushes go, and what those under way rely on. */
export interface PushOptions {
  readonly target: WritableSource;
  readonly claims: Claims;
  readonly catalog: Catalog;
  /** All that is served: content of a push may be in another part of it. */
  readonly source: ContentSource;
  /** Takes an index whose children are missing (another platform's images that were not carried). */
  readonly allowSparse: boolean;
}

/** Called with what was pulled and is not here, before that is answered. @param ns the registry a mirror was asked in place of */
export type OnMissing = (
  repository: string,
  reference: string,
  ns: string | null,
  signal: AbortSignal,
) => Promise<void>;

/** Handlers for `/v2/<repository>/manifests/<reference>`. */
export function manifestMethods(options: ManifestOptions, repository: string, reference: string): Methods {
  const { push } = options;
  const read = { GET: (request: Request) => get(options, repository, reference, request) };
  if (push === undefined) return read;
  return {
    ...read,
    PUT: (request) => put(push, repository, reference, request),
    DELETE: () => remove(push, repository, reference),
  };
}

async function get(
  { images, push, onMissing }: ManifestOptions,
  repository: string,
  reference: string,
  request: Request,
): Promise<Answer> {
  if (isOtherDigest(reference)) return refuse('MANIFEST_UNKNOWN', `${repository} has no ${reference}`);
  if (!isDigest(reference) && !isTag(reference)) return badReference(reference);
  const asked = askedFor(repository, request);
  const found = await images.manifest(asked, reference);
  if (found === 'no repository' || found === 'absent') {
    await onMissing?.(repository, reference, asked.ns, request.signal);
    return found === 'absent'
      ? refuse('MANIFEST_UNKNOWN', `${repository} has no ${reference}`)
      : refuse('NAME_UNKNOWN', `no repository ${repository}`);
  }
  const { descriptor } = found;
  const headers = {
    ...registryHeaders,
    'Content-Type': descriptor.mediaType,
    'Docker-Content-Digest': descriptor.digest,
    ETag: `"${descriptor.digest}"`,
  };
  if (request.method === 'HEAD') {
    // A client that pushes asks so, and leaves out what is here.
    await push?.claims.claim(repository, [descriptor.digest]);
    return { status: 200, headers: { ...headers, 'Content-Length': String(descriptor.size) } };
  }
  return { status: 200, headers, body: await found.bytes(request.signal) };
}

async function put(
  push: PushOptions,
  repository: string,
  reference: string,
  request: Request,
): Promise<Answer> {
  const { target, claims, catalog, source } = push;
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
  const below = await contentBelow(target, manifest);
  const relied = [descriptor, ...childrenOf(manifest), ...below];
  const digests = relied.map(({ digest }) => digest);
  await claims.claim(repository, digests);
  const missing = await firstMissing(push, manifest, below);
  if (missing !== undefined) {
    for (const digest of digests) {
      if ((await source.stat(digest)) === undefined) claims.release(repository, [digest]);
    }
    return refuse('MANIFEST_BLOB_UNKNOWN', `${missing.digest} (${missing.mediaType}) must be pushed first`);
  }
  await target.push(descriptor, openerOf(bytes));
  const refused = (await catalog.graph.read(source, [descriptor])).get(descriptor.digest);
  if (isCoded(refused, 'BAD_DOCUMENT')) return refuse('MANIFEST_INVALID', refused.message);
  if (refused !== undefined) throw refused;
  // The digest has a name of its own, so that it stays when its tag moves on.
  await keepName(push, repository, descriptor, { digest: descriptor.digest });
  if (!isDigest(reference)) {
    const before = catalog.pushed(repository, reference);
    // It may be untagged from now on.
    if (before !== undefined && before.digest !== descriptor.digest) await claims.letGo([before.digest]);
    await keepName(push, repository, descriptor, { tag: reference });
  }
  // Manifests stay in use: without a tag, nothing but the index that comes last may keep them.
  const blobs = relied.filter(({ mediaType }) => !isManifestType(mediaType));
  claims.named(
    repository,
    blobs.map(({ digest }) => digest),
  );
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
  { catalog, target }: PushOptions,
  repository: string,
  descriptor: Descriptor,
  at: { readonly tag: string } | { readonly digest: Digest },
): Promise<void> {
  const text = formatPushedName({ repository, ...at });
  await target.tag(descriptor, text);
  catalog.add(text, descriptor);
}

/**
 * What the children of an index need, of those that were pushed here. Some of it may be gone, where a child was deleted
 * and its manifest is still on disk.
 */
async function contentBelow(target: WritableSource, manifest: Manifest): Promise<readonly Descriptor[]> {
  if (manifest.kind !== 'index') return [];
  const found: Descriptor[] = [];
  const children = manifest.manifests.filter(({ mediaType }) => isManifestType(mediaType));
  for await (const visited of walk(target, children, { missing: 'skip', unusable: 'report' })) {
    if (visited.parents.length > 0 && visited.kind !== 'missing') found.push(visited.descriptor);
  }
  return found;
}

/** A child that is not there though it must be, or content of a child. Its subject may come later. */
async function firstMissing(
  { source, allowSparse }: PushOptions,
  manifest: Manifest,
  below: readonly Descriptor[],
): Promise<Descriptor | undefined> {
  const isForeign = ({ urls, mediaType }: Descriptor): boolean =>
    urls !== undefined && isForeignLayerType(mediaType);
  const maySparse = allowSparse && manifest.kind === 'index';
  for (const child of [...childrenOf(manifest), ...below]) {
    const mayBeMissing = isForeign(child) || (maySparse && isManifestType(child.mediaType));
    if (!mayBeMissing && (await source.stat(child.digest)) !== child.size) return child;
  }
  return undefined;
}

/**
 * A tag goes and leaves its manifest; a manifest goes with all its tags. The bytes stay for the grace period, until a
 * sweep finds that nothing names them. What was carried here, or is part of an index that stays, cannot be deleted.
 */
async function remove(
  { target, claims, catalog }: PushOptions,
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
    : [formatPushedName({ repository, tag: reference })];
  if (has(catalog.without(repository, names))) {
    return refuse('DENIED', `${reference} was carried here or is part of an index that is still there`);
  }
  const descriptor = isDigest(reference) ? found.manifests.get(reference) : found.tags.get(reference);
  const gone = descriptor === undefined ? [] : [descriptor];
  const content = await graphOf(walk(target, gone, { missing: 'skip', unusable: 'report' }));
  await claims.letGo(content.keys());
  for (const text of names) await target.untag(text);
  catalog.remove(repository, names);
  if (isDigest(reference)) claims.release(repository, [reference]);
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
