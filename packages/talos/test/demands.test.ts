/** What Omni, Talos, omnictl, iPXE and browsers demand of a site's URLs. */
import { describe, expect, test } from 'vitest';
import { connections, unmetDemands } from '../src/inside/demands.ts';
import { parseSite } from '../src/inside/site-file.ts';

const unmet = (text: string): readonly string[] =>
  unmetDemands(parseSite(text, 'site.yaml')).map(
    ({ subject, consumer, severity }) => `${subject} for ${consumer}: ${severity}`,
  );

test('a site as the guide has it meets all of them', () => {
  expect(
    unmet(
      'omni: https://omni.site\nmachineApi: https://omni.site:8090\nkubernetesProxy: https://omni.site:8100\nfactory: https://factory.site:8080\nlogin: https://login.site:5556/realms/x\npxe: http://pxe.site',
    ),
  ).toEqual([]);
});

test.each([
  ['H3 factory: http://factory.site', ['factory for omnictl: warns', 'factory for Talos: warns']],
  ['factory: https://site/factory', ['factory for Omni: fails']],
  ['machineApi: http://omni.site:8090', ['machineApi for Talos: fails']],
  [
    'omni: http://omni.site\nkubernetesProxy: https://omni.site:8100',
    ['omni for browsers: fails', 'machineApi for Talos: fails'],
  ],
  ['login: http://login.site', ['login for browsers: warns']],
  ['pxe: https://pxe.site', ['pxe for iPXE: warns']],
] as const)('%s', (text, expected) => {
  expect(unmet(text.replace(/^H\d /, ''))).toEqual(expected);
});

describe('H1 Omni speaks plain HTTP to local addresses alone', () => {
  const severities = (host: string, plainHttp = true): readonly string[] =>
    unmetDemands({}, { host, prefix: 'x', plainHttp })
      .filter(({ consumer }) => consumer === 'Omni')
      .map(({ severity }) => severity);
  test.each([
    '10.0.0.5:5000',
    '172.16.0.1',
    '172.31.255.1:5000',
    '192.168.1.1:5000',
    '127.0.0.1:5000',
    '[::1]:5000',
    'localhost:5000',
    'registry.localhost:5000',
  ])('%s passes', (host) => {
    expect(severities(host)).toEqual([]);
  });
  test.each([
    'registry.site:5000',
    'registry.local:5000',
    'localhost',
    '127.0.0.2:5000',
    '172.32.0.1:5000',
    '11.0.0.1:5000',
    '[fd00::1]:5000',
    '10.0.0.5.site:5000',
  ])('%s fails, with TLS it does not', (host) => {
    expect(severities(host)).toEqual(['fails']);
    expect(severities(host, false)).toEqual([]);
  });
});

describe('an Image Factory of the site', () => {
  const of = (host: string, plainHttp: boolean, selfHosted = true): readonly string[] =>
    unmetDemands({}, { host, prefix: '', plainHttp }, { selfHosted })
      .filter(({ consumer }) => consumer === 'image-factory')
      .map(({ severity }) => severity);
  test('hands installers on over plain HTTP where the registry is local, also to one with TLS', () => {
    expect(of('10.0.0.5:5000', false)).toEqual(['warns', 'limits']);
    expect(of('localhost:5000', false)).toEqual(['warns', 'limits']);
    expect(of('10.0.0.5:5000', true)).toEqual([]);
  });
  test('does not hand on source images of a registry with TLS', () => {
    expect(of('registry.site:5000', false)).toEqual(['limits']);
    expect(of('registry.site:5000', true)).toEqual([]);
  });
  test('demands nothing where there is none', () => {
    expect(of('10.0.0.5:5000', false, false)).toEqual([]);
  });
});

test('who connects where: URLs that follow from omni, ports, authority for TLS alone, log-ins', () => {
  const site = parseSite('omni: https://omni.site\nfactory: http://factory.site:8080\n', 'site.yaml');
  const found = connections(site, { host: 'registry.site:5000', prefix: 'x', plainHttp: false }).map(
    ({ subject, consumer, url, port, authority, logIn }) => [
      `${consumer} to ${subject}: ${url} (${port})`,
      authority,
      logIn,
    ],
  );
  const system = 'trust store of the system';
  expect(found).toEqual(
    expect.arrayContaining([
      ['browsers to omni: https://omni.site (443)', system, undefined],
      [
        'Talos to machineApi: https://omni.site:8090 (8090)',
        'installation media, then the patch',
        'join token on the media',
      ],
      ['kubectl to kubernetesProxy: https://omni.site:8100 (8100)', system, 'plug-in oidc-login'],
      ['Talos to factory: http://factory.site:8080 (8080)', undefined, undefined],
      [
        'docker to registry: https://registry.site:5000/x (5000)',
        '/etc/docker/certs.d/registry.site:5000/ca.crt',
        'docker login, podman login',
      ],
    ]),
  );
  expect(found.some(([text]) => /to (?:login|pxe)/.test(text ?? ''))).toBe(false);
});

test.each([
  [
    'omni: http://omni.site',
    /^site\.yaml:1:7: omni makes kubernetesProxy http:\/\/omni\.site:8100: Omni refuses .*; use https:\/\/$/,
  ],
  [
    'omni: https://omni.site\nkubernetesProxy: http://omni.site:8100',
    /^site\.yaml:2:18: kubernetesProxy http:\/\/omni\.site:8100: Omni refuses/,
  ],
])('H6 what Omni does not start with is refused: %s', (text, message) => {
  expect(() => parseSite(text, 'site.yaml')).toThrow(
    expect.objectContaining({ code: 'BAD_YAML', message: expect.stringMatching(message) }),
  );
});
