/** The registry of a site, from the site file and from load: one source for each fact, and no contradiction. */
import { describe, expect, test } from 'vitest';
import { registryOfSite } from '../src/inside/registry.ts';
import { parseSite } from '../src/inside/site-file.ts';

const site = (registry: string) => parseSite(`omni: https://omni.site\nregistry: ${registry}\n`, 'site.yaml');
const plain = { host: 'registry.site:5000', prefix: '', plainHttp: true };
const secure = { host: 'registry.site:5000', prefix: '', plainHttp: false };
const below = { host: 'registry.site:5000', prefix: 'proj/x', plainHttp: false };
const loopback = { host: '127.0.0.1:5000', prefix: 'proj/x', plainHttp: true };

describe('H4 prefix and scheme are those of load unless the site file gives both', () => {
  test.each([
    ['registry.site:5000', secure, secure],
    ['registry.site:5000', plain, plain],
    ['registry.site:5000', below, below],
    ['registry.site:5000/proj/x', below, below],
    ['https://registry.site:5000', secure, secure],
    ['https://registry.site:5000/proj/x/', below, below],
    ['registry.site:5000', loopback, { ...below, plainHttp: true }],
    ['registry.site:5000/proj/x', loopback, { ...below, plainHttp: true }],
    ['https://registry.site:5000/proj/x', loopback, below],
    ['https://registry.site:5000/other', loopback, { ...below, prefix: 'other' }],
    ['https://registry.site:5000', loopback, secure],
    ['http://registry.site:5000', loopback, plain],
  ])('%s, loaded as %o', (text, reached, expected) => {
    expect(registryOfSite(site(text), reached)).toEqual(expected);
    expect(registryOfSite(parseSite('{}', 'site.yaml'), reached)).toEqual(reached);
  });

  test.each([
    [
      'https://registry.site:5000',
      below,
      'registry has no prefix, but load uses the prefix proj/x; write https://registry.site:5000/proj/x',
    ],
    [
      'registry.site:5000/other',
      below,
      'registry has the prefix other, but load uses the prefix proj/x; write https://registry.site:5000/proj/x',
    ],
    [
      'registry.site:5000/other',
      secure,
      'registry has the prefix other, but load uses no prefix; write https://registry.site:5000',
    ],
    [
      'https://registry.site:5000',
      plain,
      'registry has the scheme of https://registry.site:5000, but load uses plain HTTP; write http://registry.site:5000',
    ],
    [
      'http://registry.site:5000',
      secure,
      'registry has the scheme of http://registry.site:5000, but load uses HTTPS; write https://registry.site:5000',
    ],
    [
      'registry.site:5000/other',
      loopback,
      'registry has the prefix other, but load uses the prefix proj/x; write http://registry.site:5000/proj/x; if registry.site:5000 is another way to it, give scheme and prefix: http://registry.site:5000/other',
    ],
  ])('%s contradicts a load into %o', (text, reached, message) => {
    expect(() => registryOfSite(site(text), reached)).toThrow(
      expect.objectContaining({ code: 'BAD_YAML', message: `site.yaml:2:11: ${message}` }),
    );
  });

  test.each([
    'ftp://registry.site',
    'https://',
    'registry.site/UPPER',
    'me:pw@registry.site',
    'registry.site?x',
    '/x',
    'a/..',
  ])('%s is no registry', (text) => {
    expect(() => site(text)).toThrow(/^site\.yaml:2:11: registry must be \[https:\/\/\]HOST/);
  });
});
