/** Logging in to a registry: tokens, the realms that may give them, basic, and what challenges may say. */
import { describe, expect, test } from 'vitest';
import { collect } from '../src/model/bytes.ts';
import { descriptorOf } from '../src/model/descriptor.ts';
import { MediaType } from '../src/model/media-type.ts';
import { parseChallenges } from '../src/registry/challenge.ts';
import type { CredentialSource } from '../src/registry/credentials.ts';
import { TokenCache } from '../src/registry/token.ts';
import { growthOf, linearGrowth } from '../src/testing/growth.ts';
import type { DoubleAuthOptions, RegistryDoubleOptions } from '../src/testing/registry/double.ts';
import { server } from './gate.ts';
import { manifestOf, opener, startRegistry } from './registry.ts';

async function start(options: RegistryDoubleOptions, connect: Parameters<typeof startRegistry>[1] = {}) {
  const started = await startRegistry(
    { repositories: { 'a/b': { blobs: [blob] }, 'c/d': { blobs: [blob] } }, ...options },
    connect,
  );
  const tokens = (): number =>
    started.registry.requests.filter(({ path }) => path.startsWith('/token')).length;
  return { ...started, tokens };
}
const blob = Buffer.from('blob');
const layer = descriptorOf(MediaType.octetStream, blob);
const password: CredentialSource = {
  find: async () => ({ kind: 'password', username: 'user', password: 'pa:ss' }),
};
const secured: DoubleAuthOptions = { kind: 'token', username: 'user', password: 'pa:ss' };

describe('tokens', () => {
  test('one 401, then one token for each set of scopes', async () => {
    const { registry, repository, client, tokens } = await start(
      { auth: secured },
      { credentials: password },
    );
    expect(await repository.has(layer)).toBe(true);
    expect(await repository.has(layer)).toBe(true);
    expect(registry.requests.map(({ method, path }) => `${method} ${path.replace(/sha256.*/, '')}`)).toEqual([
      'HEAD /v2/a/b/blobs/',
      'GET /token?service=double&scope=repository%3Aa%2Fb%3Apull',
      'HEAD /v2/a/b/blobs/',
      'HEAD /v2/a/b/blobs/',
    ]);
    expect(await client.repository('c/d').has(layer)).toBe(true);
    expect(tokens()).toBe(2);
  });
  test('many at once share one', async () => {
    const { repository, tokens } = await start({ auth: secured }, { credentials: password });
    await Promise.all(Array.from({ length: 20 }, () => repository.has(layer)));
    expect(tokens()).toBe(1);
  });
  test('none are needed where anonymous may pull, and pushing is then refused', async () => {
    const { repository } = await start({ auth: { ...secured, anonymousPull: true } });
    expect(await repository.has(layer)).toBe(true);
    const other = descriptorOf(MediaType.octetStream, Buffer.from('other'));
    const open = async function* () {
      yield Buffer.from('other');
    };
    await expect(repository.push(other, open)).rejects.toMatchObject({ code: 'DENIED' });
  });
  test('an identity token is exchanged by POST', async () => {
    const credentials: CredentialSource = { find: async () => ({ kind: 'identity', token: 'refresh' }) };
    const { registry, repository } = await start(
      { auth: { kind: 'token', identityToken: 'refresh' } },
      { credentials },
    );
    expect(await repository.has(layer)).toBe(true);
    expect(registry.requests[1]).toMatchObject({ method: 'POST', path: '/token' });
  });
  test('F09 one that was revoked, or has expired, is renewed once', async () => {
    const { registry, repository, tokens } = await start({ auth: secured }, { credentials: password });
    await repository.has(layer);
    registry.revokeTokens();
    expect(await collect(repository.fetch(layer), 100, 'x')).toEqual(blob);
    expect(tokens()).toBe(2);
    const short = await start({ auth: { ...secured, expiresIn: 0.2 } }, { credentials: password });
    await short.repository.has(layer);
    await new Promise((resolve) => setTimeout(resolve, 250));
    await short.repository.has(layer);
    // Renewed before it was refused: the only 401 is the first.
    expect(short.registry.requests.map(({ method }) => method)).toEqual([
      'HEAD',
      'GET',
      'HEAD',
      'GET',
      'HEAD',
    ]);
  });
  test.each([
    ['long', 300, 270],
    ['short', 60, 45],
  ])(
    'a %s one (%i s) is renewed while it is still valid, after %i s and not before',
    async (_, life, renewed) => {
      let now = 1_000_000;
      let asked = 0;
      const cache = new TokenCache(() => now);
      const get = () =>
        cache.get('scope', async () => ({ value: `token-${++asked}`, expiresAt: now + life * 1000 }));
      expect(await get()).toBe('token-1');
      now += renewed * 1000 - 1;
      expect(await get()).toBe('token-1');
      now += 1;
      expect(await Promise.all([get(), get()])).toEqual(['token-2', 'token-2']);
    },
  );
  test('T40 a registry that refuses every token is not asked for ever', async () => {
    const { registry, repository } = await start(
      {
        auth: secured,
        script: [
          {
            match: { method: 'HEAD', path: /./ },
            do: {
              status: 401,
              headers: { 'www-authenticate': 'Bearer realm="https://registry.example/token"' },
            },
          },
        ],
      },
      { credentials: password },
    );
    await expect(repository.has(layer)).rejects.toMatchObject({ code: 'DENIED', status: 401 });
    expect(registry.requests).toHaveLength(3);
  });
  test('a wrong password is DENIED, and no message shows it', async () => {
    const credentials: CredentialSource = {
      find: async () => ({ kind: 'password', username: 'user', password: 's3cret' }),
    };
    const { repository, records } = await start({ auth: secured }, { credentials });
    const error = await repository.has(layer).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: 'DENIED', status: 401 });
    expect(`${error}${JSON.stringify(records)}`).not.toMatch(/s3cret|Basic|dXNlc/);
  });
  test.each([
    ['no token', '{}'],
    ['a token with a line break', '{"token":"a\\r\\nb"}'],
    ['no JSON', '<html>'],
    ['T39 an endless answer', `{"token":"a","x":"${'x'.repeat(70_000)}"}`],
  ])('an answer with %s is refused', async (_, body) => {
    const { repository } = await start({
      auth: secured,
      script: [{ match: { path: /token/ }, do: { status: 200, body } }],
    });
    await expect(repository.has(layer)).rejects.toMatchObject({
      code: 'UPSTREAM',
    });
  });
});

