/**
 * Manifests that refer to another one: those that the referrers API lists, and those that the fallback tag
 * `sha256-<hex>` lists, an index kept by clients. A registry that gained the API may know only of what was pushed since,
 * and some clients write the tag beside it (regclient#471). A web page is no answer of the API: see ReferrerOptions.
 * Nothing in the fallback index is believed that the manifests themselves do not say. An answer that is neither yes nor
 * no is an error: a signature must not get lost because a registry was busy.
 * Sources: distribution-spec v1.1.1 spec.md#listing-referrers, #pushing-manifests-with-subject,
 * #referrers-tag-schema. Faults F18, F19.
 */
import { CodedError, isCoded, messageOf } from '../base/errors.ts';
import { type JsonValue, parseStrictObject } from '../base/json.ts';
import type { GateResponse } from '../http/response.ts';
import { saysPage, unexpectedAnswer } from '../http/web-page.ts';
import { type Descriptor, descriptorOf, parseDescriptor } from '../model/descriptor.ts';
import type { Digest } from '../model/digest.ts';
import { fetchManifest, type Manifest, maxManifestBytes, referrerOf } from '../model/manifest.ts';
import { isManifestType, MediaType } from '../model/media-type.ts';
import { companionTag } from '../model/reference.ts';
import type { PushResult } from '../storage.ts';
import { fetchContent, hasContent } from './content.ts';
import { putManifest, readNamed, resolveName } from './manifest.ts';
import type { RepositoryView } from './session.ts';

const maxPages = 100;
const maxHops = 3;
/** GHCR redirects to its web site, Distribution knows no such path, others say so. */
const unsupported: ReadonlySet<number> = new Set([400, 404, 405, 501]);
const maxEntries = 1000;
/** Rounds of write and re-read before another writer has won. */
const maxRounds = 4;

