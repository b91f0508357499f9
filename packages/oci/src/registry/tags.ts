/** Tags of a repository. Source: distribution-spec v1.1.1 spec.md#listing-tags. */
import { CodedError } from '../base/errors.ts';
import { printable } from '../base/printable.ts';
import { errorFromResponse } from '../http/error-response.ts';
import { isTag } from '../model/reference.ts';
import { nextPage } from './link.ts';
import type { RepositorySession } from './repository-session.ts';

/** Pages followed; at the page size we ask for a million tags. */
const maxPages = 1000;
const pageSize = 1000;
const maxPageBytes = 4 * 1024 * 1024;

/** @throws NOT_FOUND for a repository that does not exist; BAD_DOCUMENT, UPSTREAM, EGRESS_DENIED */
export async function* listTags(
  repository: RepositorySession,
  signal: AbortSignal | undefined,
): AsyncIterable<string> {
  const doing = 'list tags';
  let at: URL | undefined = repository.url(`tags/list?n=${pageSize}`);
  for (let page = 1; at !== undefined; page++) {
    if (page > maxPages)
      throw new CodedError('UPSTREAM', `${doing} (${repository.name}): more than ${maxPages} pages`);
    const response = await repository.request({ method: 'GET', at, doing, signal });
    if (response.status !== 200) throw await errorFromResponse(response, `${doing} (${repository.name})`);
    const what = `tags of ${repository.name}`;
    // Distribution says null for a repository whose tags were all deleted.
    const tags = (await response.json(what, maxPageBytes))['tags'] ?? [];
    if (!Array.isArray(tags)) throw new CodedError('BAD_DOCUMENT', `${what}: tags must be a list`);
    for (const tag of tags) {
      if (typeof tag !== 'string' || !isTag(tag)) {
        throw new CodedError('BAD_DOCUMENT', `${what}: not a tag: ${printable(String(tag))}`);
      }
      yield tag;
    }
    at = nextPage(repository.registry, response);
  }
}
