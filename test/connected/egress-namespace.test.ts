/**
 * A connected host whose only way out is a proxy, as sites have it: a network namespace with one link, to a real squid
 * that wants a password and lets five domains through. Whatever else were contacted could not be reached, and would
 * stand in squid's log. Behind it the public hosts speak TLS with certificates of a private authority.
 */
import { spawnSync } from 'node:child_process';
import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { command } from '../services/command.ts';
import { type ServerProcess, startProcess } from '../services/server-process.ts';
import { describeWith } from '../services/service-test.ts';
import { remove, temporaryFolder } from '../services/temporary.ts';
import { type Certificates, makeCertificates } from '../services/tls.ts';

const blobHost = 'pkg-containers.githubusercontent.com';
const storageHost = 'image-factory.0123456789abcdef0123456789abcdef.r2.cloudflarestorage.com';
const hosts = ['ghcr.io', blobHost, 'factory.talos.dev', storageHost];
const fiveDomains = ['ghcr.io', '.githubusercontent.com', 'factory.talos.dev', '.r2.cloudflarestorage.com'];
const password = 'canary-proxy-password';
const main = join(import.meta.dirname, '../..', 'packages', 'cli', 'src', 'main.ts');
const outside = fileURLToPath(new URL('../support/outside.ts', import.meta.url));
const ip = 'ip';
/** Namespaces are of the whole machine: another run must not get ours. */
const names = { out: `oa-out-${process.pid}`, site: `oa-site-${process.pid}` };
const link = { out: `oao${process.pid % 1_000_000}`, site: `oas${process.pid % 1_000_000}` };
const proxyAddress = '10.77.31.1';
const proxyPort = 3128;
/** Wants no password. */
const openProxyPort = 3129;

const mirror = `apiVersion: omni-airgap/v1
talos: {versions: [v1.13.9]}
media: [{schematic: {customization: {}}, files: [kernel-amd64, cmdline-metal-amd64], installers: [metal]}]
images: ['ghcr.io/siderolabs/omni:v1.10.4', 'ghcr.io/dexidp/dex:v2.41.1']
`;

function mayMakeNamespaces(): boolean {
  const { status } = spawnSync(ip, ['netns', 'add', names.site]);
  if (status === 0) spawnSync(ip, ['netns', 'del', names.site]);
  return status === 0;
}

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

