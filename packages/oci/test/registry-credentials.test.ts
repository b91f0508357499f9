import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { descriptorOf } from '../src/model/descriptor.ts';
import { MediaType } from '../src/model/media-type.ts';
import {
  type CredentialSource,
  credentialsFromFiles,
  defaultCredentialFiles,
} from '../src/registry/credentials.ts';
import type { DoubleAuthOptions } from '../src/testing/registry/double.ts';
import { opener, startRegistry } from './registry.ts';

let folder: string;
const path = process.env['PATH'];
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'credentials-'));
});
afterEach(async () => {
  process.env['PATH'] = path;
  await rm(folder, { recursive: true });
});
const file = async (content: unknown, name = 'auth.json'): Promise<string> => {
  const at = join(folder, name);
  await writeFile(at, typeof content === 'string' ? content : JSON.stringify(content));
  return at;
};
const from = (paths: readonly string[]): CredentialSource => credentialsFromFiles({ paths, absent: [] });
const basic = (text: string) => ({ auth: Buffer.from(text).toString('base64') });
/** A helper on the PATH, as a shell script. */
const helper = async (name: string, script: string): Promise<void> => {
  const at = join(folder, `docker-credential-${name}`);
  await writeFile(at, `#!/bin/sh\n${script}\n`);
  await chmod(at, 0o755);
  process.env['PATH'] = `${folder}:${path}`;
};

