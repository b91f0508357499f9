/** Log-ins at `serve`, by clients that are not ours: skopeo and podman, and oras and crane where they are installed; load too. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, renameSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as connectTls } from 'node:tls';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { type RegistryDouble, startRegistryDouble } from '../../packages/oci/src/testing/index.ts';
import { passwordHash } from '../../packages/pki/src/log-ins.ts';
import { command } from '../services/command.ts';
import { findProgram } from '../services/found-program.ts';
import { describeWith, testWith } from '../services/service-test.ts';
import { temporaryFolder } from '../services/temporary.ts';
import { makeCertificates } from '../services/tls.ts';
import { cli, cliJson, expectFailure, startCli, startServe } from '../support/cli.ts';
import { addImage } from '../support/double-image.ts';
import { type Workspace, workspace } from '../support/workspace.ts';

const [user, password] = ['site', 'correct horse: battery'];
let site: Workspace;
let upstream: RegistryDouble;
let host: string;
let stop: () => Promise<unknown>;
let stderr: () => string;
let strict: { readonly host: string; stop(): Promise<unknown> };

beforeAll(async () => {
  upstream = await startRegistryDouble();
  await addImage(upstream.repository('acme/app'), 'v1', 1, [1000]);
  site = await workspace('images: [ghcr.io/acme/app:v1]\n');
  await cliJson(['fetch', ...site.store, '--upstream', `ghcr.io=${upstream.url}`]);
  await cliJson(['bundle', ...site.bundle]);
  site.write('htpasswd', `# made by htpasswd -B\n${user}:${await passwordHash(password)}\n`);
  const access = ['--htpasswd', site.at('htpasswd')];
  const open = await startServe(['--store', site.at('store'), '--writable', site.at('registry'), ...access]);
  ({ host, stop } = open);
  stderr = open.process.stderr;
  strict = await startServe([...site.media, ...access, '--require-login', '--quiet']);
});
afterAll(async () => {
  await Promise.all([stop?.(), strict?.stop(), upstream?.close()]);
});

interface Client {
  /** @throws when it is refused */
  logIn(to: string, password: string): Promise<string>;
  /** Pushes an image into `HOST/team/NAME:v1`. */
  push(to: string): Promise<string>;
  pull(from: string): Promise<string>;
}

/** What every client does, each with a credentials file of its own. */
function logsIn(name: string, commands: readonly string[], client: () => Promise<Client>): void {
  describeWith(commands, name, () => {
    let it: Client;
    beforeAll(async () => {
      it = await client();
    });

    test('is refused with a wrong password', async () => {
      await expect(it.logIn(host, 'wrong password')).rejects.toThrow(/unauthorized|401|invalid username/i);
    });

    test('pulls what was carried without a log-in, and pushes nothing', async () => {
      await it.pull(`${host}/acme/app:v1`);
      await expect(it.push(`${host}/team/${name}:v1`)).rejects.toThrow(
        /unauthorized|401|authentication|denied/i,
      );
      await expect(it.pull(`${strict.host}/acme/app:v1`)).rejects.toThrow(
        /unauthorized|401|authentication|denied/i,
      );
    });

    test('logs in, pushes, and pulls it back; pulls where pulling needs a log-in', async () => {
      await it.logIn(host, password);
      await it.push(`${host}/team/${name}:v1`);
      await it.pull(`${host}/team/${name}:v1`);
      await it.logIn(strict.host, password);
      await it.pull(`${strict.host}/acme/app:v1`);
    });
  });
}

/** A real image as a layout, for clients that copy one. */
function layoutOf(folder: string): Promise<string> {
  const layout = join(folder, 'image');
  const flags = ['--insecure-policy', 'copy', '--quiet', '--src-tls-verify=false'];
  return command('skopeo', [...flags, `docker://${host}/acme/app:v1`, `oci:${layout}:v1`]).then(() => layout);
}

logsIn('skopeo', ['skopeo'], async () => {
  const folder = temporaryFolder('skopeo-log-in');
  const auth = ['--authfile', join(folder, 'auth.json')];
  const copy = [
    '--insecure-policy',
    'copy',
    '--quiet',
    '--src-tls-verify=false',
    '--dest-tls-verify=false',
    ...auth,
  ];
  const layout = await layoutOf(folder);
  return {
    logIn: (to, secret) =>
      command('skopeo', ['login', '--tls-verify=false', ...auth, '-u', user, '-p', secret, to]),
    push: (to) => command('skopeo', [...copy, `oci:${layout}:v1`, `docker://${to}`]),
    pull: (from) => command('skopeo', [...copy, `docker://${from}`, `dir:${join(folder, 'pulled')}`]),
  };
});

