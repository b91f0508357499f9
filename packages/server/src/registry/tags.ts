/**
 * The tags of a repository, in byte order, in pages.
 * Source: distribution-spec v1.1.1 spec.md#listing-tags.
 */
import type { Answer, Request } from '../http/message.ts';
import type { Catalog } from './catalog.ts';
import { refuse, registryHeaders } from './refusal.ts';

export function listTags(catalog: Catalog, repository: string, { query }: Request): Answer {
  const found = catalog.repository(repository);
  if (found === undefined) return refuse('NAME_UNKNOWN', `no repository ${repository}`);
  const n = query.get('n');
  if (n !== null && !/^[0-9]{1,9}$/.test(n)) return refuse('UNSUPPORTED', 'n must be a whole number', 400);
  const last = query.get('last') ?? '';
  const after = [...found.tags.keys()].filter((tag) => tag > last);
  const tags = n === null ? after : after.slice(0, Number(n));
  const end = tags.at(-1);
  const more = tags.length < after.length && end !== undefined;
  const next = `/v2/${repository}/tags/list?${new URLSearchParams({ n: n ?? '', last: end ?? '' })}`;
  return {
    status: 200,
    headers: {
      ...registryHeaders,
      'Content-Type': 'application/json',
      ...(more ? { Link: `<${next}>; rel="next"` } : {}),
    },
    body: JSON.stringify({ name: repository, tags }),
  };
}