describe('realms', () => {
  test.each([
    ['another host', 'https://evil.net/token'],
    ['plain http', 'http://evil.net/token'],
    ['a metadata service', 'http://169.254.169.254/latest'],
    ['localhost', 'https://localhost/token'],
    ['an address', 'https://127.0.0.1/token'],
    ['another port', 'https://registry.example:8443/token'],
    ['a user name before another host', 'https://registry.example@evil.net/'],
    ['no URL', '/token'],
  ])('F12 T32 %s is refused before any request', async (_, realm) => {
    const { repository, records } = await start(
      { auth: { ...secured, realm } },
      { credentials: password, allow: ['evil.net', 'localhost'] },
    );
    await expect(repository.has(layer)).rejects.toMatchObject({ code: 'EGRESS_DENIED' });
    expect(records).toHaveLength(1);
  });
  test('one that the operator trusts is asked; it still has to be on the allow-list', async () => {
    const realm = await server((_, response) => response.end('{"token":"t"}'));
    const auth = { ...secured, realm: 'https://auth.example/token' };
    const denied = await start({ auth }, { credentials: password, trustedRealms: ['auth.example'] });
    await expect(denied.repository.has(layer)).rejects.toMatchObject({ code: 'EGRESS_DENIED' });
    expect(realm.requests).toHaveLength(0);
    const trusted = await start(
      { auth },
      { credentials: password, trustedRealms: ['auth.example'], others: { 'auth.example': realm } },
    );
    await expect(trusted.repository.has(layer)).rejects.toMatchObject({ code: 'DENIED' });
    expect(realm.requests[0]?.headers['authorization']).toMatch(/^Basic /);
  });
  test('T32 a place that was redirected to has no say in how we log in', async () => {
    const storage = await server((_, response) => {
      response.writeHead(401, { 'www-authenticate': 'Bearer realm="https://registry.example/token"' }).end();
    });
    const { registry, repository } = await start(
      {
        script: [
          {
            match: { path: /blobs/ },
            do: { status: 307, headers: { location: 'https://storage.example/' } },
          },
        ],
      },
      { credentials: password, others: { 'storage.example': storage } },
    );
    await expect(repository.has(layer)).rejects.toMatchObject({ code: 'DENIED', status: 401 });
    expect(registry.requests).toHaveLength(1);
  });
  test('docker.io is asked at registry-1.docker.io and logs in at auth.docker.io', async () => {
    const auth = { ...secured, realm: 'https://auth.docker.io/token' };
    const asked: string[] = [];
    const credentials: CredentialSource = {
      find: async (host) => {
        asked.push(host);
        return undefined;
      },
    };
    const { repository, records } = await start({ auth }, { host: 'docker.io', credentials });
    // Trusted as a realm, stopped by the allow-list of this test.
    await expect(repository.has(layer)).rejects.toMatchObject({ message: /auth\.docker\.io.*allow-list/ });
    expect(records.map(({ host }) => host)).toEqual(['registry-1.docker.io', 'auth.docker.io']);
    expect(asked).toEqual(['docker.io']);
  });
});

