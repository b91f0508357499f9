import { growthOf, linearGrowth } from '@omni-airgap/oci/testing';
import { describe, expect, test } from 'vitest';
import { parseTarget } from '../src/http/message.ts';

describe('request target (T54, F51 serve.path)', () => {
  test('a path is split and decoded, the query apart', () => {
    const target = parseTarget('/v2/a/b/manifests/sha256%3Aab?n=1&ns=ghcr.io');
    expect(target?.segments).toEqual(['v2', 'a', 'b', 'manifests', 'sha256:ab']);
    expect(target?.query.get('ns')).toBe('ghcr.io');
    expect(parseTarget('/v2/')?.segments).toEqual(['v2', '']);
  });

  test.each([
    '*',
    '',
    'v2/',
    'http://127.0.0.1/v2/',
    '//v2/',
    '/v2//a',
    '/v2/../etc/passwd',
    '/v2/./a',
    '/v2/%2e%2e/a',
    '/v2/%2E/a',
    '/v2/%2fetc',
    '/v2/%5c',
    '/v2/%00',
    '/v2/%0d%0aX:1',
    '/v2/%252e%252e',
    '/v2/%c0%ae%c0%ae/',
    '/v2/%zz',
    '/v2/a\\b',
    '/v2/a b',
    '/v2/é',
    '/v2/a#b',
  ])('%j is refused', (target) => expect(parseTarget(target)).toBeUndefined());

  test.each<[string, (size: number) => string]>([
    ['segments', (size) => `/${'a/'.repeat(size / 2)}\u0000`],
    ['escapes', (size) => `/${'%2e'.repeat(size / 3)}`],
  ])('a long hostile path takes linear time (T26): %s', async (_kind, make) => {
    expect(await growthOf(64_000, make, parseTarget)).toBeLessThan(linearGrowth);
  });
});
