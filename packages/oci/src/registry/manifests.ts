/**
 * Pushing and tagging manifests, byte for byte as they came.
 * Source: distribution-spec v1.1.1 spec.md#pushing-manifests, #pushing-manifests-with-subject. Fault F38.
 */

import { CodedError } from '../base/errors.ts';
import { printable } from '../base/printable.ts';
import { collectVerified, mismatch } from '../model/bytes.ts';
import type { Descriptor } from '../model/descriptor.ts';
import type { Digest } from '../model/digest.ts';
import { maxManifestBytes, parseManifest } from '../model/manifest.ts';
import { isTag } from '../model/reference.ts';
import type { OpenBytes, PushResult } from '../storage.ts';
import { fetchContent, hasContent } from './pull.ts';
import { putManifest } from './put-manifest.ts';
import { listReferrers } from './referrers.ts';
import { addToFallbackIndex } from './referrers-tag.ts';
import type { RepositorySession } from './repository-session.ts';
import { resolveName } from './resolve.ts';

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

/**
 * Puts a manifest under its digest, and under the fallback tag of its subject where the registry does not list
 * referrers itself. One that is there is left alone, unless it is no referrer of its subject yet: then an
 * interrupted push left the fallback tag undone.
 * @throws DIGEST_MISMATCH, BAD_DOCUMENT, DENIED, UPSTREAM, NETWORK
 */
export async function pushManifest(
  repository: RepositorySession,
  descriptor: Descriptor,
  open: OpenBytes,
  cache: ManifestCache,
  signal: AbortSignal | undefined,
): Promise<PushResult> {
  const { digest, mediaType } = descriptor;
  const what = `manifest ${digest}`;
  const bytes = await collectVerified(open(), descriptor, maxManifestBytes, what);
  const manifest = parseManifest(bytes, mediaType, what);
  cache.add(digest, bytes);
  const subject = manifest.subject?.digest;
  if (await hasContent(repository, descriptor, { right: 'push', signal })) {
    const listed = subject === undefined ? [descriptor] : await listReferrers(repository, subject, signal);
    if (listed.some((known) => known.digest === digest)) return 'present';
  }
  const response = await putManifest(repository, descriptor, digest, bytes, signal);
  if (subject !== undefined && response.headers['oci-subject'] === undefined) {
    await addToFallbackIndex(repository, subject, descriptor, manifest, signal);
  }
  return 'stored';
}

/** Lets a tag stand for a manifest that is there. @throws BAD_NAME, DIGEST_MISMATCH, and as pushManifest */
export async function tagManifest(
  repository: RepositorySession,
  descriptor: Descriptor,
  tag: string,
  cache: ManifestCache,
  signal: AbortSignal | undefined,
): Promise<void> {
  if (!isTag(tag)) throw new CodedError('BAD_NAME', `not a tag: ${printable(tag)}`);
  const bytes =
    cache.get(descriptor.digest) ??
    (await collectVerified(
      fetchContent(repository, descriptor, 0, signal),
      descriptor,
      maxManifestBytes,
      `manifest ${descriptor.digest}`,
    ));
  await putManifest(repository, descriptor, tag, bytes, signal);
  const found = await resolveName(repository, tag, signal);
  if (found?.digest !== descriptor.digest) {
    const now = found === undefined ? 'nothing' : found.digest;
    throw mismatch(descriptor, `tagged as ${tag}, but the registry now answers ${now}`, repository.name);
  }
}
