/** Schematics that nobody should have to read: they are refused, soon, and without their values in the message. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeSchematic } from '../src/schematic/decode.ts';
import { schematicFrom } from '../src/schematic/encode.ts';
import { vectorsOf } from './vectors.ts';

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
    ['T27 nesting', nested('[', ']', 30)],
    ['T27 deep nesting', nested('[', ']', 100_000)],
    ['T27 nested mappings', nested('{a: ', '}', 30)],
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

  it('T27 what becomes long once it is written, as every line is indented, stays bounded', () => {
    const items = `[${'1,'.repeat(33_000)}]`;
    const { canonical } = schematicFrom(`overlay: {options: ${'{a: '.repeat(28)}${items}${'}'.repeat(28)}}`);
    expect(canonical.length).toBeGreaterThan(3_900_000);
    expect(canonical.length).toBeLessThan(6_000_000);
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
    expect(decodeSchematic(nested('[{a: ', '}]', 14)).overlay?.options?.size).toBe(1);
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
