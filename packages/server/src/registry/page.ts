/**
 * One page of a sorted list of names, by the parameters `n` and `last`, with a link to the next.
 * Source: distribution-spec v1.1.1 spec.md#listing-tags.
 */
import type { Answer, Request } from '../http/message.ts';
import { refuse, registryHeaders } from './refusal.ts';

/**
 * @param path of the list, for the link
 * @param names all of them, in byte order
 * @param body what holds a page of the names
 */
export function pageOf(
  { query }: Request,
  path: string,
  names: Iterable<string>,
  body: (names: readonly string[]) => object,
): Answer {
  const n = query.get('n');
  if (n !== null && !/^[0-9]{1,9}$/.test(n)) return refuse('UNSUPPORTED', 'n must be a whole number', 400);
  const last = query.get('last') ?? '';
  const after = [...names].filter((name) => name > last);
  const page = n === null ? after : after.slice(0, Number(n));
  const end = page.at(-1);
  const more = page.length < after.length && end !== undefined;
  const next = `${path}?${new URLSearchParams({ n: n ?? '', last: end ?? '' })}`;
  return {
    status: 200,
    headers: {
      ...registryHeaders,
      'Content-Type': 'application/json',
      ...(more ? { Link: `<${next}>; rel="next"` } : {}),
    },
    body: JSON.stringify(body(page)),
  };
}
