import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { credentialsFromFiles, defaultCredentialFiles } from '../src/registry/credentials.ts';

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
    const source = credentialsFromFiles([first, second]);
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
  test("docker's own forms of a host", async () => {
    const source = credentialsFromFiles([
      await file({ auths: { 'https://index.docker.io/v1/': basic('d:1'), 'https://old.io': basic('o:1') } }),
    ]);
    expect(await source.find('docker.io', 'library/x')).toMatchObject({ username: 'd' });
    expect(await source.find('old.io', '')).toMatchObject({ username: 'o' });
  });
  test('what cannot be read stops the run, without showing it', async () => {
    const bad = await file('{"auths":');
    await expect(credentialsFromFiles([bad]).find('x.io', '')).rejects.toMatchObject({ code: 'CONFIG' });
    const absent = credentialsFromFiles([join(folder, 'none')]);
    await expect(absent.find('x.io', '')).rejects.toMatchObject({ code: 'CONFIG' });
    const odd = credentialsFromFiles([await file({ auths: { 'x.io': basic('s3cret') } })]);
    const error = await odd.find('x.io', '').catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: 'CONFIG' });
    expect(String(error)).not.toContain('s3cret');
  });
  test('defaults are those of podman and docker', async () => {
    await mkdir(join(folder, 'containers'));
    await mkdir(join(folder, '.docker'));
    const podman = await file({}, 'containers/auth.json');
    const docker = await file({}, '.docker/config.json');
    expect(defaultCredentialFiles({ HOME: folder, XDG_RUNTIME_DIR: folder })).toEqual([podman, docker]);
    expect(defaultCredentialFiles({ HOME: '/none', DOCKER_CONFIG: join(folder, '.docker') })).toEqual([
      docker,
    ]);
    expect(defaultCredentialFiles({ HOME: folder, REGISTRY_AUTH_FILE: '/x' })).toEqual(['/x']);
    expect(defaultCredentialFiles({})).toEqual([]);
  });
});

describe('helpers', () => {
  test('get the server on standard input', async () => {
    await helper('echo', 'read -r server; printf \'{"Username":"u","Secret":"%s"}\' "$server"');
    const source = credentialsFromFiles([
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
    const source = credentialsFromFiles([await file({ credHelpers: { 'a.io': 'token', 'b.io': 'none' } })]);
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
    const source = credentialsFromFiles([await file({ credsStore: name })]);
    await expect(source.find('a.io', '')).rejects.toMatchObject({ code: 'CONFIG' });
  });
});