logsIn('podman', ['podman'], async () => {
  const folder = temporaryFolder('podman');
  // It takes no more than 50 characters.
  const run = mkdtempSync(join(tmpdir(), 'run-'));
  const own = ['--root', join(folder, 'root'), '--runroot', run, '--storage-driver', 'vfs'];
  const podman = (...args: readonly string[]): Promise<string> =>
    command('podman', [...own, '--events-backend', 'none', '--cgroup-manager', 'cgroupfs', ...args]);
  const insecure = ['--tls-verify=false', '--authfile', join(folder, 'auth.json')];
  writeFileSync(join(folder, 'auth.json'), '{}');
  writeFileSync(join(folder, 'file'), 'content of a layer');
  execFileSync('tar', ['-C', folder, '-cf', join(folder, 'layer.tar'), 'file']);
  await podman('import', '--quiet', join(folder, 'layer.tar'), 'localhost/made:v1');
  return {
    logIn: (to, secret) => podman('login', ...insecure, '-u', user, '-p', secret, to),
    push: (to) => podman('push', '--quiet', ...insecure, 'localhost/made:v1', `docker://${to}`),
    // Its layers are no archives, so what was carried is only looked at.
    pull: (from) =>
      from.includes('/team/')
        ? podman('pull', '--quiet', ...insecure, from)
        : podman('search', '--list-tags', ...insecure, from.replace(/:v1$/, '')),
  };
});

/** No Debian package: it is used where someone has put it. */
function describeFound(program: string, body: () => void): void {
  if (findProgram(program) !== undefined) describe(`${program}, which is on PATH`, body);
  else test(program, (context) => context.skip(`${program} is not on PATH; it is no Debian package`));
}

describeFound('oras', () => {
  logsIn('oras', [], async () => {
    const folder = temporaryFolder('oras');
    const config = ['--registry-config', join(folder, 'config.json'), '--plain-http'];
    writeFileSync(join(folder, 'file'), 'content');
    const oras = (...args: readonly string[]) => command('oras', args, folder);
    return {
      logIn: (to, secret) => oras('login', ...config, '-u', user, '-p', secret, to),
      push: (to) => oras('push', ...config, to, 'file'),
      pull: (from) => oras('pull', ...config, '--allow-path-traversal', '-o', join(folder, 'pulled'), from),
    };
  });
});

describeFound('crane', () => {
  logsIn('crane', [], async () => {
    const folder = temporaryFolder('crane');
    const folders = { right: join(folder, 'right'), wrong: join(folder, 'wrong') };
    const crane = (config: string, ...args: readonly string[]) =>
      command('env', [`DOCKER_CONFIG=${config}`, 'crane', '--insecure', ...args], folder);
    return {
      // It asks nobody whether the password is right.
      logIn: async (to, secret) => {
        const config = folders[secret === password ? 'right' : 'wrong'];
        await crane(config, 'auth', 'login', '-u', user, '-p', secret, to);
        return crane(config, 'catalog', to);
      },
      push: (to) => crane(folders.right, 'copy', `${host}/acme/app:v1`, to),
      pull: (from) => crane(folders.right, 'pull', '--format', 'oci', from, join(folder, 'pulled')),
    };
  });
});

test('load pushes with the log-in of --registry-config, and says what to do without', async () => {
  const into = [...site.media, '--registry', host, '--plain-http', host, '--handoff', site.at('handoff')];
  const auth = Buffer.from(`${user}:${password}`).toString('base64');
  site.write('none.json', '{}');
  site.write('auth.json', JSON.stringify({ auths: { [host]: { auth } } }));
  const state = (name: string) => ['--state', site.at(`state-${name}`)];
  const refused = await cli([
    'load',
    ...into,
    ...state('refused'),
    '--registry-config',
    site.at('none.json'),
  ]);
  expectFailure(refused, 5, /no credentials for .*: .*log in.* \[(?:DENIED|INCOMPLETE)\]$/);
  const loaded = await cli(['load', ...into, ...state('loaded'), '--registry-config', site.at('auth.json')]);
  expect(loaded.code, loaded.stderr).toBe(0);
  expect(stderr()).toMatch(
    / method=PUT path=\/v2\/omni-airgap\/state\/manifests\/\S+ status=201 .* user=site$/m,
  );
});

test('wants reads the list with the log-in of --registry-config where that is needed', async () => {
  const from = ['wants', '--from', `http://${strict.host}`, '--registry-config'];
  const auth = Buffer.from(`${user}:${password}`).toString('base64');
  site.write('no-wants.json', '{}');
  site.write('wants.json', JSON.stringify({ auths: { [strict.host]: { auth } } }));
  expectFailure(
    await cli([...from, site.at('no-wants.json')]),
    5,
    /no password for .*: log in .* \[DENIED\]$/,
  );
  expect(await cliJson([...from, site.at('wants.json')])).toMatchObject({ dropped: 0 });
});

