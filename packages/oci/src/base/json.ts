/**
 * Strict JSON: what we interpret must have one meaning for every reader. Refused: duplicate keys, keys that
 * touch prototypes, invalid UTF-8, a byte order mark, trailing bytes, numbers that lose precision, deep nesting.
 * Objects have no prototype.
 * Source: RFC 8259; RFC 7493 (I-JSON) for the restrictions.
 */
import { CodedError } from './errors.ts';
import { printable } from './text.ts';

/** Anything that strict JSON can hold. */
export type JsonValue = null | boolean | number | string | JsonValue[] | JsonObject;
/** A parsed object. It has no prototype, so every key is the document's own. */
export interface JsonObject {
  [key: string]: JsonValue;
}

export interface StrictJsonOptions {
  /** What is being read, for messages. */
  readonly what: string;
  /** Objects and lists within each other; 32 is four times what any manifest uses. */
  readonly maxDepth?: number;
}

const forbiddenKeys = new Set(['__proto__', 'constructor', 'prototype']);
const numberPattern = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;
/** A run of string characters that need no unescaping. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: JSON strings may not hold control characters
const plainRun = /[^"\\\u0000-\u001f]*/y;
const words = [
  ['true', true],
  ['false', false],
  ['null', null],
] as const;
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * @param bytes a whole document; bounding its size is the caller's
 * @throws BAD_DOCUMENT with the offset
 */
export function parseStrictJson(bytes: Uint8Array, options: StrictJsonOptions): JsonValue {
  const { what, maxDepth = 32 } = options;
  let text: string;
  try {
    text = utf8.decode(bytes);
  } catch (cause) {
    throw new CodedError('BAD_DOCUMENT', `${what}: not valid UTF-8`, { cause });
  }
  let at = 0;

  const bad = (problem: string): CodedError =>
    new CodedError('BAD_DOCUMENT', `${what}: ${problem} at character ${at}`);

  const space = (): void => {
    for (;;) {
      const c = text.charCodeAt(at);
      if (c !== 0x20 && c !== 0x0a && c !== 0x0d && c !== 0x09) return;
      at++;
    }
  };

  const string = (): string => {
    const start = at++;
    let escaped = false;
    for (;;) {
      plainRun.lastIndex = at;
      plainRun.test(text);
      at = plainRun.lastIndex;
      const c = text.charCodeAt(at);
      if (c === 0x22) break;
      if (c !== 0x5c) throw bad('a string is not ended');
      escaped = true;
      at = Math.min(at + 2, text.length);
    }
    at++;
    if (!escaped) return text.slice(start + 1, at - 1);
    try {
      const value = JSON.parse(text.slice(start, at)) as string;
      if (!value.isWellFormed()) throw new Error('lone surrogate');
      return value;
    } catch {
      throw bad('a string has a bad escape');
    }
  };

  const value = (depth: number): JsonValue => {
    space();
    const c = text[at];
    if (depth >= maxDepth && (c === '{' || c === '[')) throw bad(`nested deeper than ${maxDepth} levels`);
    if (c === '{') return object(depth);
    if (c === '[') return array(depth);
    if (c === '"') return string();
    for (const [word, meaning] of words) {
      if (text.startsWith(word, at)) {
        at += word.length;
        return meaning;
      }
    }
    numberPattern.lastIndex = at;
    const token = numberPattern.exec(text)?.[0];
    if (token === undefined) throw bad(c === undefined ? 'the document ends early' : 'a value was expected');
    const number = Number(token);
    if (!Number.isFinite(number) || (Number.isInteger(number) && !Number.isSafeInteger(number))) {
      throw bad(`number ${printable(token, 40)} is out of range`);
    }
    at += token.length;
    return number;
  };

  const object = (depth: number): JsonObject => {
    const result = Object.create(null) as JsonObject;
    at++;
    space();
    if (text[at] === '}') {
      at++;
      return result;
    }
    for (;;) {
      space();
      if (text[at] !== '"') throw bad('a key was expected');
      const key = string();
      if (forbiddenKeys.has(key)) throw bad(`key ${key} is not allowed`);
      if (key in result) throw bad(`key ${printable(key, 60)} stands twice`);
      space();
      if (text[at] !== ':') throw bad('a colon was expected');
      at++;
      result[key] = value(depth + 1);
      space();
      const c = text[at];
      if (c !== ',' && c !== '}') throw bad('a comma or } was expected');
      at++;
      if (c === '}') return result;
    }
  };

  const array = (depth: number): JsonValue[] => {
    const result: JsonValue[] = [];
    at++;
    space();
    if (text[at] === ']') {
      at++;
      return result;
    }
    for (;;) {
      result.push(value(depth + 1));
      space();
      const c = text[at];
      if (c !== ',' && c !== ']') throw bad('a comma or ] was expected');
      at++;
      if (c === ']') return result;
    }
  };

  const result = value(0);
  space();
  if (at !== text.length) throw bad('bytes after the end of the document');
  return result;
}

/** Like parseStrictJson, for documents that are objects. @throws BAD_DOCUMENT */
export function parseStrictObject(bytes: Uint8Array, options: StrictJsonOptions): JsonObject {
  const value = parseStrictJson(bytes, options);
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new CodedError('BAD_DOCUMENT', `${options.what}: the document must be an object`);
  }
  return value;
}

/**
 * Refuses `Digest` beside (or in place of) `digest`: readers written in Go take either, whichever comes last.
 * @throws BAD_DOCUMENT
 */
export function refuseOtherCase(doc: object, known: readonly string[], where: string): void {
  for (const key of Object.keys(doc)) {
    if (known.includes(key)) continue;
    // Upper case first: U+017F and U+212A fold to s and k in Go too.
    const folded = key.toUpperCase().toLowerCase();
    if (known.some((name) => name.toLowerCase() === folded)) {
      throw new CodedError(
        'BAD_DOCUMENT',
        `${where}: ${printable(key)} differs from a known member by its case`,
      );
    }
  }
}
