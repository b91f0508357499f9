/**
 * The Link header: where the next page of a list is. Read by the grammar, because a header that is only half understood
 * looks like the last page, and the rest of the list would be lost without an error.
 * Source: RFC 8288 sections 3, 3.3 and B.2 (parsing); RFC 9110 sections 5.6.1 (empty list elements) and 5.6.4.
 */
import { CodedError } from '../base/errors.ts';
import { printable } from '../base/text.ts';
import { HeaderScanner } from './header-scanner.ts';

interface Link {
  /** As it stands between `<` and `>`: absolute, or relative to what was asked. */
  readonly target: string;
  /** Lower-case relation types. */
  readonly relations: readonly string[];
}

const maxLength = 16 * 1024;
const separators = /[ \t,]*/y;
const reference = /<([^<>]*)>[ \t]*/y;
const semicolon = /;[ \t]*/y;
const name = /([!#$&+\-.^_`|~0-9A-Za-z*]+)[ \t]*/y;
const equals = /=[ \t]*/y;
const bare = /[^",;\s]+/y;
const blanks = /[ \t]*/y;

/** @returns the links in order @throws UPSTREAM when the header does not follow the grammar */
function parseLinks(header: string, what: string): readonly Link[] {
  const bad = (): CodedError =>
    new CodedError(
      'UPSTREAM',
      `${what}: the Link header is malformed, so the list may be incomplete: ${printable(header)}`,
    );
  if (header.length > maxLength) throw bad();
  const scanner = new HeaderScanner(header);
  const links: Link[] = [];
  scanner.take(separators);
  while (!scanner.isAtEnd) {
    const target = scanner.take(reference)?.[1];
    if (target === undefined) throw bad();
    let relations: readonly string[] | undefined;
    while (scanner.take(semicolon) !== undefined) {
      const parameter = scanner.take(name)?.[1]?.toLowerCase();
      // An empty parameter, as in `<…>; ; rel=next`, says nothing.
      if (parameter === undefined) continue;
      let value: string | undefined = '';
      if (scanner.take(equals) !== undefined) {
        value = scanner.takeQuoted() ?? scanner.take(bare)?.[0];
        if (value === undefined) throw bad();
        scanner.take(blanks);
      }
      // Section 3.3: of several, the first counts.
      if (parameter === 'rel') relations ??= value.toLowerCase().split(/\s+/);
    }
    links.push({ target, relations: relations ?? [] });
    if (!scanner.isAtEnd && !scanner.isAt(',')) throw bad();
    scanner.take(separators);
  }
  return links;
}

/**
 * @param header joined with commas when there were several
 * @param what what was asked for, beginning the message
 * @returns the target of the link with the relation `next`, as it stands there; undefined on the last page
 * @throws UPSTREAM when the header is malformed, or names two next pages
 */
export function nextLink(header: string | undefined, what: string): string | undefined {
  if (header === undefined) return undefined;
  const next = parseLinks(header, what).filter(({ relations }) => relations.includes('next'));
  const [target, ...others] = new Set(next.map((link) => link.target));
  if (others.length === 0) return target;
  throw new CodedError('UPSTREAM', `${what}: the Link header names two next pages: ${printable(header)}`);
}
