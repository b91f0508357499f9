/**
 * Manifests that refer to another one. Only a 200 with an OCI index is an answer of the referrers API; where there
 * is none, the fallback tag is read. An answer that is neither yes nor no is an error: a signature must not get
 * lost because a registry was busy.
 * Source: distribution-spec v1.1.1 spec.md#listing-referrers. Faults F18, F19.
 */

import { CodedError } from '../base/errors.ts';
import { errorFromResponse } from '../http/error-response.ts';
import type { GateResponse } from '../http/response.ts';
import type { Descriptor } from '../model/descriptor.ts';
import type { Digest } from '../model/digest.ts';
import { maxManifestBytes } from '../model/manifest.ts';
import { MediaType } from '../model/media-type.ts';
import { parseDescriptor } from '../model/parse-descriptor.ts';
import { nextPage } from './link.ts';
import { readFallbackIndex } from './referrers-tag.ts';
import type { RepositorySession } from './repository-session.ts';

const maxPages = 100;
const maxHops = 3;
/** GHCR redirects to its web site, Distribution knows no such path, others say so. */
const unsupported: ReadonlySet<number> = new Set([400, 404, 405, 501]);

/** @returns an empty list when there definitely are none @throws DENIED, UPSTREAM, NETWORK, BAD_DOCUMENT */
export async function listReferrers(
  repository: RepositorySession,
  digest: Digest,
  signal: AbortSignal | undefined,
): Promise<readonly Descriptor[]> {
  const what = `referrers of ${digest} (${repository.name})`;
  const found: Descriptor[] = [];
  let at: URL | undefined = repository.url(`referrers/${digest}`);
  for (let page = 1; at !== undefined; page++) {
    if (page > maxPages) throw new CodedError('UPSTREAM', `${what}: more than ${maxPages} pages`);
    const response = await askReferrers(repository, at, digest, signal);
    if (response === undefined) {
      if (page === 1) return readFallbackIndex(repository, digest, signal);
      throw new CodedError('UPSTREAM', `${what}: page ${page} is not there`);
    }
    const manifests = (await response.json(what, maxManifestBytes))['manifests'];
    if (!Array.isArray(manifests)) throw new CodedError('BAD_DOCUMENT', `${what}: manifests must be a list`);
    found.push(...manifests.map((entry, i) => parseDescriptor(entry, `${what} [${i}]`)));
    at = nextPage(repository.registry, response);
  }
  return found;
}

/** @returns the answer of the referrers API, or undefined when the registry has none */
async function askReferrers(
  repository: RepositorySession,
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
    if (status === 200 && headers['content-type']?.split(';')[0]?.trim() === MediaType.ociIndex)
      return response;
    const redirect = status >= 300 && status < 400;
    if (!redirect && status !== 200 && !unsupported.has(status)) {
      throw await errorFromResponse(response, `${doing} (${repository.name})`);
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
