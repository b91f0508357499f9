import { describe, expect, test } from 'vitest';
import {
  digestFromHex,
  digestOf,
  Hasher,
  hexOf,
  isDigest,
  isHex64,
  parseDigest,
} from '../src/model/digest.ts';

const hex = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';

describe('digest', () => {
  test('T22 one form is accepted', () => {
    expect(parseDigest(`sha256:${hex}`)).toBe(`sha256:${hex}`);
    expect(hexOf(digestFromHex(hex))).toBe(hex);
    expect(isHex64(hex)).toBe(true);
  });

  test.each([
    `sha256:${hex.toUpperCase()}`,
    `SHA256:${hex}`,
    `sha256:${hex.slice(1)}`,
    `sha256:${hex}0`,
    `sha256:${hex}\n`,
    ` sha256:${hex}`,
    'sha256:../../../../../../../../../../../../../../../../../../../etc/passwd',
    `sha256:${'../'.repeat(21)}x`,
    `sha256-${hex}`,
    hex,
    'sha256:',
    '',
    `sha256:${hex.slice(0, 63)}\u0130`,
  ])('T22 %j is not a digest', (text) => {
    expect(isDigest(text)).toBe(false);
    expect(() => parseDigest(text, 'layer')).toThrow(expect.objectContaining({ code: 'BAD_NAME' }));
  });

  test.each([undefined, null, 12, {}, [`sha256:${hex}`]])('T22 %j is no string', (value) => {
    expect(isDigest(value)).toBe(false);
    expect(() => parseDigest(value)).toThrow('must be a string');
  });

  test('T22 another algorithm is named', () => {
    expect(() => parseDigest(`sha512:${hex}${hex}`)).toThrow('algorithm sha512 is not supported');
    expect(() => parseDigest('md5:d41d8cd98f00b204e9800998ecf8427e')).toThrow('algorithm md5');
  });

  test('what is repeated is escaped and bounded', () => {
    expect(() => parseDigest('\u001b[2J', 'layer')).toThrow(
      'layer: not a digest (sha256:<64 lower-case hex>): \\u001b[2J',
    );
    const message = String(catching(() => parseDigest('x'.repeat(100_000))));
    expect(message.length).toBeLessThan(400);
  });

  test('hashing in pieces gives the digest of the whole', () => {
    const hasher = new Hasher();
    hasher.update(Buffer.from('he'));
    hasher.update(new Uint8Array(0));
    hasher.update(Buffer.from('llo'));
    expect(hasher.size).toBe(5);
    expect(hasher.finish()).toBe(digestOf(Buffer.from('hello')));
    expect(digestOf(new Uint8Array(0))).toBe(`sha256:${hex}`);
  });

  test.each(['', hex.toUpperCase(), `${hex}0`, `${hex.slice(1)}g`, `${hex.slice(1)}\n`])(
    '%j is not 64 hex',
    (text) => {
      expect(isHex64(text)).toBe(false);
      expect(() => digestFromHex(text)).toThrow(expect.objectContaining({ code: 'BAD_NAME' }));
    },
  );
});

function catching(run: () => unknown): unknown {
  try {
    return run();
  } catch (error) {
    return error;
  }
}