export interface ReferrerOptions {
  /**
   * Told of a web page in place of the list, with the UPSTREAM error that names host, type and likely cause; the registry
   * then counts as one without the API, as for oras-go. Two causes look alike: a registry whose web site takes unknown
   * paths, which never had the API, and a filter that hides a list of signatures. So whoever needs the signatures must
   * know of it. Default: the error is thrown. A page for the fallback tag is always an error: every registry answers
   * manifests.
   */
  readonly onPage?: ((error: CodedError) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** @returns an empty list when there definitely are none @throws DENIED, UPSTREAM, NETWORK, BAD_DOCUMENT */
export async function listReferrers(
  repository: RepositoryView,
  digest: Digest,
  { onPage, signal }: ReferrerOptions,
): Promise<readonly Descriptor[]> {
  // Both at once: most images have neither, and are through in one round trip.
  const [listed, fallback] = await Promise.all([
    listByApi(repository, digest, onPage, signal),
    resolveName(repository, companionTag(digest), signal),
  ]);
  const found = new Map(listed.map((entry) => [entry.digest, entry]));
  // Rarely there, and some registries count each GET of a manifest as a pull.
  if (fallback !== undefined)
    for (const entry of await readFallbackIndex(repository, digest, found, signal))
      found.set(entry.digest, entry);
  return [...found.values()];
}

/** Nothing where there is no API. */
async function listByApi(
  repository: RepositoryView,
  digest: Digest,
  onPage: ReferrerOptions['onPage'],
  signal: AbortSignal | undefined,
): Promise<readonly Descriptor[]> {
  const what = `referrers of ${digest} (${repository.name})`;
  const found: Descriptor[] = [];
  let at: URL | undefined = repository.url(`referrers/${digest}`);
  for (let page = 1; at !== undefined; page++) {
    if (page > maxPages) throw new CodedError('UPSTREAM', `${what}: more than ${maxPages} pages`);
    const response = await askReferrers(repository, at, digest, signal);
    if (response === undefined) {
      if (page === 1) return [];
      throw new CodedError('UPSTREAM', `${what}: page ${page} is missing`);
    }
    if (saysPage(response)) {
      await response.cancel();
      const error = unexpectedAnswer(response, what, 'JSON');
      if (page > 1 || onPage === undefined) throw error;
      onPage(error);
      return [];
    }
    const manifests = (await response.json(what, maxManifestBytes))['manifests'] ?? [];
    if (!Array.isArray(manifests)) throw new CodedError('UPSTREAM', `${what}: manifests must be a list`);
    found.push(...manifests.map((entry, i) => listedReferrer(entry, `${what} [${i}]`)));
    at = repository.registry.nextPage(response, what);
  }
  return found;
}

/** @throws UPSTREAM: a list that a registry makes is no content */
function listedReferrer(entry: unknown, where: string): Descriptor {
  try {
    return parseDescriptor(entry, where);
  } catch (cause) {
    throw new CodedError('UPSTREAM', messageOf(cause), { cause });
  }
}

/** The 200 of the referrers API, which may be a web page; undefined when the registry has no such API. */
async function askReferrers(
  repository: RepositoryView,
  start: URL,
  digest: Digest,
  signal: AbortSignal | undefined,
): Promise<GateResponse | undefined> {
  const doing = `list referrers of ${digest}`;
  let at = start;
  for (let hop = 0; ; hop++) {
    const response = await repository.request({
      method: 'GET',
      at,
      doing,
      headers: { accept: MediaType.ociIndex },
      follow: false,
      digest,
      signal,
    });
    const { status, headers } = response;
    if (status === 200) return response;
    const redirect = status >= 300 && status < 400;
    if (!redirect && !unsupported.has(status)) {
      throw await repository.error(response, doing);
    }
    await response.cancel();
    const location = headers['location'];
    const next =
      redirect && location !== undefined && hop < maxHops
        ? repository.registry.ownReference(location, at)
        : undefined;
    if (next === undefined) return undefined;
    at = next;
  }
}

interface Referrer {
  readonly descriptor: Descriptor;
  readonly manifest: Manifest;
  readonly subject: Digest;
  readonly bytes: Uint8Array;
}

/**
 * Stores a manifest that has a subject under its digest, and in the fallback index of its subject where the registry
 * does not list referrers itself. One that exists is left alone, unless it is no referrer of its subject yet: then an
 * interrupted push left the fallback index undone.
 * @throws DIGEST_MISMATCH, BAD_DOCUMENT, DENIED, UPSTREAM, NETWORK
 */
export async function pushReferrer(
  repository: RepositoryView,
  { descriptor, manifest, subject, bytes }: Referrer,
  signal: AbortSignal | undefined,
): Promise<PushResult> {
  const { digest } = descriptor;
  if (await hasContent(repository, descriptor, { right: 'push', signal })) {
    // Where a page stands in for the API, the fallback index that we keep decides.
    const listed = await listReferrers(repository, subject, { onPage: () => {}, signal });
    if (listed.some((known) => known.digest === digest)) return 'present';
  }
  const response = await putManifest(repository, descriptor, digest, bytes, signal);
  if (response.headers['oci-subject'] === undefined) {
    await addToFallbackIndex(repository, subject, descriptor, manifest, signal);
  }
  return 'stored';
}

interface FallbackIndex {
  readonly entries: readonly Descriptor[];
  /** As they stand in the index, with members we do not interpret. */
  readonly raw: readonly JsonValue[];
}

/**
 * @param known what need not be looked at again
 * @returns the other entries whose manifests are there and do have the subject
 * @throws BAD_DOCUMENT, and as pulls
 */
async function readFallbackIndex(
  repository: RepositoryView,
  subject: Digest,
  known: ReadonlyMap<Digest, Descriptor>,
  signal: AbortSignal | undefined,
): Promise<readonly Descriptor[]> {
  const source = {
    fetch: (descriptor: Descriptor) => fetchContent(repository, descriptor, 0, signal),
  };
  const found: Descriptor[] = [];
  for (const entry of (await readIndex(repository, subject, signal)).entries) {
    if (!isManifestType(entry.mediaType) || known.has(entry.digest)) continue;
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
async function addToFallbackIndex(
  repository: RepositoryView,
  subject: Digest,
  descriptor: Descriptor,
  manifest: Manifest,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { digest } = descriptor;
  const tag = companionTag(subject);
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

/** GitLab takes the tag for the digest and gives the image itself: that is no index of referrers. */
async function readIndex(
  repository: RepositoryView,
  subject: Digest,
  signal: AbortSignal | undefined,
): Promise<FallbackIndex> {
  const named = await readNamed(repository, companionTag(subject), signal);
  if (named?.descriptor.mediaType !== MediaType.ociIndex || named.descriptor.digest === subject) {
    return { entries: [], raw: [] };
  }
  const what = `index ${companionTag(subject)} of ${repository.name}`;
  const raw = parseStrictObject(named.bytes, { what })['manifests'] ?? [];
  if (!Array.isArray(raw) || raw.length > maxEntries) {
    throw new CodedError('BAD_DOCUMENT', `${what}: manifests must be a list of at most ${maxEntries}`);
  }
  return { entries: raw.map((entry, i) => parseDescriptor(entry, `${what} [${i}]`)), raw };
}
