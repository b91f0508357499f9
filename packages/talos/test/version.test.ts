/** Versions: what is one, and which is newer. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compareVersions, isFromMinor, isVersion, parseVersion, vPrefixed } from '../src/version.ts';

describe('versions', () => {
  it('are parsed with and without the v', () => {
    expect(parseVersion('v1.14.0-rc.1')).toEqual({ major: 1, minor: 14, patch: 0, prerelease: 'rc.1' });
    expect(parseVersion('1.13.9')).toEqual({ major: 1, minor: 13, patch: 9, prerelease: '' });
    expect(vPrefixed('1.13.9')).toBe('v1.13.9');
    expect(vPrefixed('v1.14.0-alpha.0')).toBe('v1.14.0-alpha.0');
  });

  it.each([
    '',
    'v',
    '1.2',
    'v1.2.3.4',
    'V1.2.3',
    'vv1.2.3',
    'v01.2.3',
    'v1.2.3-',
    'v1.2.3-01',
    'v1.2.3+build',
    ' v1.2.3',
    'v1.2.3\n',
    'latest',
    '../v1.2.3',
    `v1.2.${'9'.repeat(100)}`,
    `v1.2.3-${'a.'.repeat(50_000)}`,
  ])('%j is refused', (text) => {
    expect(isVersion(text)).toBe(false);
    expect(() => parseVersion(text)).toThrow(expect.objectContaining({ code: 'BAD_VERSION' }));
  });

  it('are in the order of semver', () => {
    const ordered = [
      '1.9.6',
      '1.10.0-alpha',
      '1.10.0-alpha.1',
      '1.10.0-alpha.1.x',
      '1.10.0-alpha.beta',
      '1.10.0-beta.2',
      '1.10.0-beta.11',
      '1.10.0-rc.0',
      'v1.10.0',
      '1.10.1',
      '2.0.0',
    ];
    for (const [i, a] of ordered.entries()) {
      for (const [j, b] of ordered.entries()) {
        expect(Math.sign(compareVersions(a, b)), `${a} ${b}`).toBe(Math.sign(i - j));
      }
    }
  });

  it('of a minor include what comes before its release', () => {
    expect(isFromMinor('v1.11.0-alpha.0', 11)).toBe(true);
    expect(isFromMinor('v1.10.9', 11)).toBe(false);
    expect(isFromMinor('v2.0.0', 11)).toBe(true);
  });

  it('format what they parse', () => {
    const part = fc.nat(1000);
    fc.assert(
      fc.property(part, part, part, fc.constantFrom('', '-rc.1', '-alpha.12'), (a, b, c, pre) => {
        expect(vPrefixed(`${a}.${b}.${c}${pre}`)).toBe(`v${a}.${b}.${c}${pre}`);
      }),
      { seed: 7, numRuns: 100 },
    );
  });
});
