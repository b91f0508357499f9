/** The canonical form and the ID of schematics, against what the Image Factory's own library makes of them. */
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeSchematic, validateSchematic } from '../src/schematic/decode.ts';
import {
  encodeSchematic,
  isSchematicId,
  schematicFrom,
  schematicId,
  schematicSpellings,
} from '../src/schematic/encode.ts';
import type { Schematic } from '../src/schematic/model.ts';
import { releases } from '../src/yaml/release.ts';
import { YamlMap, type YamlValue } from '../src/yaml/value.ts';

interface Vector {
  readonly what?: string;
  readonly input?: string;
  /** In place of `input` where that is no text. */
  readonly base64?: string;
  readonly canonical?: string;
  readonly id?: string;
  readonly error?: true;
}

const vectorsOf = (name: string): readonly Vector[] =>
  readFileSync(new URL(`./vectors/${name}.jsonl`, import.meta.url), 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Vector);

describe.each([
  ['schematic-vectors', 511],
  ['schematic-differential', 562],
])('vectors of the Go library: %s', (name, count) => {
  const vectors = vectorsOf(name);
  const inputOf = ({ input, base64 = '' }: Vector): string | Uint8Array =>
    input ?? Buffer.from(base64, 'base64');

  it('are all there', () => {
    expect(vectors).toHaveLength(count);
  });

  it.each(vectors.filter(({ error }) => error !== true))('$what $input $base64', (vector) => {
    const input = inputOf(vector);
    const result = schematicFrom(input);
    expect(result.canonical).toBe(vector.canonical);
    expect(result.id).toBe(vector.id);
    expect(schematicFrom(Buffer.from(input)).id).toBe(vector.id);
  });

  it.each(vectors.filter(({ error }) => error === true))('refuses $what $input $base64', (vector) => {
    expect(() => schematicFrom(inputOf(vector))).toThrow(expect.objectContaining({ code: 'BAD_SCHEMATIC' }));
  });
});

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
    ['owner: a\nowner: b', 'line 2: mapping key "owner" already defined at line 1'],
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