describe('files', () => {
  test('the closest entry counts, then the next file', async () => {
    const first = await file({
      auths: { 'ghcr.io': basic('wide:1'), 'ghcr.io/a': basic('close:2:3'), 'empty.io': {} },
    });
    const second = await file(
      { auths: { 'ghcr.io': basic('no:no'), 'quay.io': { identitytoken: 'id' } } },
      'b.json',
    );
    const source = from([first, second]);
    expect(await source.find('ghcr.io', 'a/b')).toEqual({
      kind: 'password',
      username: 'close',
      password: '2:3',
    });
    expect(await source.find('ghcr.io', 'ab')).toMatchObject({ username: 'wide' });
    expect(await source.find('quay.io', 'x')).toEqual({ kind: 'identity', token: 'id' });
    expect(await source.find('empty.io', 'x')).toBeUndefined();
    expect(await source.find('evil-ghcr.io', 'a/b')).toBeUndefined();
  });
  test.each(['constructor', '__proto__', 'toString'])(
    'a host or path named %s is only a name',
    async (name) => {
      const source = from([await file({ auths: { 'ghcr.io': basic('u:p') } }), await file({}, 'b')]);
      expect(await source.find(name, name)).toBeUndefined();
      expect(await source.find('ghcr.io', name)).toMatchObject({ username: 'u' });
    },
  );
  test("docker's own forms of a host", async () => {
    const source = from([
      await file({ auths: { 'https://index.docker.io/v1/': basic('d:1'), 'https://old.io': basic('o:1') } }),
    ]);
    expect(await source.find('docker.io', 'library/x')).toMatchObject({ username: 'd' });
    expect(await source.find('old.io', '')).toMatchObject({ username: 'o' });
  });
  test.each([
    'http://old.site:5000',
    'http://old.site:5000/',
    'https://old.site:5000/v1/',
    'https://old.site:5000/v2/',
    'https://old.site:5000/any/path',
  ])('C6 the key %s is for the whole registry', async (key) => {
    const source = from([await file({ auths: { [key]: basic('o:1'), 'old.site:5000/team': basic('t:1') } })]);
    expect(await source.find('old.site:5000', 'a/b')).toMatchObject({ username: 'o' });
    expect(await source.find('old.site:5000', 'team/b')).toMatchObject({ username: 't' });
    expect(await source.find('old.site', 'a/b')).toBeUndefined();
    expect(await source.find('site:5000', 'a/b')).toBeUndefined();
  });
  test('P16 a key with a path is for that part alone, the closest first', async () => {
    const auths = { 'r.site/team/app': basic('app:1'), 'r.site/team': basic('team:1') };
    const source = from([await file({ auths })]);
    expect(await source.find('r.site', 'team/app/x')).toMatchObject({ username: 'app' });
    expect(await source.find('r.site', 'team/apple')).toMatchObject({ username: 'team' });
    expect(await source.find('r.site', 'teams')).toBeUndefined();
    expect(await source.find('r.site', '')).toBeUndefined();
  });
  test('a message can say where credentials were found, or looked for, without a secret', async () => {
    await helper('echo', 'printf \'{"Username":"u","Secret":"s3cret"}\'');
    const at = await file({
      auths: { 'r.site/team': basic('me:s3cret'), 'id.site': { identitytoken: 's3cret' } },
      credHelpers: { 'h.site': 'echo' },
    });
    const source = from([at]);
    expect(await source.explain?.('r.site', 'team/app')).toEqual({
      who: 'user "me"',
      where: `${at}, entry r.site/team`,
    });
    expect(await source.explain?.('id.site', '')).toEqual({
      who: 'the identity token',
      where: `${at}, entry id.site`,
    });
    expect(await source.explain?.('h.site', '')).toEqual({
      who: 'user "u"',
      where: `docker-credential-echo, named in ${at}`,
    });
    expect(await source.explain?.('r.site', 'other')).toEqual({ who: undefined, where: at });
    const absent = credentialsFromFiles({ paths: [], absent: ['/a/auth.json', '/b/config.json'] });
    expect(await absent.explain?.('r.site', '')).toEqual({
      who: undefined,
      where: '/a/auth.json (missing) or /b/config.json (missing)',
    });
  });
  test.each(['utf8', 'utf16le'] as const)('C10 with a byte order mark, %s', async (encoding) => {
    const at = join(folder, 'marked.json');
    const text = JSON.stringify({ auths: { 'ghcr.io': basic('me:1') } });
    await writeFile(at, Buffer.from(`\ufeff${text}`, encoding));
    const found = await from([at]).find('ghcr.io', 'a');
    expect(found).toMatchObject({ username: 'me' });
  });
  test('what cannot be read stops the run, without showing it', async () => {
    const bad = await file('{"auths":');
    await expect(from([bad]).find('x.io', '')).rejects.toMatchObject({ code: 'CONFIG' });
    const absent = from([join(folder, 'none')]);
    await expect(absent.find('x.io', '')).rejects.toMatchObject({ code: 'CONFIG' });
    const odd = from([await file({ auths: { 'x.io': basic('s3cret') } })]);
    const error = await odd.find('x.io', '').catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: 'CONFIG' });
    expect(String(error)).not.toContain('s3cret');
  });
  test('defaults are those of podman and docker', async () => {
    await mkdir(join(folder, 'containers'));
    await mkdir(join(folder, '.docker'));
    const podman = await file({}, 'containers/auth.json');
    const docker = await file({}, '.docker/config.json');
    const files = (paths: readonly string[], ...absent: string[]) => ({ paths, absent });
    expect(defaultCredentialFiles({ HOME: folder, XDG_RUNTIME_DIR: folder })).toEqual(
      files([podman, docker]),
    );
    expect(
      defaultCredentialFiles({ XDG_RUNTIME_DIR: '/none', DOCKER_CONFIG: join(folder, '.docker') }),
    ).toEqual(files([docker], '/none/containers/auth.json'));
    expect(defaultCredentialFiles({ HOME: folder, REGISTRY_AUTH_FILE: '/x' })).toEqual(files(['/x']));
    expect(defaultCredentialFiles({})).toEqual(files([]));
  });
});

describe('helpers', () => {
  test('get the server on standard input', async () => {
    await helper('echo', 'read -r server; printf \'{"Username":"u","Secret":"%s"}\' "$server"');
    const source = from([
      await file({
        credHelpers: { 'ghcr.io': 'echo' },
        credsStore: 'echo',
        auths: { 'ghcr.io': basic('no:no') },
      }),
    ]);
    expect(await source.find('ghcr.io', 'a')).toEqual({
      kind: 'password',
      username: 'u',
      password: 'ghcr.io',
    });
    expect(await source.find('docker.io', 'a')).toMatchObject({ password: 'https://index.docker.io/v1/' });
  });
  test('a token instead of a password, and nothing at all', async () => {
    await helper('token', 'printf \'{"Username":"<token>","Secret":"id"}\'');
    await helper('none', 'echo "credentials not found in native keychain"; exit 1');
    const source = from([await file({ credHelpers: { 'a.io': 'token', 'b.io': 'none' } })]);
    expect(await source.find('a.io', '')).toEqual({ kind: 'identity', token: 'id' });
    expect(await source.find('b.io', '')).toBeUndefined();
  });
  test.each([
    ['a name that is a path', '../echo', ''],
    ['a program that is not there', 'absent', ''],
    ['a failure', 'fail', 'exit 3'],
    ['nonsense', 'nonsense', 'echo "{}"'],
    ['too much', 'long', 'yes'],
  ])('%s is a CONFIG error', async (_, name, script) => {
    if (script !== '') await helper(name, script);
    const source = from([await file({ credsStore: name })]);
    await expect(source.find('a.io', '')).rejects.toMatchObject({ code: 'CONFIG' });
  });
});

