/** A17: a list must not end early because its Link header is written in another way. */
import { expect, test } from 'vitest';
import { nextLink } from '../src/http/link.ts';
import { image, startRegistry, withConfig } from './registry.ts';

test.each([
  ['alone', '</b>; rel="next"', '/b'],
  ['as a token', '</b>;rel=next', '/b'],
  ['in other letters', '</b>; REL=Next', '/b'],
  [
    'absolute',
    '<https://r.example/v2/a/tags/list?last=b&n=2>; rel="next"',
    'https://r.example/v2/a/tags/list?last=b&n=2',
  ],
  ['behind another link', '</a>; rel="first", </b>; rel="next"', '/b'],
  ['before another link', '</b>; rel="next", </a>; rel="first"', '/b'],
  ['with a parameter before', '</b>; title="x"; rel="next"', '/b'],
  ['with a parameter after', '</b>; rel="next"; title="x"', '/b'],
  [
    'with a quoted comma, semicolon and quote',
    String.raw`</a>; title="a, <b>; rel=\"next\""; rel=prev, </b>; rel=next`,
    '/b',
  ],
  ['one relation of several', '</b>; rel="last next"', '/b'],
  ['target with comma and semicolon', '</b?x=1,2;3>; rel="next"', '/b?x=1,2;3'],
  ['empty elements and parameters', ' , ,</b>; ; rel=next ; , ', '/b'],
  ['extended parameters', `</b>; title*=UTF-8'de'n%c3%a4chste; rel="next"`, '/b'],
  ['a parameter without a value', '</b>; crossorigin; rel=next', '/b'],
  ['said twice', '</b>; rel=next, </b>; rel=next', '/b'],
  ['an empty target, the page itself', '<>; rel=next', ''],
  ['another relation', '</b>; rel="prev"', undefined],
  ['of several rel the first counts', '</b>; rel="prev"; rel="next"', undefined],
  ['no relation', '</b>', undefined],
  ['an empty header', '', undefined],
  ['no header', undefined, undefined],
])('Link: %s', (_what, header, expected) => {
  expect(nextLink(header, 'list tags')).toBe(expected);
});

test.each([
  ['no brackets', '/b; rel="next"'],
  ['no end of the target', '</b; rel="next"'],
  ['no end of a string', '</b>; title="x; rel=next'],
  ['two targets', '</a> </b>; rel="next"'],
  ['a bracket in the target, as in the template of old documentation', '<<url>?n=2&last=b>; rel="next"'],
  ['two next pages', '</a>; rel=next, </b>; rel=next'],
  ['longer than any', `</${'b'.repeat(20_000)}>; rel=next`],
])('Link: %s is an error, never the last page', (_what, header) => {
  expect(() => nextLink(header, 'list tags')).toThrow(expect.objectContaining({ code: 'UPSTREAM' }));
});

test('tags and referrers: a malformed Link fails the list', async () => {
  const link = '/v2/a/b/tags/list?last=a; rel="next"';
  const { repository, registry } = await startRegistry(withConfig);
  registry.repository('a/b').tags.set('v1', `sha256:${'a'.repeat(64)}`);
  registry.fault({ match: { path: /tags\/list|referrers/ }, do: { headers: { link } } });
  const listed = repository.tags()[Symbol.asyncIterator]();
  await listed.next();
  await expect(listed.next()).rejects.toMatchObject({
    code: 'UPSTREAM',
    message: expect.stringContaining('Link header'),
  });
  registry.fault({ match: { path: /referrers/ }, do: { headers: { link } } });
  await expect(repository.referrers(image.descriptor.digest)).rejects.toMatchObject({ code: 'UPSTREAM' });
});
