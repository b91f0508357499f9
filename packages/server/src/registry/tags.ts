/**
 * The tags of a repository, in byte order, in pages.
 * Source: distribution-spec v1.1.1 spec.md#listing-tags.
 */
import type { Answer, Request } from '../http/message.ts';
import type { Catalog } from './catalog.ts';
import { pageOf } from './page.ts';
import { refuse } from './refusal.ts';

export function listTags(catalog: Catalog, repository: string, request: Request): Answer {
  const found = catalog.repository(repository);
  if (found === undefined) return refuse('NAME_UNKNOWN', `no repository ${repository}`);
  return pageOf(request, `/v2/${repository}/tags/list`, found.tags.keys(), (tags) => ({
    name: repository,
    tags,
  }));
}