describe('files', () => {
  test.each([
    [
      'a hash that is not bcrypt',
      ['--htpasswd', 'md5'],
      /--htpasswd \S+md5:2: the hash of b is not bcrypt.* \[CONFIG\]$/,
    ],
    ['no such file', ['--htpasswd', 'nowhere'], /--htpasswd \S+nowhere: no such file \[NO_INPUT\]$/],
    [
      'a short key',
      ['--htpasswd', 'htpasswd', '--token-key', 'short'],
      /--token-key \S+short: has 5 bytes.* \[CONFIG\]$/,
    ],
    [
      'no log-ins for --require-login',
      ['--require-login'],
      /--require-login needs --htpasswd FILE \[USAGE\]$/,
    ],
    ['no log-ins for --token-key', ['--token-key', 'short'], /--token-key needs --htpasswd FILE \[USAGE\]$/],
    [
      'no certificate for --client-ca',
      ['--client-ca', 'md5'],
      /--client-ca needs --cert and --key \[USAGE\]$/,
    ],
    [
      'no absolute external URL',
      ['--htpasswd', 'htpasswd', '--external-url', 'factory.site'],
      /the external URL must be http or https.* \[USAGE\]$/,
    ],
  ])('that cannot be used are refused before anything is served: %s', async (_what, flags, message) => {
    site.write('md5', 'a:$2y$05$abcdefghijklmnopqrstuu3lliEbyZdp/Vr4h8YmmadL1j1yZ986y\nb:$apr1$x$y\n');
    site.write('short', 'short\n');
    const named = flags.map((flag) => (flag.startsWith('--') || flag.includes('.') ? flag : site.at(flag)));
    expectFailure(
      await cli(['serve', '--store', site.at('store'), '--listen', '127.0.0.1:0', ...named]),
      2,
      message,
    );
  });

  testWith(
    ['openssl'],
    'log-ins and certificate are read again when they change; what cannot be used is not',
    async () => {
      const [before, after] = [await makeCertificates('127.0.0.1'), await makeCertificates('127.0.0.1')];
      const replace = (name: string, text: string): void =>
        renameSync(site.write(`${name}.new`, text), site.at(name));
      replace('cert.pem', before.cert);
      replace('key.pem', before.key);
      replace('changing', `a:${await passwordHash('password of a')}\n`);
      const server = await startServe([
        ...['--store', site.at('store'), '--htpasswd', site.at('changing')],
        ...['--cert', site.at('cert.pem'), '--key', site.at('key.pem')],
      ]);
      onTestFinished(async () => void (await server.stop()));
      const log = server.process.stderr;
      const logIn = (ca: string, who: string): Promise<string> =>
        answerOver(
          server.host,
          ca,
          `GET /token HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Basic ${Buffer.from(`${who}:password of ${who}`).toString('base64')}\r\n\r\n`,
        );
      expect(await logIn(before.ca, 'a')).toMatch(/^HTTP\/1\.1 200 /);

      replace('changing', 'a:broken\n');
      await expect
        .poll(log, { timeout: 20_000 })
        .toMatch(
          /changing: not reloaded, the previous content stays in use: .*changing:1: the hash of a is not/,
        );
      expect(await logIn(before.ca, 'a')).toMatch(/^HTTP\/1\.1 200 /);
      replace('changing', `b:${await passwordHash('password of b')}\n`);
      await expect.poll(log, { timeout: 20_000 }).toMatch(/changing: reloaded/);
      expect(await logIn(before.ca, 'a')).toMatch(/^HTTP\/1\.1 401 /);
      expect(await logIn(before.ca, 'b')).toMatch(/^HTTP\/1\.1 200 /);

      replace('cert.pem', after.cert);
      await expect
        .poll(log, { timeout: 20_000 })
        .toMatch(
          /cert\.pem: not reloaded, the previous content stays in use: certificate and key cannot be used/,
        );
      expect(await logIn(before.ca, 'b')).toMatch(/^HTTP\/1\.1 200 /);
      replace('key.pem', after.key);
      await expect.poll(log, { timeout: 20_000 }).toMatch(/cert\.pem: reloaded/);
      expect(await logIn(after.ca, 'b')).toMatch(/^HTTP\/1\.1 200 /);
      await expect(logIn(before.ca, 'b')).rejects.toThrow();
    },
  );
});

/** What the server sends on a connection of its own. */
function answerOver(to: string, ca: string, text: string): Promise<string> {
  const { hostname, port } = new URL(`https://${to}`);
  return new Promise((resolve, reject) => {
    const socket = connectTls({ host: hostname, port: Number(port), ca }, () => socket.write(text));
    let got = '';
    socket.on('data', (chunk) => {
      got += chunk.toString('latin1');
    });
    socket.on('error', reject).on('close', () => resolve(got));
  });
}

test('off loopback, taking pushes from anyone starts with a warning', async () => {
  const listening = startCli([
    'serve',
    '--writable',
    site.at('exposed'),
    '--listen',
    '0.0.0.0:0',
    '--quiet',
    '--json',
  ]);
  await listening.until(() => listening.stdout().includes('\n'));
  expect(listening.stderr()).toMatch(
    / level=warn event=exposed message=.anyone who can connect can push .*--htpasswd FILE/,
  );
  listening.kill('SIGINT');
  expect((await listening.ended).code).toBe(0);
});