describeWith(['ip', 'squid', 'openssl', 'setpriv'], 'a proxy as the only way out', () => {
  let folder: string;
  let certificates: Certificates;
  const servers: ServerProcess[] = [];
  const canRun = mayMakeNamespaces();
  const at = (name: string): string => join(folder, name);
  const squidLog = (): readonly string[] => readFileSync(at('access.log'), 'utf8').trim().split('\n');

  beforeAll(async () => {
    if (!canRun) return;
    folder = temporaryFolder('namespace');
    // Squid gives up its rights and must still get at its files.
    for (const path of [tmpdir(), folder]) chmodSync(path, 0o755);
    certificates = await makeCertificates(...hosts);
    for (const name of Object.values(names)) await command('ip', ['netns', 'add', name]);
    await command('ip', [
      'link',
      'add',
      link.out,
      'netns',
      names.out,
      'type',
      'veth',
      'peer',
      'name',
      link.site,
      'netns',
      names.site,
    ]);
    for (const [where, address] of [
      ['out', proxyAddress],
      ['site', '10.77.31.2'],
    ] as const) {
      const inside = (...args: string[]) => command('ip', ['-n', names[where], ...args]);
      await inside('addr', 'add', `${address}/30`, 'dev', link[where]);
      await inside('link', 'set', link[where], 'up');
      await inside('link', 'set', 'lo', 'up');
    }
    writeFileSync(at('server.pem'), certificates.cert);
    writeFileSync(at('server.key'), certificates.key);
    writeFileSync(at('mirror.yaml'), mirror);
    const inOut = ['ip', 'netns', 'exec', names.out] as const;
    const upstream = startProcess(
      [...inOut, process.execPath, outside, at('upstream'), at('server.pem'), at('server.key')],
      at('upstream.log'),
    );
    servers.push(upstream);
    await upstream.until(() => (upstream.output().includes('ready') ? true : undefined), 60_000);
    await startSquid();
  });
  afterAll(async () => {
    for (const server of servers.toReversed()) await server.stop();
    if (canRun) for (const name of Object.values(names)) spawnSync(ip, ['netns', 'del', name]);
    certificates?.dispose();
    if (folder !== undefined) remove(folder);
  });

  async function startSquid(): Promise<void> {
    writeFileSync(at('hosts'), `127.0.0.1 ${hosts.join(' ')}\n`);
    writeFileSync(at('users'), `site:${(await command('openssl', ['passwd', '-apr1', password])).trim()}\n`);
    writeFileSync(at('access.log'), '');
    chmodSync(at('access.log'), 0o666);
    writeFileSync(
      at('squid.conf'),
      [
        `http_port ${proxyAddress}:${proxyPort}`,
        `http_port ${proxyAddress}:${openProxyPort} name=open`,
        `hosts_file ${at('hosts')}`,
        `pid_filename none`,
        `access_log stdio:${at('access.log')}`,
        `cache_log stdio:/dev/stderr`,
        'cache deny all',
        'dns_nameservers 127.0.0.1',
        'shutdown_lifetime 0 seconds',
        `auth_param basic program /usr/lib/squid/basic_ncsa_auth ${at('users')}`,
        'acl known proxy_auth REQUIRED',
        `acl site dstdomain ${fiveDomains.join(' ')}`,
        'acl CONNECT method CONNECT',
        'acl open myportname open',
        'http_access allow CONNECT site open',
        'http_access deny open',
        'http_access deny !known',
        'http_access allow CONNECT site',
        'http_access deny all',
        '',
      ].join('\n'),
    );
    const squid = startProcess(
      ['ip', 'netns', 'exec', names.out, 'squid', '-N', '-d', '1', '-f', at('squid.conf')],
      at('squid.log'),
    );
    servers.push(squid);
    await squid.until(() => (squid.output().includes('Accepting HTTP') ? true : undefined), 30_000);
  }

  /** The command in the namespace that has nothing but the link to squid. */
  function run(args: readonly string[], proxyLogin: string, port = proxyPort): Ended {
    const { status, stdout, stderr } = spawnSync(
      ip,
      ['netns', 'exec', names.site, process.execPath, '--disable-warning=ExperimentalWarning', main, ...args],
      {
        encoding: 'utf8',
        timeout: 100_000,
        env: {
          PATH: process.env['PATH'],
          HOME: folder,
          HTTPS_PROXY: `http://${proxyLogin}${proxyAddress}:${port}`,
        },
      },
    );
    return { code: status, stdout, stderr };
  }
  const inSite = (...args: string[]): Ended =>
    run([...args, '--ca-cert', certificates.caFile], `site:${password}@`);
  const needsNamespaces = (context: { skip(note: string): void }): void => {
    if (!canRun) context.skip('network namespaces cannot be made here (needs root)');
  };

  test('egress check goes through it and shows who signed', (context) => {
    needsNamespaces(context);
    const { code, stdout, stderr } = inSite('egress', 'check', '--config', at('mirror.yaml'), '--json');
    expect(code, stdout + stderr).toBe(0);
    const { hosts: checked } = JSON.parse(stdout) as {
      hosts: {
        pattern: string;
        state: string;
        connection?: { via?: string; issuer?: string; tls: string };
      }[];
    };
    const ghcr = checked.find((host) => host.pattern === 'ghcr.io');
    expect(ghcr).toMatchObject({
      state: 'ok',
      connection: { via: 'proxy', tls: 'ok', issuer: 'Test authority' },
    });
  });

  test('a site is fetched whole; squid has seen the five domains and no other host', (context) => {
    needsNamespaces(context);
    const { code, stdout, stderr } = inSite(
      'fetch',
      '--config',
      at('mirror.yaml'),
      '--store',
      at('store'),
      '--json',
    );
    expect(code, stdout + stderr).toBe(0);
    const connected = new Set(squidLog().map((line) => /CONNECT (\S+):443/.exec(line)?.[1] ?? line));
    expect([...connected].sort()).toEqual([...hosts].sort());
    const records = readFileSync(at('store/egress.jsonl'), 'utf8').trim().split('\n');
    for (const line of records) expect(JSON.parse(line)).toMatchObject({ via: 'proxy', address: '' });
    expect(records.join() + stdout + stderr).not.toContain(password);
  });

  test('a proxy that wants no password', (context) => {
    needsNamespaces(context);
    const args = [
      'plan',
      '--config',
      at('mirror.yaml'),
      '--store',
      at('none'),
      '--ca-cert',
      certificates.caFile,
    ];
    const { code, stdout, stderr } = run([...args, '--json'], '', openProxyPort);
    expect(code, stdout + stderr).toBe(0);
    const { items } = JSON.parse(stdout) as { items: { name: string; digest?: string }[] };
    expect(items[0]).toMatchObject({ name: 'ghcr.io/siderolabs/omni:v1.10.4', digest: expect.any(String) });
  });

  test('a private authority that is not named is refused, with the flag to name it', (context) => {
    needsNamespaces(context);
    const { code, stderr } = run(
      ['fetch', '--config', at('mirror.yaml'), '--store', at('other')],
      `site:${password}@`,
    );
    expect(code).toBe(5);
    expect(stderr).toContain('--ca-cert FILE');
  });

  test('a wrong password for the proxy is said, and shown nowhere (F56)', (context) => {
    needsNamespaces(context);
    const { code, stdout, stderr } = run(
      ['egress', 'check', '--config', at('mirror.yaml'), '--ca-cert', certificates.caFile],
      'site:canary-wrong@',
    );
    expect(code).toBe(5);
    expect(stdout).toMatch(
      /the proxy \S+ \(HTTPS_PROXY\): answers 407; it refuses the user name and password/,
    );
    expect(stdout + stderr).not.toContain('canary-wrong');
  });

  test('without the proxy there is no way out', (context) => {
    needsNamespaces(context);
    const { status } = spawnSync(ip, ['netns', 'exec', names.site, 'ip', 'route', 'get', '192.0.2.1']);
    expect(status).not.toBe(0);
  });
});
