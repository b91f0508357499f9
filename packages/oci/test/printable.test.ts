import { expect, test } from 'vitest';
import { printable } from '../src/base/text.ts';

test.each([
  ['T25 CR, LF, NUL, ESC, DEL', 'a\r\n\u0000\u001b[31m\u007f', 'a\\u000d\\u000a\\u0000\\u001b[31m\\u007f'],
  ['T25 C1 controls', '\u009b31m', '\\u009b31m'],
  ['T25 bidirectional overrides and isolates', '\u202eexe.\u2066x\u061c', '\\u202eexe.\\u2066x\\u061c'],
  ['T25 invisible characters', 'a\u200bb\u00adc\ufeffd\u2060', 'a\\u200bb\\u00adc\\ufeffd\\u2060'],
  ['T25 line separators', '\u2028\u2029', '\\u2028\\u2029'],
  ['T25 invisible tags', '\u{e0041}', '\\u{e0041}'],
  ['T25 lone surrogates', 'a\ud83d', 'a\\ud83d'],
  ['ordinary text', 'Zürich 東京 😀 <b>', 'Zürich 東京 😀 <b>'],
])('%s', (_what, text, shown) => {
  expect(printable(text)).toBe(shown);
});

test('long text is cut, and stays well-formed', () => {
  expect(printable('x'.repeat(4096))).toBe(`${'x'.repeat(200)}…`);
  expect(printable('abcdef', 3)).toBe('abc…');
  expect(printable('abc', 3)).toBe('abc');
  expect(printable(`ab😀`, 3).isWellFormed()).toBe(true);
});
