/** The site file: what is understood, and what is said of what is not. */
import { describe, expect, test } from 'vitest';
import { parseSite } from '../src/inside/site-file.ts';

const parse = (text: string | Uint8Array): object => parseSite(text, 'site.yaml');

describe('what is refused, with file, line and column', () => {
  test.each([
    [
      'an unknown key',
      'omni: https://omni.site\nfactroy: https://factory.site',
      /^site\.yaml:2:1: unknown key "factroy"; did you mean factory\?$/,
    ],
    [
      'an unknown key that is like nothing',
      'colour: blue',
      /^site\.yaml:1:1: unknown key "colour"; known keys are omni, machineApi, kubernetesProxy, factory/,
    ],
    ['a key that objects have', 'constructor: x', /^site\.yaml:1:1: unknown key "constructor"/],
    ['another key that objects have', '__proto__: x', /^site\.yaml:1:1: unknown key "__proto__"/],
    [
      'an address of another kind',
      'omni: ftp://x',
      /^site\.yaml:1:7: omni must be a URL such as https:\/\/omni\.site$/,
    ],
    ['an address with a user', 'omni: "https://me:hunter2@omni.site"', /^site\.yaml:1:7: omni must be a URL/],
    [
      'a value where a list is meant',
      '\nntp: 10.0.0.1',
      /^site\.yaml:2:6: ntp must be a list of addresses, such as/,
    ],
    [
      'an item of the list',
      'ntp:\n  - 10.0.0.1\n  - "a b"',
      /^site\.yaml:3:5: ntp must be plain text without spaces/,
    ],
    ['a space', 'wireguard: "a b"', /^site\.yaml:1:12: wireguard must be plain text/],
    ['a command', 'registry: "$(reboot)"', /^site\.yaml:1:11: registry must be plain text/],
    ['a number', 'registry: 5000', /^site\.yaml:1:11: registry must be plain text/],
    ['a mapping', 'registry: {host: a}', /^site\.yaml:1:11: registry must be plain text/],
    ['a list', '- omni', /^site\.yaml:1:1: a mapping is expected, such as `omni: https:\/\/omni\.site`$/],
    ['nothing', '', /^site\.yaml:1:1: a mapping is expected/],
    [
      'a service that has no certificate',
      'certificates:\n  omny: {chain: a, key: b}',
      /^site\.yaml:2:3: unknown key "omny"; did you mean omni\?$/,
    ],
    [
      'a certificate without its key',
      'certificates: {omni: {chain: a.pem}}',
      /^site\.yaml:1:22: omni needs both files, such as \{chain: omni-chain\.pem, key: omni-key\.pem\}$/,
    ],
    [
      'a path with a space',
      'certificates: {omni: {chain: "a b", key: c}}',
      /^site\.yaml:1:30: certificates\.omni\.chain must be plain text/,
    ],
    [
      'a certificate that is no mapping',
      'certificates: {omni: a.pem}',
      /^site\.yaml:1:22: certificates\.omni must be a mapping with chain, key$/,
    ],
    [
      'an OIDC provider without a secret',
      'oidc: {issuer: "https://sso.site", clientId: omni}',
      /^site\.yaml:1:7: oidc needs clientSecretFile, such as clientSecretFile: oidc-secret\.txt$/,
    ],
    [
      'an issuer that is no URL',
      'oidc: {issuer: sso.site, clientId: omni, clientSecretFile: s}',
      /^site\.yaml:1:16: oidc\.issuer must be a URL such as https:\/\/oidc\.site$/,
    ],
    [
      'a provider beside dex',
      'login: https://login.site\noidc: {issuer: "https://sso.site", clientId: omni, clientSecretFile: s}',
      /^site\.yaml:1:8: login is dex of the hand-off; leave it out where oidc names your own provider$/,
    ],
    [
      'a user that is no address',
      'users: [ada@site.example, bob]',
      /^site\.yaml:1:27: users must be e-mail addresses/,
    ],
    [
      'a switch that is a word',
      'talosPreReleases: "yes"',
      /^site\.yaml:1:19: talosPreReleases must be true or false$/,
    ],
    [
      'an anchor',
      'omni: &a https://omni.site',
      /^site\.yaml:1:10: anchors are not supported; write the value out$/,
    ],
    ['an alias', 'omni: *a', /^site\.yaml:1:7: /],
    ['a tag', 'omni: !!str https://omni.site', /^site\.yaml:1:13: tag .* is not supported/],
    ['a merge key', '<<: {omni: "https://omni.site"}', /^site\.yaml:1:1: merge keys are not supported$/],
    ['a key twice', 'omni:\nomni:', /^site\.yaml:2:1: the key is there twice/],
    ['a second document', 'omni:\n---\nfactory:', /^site\.yaml:2:1: there is a second document/],
    [
      'F4 five thousand levels',
      `ntp:\n  ${'- '.repeat(5000)}a`,
      /^site\.yaml:2:\d+: nested deeper than 32 levels$/,
    ],
    [
      'F4 a long list',
      `ntp:\n${'- a\n'.repeat(250_000)}`,
      /^site\.yaml:\d+:\d+: more than 100000 YAML tokens/,
    ],
  ])('%s', (_, text, message) => {
    expect(() => parse(text)).toThrow(
      expect.objectContaining({ code: 'BAD_YAML', message: expect.stringMatching(message) }),
    );
    expect(() => parse(text)).not.toThrow(/hunter2/);
  });
});

describe('what is understood', () => {
  test('all keys', () => {
    const site = {
      omni: 'https://omni.site',
      machineApi: 'https://omni.site:8090',
      kubernetesProxy: 'https://omni.site:8100',
      factory: 'https://factory.site:8080',
      pxe: 'http://pxe.site',
      registry: 'registry.site:5000',
      login: 'https://login.site:5556',
      wireguard: '10.0.0.5:50180',
      caFile: 'ca.pem',
      ntp: ['10.0.0.1', 'ntp.site'],
    };
    const lines = Object.entries(site).map(([key, value]) =>
      typeof value === 'string' ? `${key}: ${value}` : `${key}: [${value.join(', ')}]`,
    );
    const registry = {
      host: 'registry.site:5000',
      prefix: undefined,
      plainHttp: undefined,
      place: expect.stringMatching(/^site\.yaml:\d+:\d+$/),
    };
    const expected = { ...site, registry };
    expect(parse(lines.join('\n'))).toEqual(expected);
    expect(parse(lines.join('\r\n'))).toEqual(expected);
    expect(parse(JSON.stringify(site))).toEqual(expected);
    expect(parse(`---\n# ours\n${lines.join('\n')} # no more\n...\n`)).toEqual(expected);
    expect(parse(Buffer.from(`\ufeff${lines.join('\r\n')}`, 'utf16le'))).toEqual(expected);
  });

  test('absent values stay absent, slashes at the end go', () => {
    expect(parse('factory: https://factory.site/\nomni:\npxe: ~\nntp: null\n')).toEqual({
      factory: 'https://factory.site',
    });
    expect(parse('{}')).toEqual({});
  });

  test('an OIDC provider, by its name to the letter', () => {
    const oidc = { issuer: 'https://sso.site/realms/x/', clientId: 'omni', clientSecretFile: '../secret' };
    expect(parse(JSON.stringify({ oidc }))).toEqual({ oidc });
  });

  test('a list over several lines, closed at the start of one', () => {
    expect(parse('ntp: [\n  10.0.0.1,\n  ntp.site\n]\nlogin: >-\n  https://login.site\n')).toEqual({
      ntp: ['10.0.0.1', 'ntp.site'],
      login: 'https://login.site',
    });
  });
});
