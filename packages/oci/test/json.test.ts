import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { CodedError } from '../src/base/errors.ts';
import { parseStrictJson, parseStrictObject } from '../src/base/json.ts';
import { growthOf, linearGrowth } from '../src/testing/growth.ts';

const parse = (text: string | Uint8Array, maxDepth?: number): unknown =>
  parseStrictJson(typeof text === 'string' ? Buffer.from(text) : text, {
    what: 'x.json',
    ...(maxDepth === undefined ? {} : { maxDepth }),
  });
/** The refusal's message; fails when nothing is refused. */
function refusal(text: string | Uint8Array): string {
  try {
    parse(text);
  } catch (error) {
    expect(error).toBeInstanceOf(CodedError);
    expect(error).toMatchObject({ code: 'BAD_DOCUMENT' });
    return (error as CodedError).message;
  }
  return expect.fail(`accepted: ${text}`);
}
/** The same value with ordinary prototypes, so that it compares with what JSON.parse gives. */
const plain = (value: unknown): unknown => JSON.parse(JSON.stringify(value));

describe('strict JSON', () => {
  test('takes what JSON.parse takes, and gives the same', () => {
    const documents = [' {"a" : [1, -2.5e3, true, false, null, "x"] }\r\n\t', '[]', '{}', '""', '0', '-0'];
    for (const text of documents) expect(plain(parse(text))).toEqual(plain(JSON.parse(text)));
  });

  test('equals JSON.parse for whatever JSON.stringify writes', () => {
    const key = fc
      .string({ unit: 'grapheme' })
      .filter((k) => !/^(?:__proto__|constructor|prototype)$/.test(k));
    const { value } = fc.letrec((tie) => ({
      value: fc.oneof(
        { maxDepth: 6 },
        fc.constantFrom(null, true, false),
        fc.string({ unit: 'grapheme' }),
        fc.maxSafeInteger(),
        fc.double({ min: -1e15, max: 1e15, noNaN: true }),
        fc.array(tie('value'), { maxLength: 5 }),
        fc.dictionary(key, tie('value'), { maxKeys: 5 }),
      ),
    }));
    fc.assert(
      fc.property(value, fc.constantFrom(0, 2), (document, indent) => {
        const text = JSON.stringify(document, undefined, indent);
        expect(plain(parse(text))).toEqual(JSON.parse(text));
      }),
      { numRuns: 500, seed: 7 },
    );
  });

  test('never throws anything but BAD_DOCUMENT, whatever the bytes', () => {
    const fragment = fc.constantFrom(
      ...'{}[]",:\\u0 1e.-+'.split(''),
      '"a"',
      'true',
      'nul',
      '\ud83d',
      '\u0000',
    );
    fc.assert(
      fc.property(fc.array(fragment, { maxLength: 40 }), (fragments) => {
        const text = fragments.join('');
        let strict: unknown;
        try {
          strict = parse(text);
        } catch (error) {
          expect(error).toMatchObject({ code: 'BAD_DOCUMENT' });
          return;
        }
        expect(plain(strict)).toEqual(JSON.parse(text));
      }),
      { numRuns: 3000, seed: 11 },
    );
  });

  test('objects have no prototype', () => {
    const value = parse('{"toString": 1, "a": {}}') as { a: object };
    expect(Object.getPrototypeOf(value)).toBeNull();
    expect(Object.getPrototypeOf(value.a)).toBeNull();
  });

  test('T18 counts levels: 32 are taken, 33 are not', () => {
    const nested = (levels: number, inside: string): string =>
      '['.repeat(levels) + inside + ']'.repeat(levels);
    for (const inside of ['', '1', '"x"']) {
      expect(() => parse(nested(32, inside))).not.toThrow();
      expect(refusal(nested(33, inside))).toContain('nested deeper than 32');
    }
    expect(() => parse('{"a":{"b":1}}', 2)).not.toThrow();
    expect(() => parse('{"a":{"b":{}}}', 2)).toThrow(/deeper than 2/);
    // Nesting without end must not exhaust the stack.
    expect(refusal('['.repeat(1_000_000))).toContain('nested deeper');
  });

  test.each([
    ['T21 a key twice', '{"a":1,"b":2,"a":1}', 'stands twice'],
    ['T21 a key twice, once escaped', '{"a":1,"\\u0061":2}', 'stands twice'],
    ['T21 __proto__', '{"__proto__":{}}', '__proto__'],
    ['T21 __proto__, escaped', '{"\\u005f_proto__":{}}', '__proto__'],
    ['T21 constructor', '{"a":{"constructor":1}}', 'constructor'],
    ['a byte order mark', '\ufeff{}', 'a value was expected'],
    ['bytes after the end', '{} {}', 'bytes after the end'],
    ['a NUL after the end', '{}\u0000', 'bytes after the end'],
    ['no document', '', 'ends early'],
    ['only space', ' \n', 'ends early'],
    ['a document cut in an object', '{"a":1', 'a comma or }'],
    ['a document cut after a key', '{"a"', 'a colon'],
    ['a document cut in a string', '{"abc', 'not ended'],
    ['a document cut in an escape', '"abc\\', 'not ended'],
    ['a document cut in a \\u escape', '"\\u00', 'not ended'],
    ['a comma at the end of a list', '[1,]', 'a value was expected'],
    ['a comma at the end of an object', '{"a":1,}', 'a key was expected'],
    ['a key without quotes', '{a:1}', 'a key was expected'],
    ['single quotes', "['a']", 'a value was expected'],
    ['a comment', '[1 /* one */]', 'a comma or ]'],
    ['a control character in a string', '"a\u0001b"', 'not ended'],
    ['a line break in a string', '"a\nb"', 'not ended'],
    ['an unknown escape', '"\\x41"', 'bad escape'],
    ['a lone high surrogate', '"\\ud83d"', 'bad escape'],
    ['a lone low surrogate', '"a\\ude00"', 'bad escape'],
    ['surrogates the wrong way round', '"\\ude00\\ud83d"', 'bad escape'],
    ['another kind of space', '[\u00a01]', 'a value was expected'],
    ['NaN', 'NaN', 'a value was expected'],
    ['a word in capitals', 'True', 'a value was expected'],
    ['a plus sign', '+1', 'a value was expected'],
    ['a leading zero', '01', 'bytes after the end'],
    ['a hexadecimal number', '0x10', 'bytes after the end'],
    ['a number without digits before the point', '.5', 'a value was expected'],
    ['a number without digits after the point', '1.', 'bytes after the end'],
    ['T16 2^53', '9007199254740992', 'out of range'],
    ['T16 2^53 + 1, which would be rounded', '9007199254740993', 'out of range'],
    ['T16 -2^53', '-9007199254740992', 'out of range'],
    ['T16 2^62', '4611686018427387904', 'out of range'],
    ['T16 a whole number in disguise', '9007199254740993.0', 'out of range'],
    ['T16 a number beyond all', '1e999', 'out of range'],
  ])('refuses %s', (_what, text, problem) => {
    const message = refusal(text);
    expect(message).toContain('x.json: ');
    expect(message).toContain(problem);
  });

  test.each([
    ['a cut sequence', [0x22, 0xc3, 0x22]],
    ['an overlong slash', [0x22, 0xc0, 0xaf, 0x22]],
    ['a surrogate', [0x22, 0xed, 0xa0, 0x80, 0x22]],
    ['a code point beyond Unicode', [0x22, 0xf4, 0x90, 0x80, 0x80, 0x22]],
    ['Latin-1', [0x22, 0xe9, 0x22]],
  ])('refuses bytes that are not UTF-8: %s', (_what, bytes) => {
    expect(refusal(Uint8Array.from(bytes))).toContain('not valid UTF-8');
  });

  test('says where, and escapes what it repeats', () => {
    expect(refusal('{"a":1,x}')).toContain('at character 7');
    expect(refusal('{"\u202e":1,"\u202e":2}')).toBe('x.json: key \\u202e stands twice at character 10');
  });

  test.each<[string, (size: number) => string]>([
    ['backslashes', (size) => `"${'\\'.repeat(size)}`],
    ['a long string', (size) => `"${'a'.repeat(size)}`],
    ['many members', (size) => `[${'1,'.repeat(size / 2)}`],
    ['white space', (size) => `${' '.repeat(size)}x`],
    ['a long number', (size) => '1'.repeat(size)],
  ])('T18 takes linear time for the worst kinds: %s', async (_kind, make) => {
    refusal(make(1024));
    const growth = await growthOf(4 * 1024 * 1024, (size) => Buffer.from(make(size)), parse);
    expect(growth).toBeLessThan(linearGrowth);
  });

  test('a document that must be an object is one', () => {
    const options = { what: 'x.json' };
    expect(parseStrictObject(Buffer.from('{"a":1}'), options)['a']).toBe(1);
    for (const text of ['[]', '1', 'null', '"{}"']) {
      expect(() => parseStrictObject(Buffer.from(text), options)).toThrow('must be an object');
    }
  });
});
