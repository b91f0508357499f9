/** Files that people write: what is said of them, where, and what they cannot make the program do. */
import { describe, expect, it } from 'vitest';
import { parseYamlFile } from '../src/yaml/strict.ts';

const parse = (text: string | Uint8Array): unknown => parseYamlFile(text, 'a.yaml').value;
const bad = (message: string | RegExp) =>
  expect.objectContaining({ code: 'BAD_YAML', message: expect.stringMatching(message) });

describe('what is refused, with file, line and column', () => {
  it.each([
    ['an anchor', 'a: &x b', /^a\.yaml:1:7: anchors are not supported; write the value out$/],
    ['an anchor of a mapping', 'a: &x {b: c}', /^a\.yaml:1:7: anchors/],
    ['an alias', 'a: *x', /^a\.yaml:1:4: /],
    ['an alias of an anchor', 'a: &x b\nc: *x', /^a\.yaml:1:7: anchors/],
    [
      'a tag',
      'a:\n  - !!str b',
      /^a\.yaml:2:11: tag "tag:yaml\.org,2002:str" is not supported; write the value/,
    ],
    ['a tag of a key', '!!str a: b', /^a\.yaml:1:7: tag/],
    ['a tag of a list', 'a: !x [b]', /^a\.yaml:1:7: tag "!x" is not supported/],
    ['a merge key', 'a: {<<: {b: c}}', /^a\.yaml:1:5: merge keys are not supported$/],
    ['a key twice', 'a: 1\nb:\n  c: 1\n  c: 2', /^a\.yaml:4:3: the key is there twice; keys must be unique$/],
    ['a key twice, once in quotes', 'a: 1\n"a": 2', /^a\.yaml:2:1: the key is there twice/],
    ['a key that is no text', '? {a: b}\n: c', /^a\.yaml:1:3: a key must be plain text$/],
    [
      'a second document',
      'a: b\n---\nc: d',
      /^a\.yaml:2:1: there is a second document; remove the line ---$/,
    ],
    ['a directive', '%YAML 1.2\n---\na: b', /^a\.yaml:1:1: a line that begins with % is not supported$/],
    ['a tab for indentation', 'a:\n\tb: c', /^a\.yaml:2:1: a tab as indentation; use spaces$/],
    ['a bracket that nothing closes', 'a: [b', /^a\.yaml:1:6: Flow sequence .* must .*end with a \]$/],
    ['a control character', 'a: b\nc: d\u0007e', /^a\.yaml:2:5: the character U\+0007 is not allowed/],
    [
      'an escape that there is not',
      'a: "\\qCANARY"',
      /^a\.yaml:1:5: an escape sequence that YAML does not have/,
    ],
    ['a line end of old', 'a: b\rc: d', /^a\.yaml:1:5: a carriage return without a line feed/],
    ['bytes that are no text', Buffer.from([0x61, 0xff]), /^a\.yaml:1:1: not UTF-8 text$/],
    ['text behind the end, without showing it', '{a: b} CANARY', /^a\.yaml:1:8: (?!.*CANARY)/],
  ])('%s', (_, text, message) => {
    expect(() => parse(text)).toThrow(bad(message));
  });
});

