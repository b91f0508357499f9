/** Any schematic comes back from its canonical text. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeSchematic } from '../src/schematic/decode.ts';
import { encodeSchematic } from '../src/schematic/encode.ts';
import type { Schematic } from '../src/schematic/model.ts';
import { YamlMap, type YamlValue } from '../src/yaml/go/value.ts';

describe('any schematic', () => {
  /** The library cannot read all that it writes: not LS and PS, not all lines behind white space in front. */
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
      fc.property(schematic, (input) => {
        const canonical = encodeSchematic(input);
        const back = decodeSchematic(canonical);
        expect(comparable(back)).toEqual(comparable(input));
        expect(encodeSchematic(back)).toBe(canonical);
      }),
      { seed: 20260821, numRuns: 400 },
    );
  });
});
