/** Log-ins: who may pull, push and delete, what a token is worth, and what hostile headers lead to. */
import { createHmac } from 'node:crypto';
import { request as httpRequest } from 'node:http';
import { digestOf } from '@omni-airgap/oci/model';
import bcrypt from 'bcryptjs';
import { describe, expect, test } from 'vitest';
import { type AccessOptions, type LogIns, parseHtpasswd } from '../src/index.ts';
import { codeOf, newLayout, putFiles, putImage, putSchematic, type Running, raw, start } from './support.ts';

const site: LogIns = new Map([
  ['site', bcrypt.hashSync('right password', 4)],
  ['other', bcrypt.hashSync('of the other', 4)],
]);
const basic = (user: string, password: string) =>
  `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;
const right = basic('site', 'right password');
const key = Buffer.from('a key of 32 bytes or more, shared');

async function serving(options: Partial<AccessOptions> = {}, externalUrl?: string) {
  const layout = await newLayout();
  const image = await putImage(layout, 'ghcr.io/a/b:v1', Buffer.from('layer'));
  const server = await start({
    source: layout,
    writable: layout,
    externalUrl,
    access: { logIns: site, ...options },
  });
  return { server, image, layout };
}

const get = (url: string, authorization?: string, init: RequestInit = {}) =>
  fetch(url, {
    ...init,
    headers: { ...init.headers, ...(authorization === undefined ? {} : { authorization }) },
  });

interface TokenAnswer {
  readonly token: string;
  readonly access_token: string;
  readonly expires_in: number;
  readonly issued_at: string;
}

async function bearer(
  { url }: { readonly url: string },
  scope: string,
  authorization?: string,
): Promise<string> {
  const response = await get(`${url}/token?service=x&scope=${encodeURIComponent(scope)}`, authorization);
  expect(response.status).toBe(200);
  return `Bearer ${((await response.json()) as TokenAnswer).token}`;
}

const beginPush = (server: Running, authorization?: string, query = '', repository = 'team/app') =>
  get(`${server.url}/v2/${repository}/blobs/uploads/${query}`, authorization, { method: 'POST' });
const challengeOf = (response: Response) => response.headers.get('www-authenticate') ?? '';

describe('without a log-in', () => {
  test('/v2/ says where tokens are, below the external URL', async () => {
    const { server } = await serving({}, 'https://factory.site.example/base/');
    const response = await get(`${server.url}/v2/`);
    expect(response.status).toBe(401);
    expect(challengeOf(response)).toBe(
      'Bearer realm="https://factory.site.example/base/token",service="factory.site.example"',
    );
    expect(await codeOf(response)).toBe('UNAUTHORIZED');
  });

  test('without an external URL, the realm is where the client asked', async () => {
    const { server } = await serving();
    expect(challengeOf(await get(`${server.url}/v2/`))).toContain(`realm="${server.url}/token"`);
    const answer = await raw(server.url, 'GET /v2/ HTTP/1.1\r\nHost: a"b\r\nConnection: close\r\n\r\n');
    expect(answer).toContain(`realm="${server.url}/token"`);
  });

  test('anyone pulls, with an anonymous token or none', async () => {
    const { server, image } = await serving();
    const token = await bearer(server, 'repository:a/b:pull,push');
    for (const authorization of [undefined, token]) {
      for (const path of [
        'manifests/v1',
        `blobs/${image.layer.digest}`,
        'tags/list',
        `referrers/${image.manifest.digest}`,
      ])
        expect((await get(`${server.url}/v2/a/b/${path}`, authorization)).status, path).toBe(200);
      expect((await get(`${server.url}/v2/_catalog`, authorization)).status).toBe(200);
    }
    expect((await get(`${server.url}/v2/`, token)).status).toBe(200);
    expect((await get(`${server.url}/`)).status).toBe(200);
  });

  test('nobody pushes or deletes, whatever the anonymous token was asked for', async () => {
    const { server } = await serving();
    for (const authorization of [undefined, await bearer(server, 'repository:a/b:pull,push,delete,*')]) {
      for (const [method, path, scope] of [
        ['POST', 'blobs/uploads/', 'pull,push'],
        ['POST', `blobs/uploads/?digest=${digestOf(Buffer.from('x'))}`, 'pull,push'],
        ['PUT', 'manifests/v1', 'pull,push'],
        ['DELETE', 'manifests/v1', 'delete'],
        ['GET', 'blobs/uploads/some-id', 'pull,push'],
        ['PATCH', 'blobs/uploads/some-id', 'pull,push'],
      ] as const) {
        const body = method === 'GET' ? {} : { body: 'x' };
        const response = await get(`${server.url}/v2/a/b/${path}`, authorization, { method, ...body });
        expect(response.status, `${method} ${path}`).toBe(401);
        expect(challengeOf(response)).toContain(`scope="repository:a/b:${scope}"`);
        expect(challengeOf(response).includes('error="insufficient_scope"')).toBe(
          authorization !== undefined,
        );
      }
    }
    const tags = await (await get(`${server.url}/v2/a/b/tags/list`)).json();
    expect(tags).toEqual({ name: 'a/b', tags: ['v1'] });
  });
});

describe('the token endpoint', () => {
  test('gives a token for the right password, in the shape of the specification', async () => {
    const { server } = await serving();
    const response = await get(
      `${server.url}/token?account=site&service=x&scope=repository:team/app:push,pull`,
      right,
    );
    expect(response.headers.get('cache-control')).toBe('no-store');
    const { token, access_token, expires_in, issued_at } = (await response.json()) as TokenAnswer;
    expect(access_token).toBe(token);
    expect(expires_in).toBeGreaterThanOrEqual(60);
    expect(new Date(issued_at).toISOString()).toBe(issued_at);
    expect((await beginPush(server, `Bearer ${token}`)).status).toBe(202);
    expect(server.log.filter(({ user }) => user === 'site').map(({ path }) => path)).toEqual([
      '/token',
      '/v2/team/app/blobs/uploads/',
    ]);
  });

  test.each([
    ['a wrong password', basic('site', 'wrong')],
    ['an unknown user', basic('nobody', 'right password')],
    ['the password of another', basic('site', 'of the other')],
    ['no colon', `Basic ${Buffer.from('site').toString('base64')}`],
    ['no user', basic('', 'right password')],
    ['malformed Base64', 'Basic c2l0ZTpyaWdodCBwYXNzd29yZA===='],
    ['Base64 with a stray character', `${right.slice(0, 12)}*${right.slice(12)}`],
    ['Base64 that is spelled in another way', `${basic('site', 'right password1').slice(0, -2)}F=`],
    ['a control character', basic('site', 'right password\0')],
    ['no UTF-8', `Basic ${Buffer.from([0x73, 0x3a, 0xff, 0xfe]).toString('base64')}`],
    ['a password of 10,000 characters', basic('site', 'x'.repeat(10_000))],
    ['another scheme', 'Negotiate abc'],
    ['only the scheme', 'Basic'],
  ])('%s: 401', async (_what, authorization) => {
    const { server } = await serving();
    const response = await get(`${server.url}/token?scope=repository:a/b:pull`, authorization);
    expect(response.status).toBe(401);
    expect(challengeOf(response)).toBe('Basic realm="omni-airgap", charset="UTF-8"');
    expect(await codeOf(response)).toBe('UNAUTHORIZED');
    expect((await get(`${server.url}/token`, right)).status).toBe(200);
  });

  test('a header beyond the limit of HTTP is 431, and the server lives', async () => {
    const { server } = await serving();
    const head = `GET /token HTTP/1.1\r\nHost: x\r\nAuthorization: Basic ${'A'.repeat(40_000)}\r\n\r\n`;
    expect(await raw(server.url, head).catch(String)).toMatch(/^HTTP\/1\.1 431 |ECONNRESET|EPIPE/);
    expect((await get(`${server.url}/token`, right)).status).toBe(200);
  });

  test('takes no POST, so clients ask by GET', async () => {
    const { server } = await serving();
    const response = await get(`${server.url}/token`, undefined, {
      method: 'POST',
      body: 'grant_type=password',
    });
    expect([response.status, response.headers.get('allow')]).toEqual([405, 'GET, HEAD, OPTIONS']);
  });

  test('scopes that no request could carry are refused', async () => {
    const { server } = await serving();
    const ask = (count: number, name: string) => {
      const scopes = Array.from({ length: count }, (_, i) => `scope=repository:${name}${i}:pull`);
      return get(`${server.url}/token?${scopes.join('&')}`, right);
    };
    expect((await ask(65, 'a')).status).toBe(400);
    expect((await ask(60, 'b'.repeat(200))).status).toBe(400);
    expect((await ask(64, 'a')).status).toBe(200);
  });

  test('what is no scope of a registry is left out', async () => {
    const { server } = await serving();
    for (const scope of [
      '',
      'repository:',
      'repository:../x:push',
      'repository:A:push',
      'x:y:z',
      'repository:team/app:fly',
    ]) {
      expect((await beginPush(server, await bearer(server, scope, right))).status, scope).toBe(401);
    }
    const several = await bearer(server, 'repository:team/app:pull repository(plugin):team/app:push', right);
    expect((await beginPush(server, several)).status).toBe(202);
    expect((await beginPush(server, await bearer(server, 'repository:team/app:*', right))).status).toBe(202);
  });
});

describe('a token', () => {
  test('is worth what it was asked for', async () => {
    const { server } = await serving();
    const pull = await bearer(server, 'repository:team/app:pull', right);
    const push = await bearer(server, 'repository:team/app:pull,push', right);
    const remove = await bearer(server, 'repository:a/b:delete', right);
    expect((await beginPush(server, pull)).status).toBe(401);
    expect((await beginPush(server, push)).status).toBe(202);
    expect((await beginPush(server, push, '', 'team/other')).status).toBe(401);
    const manifest = `${server.url}/v2/a/b/manifests/v1`;
    expect((await get(manifest, push, { method: 'DELETE' })).status).toBe(401);
    // Carried here, so that is denied even to whoever may delete.
    expect((await get(manifest, remove, { method: 'DELETE' })).status).toBe(403);
  });

  test('that was changed, is of another key, or says another algorithm is worth nothing, not even pulling', async () => {
    const { server } = await serving({ tokenKey: key });
    const token = await bearer(server, 'repository:team/app:pull,push', right);
    const [head = '', body = '', signature = ''] = token.slice('Bearer '.length).split('.');
    const claims = JSON.parse(Buffer.from(body, 'base64url').toString()) as Record<string, unknown>;
    const encoded = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
    const hmac = (signed: string, hash: string) =>
      createHmac('sha256', key).update(`${signed}\n${hash}`).digest('base64url');
    const none = encoded({ alg: 'none', typ: 'JWT' });
    const renamed = encoded({ ...claims, sub: 'other' });
    const last = signature.at(-1) ?? '';
    const twin = String.fromCharCode(last.charCodeAt(0) + 1);
    const forged = [
      `${head}.${encoded({ ...claims, scope: 'repository:a/b:*' })}.${signature}`,
      `${head}.${renamed}.${signature}`,
      // Whoever had the key would still need the hash of the user.
      `${head}.${renamed}.${hmac(`${head}.${renamed}`, '')}`,
      `${none}.${body}.${signature}`,
      `${none}.${body}.`,
      `${head}.${body}.${signature.slice(0, -1)}${twin}`,
      `${head}.${body}.`,
      `${head}.${body}`,
      `${head}.!.${signature}`,
      'x'.repeat(14_000),
      '..',
    ];
    for (const value of forged) {
      const response = await get(`${server.url}/v2/a/b/manifests/v1`, `Bearer ${value}`);
      expect(response.status, value.slice(0, 80)).toBe(401);
      expect(challengeOf(response)).toContain('error="invalid_token"');
      expect((await beginPush(server, `Bearer ${value}`)).status).toBe(401);
    }
    const { server: other } = await serving();
    expect((await beginPush(other, token)).status).toBe(401);
    expect((await beginPush(server, token)).status).toBe(202);
  });

  test('is taken by every replica with the same key, until it is over', async () => {
    let now = Date.now();
    const clock = { tokenKey: key, now: () => now };
    const [{ server }, { server: replica }] = [await serving(clock), await serving(clock)];
    const token = await bearer(server, 'repository:team/app:pull,push', right);
    now += 600_000;
    expect((await beginPush(replica, token)).status).toBe(202);
    now += 301_000;
    expect(challengeOf(await beginPush(replica, token))).toContain('error="invalid_token"');
    // The clock of a replica may be behind a little, and no more.
    now -= 950_000;
    expect((await beginPush(replica, token)).status).toBe(202);
    now -= 60_000;
    expect((await beginPush(replica, token)).status).toBe(401);
  });

  test('of a replica that lets anyone pull is nothing where pulling needs a log-in', async () => {
    const [{ server }, { server: strict }] = [
      await serving({ tokenKey: key }),
      await serving({ tokenKey: key, requireLogin: true }),
    ];
    const token = await bearer(server, 'repository:a/b:pull');
    expect((await get(`${server.url}/v2/a/b/manifests/v1`, token)).status).toBe(200);
    expect((await get(`${strict.url}/v2/a/b/manifests/v1`, token)).status).toBe(401);
    expect((await get(`${strict.url}/v2/`, token)).status).toBe(401);
  });

  test('and a password end with the log-in, those of others stay', async () => {
    const { server } = await serving();
    const scope = 'repository:team/app:pull,push';
    const [mine, theirs] = [
      await bearer(server, scope, right),
      await bearer(server, scope, basic('other', 'of the other')),
    ];
    const changed = bcrypt.hashSync('new password', 4);
    server.setLogIns(new Map([...site, ['site', changed]]));
    expect((await beginPush(server, mine)).status).toBe(401);
    expect((await beginPush(server, theirs)).status).toBe(202);
    expect((await get(`${server.url}/token`, right)).status).toBe(401);
    expect((await get(`${server.url}/token`, basic('site', 'new password'))).status).toBe(200);
    server.setLogIns(new Map([['site', changed]]));
    expect((await beginPush(server, theirs)).status).toBe(401);
  });
});

describe('a mount', () => {
  test.each([
    ['anyone may pull', false, 'repository:team/app:pull,push', 201],
    ['the token is for both repositories', true, 'repository:team/app:pull,push repository:a/b:pull', 201],
    ['the token is for the target only', true, 'repository:team/app:pull,push', 202],
  ])('where %s', async (_what, requireLogin, scope, status) => {
    const { server, image } = await serving({ requireLogin });
    const token = await bearer(server, scope, right);
    const query = `?mount=${image.layer.digest}&from=a/b`;
    expect((await beginPush(server, token, query)).status).toBe(status);
    // Of no repository in particular: where that could tell what others hold, it is an upload.
    const anywhere = await beginPush(server, token, `?mount=${image.layer.digest}`);
    expect(anywhere.status).toBe(requireLogin ? 202 : 201);
  });
});

describe('where everything needs a log-in', () => {
  test('pulling and lists take a token of a user', async () => {
    const { server, image } = await serving({ requireLogin: true });
    expect((await get(`${server.url}/token?scope=repository:a/b:pull`)).status).toBe(401);
    const token = await bearer(server, 'repository:a/b:pull', right);
    for (const path of ['a/b/manifests/v1', `a/b/blobs/${image.layer.digest}`, 'a/b/tags/list']) {
      expect((await get(`${server.url}/v2/${path}`)).status, path).toBe(401);
      expect((await get(`${server.url}/v2/${path}`, token)).status, path).toBe(200);
    }
    expect((await get(`${server.url}/v2/other/b/manifests/v1`, token)).status).toBe(401);
    expect((await get(`${server.url}/v2/_catalog`, token)).status).toBe(401);
    const all = await bearer(server, 'registry:catalog:*', right);
    expect((await get(`${server.url}/v2/_catalog`, all)).status).toBe(200);
  });

  test('page, wishes and factory take a password; machines get boot assets without', async () => {
    const layout = await newLayout();
    const v = 'v1.13.9';
    const id = await putSchematic(layout, 'customization: {}\n');
    await putFiles(layout, `factory.talos.dev/talos-media/${id}:${v}`, {
      'kernel-amd64': 'kernel',
      'initramfs-amd64.xz': 'initramfs',
      'cmdline-metal-amd64': 'cmdline',
    });
    const server = await start({ source: layout, access: { logIns: site, requireLogin: true } });
    for (const path of [
      '/',
      '/wants.json',
      '/wants.yaml',
      '/versions',
      `/schematics/${id}`,
      `/talosctl/${v}`,
    ]) {
      const refused = await get(`${server.url}${path}`);
      expect(refused.status, path).toBe(401);
      expect(challengeOf(refused)).toMatch(/^Basic /);
      expect((await get(`${server.url}${path}`, basic('site', 'wrong'))).status, path).toBe(401);
      expect((await get(`${server.url}${path}`, right)).status, path).not.toBe(401);
    }
    for (const path of ['/schematics', '/lookup']) {
      const post = { method: 'POST', body: 'customization: {}' };
      expect((await get(`${server.url}${path}`, undefined, post)).status, path).toBe(401);
      expect((await get(`${server.url}${path}`, right, post)).status, path).toBeLessThan(300);
    }
    for (const path of [
      '/healthz',
      '/readyz',
      `/image/${id}/${v}/kernel-amd64`,
      `/pxe/${id}/${v}/metal-amd64`,
    ])
      expect((await get(`${server.url}${path}`)).status, path).toBe(200);
    expect(server.log.some(({ path, user }) => path === '/' && user === 'site')).toBe(true);
  });
});

describe('wrong passwords', () => {
  test('are limited for an address; who is logged in there, and others, are not', async () => {
    let now = Date.now();
    const { server } = await serving({ attempts: { burst: 3, everyMs: 10_000 }, now: () => now });
    expect((await get(`${server.url}/token`, right)).status).toBe(200);
    const wrong = (i: number) => get(`${server.url}/token`, basic('site', `wrong ${i}`));
    for (let i = 0; i < 3; i++) expect((await wrong(i)).status).toBe(401);
    const refused = await wrong(3);
    expect([refused.status, refused.headers.get('retry-after')]).toEqual([429, '10']);
    expect(await codeOf(refused)).toBe('TOOMANYREQUESTS');
    expect((await get(`${server.url}/token`, right)).status).toBe(200);
    expect((await get(`${server.url}/token`, basic('other', 'of the other'))).status).toBe(429);
    expect(await statusFrom('127.0.0.2', `${server.url}/token`, basic('other', 'of the other'))).toBe(200);
    now += 10_000;
    expect((await wrong(4)).status).toBe(401);
    expect((await wrong(5)).status).toBe(429);
  });

  test('hundreds at once: few are checked, all are answered', async () => {
    const { server } = await serving();
    const statuses = await Promise.all(
      Array.from(
        { length: 1000 },
        async (_, i) => (await get(`${server.url}/token`, basic('site', `${i}`))).status,
      ),
    );
    expect(statuses.filter((status) => status === 401).length).toBeLessThanOrEqual(11);
    expect(new Set(statuses)).toEqual(new Set([401, 429]));
  });

  test('right ones in great number, at once and for the first time, are not limited', async () => {
    const { server } = await serving({ attempts: { burst: 2, everyMs: 1e9 } });
    const statuses = await Promise.all(
      Array.from({ length: 50 }, async () => (await get(`${server.url}/token`, right)).status),
    );
    expect(new Set(statuses)).toEqual(new Set([200]));
  });
});

function statusFrom(localAddress: string, url: string, authorization: string): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const sent = httpRequest(url, { localAddress, headers: { authorization } }, (response) => {
      response.resume();
      resolve(response.statusCode);
    });
    sent.on('error', reject).end();
  });
}

describe('an htpasswd file', () => {
  const hash = bcrypt.hashSync('x', 4);
  const parse = (text: string) => parseHtpasswd(Buffer.from(text), 'file');

  test('has users, comments and empty lines, in each spelling of bcrypt', () => {
    const lines = [
      '# people',
      '',
      `a:${hash}`,
      `b b:${hash.replace('$2b$', '$2y$')}`,
      `c:${hash.replace('$2b$', '$2a$')} `,
    ];
    expect([...parse(`\ufeff${lines.join('\r\n')}`).keys()]).toEqual(['a', 'b b', 'c']);
  });

  test.each([
    ['MD5', 'a:$apr1$x$y', 'file:2: the hash of a is not bcrypt'],
    ['SHA-1', 'a:{SHA}fEqNCco3Yq9h5ZUglD3CZJT4lBs=', 'file:2: the hash of a is not bcrypt'],
    ['a plain password', 'a:secret-of-mine', 'file:2: the hash of a is not bcrypt'],
    ['a line without a colon', 'secret-of-mine', 'file:2: is not USER:HASH'],
    ['a line without a user', `:${hash}`, 'file:2: is not USER:HASH'],
    ['a cost beyond reason', `a:${hash.replace('$04$', '$31$')}`, 'file:2: the hash of a has a cost of 31'],
    ['a user twice', `a:${hash}\na:${hash}`, 'file:3: a is on line 2 too'],
    ['nobody', '# nobody', 'file: has no log-in'],
  ])('that has %s is refused with its line', (_what, line, message) => {
    let error: unknown;
    try {
      parse(`# first line\n${line}\n`);
    } catch (cause) {
      error = cause;
    }
    expect(error).toMatchObject({ code: 'CONFIG', message: expect.stringContaining(message) });
    expect(String(error)).not.toContain('secret-of-mine');
  });
});

test('who is not protected is told so, on the page too', async () => {
  const layout = await newLayout();
  const open = await start({ writable: layout }, '0.0.0.0');
  const warned = open.warnings();
  expect(warned).toEqual([expect.stringMatching(/anyone who can connect can push.*--htpasswd/)]);
  expect(await (await fetch(open.url.replace('0.0.0.0', '127.0.0.1'))).text()).toContain(
    'anyone who can connect can push',
  );
  const plain = await start({ writable: layout, access: { logIns: site } }, '0.0.0.0');
  expect(plain.warnings()).toEqual([expect.stringContaining('passwords are sent unencrypted')]);
  const proxied = { writable: layout, access: { logIns: site }, externalUrl: 'https://factory.site.example' };
  expect((await start(proxied, '0.0.0.0')).warnings()).toEqual([]);
  expect((await start({ source: layout }, '0.0.0.0')).warnings()).toEqual([]);
  const local = await start({ writable: layout });
  expect(local.warnings()).toEqual([]);
  expect(await (await fetch(local.url)).text()).not.toContain('Not protected');
});