describe('published IDs', () => {
  it.each([
    ['{}', '376567988ad370138ad8b2698212367b8edcb69b5fd68c80be1f2ec7d603b4ba'],
    ['customization: {}', '376567988ad370138ad8b2698212367b8edcb69b5fd68c80be1f2ec7d603b4ba'],
    [
      'customization: {"extraKernelArgs": []}',
      '376567988ad370138ad8b2698212367b8edcb69b5fd68c80be1f2ec7d603b4ba',
    ],
    [
      '{"customization": {"extraKernelArgs": ["noapic", "nolapic"], "systemExtensions": {}}}',
      '9cba8e32753f91a16c1837ab8abf356af021706ef284aef07380780177d9a06c',
    ],
    [
      'customization: {meta: [{key: 0x0a, value: "foo"}]}',
      'd308a2a5ee2277bed5fbaa104fcbc8d59122abfa737df987a95b4ca763459a7f',
    ],
    [
      'customization: {secureboot: {includeWellKnownCertificates: true}}',
      'fa8e05f142a851d3ee568eb0a8e5841eaf6b0ebc8df9a63df16ac5ed2c04f3e6',
    ],
    [
      'customization: {diskImage: {sectorSize: 4096}}',
      '92833e9ddd9bb9e11b2464fa5525429f01866306d52ebd882ee08d7918f6d1ea',
    ],
    [
      'overlay: {name: rpi_generic, image: siderolabs/sbc-raspberrypi}',
      'ee21ef4a5ef808a9b7484cc0dda0f25075021691c8c09a276591eedb638ea1f9',
    ],
    [
      'customization: {systemExtensions: {officialExtensions: [siderolabs/qemu-guest-agent]}}',
      'ce4c980550dd2ab1b17bbf2b08801c7eb59418eafe8f279833297925d67c7515',
    ],
  ])('%s', (input, id) => {
    expect(schematicFrom(input).id).toBe(id);
  });

  it('the example of the factory API page is no vector', () => {
    expect(schematicFrom('customization:\n    extraKernelArgs:\n        - vga=791\n').id).toBe(
      'eea1f9534c46d95c4715a2f13d17eacb927c13a42ef087c79b22c3bd0c49d073',
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
    ['{k: !custom 5}', 'k: "5"\n'],
    ['{k: [~, <<, a]}', 'k:\n    - null\n    - a\n'],
    ['{b10: 1, b9: 1, B: 1, 1: 1}', '"1": 1\nB: 1\nb9: 1\nb10: 1\n'],
    [
      '{k: {2: a, 1.5: b, true: c, ~: d, x: e}}',
      'k:\n    true: c\n    1.5: b\n    2: a\n    null: d\n    x: e\n',
    ],
    ['{k: {.nan: 1}}', 'k:\n    .nan: null\n'],
    ['{a: &a {.nan: 1}, k: {<<: *a, .nan: 2}}', 'a:\n    .nan: null\nk:\n    .nan: null\n    .nan: null\n'],
    ['{k: {2001-01-01: 1, 2001-01-01T00:00:00Z: 2}}', 'k:\n    2001-01-01T00:00:00Z: 2\n'],
    [
      '{k: {2001-01-01: 1, 2001-01-01T00:00:00-00:00: 1}}',
      'k:\n    2001-01-01T00:00:00Z: 1\n    2001-01-01T00:00:00Z: 1\n',
    ],
    [
      '{k: {2001-01-01T00:00:00+05:00: 1, 2001-01-01t00:00:00+05:00: 2}}',
      'k:\n    2001-01-01T00:00:00+05:00: 2\n',
    ],
    [
      '{k: {2001-01-01T00:00:00+05:30: 1, 2001-01-01t00:00:00+05:30: 1}}',
      'k:\n    2001-01-01T00:00:00+05:30: 1\n    2001-01-01T00:00:00+05:30: 1\n',
    ],
    ['{a: &x {b: 1}, c: {<<: *x, d: 2}}', 'a:\n    b: 1\nc:\n    b: 1\n    d: 2\n'],
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

  it.each([
    [{ enrollKeys: 'off' }, ["enrollKeys: 'off'", 'enrollKeys: "off"']],
    [{ enrollKeys: 'a \nb' }, ['enrollKeys: "a \\nb"', 'enrollKeys: |-\n            a \n            b']],
    [{ enrollKeys: ' a\nb' }, ['enrollKeys: |4-\n             a\n            b']],
    [{ enrollKeys: '\n a' }, ['enrollKeys: |-\n\n             a', 'enrollKeys: |4-\n\n             a']],
    [{ enrollKeys: 'force' }, ['enrollKeys: force']],
  ])('knows how releases of the library write %j', (secureboot, expected) => {
    const spellings = schematicSpellings({ customization: { secureboot } });
    expect(spellings.map(({ canonical }) => canonical)).toEqual(
      expected.map((text) => `customization:\n    secureboot:\n        ${text}\n`),
    );
  });

  it('knows that newer releases count the indentation of a block in a list', () => {
    const schematic = { customization: { extraKernelArgs: [' a\nb'] } };
    expect(schematicSpellings(schematic).map(({ canonical }) => canonical)).toEqual([
      'customization:\n    extraKernelArgs:\n        - |4-\n           a\n          b\n',
      'customization:\n    extraKernelArgs:\n        - |2-\n           a\n          b\n',
    ]);
  });
});

describe('hostile input', () => {
  const nested = (open: string, close: string, levels: number): string =>
    `overlay: {options: {k: ${open.repeat(levels)}${close.repeat(levels)}}}`;
  const laughs = (levels: number): string => {
    const lines = ['overlay:', '  options:', '    a0: &a0 [x, x, x, x, x, x, x, x, x, x]'];
    for (let i = 1; i <= levels; i++)
      lines.push(
        `    a${i}: &a${i} [${Array(10)
          .fill(`*a${i - 1}`)
          .join(', ')}]`,
      );
    return lines.join('\n');
  };
  const longText = (copies: number): string =>
    `overlay: {options: {t: &t ${'x'.repeat(100_000)}, l: [${Array(copies).fill('*t').join(', ')}]}}`;

  it.each([
    ['T27 duplicate keys', 'customization: {}\ncustomization: {}'],
    ['T27 unknown field', 'customization: {nope: 1}'],
    ['T21 __proto__', '{"__proto__": {}}'],
    ['T27 more than 1 MiB', `customization: {} #${'x'.repeat(1024 * 1024)}`],
    ['T27 nesting', nested('[', ']', 501)],
    ['T27 deep nesting', nested('[', ']', 100_000)],
    ['T27 nested mappings', nested('{a: ', '}', 501)],
    ['T27 alias bomb', laughs(9)],
    ['T27 excessive aliasing', laughs(3)],
    ['T27 alias bomb of text', longText(200)],
    ['T27 alias in itself', 'overlay: {options: {a: &a [*a]}}'],
    ['T27 alias without anchor', 'overlay: {options: *a}'],
    ['T27 merge of a scalar', 'overlay: {options: {<<: 1}}'],
    ['T27 wrong tag', 'overlay: {options: {a: !!int x}}'],
    ['no document', ''],
    ['only a comment', '# nothing'],
    ['control character', 'customization: {} #\u0001'],
    ['lone surrogate', 'customization: {} #\ud800'],
    ['list', '[]'],
    ['text', 'customization'],
    ['null byte', '\0'],
    ['date as a string', 'customization: {extraKernelArgs: [2001-01-01]}'],
    ['number out of range', 'customization: {meta: [{key: 256, value: a}]}'],
    ['negative number', 'customization: {diskImage: {sectorSize: -1}}'],
    ['%YAML 1.2', '%YAML 1.2\n---\n{}'],
  ])('%s is refused', (_, input) => {
    expect(() => decodeSchematic(input)).toThrow(expect.objectContaining({ code: 'BAD_SCHEMATIC' }));
  });

  it('T27 whatever comes is read or refused', () => {
    const piece = fc.oneof(
      fc.constantFrom(...vectorsOf('schematic-differential').map(({ input = '' }) => input)),
      fc.constantFrom(
        ': ',
        '- ',
        '? ',
        '\n',
        '\n  ',
        '[',
        ']',
        '{',
        '}',
        ',',
        '&a ',
        '*a',
        '<<: ',
        '!!int ',
        '|\n',
      ),
      fc.string({ unit: 'binary', maxLength: 8 }),
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 8 }), fc.nat(), (pieces, cut) => {
        const whole = pieces.join('');
        const input = whole.slice(cut % (whole.length + 1));
        try {
          expect(schematicFrom(input).id).toMatch(/^[0-9a-f]{64}$/);
        } catch (error) {
          expect(error).toMatchObject({ code: 'BAD_SCHEMATIC' });
        }
      }),
      { seed: 20261124, numRuns: 3000 },
    );
  });

  const bytes = 1024 * 1024 - 100;
  const repeated = (text: string): string => text.repeat(bytes / text.length);
  it.each([
    ['[', repeated('[')],
    ['{a: ', repeated('{a: ')],
    ['- ', repeated('- ')],
    ['many values', `overlay: {options: {k: [${repeated('1,')}]}}`],
    ['many aliases', `overlay: {options: {a: &a x, k: [${repeated('*a,')}]}}`],
  ])('T27 1 MiB of %s is refused', (_, input) => {
    expect(() => schematicFrom(input)).toThrow(expect.objectContaining({ code: 'BAD_SCHEMATIC' }));
  });

  it('T27 what would be long once it is written is refused', () => {
    const deep = `${'{a: '.repeat(490)}${'}'.repeat(490)},`;
    expect(() => schematicFrom(`overlay: {options: {k: [${deep.repeat(100)}]}}`)).toThrow(
      expect.objectContaining({ code: 'BAD_SCHEMATIC', message: expect.stringMatching(/^written as YAML/) }),
    );
  });

  it('T27 1 MiB of text is read', () => {
    const [lines, words] = [repeated(' x\n'), repeated('x ')];
    expect(schematicFrom(`owner: |\n${lines}`).canonical).toBe(
      `owner: |\n${lines.replaceAll(' x', '    x')}customization: {}\n`,
    );
    expect(schematicFrom(`owner: ${words}`).canonical).toBe(`owner: ${words.trimEnd()}\ncustomization: {}\n`);
  });

  it('refuses bytes that are not UTF-8', () => {
    expect(() => decodeSchematic(Buffer.from([0x61, 0xff]))).toThrow(
      expect.objectContaining({ code: 'BAD_SCHEMATIC' }),
    );
  });

  it('T27 stays below the bounds without complaint', () => {
    expect(decodeSchematic(nested('[{a: ', '}]', 240)).overlay?.options?.size).toBe(1);
    expect(decodeSchematic(laughs(2)).overlay?.options?.size).toBe(3);
  });

  it('T52 shows no value in a message', () => {
    const secret = 'jointoken=CANARY';
    for (const input of [
      `customization: {diskImage: {sectorSize: ${secret}}}`,
      `customization: {extraKernelArgs: {a: ${secret}}}`,
      `customization: {extraKernelArgs: ["${secret}]}`,
      `overlay: {options: {a: !!int ${secret}}}`,
    ]) {
      expect(() => decodeSchematic(input)).toThrow(
        expect.not.objectContaining({ message: expect.stringContaining('CANARY') }),
      );
    }
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

describe('any schematic', () => {
  /** The library cannot read all that it writes: not LS and PS, not lines behind white space in front. */
  const readable = (s: string): boolean => !/[\u2028\u2029]/.test(s) && !(s.includes('\n') && /^\s/.test(s));

  const text = fc
    .oneof(
      fc.string({ unit: 'binary', maxLength: 20 }),
      fc.string({
        unit: fc.constantFrom(
          'a',
          ' ',
          '\n',
          '\t',
          ':',
          '#',
          '-',
          "'",
          '"',
          '\\',
          '0',
          '1',
          '.',
          'e',
          '\r',
          '\ufeff',
          '\u0085',
          '😀',
        ),
        maxLength: 12,
      }),
      fc.constantFrom('y', 'off', '1:20', '<<', 'null', '0x1', '2001-01-01', '1e3', '.inf', '---', '- a'),
    )
    .filter((s) => s.isWellFormed() && readable(s));
  const filled = text.filter((s) => s !== '');
  const { value } = fc.letrec<{ value: YamlValue }>((tie) => ({
    value: fc.oneof(
      { maxDepth: 3 },
      text,
      fc.boolean(),
      fc.constant(null),
      fc.bigInt({ min: -(2n ** 63n), max: 2n ** 64n - 1n }),
      fc.double({ noNaN: true, noDefaultInfinity: true }).filter((n) => !Number.isInteger(n)),
      fc.array(tie('value'), { maxLength: 3 }),
      fc.dictionary(text, tie('value'), { maxKeys: 3, noNullPrototype: true }).map(mapOf),
    ),
  }));
  const options = fc.dictionary(text, value, { minKeys: 1, maxKeys: 4, noNullPrototype: true }).map(mapOf);
  const some = <T>(item: fc.Arbitrary<T>): fc.Arbitrary<T[]> =>
    fc.array(item, { minLength: 1, maxLength: 4 });
  const schematic: fc.Arbitrary<Schematic> = fc.record(
    {
      overlay: fc.record({ image: filled, name: text, options }, { requiredKeys: ['image', 'name'] }),
      customization: fc.record(
        {
          embeddedMachineConfiguration: filled,
          extraKernelArgs: some(text),
          meta: some(fc.record({ key: fc.nat(255), value: text })),
          systemExtensions: fc.record({ officialExtensions: some(text) }),
          bootloader: fc.constantFrom('dual-boot', 'sd-boot', 'grub'),
          secureboot: fc.record({ enrollKeys: filled }),
          diskImage: fc.record({ sectorSize: fc.bigInt({ min: 1n, max: 2n ** 64n - 1n }) }),
        },
        { requiredKeys: [] },
      ),
    },
    { requiredKeys: ['customization'] },
  );

  function mapOf(entries: Readonly<Record<string, YamlValue>>): YamlMap {
    const map = new YamlMap();
    for (const [key, item] of Object.entries(entries)) map.set(key, item);
    return map;
  }

  /** Maps as sorted lists, for comparing. */
  const comparable = (item: unknown): unknown => {
    if (item instanceof YamlMap) {
      return item
        .entries()
        .map(([key, entry]) => [key, comparable(entry)] as const)
        .sort(([a], [b]) => (String(a) < String(b) ? -1 : 1));
    }
    if (Array.isArray(item)) return item.map(comparable);
    if (typeof item !== 'object' || item === null) return item;
    return Object.fromEntries(Object.entries(item).map(([key, entry]) => [key, comparable(entry)]));
  };

  it('is read back from its canonical text, which is a fixed point', () => {
    fc.assert(
      fc.property(schematic, fc.constantFrom(...releases), (input, release) => {
        const canonical = encodeSchematic(input, release);
        const back = decodeSchematic(canonical);
        expect(comparable(back)).toEqual(comparable(input));
        expect(encodeSchematic(back, release)).toBe(canonical);
      }),
      { seed: 20260821, numRuns: 400 },
    );
  });
});