/** A limit that is checked behind the recursion that it bounds is none. */
describe('F4 what is too much is refused before it is built', () => {
  const levels = /^a\.yaml:\d+:\d+: nested deeper than 32 levels$/;
  it.each([
    ['lists in a line', `a:\n  ${'- '.repeat(5000)}a`, /^a\.yaml:2:\d+: nested deeper than 32 levels$/],
    ['a megabyte of lists in a line', '- '.repeat(500_000), levels],
    ['lists in lines', Array.from({ length: 700 }, (_, i) => `${' '.repeat(i)}-`).join('\n'), levels],
    ['mappings in lines', Array.from({ length: 700 }, (_, i) => `${' '.repeat(i)}a:`).join('\n'), levels],
    ['keys with question marks', `${'? '.repeat(5000)}a`, levels],
    ['lists in brackets', `a: ${'['.repeat(50_000)}${']'.repeat(50_000)}`, levels],
    ['mappings in braces', `a: ${'{a: '.repeat(50_000)}${'}'.repeat(50_000)}`, levels],
    ['brackets that nothing closes', `a: ${'['.repeat(500_000)}`, levels],
    [
      'lists behind a valid head',
      `a: 1\nmedia:\n  ${'- '.repeat(5000)}schematic: x\n    files: [b]\nc: d\n`,
      /^a\.yaml:3:\d+: nested deeper than 32 levels$/,
    ],
    [
      'a list of 250,000 short entries',
      `a:\n${'- b\n'.repeat(250_000)}`,
      /^a\.yaml:\d+:\d+: more than 100000 YAML tokens; split it, or move long lists out$/,
    ],
    [
      '500,000 items in a line',
      `a: [${'1,'.repeat(500_000)}1]`,
      /^a\.yaml:1:\d+: more than 100000 YAML tokens/,
    ],
    ['a million empty lines', `a: b${'\n#'.repeat(500_000)}`, /more than 100000 YAML tokens/],
    ['more than a mebibyte', `a: ${'b'.repeat(1024 * 1024)}`, /^a\.yaml:1:1: larger than 1048576 bytes$/],
  ])('%s', (_, text, message) => {
    expect(() => parse(text)).toThrow(bad(message));
  });

  it('up to 32 levels and 14,000 keys are read', () => {
    expect(parse('['.repeat(32) + ']'.repeat(32))).toBeInstanceOf(Array);
    expect(parse(`${'- '.repeat(32)}a`)).toBeInstanceOf(Array);
    const keys = Array.from({ length: 14_000 }, (_, i) => `k${i}: v\n`).join('');
    expect(Object.keys(parse(keys) as object)).toHaveLength(14_000);
  });
});

describe('what is read', () => {
  it.each([
    ['nothing', '', null],
    ['a comment', '# nothing\n', null],
    ['a document with its marks', '---\na: b\n...\n', { a: 'b' }],
    ['a byte order mark', '\ufeffa: b', { a: 'b' }],
    ['UTF-16, as some editors save it', Buffer.from('\ufeffa: é\n', 'utf16le'), { a: 'é' }],
    ['lines that end in CR LF', 'a: b\r\nc: [d]\r\n', { a: 'b', c: ['d'] }],
    ['a bracket that closes at the start of a line', 'a: [\n  b,\n]\n', { a: ['b'] }],
    ['words of YAML 1.1', 'a: [yes, off, 0x10, 1_0]', { a: ['yes', 'off', 16, '1_0'] }],
    ['keys as they are written', '1: a\ntrue: b\n~: c', { '1': 'a', true: 'b', '~': 'c' }],
    ['a key that objects have', '__proto__: a', JSON.parse('{"__proto__": "a"}')],
  ])('%s', (_, text, value) => {
    expect(parse(text)).toEqual(value);
  });

  it('a member has a place, and so has its key and what is missing', () => {
    const file = parseYamlFile('a:\n  b:\n    - c\n    -  {d: e}\n', 'a.yaml');
    expect(file.placeOf(['a', 'b', 1, 'd'])).toBe('a.yaml:4:12');
    expect(file.placeOf(['a', 'b', 1, 'z'])).toBe('a.yaml:4:8');
    expect(file.placeOf(['z'])).toBe('a.yaml:1:1');
    expect(file.error(['a', 'b'], 'x')).toEqual(bad(/^a\.yaml:3:5: x$/));
    expect(file.errorAtKey(['a', 'b'], 'x')).toEqual(bad(/^a\.yaml:2:3: x$/));
    expect(file.textOf(['a', 'b', 1])).toBe(`\n\n\n${' '.repeat(7)}{d: e}`);
    expect(file.textOf(['a', 'z'])).toBeUndefined();
  });
});
