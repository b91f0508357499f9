/**
 * WWW-Authenticate: what a registry wants to see. Parsed as RFC 9110 section 11.6.1 writes it; a header that
 * does not follow the grammar is refused, not guessed at.
 */
import { CodedError } from '../base/errors.ts';
import { printable } from '../base/text.ts';
import { HeaderScanner } from '../http/header-scanner.ts';

export interface Challenge {
  /** Lower-case: `bearer`, `basic`. */
  readonly scheme: string;
  /** Lower-case names. */
  readonly parameters: ReadonlyMap<string, string>;
}

const maxLength = 8 * 1024;
const token = /[!#$%&'*+.^_`|~0-9A-Za-z-]+/y;
const token68 = /[0-9A-Za-z._~+/-]+=*(?=[ \t]*(?:,|$))/y;
const equals = /[ \t]*=[ \t]*/y;
const comma = /[ \t]*,[ \t,]*/y;
const spaces = /[ \t]+/y;

/** @returns the challenges in order; none when there is no header @throws UPSTREAM when it is malformed */
export function parseChallenges(header: string | undefined, registry: string): readonly Challenge[] {
  if (header === undefined) return [];
  const bad = (): CodedError =>
    new CodedError('UPSTREAM', `${registry} sends a malformed WWW-Authenticate: ${printable(header)}`);
  if (header.length > maxLength) throw bad();
  const scanner = new HeaderScanner(header);
  /** Name and value, or undefined with the position unchanged. */
  const parameter = (): readonly [string, string] | undefined => {
    const start = scanner.at;
    const name = scanner.take(token)?.[0];
    if (name === undefined || scanner.take(equals) === undefined) {
      scanner.at = start;
      return undefined;
    }
    const value = scanner.takeQuoted() ?? scanner.take(token)?.[0];
    if (value === undefined) throw bad();
    return [name.toLowerCase(), value];
  };

  const challenges: Challenge[] = [];
  scanner.take(comma);
  while (!scanner.isAtEnd) {
    const scheme = scanner.take(token)?.[0];
    if (scheme === undefined) throw bad();
    const parameters = new Map<string, string>();
    challenges.push({ scheme: scheme.toLowerCase(), parameters });
    if (scanner.take(spaces) !== undefined && scanner.take(token68) === undefined) {
      for (let next = parameter(); next !== undefined; ) {
        if (parameters.has(next[0])) throw bad();
        parameters.set(...next);
        const before = scanner.at;
        next = scanner.take(comma) === undefined ? undefined : parameter();
        if (next === undefined) scanner.at = before;
      }
    }
    scanner.take(spaces);
    if (!scanner.isAtEnd && scanner.take(comma) === undefined) throw bad();
  }
  return challenges;
}
