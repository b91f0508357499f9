/**
 * The fallback tag `sha256-<hex>`: an index of the referrers of a manifest, kept by clients where a registry has
 * no referrers API. Nothing in it is believed that the manifests themselves do not say.
 * Source: distribution-spec v1.1.1 spec.md#referrers-tag-schema. Fault F19.
 */

import { CodedError, isCoded } from '../base/errors.ts';
import { type JsonValue, parseStrictObject } from '../base/json.ts';
import { type Descriptor, descriptorOf } from '../model/descriptor.ts';
import { type Digest, hexOf } from '../model/digest.ts';
import { fetchManifest, type Manifest, referrerOf } from '../model/manifest.ts';
import { isManifestType, MediaType } from '../model/media-type.ts';
import { parseDescriptor } from '../model/parse-descriptor.ts';
import { fetchContent } from './pull.ts';
import { putManifest } from './put-manifest.ts';
import type { RepositorySession } from './repository-session.ts';
import { readNamed } from './resolve.ts';

const maxEntries = 1000;
/** Rounds of write and re-read before another writer has won. */
const maxRounds = 4;

interface FallbackIndex {
  readonly entries: readonly Descriptor[];
  /** As they stand in the index, with members we do not interpret. */
  readonly raw: readonly JsonValue[];
}

/** @returns those entries whose manifests are there and do have the subject @throws BAD_DOCUMENT, and as pulls */
export async function readFallbackIndex(
  repository: RepositorySession,
  subject: Digest,
  signal: AbortSignal | undefined,
): Promise<readonly Descriptor[]> {
  const source = {
    fetch: (descriptor: Descriptor) => fetchContent(repository, descriptor, 0, signal),
  };
  const found: Descriptor[] = [];
  for (const entry of (await readIndex(repository, subject, signal)).entries) {
    if (!isManifestType(entry.mediaType)) continue;
    try {
      const { manifest } = await fetchManifest(source, entry, signal);
      if (manifest.subject?.digest === subject) found.push(entry);
    } catch (error) {
      // Deleted manifests stay in fallback indexes.
      if (!isCoded(error, 'NOT_FOUND')) throw error;
    }
  }
  return found;
}

/**
 * Adds a referrer to the index of its subject; entries of others are kept. One at a time in this process; what
 * another process writes in between is noticed by reading again.
 * @throws UPSTREAM when the entry does not stay, and as pushes
 */
export async function addToFallbackIndex(
  repository: RepositorySession,
  subject: Digest,
  descriptor: Descriptor,
  manifest: Manifest,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { digest } = descriptor;
  const tag = fallbackTag(subject);
  const entry = referrerOf(descriptor, manifest);
  await repository.registry.inTurn(`${repository.path}:${tag}`, async () => {
    for (let round = 0; round < maxRounds; round++) {
      const { entries, raw } = await readIndex(repository, subject, signal);
      if (entries.some((known) => known.digest === digest)) return;
      const index = { schemaVersion: 2, mediaType: MediaType.ociIndex, manifests: [...raw, entry] };
      const bytes = Buffer.from(JSON.stringify(index));
      await putManifest(repository, descriptorOf(MediaType.ociIndex, bytes), tag, bytes, signal);
    }
    throw new CodedError(
      'UPSTREAM',
      `${digest} (${repository.name}): the registry does not keep it under ${tag}`,
    );
  });
}

function fallbackTag(subject: Digest): string {
  return `sha256-${hexOf(subject)}`;
}

/** GitLab takes the tag for the digest and gives the image itself: that is no index of referrers. */
async function readIndex(
  repository: RepositorySession,
  subject: Digest,
  signal: AbortSignal | undefined,
): Promise<FallbackIndex> {
  const named = await readNamed(repository, fallbackTag(subject), signal);
  if (named?.descriptor.mediaType !== MediaType.ociIndex || named.descriptor.digest === subject) {
    return { entries: [], raw: [] };
  }
  const what = `index ${fallbackTag(subject)} of ${repository.name}`;
  const raw = parseStrictObject(named.bytes, { what })['manifests'];
  if (!Array.isArray(raw) || raw.length > maxEntries) {
    throw new CodedError('BAD_DOCUMENT', `${what}: manifests must be a list of at most ${maxEntries}`);
  }
  return { entries: raw.map((entry, i) => parseDescriptor(entry, `${what} [${i}]`)), raw };
}