describe('basic', () => {
  test('sent once asked for', async () => {
    const { registry, repository } = await start(
      { auth: { ...secured, kind: 'basic' } },
      { credentials: password },
    );
    expect(await repository.has(layer)).toBe(true);
    expect(await repository.has(layer)).toBe(true);
    expect(registry.requests).toHaveLength(3);
    expect(registry.requests[0]?.headers['authorization']).toBeUndefined();
  });
  test('without credentials, and with a challenge that is none, 401 is DENIED', async () => {
    const bare = await start({ auth: { ...secured, kind: 'basic' } });
    await expect(bare.repository.has(layer)).rejects.toMatchObject({ code: 'DENIED' });
    const silent = await start({ auth: { ...secured, challenge: '' } }, { credentials: password });
    await expect(silent.repository.has(layer)).rejects.toMatchObject({ code: 'DENIED' });
    const strange = await start({ auth: { ...secured, challenge: 'Negotiate' } }, { credentials: password });
    await expect(strange.repository.has(layer)).rejects.toMatchObject({ code: 'DENIED' });
  });
});

describe('advice for a refusal', () => {
  const image = manifestOf({});
  const operations: readonly (readonly [
    name: string,
    run: (started: Awaited<ReturnType<typeof start>>) => Promise<unknown>,
  ])[] = [
    ['ping', ({ client }) => client.ping('a/b')],
    ['resolve', ({ repository }) => repository.resolve('v1')],
    ['has', ({ repository }) => repository.has(layer)],
    ['fetch', ({ repository }) => collect(repository.fetch(layer), 100, 'x')],
    ['push a blob', ({ repository }) => repository.push(layer, opener(blob))],
    ['push a manifest', ({ repository }) => repository.push(image.descriptor, opener(image.bytes))],
    ['begin an upload', ({ repository }) => repository.probePush()],
    ['list tags', async ({ repository }) => await repository.tags()[Symbol.asyncIterator]().next()],
    ['list referrers', ({ repository }) => repository.referrers(layer.digest)],
    ['delete', ({ repository }) => repository.remove(layer)],
  ];
  const found: CredentialSource = {
    ...password,
    explain: async () => ({ who: 'user "robot"', where: '/x/auth.json, entry registry.example' }),
  };
  const none: CredentialSource = {
    find: async () => undefined,
    explain: async () => ({ who: undefined, where: '/x/auth.json' }),
  };
  test.each(operations)('S6 %s: no log-in is known', async (_, run) => {
    for (const kind of ['basic', 'token'] as const) {
      const started = await start({ auth: { ...secured, kind } }, { credentials: none });
      await expect(run(started)).rejects.toMatchObject({
        code: 'DENIED',
        message: expect.stringMatching(
          /no credentials for registry\.example in \/x\/auth\.json: check the name, or log in \(docker login registry\.example, or --registry-config FILE\)$/,
        ),
      });
    }
  });
  test.each(operations)('S6 %s: the log-in is refused', async (_, run) => {
    for (const kind of ['basic', 'token'] as const) {
      const auth = { ...secured, kind, password: 'another' };
      await expect(run(await start({ auth }, { credentials: found }))).rejects.toMatchObject({
        message: expect.stringMatching(
          /the credentials of user "robot" \(\/x\/auth\.json, entry registry\.example\) were refused.*: log in again/,
        ),
      });
    }
  });
  test.each(operations)('S6 %s: the right is missing', async (_, run) => {
    for (const kind of ['basic', 'token'] as const) {
      const script = [2, 3].map((nth) => ({ match: { path: /^.v2./, nth }, do: { status: 403 } }));
      const started = await start({ auth: { ...secured, kind }, script }, { credentials: found });
      await expect(run(started)).rejects.toMatchObject({
        message: expect.stringMatching(/user "robot" \(.*\) does not have this right: grant it there/),
      });
    }
  });
  test('S6 the token service says 403; a proxy does before anybody asked for a log-in', async () => {
    const realm = await start(
      { auth: secured, script: [{ match: { path: /^.token/ }, do: { status: 403 } }] },
      { credentials: found },
    );
    await expect(realm.repository.has(layer)).rejects.toThrow(/does not have this right/);
    const filter = await start(
      { auth: secured, script: [{ match: { path: /./ }, do: { status: 403 } }] },
      { credentials: found },
    );
    await expect(filter.repository.has(layer)).rejects.toThrow(/asked for no log-in, so no credentials were/);
  });
  test('a refusal of the storage that a registry redirects to is not about this log-in', async () => {
    const storage = await server((_, response) => response.writeHead(403).end());
    const headers = { location: 'https://storage.example/' };
    const { repository } = await start(
      { script: [{ match: { path: /blobs/ }, do: { status: 307, headers } }] },
      { credentials: none, others: { 'storage.example': storage } },
    );
    const message =
      /storage\.example\/ answers 403; registry\.example redirected this request to storage\.example/;
    await expect(repository.has(layer)).rejects.toThrow(message);
  });
});

