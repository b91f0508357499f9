/**
 * Tags of a repository: listed, and moved to a manifest that is there.
 * Source: distribution-spec v1.1.1 spec.md#listing-tags, #pushing-manifests. Fault F38.
 */
import { CodedError, isCoded } from '../base/errors.ts';
import { printable } from '../base/text.ts';
import { collectVerified, mismatch } from '../model/bytes.ts';
import type { Descriptor } from '../model/descriptor.ts';
import { maxManifestBytes } from '../model/manifest.ts';
import { isTag } from '../model/reference.ts';
import { fetchContent } from './content.ts';
import { type ManifestCache, putManifest, resolveName } from './manifest.ts';
import type { RepositoryView } from './session.ts';

/** Pages followed; at the page size we ask for a million tags. */
const maxPages = 1000;
const pageSize = 1000;
const maxPageBytes = 4 * 1024 * 1024;

/** @throws NOT_FOUND for a repository that does not exist; UPSTREAM, EGRESS_DENIED */
export async function* listTags(
  repository: RepositoryView,
  signal: AbortSignal | undefined,
): AsyncIterable<string> {
  const doing = 'list tags';
  let at: URL | undefined = repository.url(`tags/list?n=${pageSize}`);
  for (let page = 1; at !== undefined; page++) {
    if (page > maxPages)
      throw new CodedError('UPSTREAM', `${doing} (${repository.name}): more than ${maxPages} pages`);
    const response = await repository.request({ method: 'GET', at, doing, signal });
    if (response.status !== 200) throw await repository.error(response, doing);
    const what = `tags of ${repository.name}`;
    // Distribution says null for a repository whose tags were all deleted.
    const tags = (await response.json(what, maxPageBytes))['tags'] ?? [];
    if (!Array.isArray(tags)) throw new CodedError('UPSTREAM', `${what}: tags must be a list`);
    for (const tag of tags) {
      if (typeof tag !== 'string' || !isTag(tag)) {
        throw new CodedError('UPSTREAM', `${what}: not a tag: ${printable(String(tag))}`);
      }
      yield tag;
    }
    at = repository.registry.nextPage(response, what);
  }
}

/** A registry that has the manifest does not take the tag. */
export class TagRefused extends CodedError {}

/**
 * Lets a tag stand for a manifest that is there, and reads it back.
 * @throws TagRefused when the registry refuses it; BAD_NAME, DIGEST_MISMATCH, and as pulls
 */
export async function tagManifest(
  repository: RepositoryView,
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
  try {
    await putManifest(repository, descriptor, tag, bytes, signal);
  } catch (error) {
    const isRefusal = isCoded(error, 'UPSTREAM', 'DENIED', 'NOT_FOUND') && (error.status ?? 500) < 500;
    if (!isRefusal) throw error;
    const { code, message, status } = error;
    throw new TagRefused(code, message, { cause: error, status });
  }
  const found = await resolveName(repository, tag, signal);
  if (found?.digest !== descriptor.digest) {
    const now = found === undefined ? 'nothing' : found.digest;
    throw mismatch(descriptor, `tagged as ${tag}, but the registry now answers ${now}`, repository.name);
  }
}
