/** The canonical form and the ID of schematics, by the rules of the Image Factory's own library. */
import { describe, expect, it } from 'vitest';
import { decodeSchematic, validateSchematic } from '../src/schematic/decode.ts';
import { commonSchematicId, isSchematicId, schematicFrom, schematicId } from '../src/schematic/encode.ts';

describe('errors', () => {
  it.each([
    ['nope: 1', 'line 1: field nope not found in type schematic.Schematic'],
    [
      'customization:\n  nope: 1\n  meta: [{key: x, value: a}]\n  extraKernelArgs: {}',
      'line 2: field nope not found in type schematic.Customization; ' +
        'line 3: cannot construct !!str into uint8; line 4: cannot construct !!map into []string',
    ],
    ['[]', 'line 1: cannot construct !!seq into schematic.Schematic'],
    ['customization: {diskImage: {sectorSize: -1}}', 'line 1: cannot construct !!int into uint'],
    ['customization: {extraKernelArgs: [2001-01-01]}', 'line 1: cannot construct !!timestamp into string'],
    ['overlay: {options: []}', 'line 1: cannot construct !!seq into map[string]interface {}'],
  ])('are all named, in the words of the library: %s', (input, message) => {
    expect(() => decodeSchematic(input)).toThrow(`yaml: construct errors: ${message}`);
  });

  it('are at most 20', () => {
    const input = Array.from({ length: 1000 }, (_, i) => `field${i}: 1`).join('\n');
    expect(() => decodeSchematic(input)).toThrow(/line 20: field field19 [^;]*$/);
  });

  it('stay on one line', () => {
    expect(() => decodeSchematic('"a\\nb": 1')).toThrow(
      'field "a\\nb" not found in type schematic.Schematic',
    );
  });
});

/** Each pair was computed with a Go program as test/vectors/README.md describes. */
describe('rules beyond the vectors', () => {
  const options = (text: string): string => {
    const { canonical } = schematicFrom(`overlay: {name: n, image: i, options: ${text}}`);
    const match = /^ {4}options:\n([\s\S]*)^customization/m.exec(canonical);
    return (match?.[1] ?? '').replace(/^ {8}/gm, '');
  };

  it.each([
    ['{k: 0x1F}', 'k: 31\n'],
    ['{k: 017}', 'k: 15\n'],
    ['{k: 08}', 'k: 8\n'],
    ['{k: 1_000}', 'k: 1000\n'],
    ['{k: 1e6}', 'k: 1e+06\n'],
    ['{k: 123456.0}', 'k: 123456\n'],
    ['{k: 1e999}', 'k: 1e999\n'],
    ['{k: .5_0}', 'k: 0.5\n'],
    ['{k: 0.0000001}', 'k: 1e-07\n'],
    ['{k: 18446744073709551615}', 'k: 18446744073709551615\n'],
    ['{k: 18446744073709551616}', 'k: 1.8446744073709552e+19\n'],
    ['{k: +18446744073709551615}', 'k: 1.8446744073709552e+19\n'],
    ['{k: 2001-12-14t21:59:43.10-05:00}', 'k: 2001-12-14T21:59:43.1-05:00\n'],
    ['{k: 2001-1-2}', 'k: 2001-01-02T00:00:00Z\n'],
    ['{k: "2001-01-02"}', 'k: "2001-01-02"\n'],
    ['{k: 2001-02-30}', 'k: 2001-02-30\n'],
    ['{k: !!binary gIGC}', 'k: !!binary gIGC\n'],
    ['{k: !!binary aGVsbG8=}', 'k: hello\n'],
    ['{b10: 1, b9: 1, B: 1, 1: 1}', '"1": 1\nB: 1\nb9: 1\nb10: 1\n'],
    [
      '{k: {2: a, 1.5: b, true: c, ~: d, x: e}}',
      'k:\n    true: c\n    1.5: b\n    2: a\n    null: d\n    x: e\n',
    ],
    ['{k: "  lead\\nx"}', 'k: |4-\n      lead\n    x\n'],
    ['{k: "a\\n\\n"}', 'k: |+\n    a\n\n'],
    ['{k: " \\n"}', 'k: " \\n"\n'],
    ['{k: "\\U0001F600"}', 'k: "\\U0001F600"\n'],
    [`{? ${'k'.repeat(129)} : v}`, `? ${'k'.repeat(129)}\n: v\n`],
    ['{? "a\\nb" : v}', '? |-\n    a\n    b\n: v\n'],
    ['{k: [[a, [b]], {c: [d]}]}', 'k:\n    - - a\n      - - b\n    - c:\n        - d\n'],
  ])('%s', (text, expected) => {
    expect(options(text)).toBe(expected);
  });

  it.each([
    ['an anchor', 'owner: &a b', 'line 1: anchors are not supported; write the value out'],
    ['an alias', 'overlay: {options: {a: &x b, c: *x}}', 'line 1: anchors are not supported'],
    ['a merge key', 'overlay:\n  options: {<<: {a: b}}', 'line 2: merge keys are not supported'],
    ['a tag', '{owner: !custom 5}', 'line 1: tag "!custom" is not supported; write the value alone'],
    ['a key twice', 'owner: a\nowner: b', 'line 2: the key is there twice; keys must be unique'],
    ['a directive', '%YAML 1.1\n---\n{}', 'line 1: a line that begins with % is not supported'],
    [
      'a date as a key',
      'overlay: {options: {k: {2001-01-01: 1}}}',
      'line 1: a date or .nan as a key; put it in quotes',
    ],
    ['a line break of Unicode', 'owner: a\u2028b', 'line 1: U+2028 is a line break to some readers of YAML'],
    ['a carriage return alone', 'owner: a\rb', 'line 1: a carriage return without a line feed'],
    ['half a surrogate pair', 'owner: "\\ud83d\\ude00"', "line 1: an escape that Go's YAML does not have"],
    ['an escaped slash', 'owner: "a\\/b"', "line 1: an escape that Go's YAML does not have"],
    [
      'spaces that the parser would drop',
      'owner: |\n  a\n    \n',
      'line 1: the text ends in a line of spaces; remove',
    ],
    [
      'spaces behind a set indentation',
      'owner: |2\n  a\n   \n',
      'line 1: the text ends in a line of spaces; remove',
    ],
  ])('refuses what no Go program writes: %s', (_, input, message) => {
    expect(() => schematicFrom(input)).toThrow(expect.objectContaining({ code: 'BAD_SCHEMATIC' }));
    expect(() => schematicFrom(input)).toThrow(message);
  });

  it.each([
    ['without a line feed', '|\n  a', 'owner: a\n'],
    ['with one', '|\n  a\n', 'owner: |\n    a\n'],
    ['with more', '|+\n  a\n\n', 'owner: |+\n    a\n\n'],
    ['with spaces of the indentation', '|\n  a\n  ', 'owner: |\n    a\n'],
    ['folded', '>\n  a\n  b', 'owner: a b\n'],
  ])('reads a block scalar at the end of the text: %s', (_, text, canonical) => {
    expect(schematicFrom(`owner: ${text}`).canonical).toBe(`${canonical}customization: {}\n`);
  });

  it('reads the first document only, as the factory does', () => {
    expect(schematicFrom('customization: {}\n---\nowner: [').canonical).toBe('customization: {}\n');
  });

  it('accepts bootloaders in any case and leaves none out', () => {
    expect(decodeSchematic('customization: {bootloader: SD-BOOT}').customization.bootloader).toBe('sd-boot');
    expect(schematicFrom('customization: {bootloader: None}').canonical).toBe('customization: {}\n');
    expect(() => decodeSchematic('customization: {bootloader: auto}')).toThrow(
      /"auto" does not belong to BootloaderKind values/,
    );
  });
});

