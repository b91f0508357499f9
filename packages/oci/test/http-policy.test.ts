import { describe, expect, test } from 'vitest';
import { hostMatches, isPublicAddress, parseHostPattern } from '../src/http/host.ts';
import {
  checkUrl,
  type EgressPolicy,
  hostAllowed,
  isPlainHttp,
  logicalUrl,
  parseUpstream,
  physicalUrl,
  resolveReference,
} from '../src/http/policy.ts';
import { proxyFor, proxyFromEnvironment } from '../src/http/proxy.ts';

const policy: EgressPolicy = {
  hosts: ['ghcr.io', '*.githubusercontent.com', 'registry.lab:5000', '192.0.2.7', '8.8.8.8'],
  plainHttp: ['registry.lab'],
  allowPrivate: false,
  upstreams: [],
};
const code = (run: () => unknown): unknown => {
  try {
    run();
    return 'no error';
  } catch (error) {
    return (error as { code: unknown }).code;
  }
};

describe('host patterns', () => {
  test.each([
    'ghcr.io',
    'GHCR.io',
    'ghcr.io:8443',
    '*.example.com',
    '*.example.com:8443',
    '10.0.0.1',
    '[::1]:5000',
  ])('accepts %s', (text) => {
    expect(parseHostPattern(text)).toBe(text.toLowerCase());
  });
  test.each([
    '*',
    '*.',
    'a.*.com',
    'https://ghcr.io',
    'ghcr.io/x',
    'u@ghcr.io',
    '0x7f.1',
    '2130706433',
    '*.10.0.0.1',
    '',
  ])('refuses %s', (text) => {
    expect(code(() => parseHostPattern(text))).toBe('BAD_NAME');
  });
  test('a wildcard stands for whole labels, at least one', () => {
    const covers = (url: string): boolean => hostMatches('*.example.com', new URL(url));
    expect(covers('https://a.example.com/')).toBe(true);
    expect(covers('https://a.b.example.com/')).toBe(true);
    expect(covers('https://example.com/')).toBe(false);
    expect(covers('https://evil-example.com/')).toBe(false);
    expect(covers('https://a.example.com.evil.net/')).toBe(false);
    expect(covers('https://a.example.com:8443/')).toBe(false);
  });
  test('an explicit default port is the same as none', () => {
    expect(hostMatches('ghcr.io:443', new URL('https://ghcr.io/'))).toBe(true);
    expect(hostMatches('ghcr.io', new URL('https://ghcr.io:443/'))).toBe(true);
    expect(hostMatches('ghcr.io', new URL('http://ghcr.io:443/'))).toBe(false);
  });
});

test.each([
  ['registry.lab', 'registry.lab', true],
  ['registry.lab', 'registry.lab:5000', true],
  ['registry.lab:5000', 'registry.lab:5000', true],
  ['registry.lab:80', 'registry.lab', true],
  ['registry.lab:5000', 'registry.lab:5001', false],
  ['registry.lab:5000', 'registry.lab', false],
  ['[::1]', '[::1]:5000', true],
  ['lab', 'registry.lab:5000', false],
])('--plain-http %s for %s: %s', (named, host, expected) => {
  expect(isPlainHttp([named], host)).toBe(expected);
});

describe('egress policy', () => {
  test.each([
    'https://ghcr.io/v2/',
    'https://pkg.githubusercontent.com/x',
    'https://registry.lab:5000/v2/',
    'http://registry.lab:5000/v2/',
    'https://8.8.8.8/',
    // The backslash is a slash to a URL parser: the host is ghcr.io.
    'https://ghcr.io\\@evil.net/',
  ])('lets %s pass', (url) => {
    expect(() => checkUrl(policy, new URL(url))).not.toThrow();
  });
  test.each([
    ['another host', 'https://evil.net/'],
    ['a host that ends alike', 'https://evil-ghcr.io/'],
    ['another port', 'https://ghcr.io:8443/'],
    ['plain HTTP', 'http://ghcr.io/'],
    ['a user name', 'https://ghcr.io@evil.net/'],
    ['a user name on an allowed host', 'https://user@ghcr.io/'],
    ['another scheme', 'ftp://ghcr.io/'],
    ['an address that is not listed', 'https://1.1.1.1/'],
    ['an address in disguise', 'https://0x7f.1/'],
    ['a listed address that is not public', 'https://192.0.2.7/'],
  ])('T29 refuses %s', (_, url) => {
    expect(code(() => checkUrl(policy, new URL(url)))).toBe('EGRESS_DENIED');
  });
  test('the refusal names the host, what pointed at it and the switch', () => {
    expect(() => checkUrl(policy, new URL('https://evil.net/x?sig=s3cret'), 'a redirect of ghcr.io')).toThrow(
      /^refused evil\.net, where a redirect of ghcr\.io points: .*--allow-host evil\.net$/,
    );
  });
  test('hostAllowed looks at host and port only', () => {
    expect(hostAllowed(policy, new URL('http://ghcr.io/'))).toBe(true);
  });
});

describe('addresses', () => {
  test.each(['8.8.8.8', '140.82.121.34', '2606:50c0:8000::154', '2a00:1450:4001::1'])(
    '%s is public',
    (address) => {
      expect(isPublicAddress(address)).toBe(true);
    },
  );
  test.each([
    '0.0.0.0',
    '10.1.2.3',
    '100.64.0.1',
    '127.0.0.1',
    '169.254.169.254',
    '172.16.0.1',
    '192.168.1.1',
    '198.18.0.1',
    '203.0.113.9',
    '224.0.0.1',
    '255.255.255.255',
    '::',
    '::1',
    '::ffff:10.0.0.1',
    '::ffff:8.8.8.8',
    '64:ff9b::a00:1',
    'fc00::1',
    'fe80::1',
    'fe80::1%eth0',
    'ff02::1',
    '2001:db8::1',
    '2002:a00:1::',
    'not an address',
  ])('T34 %s is not', (address) => {
    expect(isPublicAddress(address)).toBe(false);
  });
});