describe('a helper is asked once for a registry', () => {
  const calls = async (): Promise<number> =>
    (await readFile(join(folder, 'calls'), 'utf8').catch(() => '')).split('\n').length - 1;
  /** A registry that lets `user` in, and a helper that counts its calls and answers with what `secret` prints. */
  const start = async (kind: DoubleAuthOptions['kind'], secret: string) => {
    await helper(
      'count',
      `read -r server; echo "$server" >> ${folder}/calls; printf '{"Username":"user","Secret":"%s"}' "$(${secret})"`,
    );
    const credentials = from([await file({ credHelpers: { 'registry.example': 'count' } })]);
    return startRegistry({ auth: { kind, username: 'user', password: 'right' } }, { credentials });
  };
  const contents = Array.from({ length: 12 }, (_, i) => Buffer.from(`blob ${i}`));
  const layerOf = (bytes: Uint8Array) => descriptorOf(MediaType.octetStream, bytes);

  test.each(['basic', 'token'] as const)('however many requests are made (%s)', async (kind) => {
    const { registry, client } = await start(kind, 'echo right');
    // The first requests come at the same time, and share the one look-up.
    await Promise.all(
      contents.map((bytes, i) => client.repository(`a/${i}`).push(layerOf(bytes), opener(bytes))),
    );
    for (const [i, bytes] of contents.entries()) {
      expect(await client.repository(`a/${i}`).has(layerOf(bytes))).toBe(true);
    }
    expect(registry.requests.length).toBeGreaterThan(4 * contents.length);
    expect(await calls()).toBe(1);
  });

  test.each(['basic', 'token'] as const)('and once more when it was refused (%s)', async (kind) => {
    const { client, registry } = await start(kind, 'echo wrong');
    const refusals = await Promise.all(
      contents.map((bytes, i) =>
        client
          .repository(`a/${i}`)
          .has(layerOf(bytes))
          .catch((thrown: unknown) => thrown),
      ),
    );
    for (const refusal of refusals) {
      expect(refusal).toMatchObject({ code: 'DENIED', status: 401 });
      expect(String(refusal)).toContain(
        `the credentials of user "user" (docker-credential-count, named in ${folder}/auth.json) were refused, also after a second look-up: log in again (docker login registry.example, or --registry-config FILE)`,
      );
      expect(String(refusal)).not.toMatch(/wrong/);
    }
    expect(await calls()).toBe(2);
    const before = registry.requests.length;
    await expect(client.repository('later').has(layerOf(Buffer.from('x')))).rejects.toMatchObject({
      code: 'DENIED',
    });
    expect(await calls()).toBe(2);
    expect(registry.requests.length - before).toBeLessThanOrEqual(2);
  });

  test.each(['basic', 'token'] as const)('and a new answer is used (%s)', async (kind) => {
    const { repository } = await start(kind, `[ $(wc -l < ${folder}/calls) = 1 ] && echo old || echo right`);
    const [bytes = Buffer.alloc(0)] = contents;
    await repository.push(layerOf(bytes), opener(bytes));
    expect(await repository.has(layerOf(bytes))).toBe(true);
    expect(await calls()).toBe(2);
  });

  test.each(['basic', 'token'] as const)('and a new answer may be refused too (%s)', async (kind) => {
    const { repository } = await start(kind, `wc -l < ${folder}/calls`);
    await expect(repository.has(layerOf(Buffer.from('x')))).rejects.toMatchObject({
      code: 'DENIED',
      message: /the credentials of user "user" .* were refused, also after a second look-up/,
    });
    expect(await calls()).toBe(2);
  });

  test('a program that cannot be used is not started for each request either', async () => {
    await helper('fail', `echo called >> ${folder}/calls; exit 3`);
    const source = from([await file({ credsStore: 'fail' })]);
    const all = await Promise.allSettled(
      ['a', 'b', 'c'].map((path) => source.find('registry.example', path)),
    );
    expect(all.map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected']);
    expect(await calls()).toBe(1);
  });
});
