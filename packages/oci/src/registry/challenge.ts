/**
 * WWW-Authenticate: what a registry wants to see. Parsed as RFC 9110 section 11.6.1 writes it; a header that
 * does not follow the grammar is refused, not guessed at.
 */
import { CodedError } from '../base/errors.ts';
import { printable } from '../base/text.ts';

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
const quoted = /"((?:[^"\\]|\\[\t -~])*)"/y;
const comma = /[ \t]*,[ \t,]*/y;
const spaces = /[ \t]+/y;

/** @returns the challenges in order; none when there is no header @throws UPSTREAM when it is malformed */
export function parseChallenges(header: string | undefined, registry: string): readonly Challenge[] {
  if (header === undefined) return [];
  const bad = (): CodedError =>
    new CodedError('UPSTREAM', `${registry} sends a malformed WWW-Authenticate: ${printable(header)}`);
  if (header.length > maxLength) throw bad();
  let at = 0;
  const take = (pattern: RegExp): RegExpExecArray | undefined => {
    pattern.lastIndex = at;
    const match = pattern.exec(header);
    if (match === null) return undefined;
    at = pattern.lastIndex;
    return match;
  };
  /** Name and value, or undefined with the position unchanged. */
  const parameter = (): readonly [string, string] | undefined => {
    const start = at;
    const name = take(token)?.[0];
    if (name === undefined || take(equals) === undefined) {
      at = start;
      return undefined;
    }
    const value = take(quoted)?.[1]?.replace(/\\(.)/g, '$1') ?? take(token)?.[0];
    if (value === undefined) throw bad();
    return [name.toLowerCase(), value];
  };

  const challenges: Challenge[] = [];
  take(comma);
  while (at < header.length) {
    const scheme = take(token)?.[0];
    if (scheme === undefined) throw bad();
    const parameters = new Map<string, string>();
    challenges.push({ scheme: scheme.toLowerCase(), parameters });
    if (take(spaces) !== undefined && take(token68) === undefined) {
      for (let next = parameter(); next !== undefined; ) {
        if (parameters.has(next[0])) throw bad();
        parameters.set(...next);
        const before = at;
        next = take(comma) === undefined ? undefined : parameter();
        if (next === undefined) at = before;
      }
    }
    take(spaces);
    if (at < header.length && take(comma) === undefined) throw bad();
  }
  return challenges;
}