describe('upstream mapping', () => {
  const mapped = {
    upstreams: [
      parseUpstream('ghcr.io=http://127.0.0.1:5000'),
      parseUpstream('mirror.io=http://127.0.0.1:5000/mirror/docker/'),
      parseUpstream('quay.io=http://127.0.0.1:5000'),
    ],
  };
  test('sends a host to its URL and translates what comes back', () => {
    expect(physicalUrl(mapped, new URL('https://ghcr.io/v2/?n=1')).href).toBe(
      'http://127.0.0.1:5000/v2/?n=1',
    );
    expect(physicalUrl(mapped, new URL('https://mirror.io/v2/')).href).toBe(
      'http://127.0.0.1:5000/mirror/docker/v2/',
    );
    expect(physicalUrl(mapped, new URL('https://other.io/v2/')).href).toBe('https://other.io/v2/');
    expect(logicalUrl(mapped, new URL('http://127.0.0.1:5000/v2/x?d=1')).href).toBe(
      'https://ghcr.io/v2/x?d=1',
    );
  });
  test('the longest prefix wins, on whole segments, then the host that was asked', () => {
    const back = (path: string, asked?: URL): string =>
      logicalUrl(mapped, new URL(path, 'http://127.0.0.1:5000'), asked).href;
    expect(back('/mirror/docker/v2/')).toBe('https://mirror.io/v2/');
    expect(back('/mirror/dockerx/v2/')).toBe('https://ghcr.io/mirror/dockerx/v2/');
    expect(back('/v2/', new URL('https://quay.io/'))).toBe('https://quay.io/v2/');
    expect(logicalUrl(mapped, new URL('http://127.0.0.1:5001/v2/')).href).toBe('http://127.0.0.1:5001/v2/');
  });
  test('references are resolved as the server means them', () => {
    const asked = new URL('https://mirror.io/v2/a/blobs/uploads/');
    const resolve = (reference: string): string | undefined =>
      resolveReference(mapped, reference, asked)?.href;
    expect(resolve('/mirror/docker/v2/x')).toBe('https://mirror.io/v2/x');
    expect(resolve('http://127.0.0.1:5000/mirror/docker/v2/x')).toBe('https://mirror.io/v2/x');
    expect(resolve('abc?_state=1')).toBe('https://mirror.io/v2/a/blobs/uploads/abc?_state=1');
    expect(resolve('//evil.net/x')).toBe('https://evil.net/x');
    expect(resolve('http://')).toBeUndefined();
  });
  test.each([
    'ghcr.io',
    'ghcr.io=ftp://x/',
    'ghcr.io=http://u:p@x/',
    'ghcr.io=http://x/?q',
    'a b=http://x/',
    '*.x.io=http://x/',
  ])('refuses %s', (text) => {
    expect(['USAGE', 'BAD_NAME']).toContain(code(() => parseUpstream(text)));
  });
  test('docker.io stands for the host its registry has', () => {
    expect(parseUpstream('docker.io=http://127.0.0.1:5000').host).toBe('registry-1.docker.io');
  });
  test('a mapped host may have any address, another one may not', () => {
    const inside = {
      ...policy,
      hosts: ['10.0.0.1'],
      upstreams: [parseUpstream('10.0.0.1=http://127.0.0.1:1')],
    };
    expect(() => checkUrl(inside, new URL('https://10.0.0.1/'))).not.toThrow();
    expect(code(() => checkUrl({ ...inside, upstreams: [] }, new URL('https://10.0.0.1/')))).toBe(
      'EGRESS_DENIED',
    );
  });
});

describe('proxies', () => {
  const settings = proxyFromEnvironment({
    HTTPS_PROXY: 'http://user:pw@proxy:3128',
    http_proxy: 'proxy:3129',
    NO_PROXY: 'corp.example, .lab,10.0.0.0/8,[::1]:5000,*.wild.io other:8443',
  });
  test.each([
    ['https://ghcr.io/', 'proxy:3128'],
    ['http://ghcr.io/', 'proxy:3129'],
    ['https://corp.example/', undefined],
    ['https://a.corp.example/', undefined],
    ['https://notcorp.example/', 'proxy:3128'],
    ['https://lab/', 'proxy:3128'],
    ['https://a.lab/', undefined],
    ['https://10.2.3.4/', undefined],
    ['https://11.2.3.4/', 'proxy:3128'],
    ['https://[::1]:5000/', undefined],
    ['https://[::1]/', 'proxy:3128'],
    ['https://a.wild.io/', undefined],
    ['https://other:8443/', undefined],
    ['https://other/', 'proxy:3128'],
  ])('%s goes through %s', (url, proxy) => {
    expect(proxyFor(settings, new URL(url))?.url.host).toBe(proxy);
  });
  test('nothing set, and * set', () => {
    expect(proxyFromEnvironment({ NO_PROXY: 'x' })).toBeUndefined();
    const none = proxyFromEnvironment({ HTTPS_PROXY: 'http://p', NO_PROXY: '*' });
    expect(proxyFor(none, new URL('https://x/'))).toBeUndefined();
    expect(code(() => proxyFromEnvironment({ HTTPS_PROXY: 'socks5://p' }))).toBe('CONFIG');
  });
});