describe('WWW-Authenticate', () => {
  const parse = (header: string) =>
    parseChallenges(header, 'ghcr.io').map(({ scheme, parameters }) => [
      scheme,
      Object.fromEntries(parameters),
    ]);
  test('as registries write it', () => {
    expect(
      parse('Bearer realm="https://ghcr.io/token",service="ghcr.io",scope="repository:a/b:pull,push"'),
    ).toEqual([
      ['bearer', { realm: 'https://ghcr.io/token', service: 'ghcr.io', scope: 'repository:a/b:pull,push' }],
    ]);
    expect(parse('Basic realm="a \\"b\\"", Bearer realm=x , service = y')).toEqual([
      ['basic', { realm: 'a "b"' }],
      ['bearer', { realm: 'x', service: 'y' }],
    ]);
    expect(parse('Negotiate, NTLM abc==, Basic realm=""')).toEqual([
      ['negotiate', {}],
      ['ntlm', {}],
      ['basic', { realm: '' }],
    ]);
    expect(parseChallenges(undefined, 'ghcr.io')).toEqual([]);
  });
  test.each([
    'Bearer realm="x',
    'Bearer realm="a",realm="b"',
    'Bearer a=b=c',
    '"x"',
    'Bearer realm="a" service="b"',
    'x'.repeat(9000),
  ])('refuses %s', (header) => {
    expect(() => parse(header)).toThrow(/malformed WWW-Authenticate/);
  });
  test.each<[string, (size: number) => string]>([
    ['parameters', (size) => 'a='.repeat(size / 2)],
    ['commas', (size) => ','.repeat(size)],
    ['backslashes', (size) => `a="${'\\\\'.repeat(size / 2)}`],
  ])('T26 takes linear time: %s', async (_kind, make) => {
    const growth = await growthOf(8000, (size) => `Bearer ${make(size)}`, parse);
    expect(growth).toBeLessThan(linearGrowth);
  });
});