describe('commonSchematicId', () => {
  const enrollKeys = (text: string): string =>
    `customization:\n    secureboot:\n        enrollKeys: ${text}\n`;

  /** Each pair is what two releases of the library write for the same schematic, ours first. */
  it.each([
    [enrollKeys("'off'"), enrollKeys('"off"')],
    [enrollKeys('"a \\nb"'), enrollKeys('|-\n            a \n            b')],
    [
      'customization:\n    extraKernelArgs:\n        - |4-\n           a\n          b\n',
      'customization:\n    extraKernelArgs:\n        - |2-\n           a\n          b\n',
    ],
  ])('is the same for other spellings: %j, %j', (ours, theirs) => {
    expect(theirs).not.toBe(ours);
    expect(schematicFrom(theirs).canonical).toBe(ours);
    expect(commonSchematicId(theirs)).toBe(schematicId(ours));
  });

  it('is another for another schematic, and none for what is no schematic', () => {
    expect(commonSchematicId(enrollKeys('"on"'))).not.toBe(commonSchematicId(enrollKeys('"off"')));
    expect(commonSchematicId('[]')).toBeUndefined();
    expect(commonSchematicId(Buffer.from([0xff]))).toBeUndefined();
  });
});

describe('validateSchematic', () => {
  it('lets a community factory refuse an owner', () => {
    const { schematic, canonical } = schematicFrom('owner: alice');
    expect(canonical).toBe('owner: alice\ncustomization: {}\n');
    expect(() => validateSchematic(schematic)).toThrow(expect.objectContaining({ code: 'BAD_SCHEMATIC' }));
    expect(() => validateSchematic({ customization: {} })).not.toThrow();
  });
});

describe('isSchematicId', () => {
  it('takes 64 lower-case hex characters only', () => {
    expect(isSchematicId(schematicId('customization: {}\n'))).toBe(true);
    for (const bad of ['', 'a'.repeat(63), 'A'.repeat(64), `${'a'.repeat(63)}\n`, '../'.padEnd(64, 'a')]) {
      expect(isSchematicId(bad)).toBe(false);
    }
  });
});
