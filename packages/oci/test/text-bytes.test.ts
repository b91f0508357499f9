/** C10: text as editors and shells of Windows save it. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { readNamedFile, textBytes, textOf } from '../src/fs/index.ts';

const text = '{"é": "𝄞"}\r\n';
const bigEndian = Buffer.from(`\ufeff${text}`, 'utf16le').swap16();

test.each([
  ['UTF-8', Buffer.from(text), text],
  ['UTF-8 with a mark', Buffer.from(`\ufeff${text}`), text],
  ['UTF-16, little-endian', Buffer.from(`\ufeff${text}`, 'utf16le'), text],
  ['UTF-16, big-endian', bigEndian, text],
  ['a mark alone', Buffer.from('\ufeff'), ''],
  ['nothing', Buffer.alloc(0), ''],
  ['one byte', Buffer.from('x'), 'x'],
  ['the second of two marks, which is text', Buffer.from('\ufeff\ufeffx'), '\ufeffx'],
  ['bytes that are no UTF-8, for the reader to refuse', Buffer.from([0xc3, 0x28]), '\ufffd('],
])('taken: %s', async (_what, bytes, expected) => {
  expect(textBytes(bytes, 'auth.json').toString('utf8')).toBe(expected);
  const folder = await mkdtemp(join(tmpdir(), 'text-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  await writeFile(join(folder, 'file'), bytes);
  expect((await readNamedFile('--site', join(folder, 'file'), 1000)).toString('utf8')).toBe(expected);
});

test.each([
  ['UTF-16 without a mark, little-endian', Buffer.from(text, 'utf16le')],
  ['UTF-16 without a mark, big-endian', Buffer.from(text, 'utf16le').swap16()],
  ['UTF-16 that is cut', Buffer.from(`\ufeff${text}`, 'utf16le').subarray(0, -1)],
  ['a lone surrogate', Buffer.from([0xff, 0xfe, 0x00, 0xd8])],
])('named: %s', (_what, bytes) => {
  expect(() => textBytes(bytes, '--site site.yaml')).toThrow(
    expect.objectContaining({
      code: 'CONFIG',
      message: '--site site.yaml: is malformed UTF-16; save it as UTF-8',
    }),
  );
});

test.each([
  ['a byte of Latin-1', Buffer.from('a: 1\nb: caf\xe9\nc: 2\n', 'latin1'), 2],
  ['a sequence that is cut at the end', Buffer.from([0x61, 0x0a, 0x0a, 0xe2, 0x82]), 3],
  ['an overlong form', Buffer.from([0xc0, 0xaf]), 1],
])('text with %s is refused with its line', (_what, bytes, line) => {
  expect(() => textOf(bytes, 'mirror.yaml')).toThrow(
    expect.objectContaining({
      code: 'CONFIG',
      message: `mirror.yaml:${line}: is not valid UTF-8; save the file as UTF-8`,
    }),
  );
});

test('text is as textBytes decodes it', () => {
  for (const bytes of [Buffer.from(`\ufeff${text}`, 'utf16le'), bigEndian, Buffer.from(`\ufeff${text}`)])
    expect(textOf(bytes, 'mirror.yaml')).toBe(text);
});
