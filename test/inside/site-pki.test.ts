/** What site init --pki makes, judged by the programs that use such files; and the questions on a real terminal. */
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import { earlyArgument } from '../../packages/talos/src/handoff/machines.ts';
import { parseSite } from '../../packages/talos/src/index.ts';
import { nodeFlags } from '../../scripts/lib/node-flags.ts';
import { root } from '../repository.ts';
import { command } from '../services/command.ts';
import { startRegistry } from '../services/docker-registry.ts';
import { testWith } from '../services/service-test.ts';
import { temporaryFolder } from '../services/temporary.ts';
import { cli, cliJson, startServe } from '../support/cli.ts';

const folder = temporaryFolder('site-pki');
const at = (name: string): string => join(folder, name);
const read = (name: string): string => readFileSync(at(name), 'utf8');
const services = ['omni', 'factory', 'login', 'registry', 'objectStore'];
const hosts: Readonly<Record<string, string>> = {
  omni: 'omni.site',
  factory: 'factory.site',
  login: 'login.site',
  registry: 'registry.site',
  objectStore: 's3.site',
};
const flags = ['--omni', 'omni.site', '--wireguard', '10.0.0.5', '--object-store', 's3.site:9000', '--pki'];
const eula = [
  '--eula-name',
  "Ada O'Lovelace",
  '--eula-email',
  'ada@site.example',
  '--registry-user',
  'loader',
];
const init = ['site', 'init', '--site', at('site.yaml'), ...flags, ...eula];
let first: { readonly made: readonly string[]; readonly problems: readonly string[] };

beforeAll(async () => {
  first = await cliJson(init);
});

test('one command makes the site file and all that it names', () => {
  const { caFile, certificates = {}, secrets } = parseSite(read('site.yaml'), 'site.yaml');
  const named = [caFile, ...Object.values(certificates).flatMap(({ chain, key }) => [chain, key])];
  const kept = ['omni.env', 'omni.asc', 'signing-key.key'].map((name) => `${secrets}/${name}`);
  expect(first.problems).toEqual([]);
  expect(first.made).toEqual(expect.arrayContaining([...named, ...kept].map((name) => at(name ?? ''))));
});

testWith(
  ['openssl'],
  'OpenSSL verifies each chain strictly, for its names and addresses and no other',
  async () => {
    for (const service of services) {
      const chain = at(`pki/services/${service}-chain.pem`);
      const verify = (...args: string[]): Promise<string> =>
        command('openssl', [
          ...[
            'verify',
            '-x509_strict',
            '-check_ss_sig',
            '-purpose',
            'sslserver',
            '-CAfile',
            at('pki/ca.pem'),
          ],
          ...[...args, chain],
        ]);
      expect(await verify('-verify_hostname', hosts[service] ?? '')).toContain(': OK');
      expect(await verify('-verify_ip', service === 'omni' ? '10.0.0.5' : '127.0.0.1')).toContain(': OK');
      await expect(verify('-verify_hostname', 'other.site')).rejects.toThrow(/hostname mismatch/);
      // Their certificate is no authority.
      await expect(
        command('openssl', ['verify', '-purpose', 'sslclient', '-CAfile', at('pki/ca.pem'), chain]),
      ).rejects.toThrow(/unsuitable certificate purpose|unsupported/);
      const key = await command('openssl', ['pkey', '-in', at(`pki/services/${service}-key.pem`), '-pubout']);
      expect(await command('openssl', ['x509', '-in', chain, '-noout', '-pubkey'])).toBe(key);
    }
    const signing = await command('openssl', [
      'ec',
      '-in',
      at('pki/services/signing-key.key'),
      '-noout',
      '-text',
    ]);
    expect(signing).toContain('prime256v1');
  },
);

testWith(['systemd-analyze'], 'systemd accepts the unit of the registry', async () => {
  const unit = at('omni-airgap-registry.service');
  expect(first.made).toContain(unit);
  // Prints nothing where it finds nothing.
  expect(await command('systemd-analyze', ['verify', '--man=no', unit])).toBe('');
  const [, start = ''] = /^ExecStart=(.*)$/m.exec(read('omni-airgap-registry.service')) ?? [];
  const [program = '', ...args] = start.split(' ');
  expect(program).toBe(join(root, 'scripts/omni-airgap'));
  expect(args).toEqual([
    ...['serve', '--writable', '/var/lib/omni-airgap/registry', '--listen', '0.0.0.0:5000'],
    ...['--cert', at('pki/services/registry-chain.pem'), '--key', at('pki/services/registry-key.pem')],
    ...['--htpasswd', at('pki/services/registry.htpasswd')],
  ]);
});

test('the authority fits on a kernel command line with room to spare', () => {
  const { argument, fits } = earlyArgument(read('pki/ca.pem'));
  expect(fits).toBe(true);
  expect(argument.length).toBeLessThan(900);
});

testWith(
  ['curl'],
  'curl and the HTTP client of this program accept the certificates with ca.pem, and not without',
  async () => {
    const server = await new Promise<Server>((resolve) => {
      const [cert, key] = [read('pki/services/factory-chain.pem'), read('pki/services/factory-key.pem')];
      const made = createServer({ cert, key }, (_, response) => response.end('["v1.13.9"]'));
      made.listen(0, '127.0.0.1', () => resolve(made));
    });
    try {
      const { port } = server.address() as AddressInfo;
      const url = `https://factory.site:${port}/versions`;
      const curl = (...args: string[]): Promise<string> =>
        command('curl', ['-sS', '--resolve', `factory.site:${port}:127.0.0.1`, ...args, url]);
      expect(await curl('--cacert', at('pki/ca.pem'))).toBe('["v1.13.9"]');
      await expect(curl()).rejects.toThrow(/certificate/);
      writeFileSync(at('check.yaml'), `factory: https://127.0.0.1:${port}\ncaFile: pki/ca.pem\n`);
      const check = ['egress', 'check', '--inside', '--site', at('check.yaml')];
      expect(await cliJson<object>(check)).toMatchObject({ ok: true });
      writeFileSync(at('check.yaml'), `factory: https://127.0.0.1:${port}\n`);
      const without = await cli(check);
      expect([without.code, without.stdout]).toEqual([5, expect.stringContaining('certificate')]);
      // This client would trust it, Omni and machines would not.
      const alone = await cli([...check, '--ca-cert', at('pki/ca.pem')]);
      expect(alone.code).toBe(5);
      expect(alone.stdout).toMatch(/versions +ok/);
      expect(alone.stdout).toMatch(/certificate \d+\/tcp +failed [\s\S]*caFile/);
    } finally {
      server.close();
    }
  },
);

testWith(['gpg'], 'gpg imports the database key without a question, and decrypts with it', async () => {
  const home = temporaryFolder('gpg');
  const gpg = (...args: string[]): Promise<string> =>
    command('gpg', ['--homedir', home, '--batch', '--no-tty', '--quiet', ...args]);
  await gpg('--import', at('pki/services/omni.asc'));
  const listing = (await gpg('--list-secret-keys', '--with-colons'))
    .split('\n')
    .map((line) => line.split(':'));
  const row = (kind: string): readonly string[] => listing.find(([type]) => type === kind) ?? [];
  // Fields: 3 bits, 4 algorithm (1 is RSA), 7 expiry, 12 capabilities. Source: GnuPG doc/DETAILS.
  expect([2, 3, 6].map((i) => row('sec')[i])).toEqual(['4096', '1', '']);
  expect([2, 3, 6, 11].map((i) => row('ssb')[i])).toEqual(['4096', '1', '', 'e']);
  expect(row('uid')[9]).toBe('Omni (etcd) <admin@omni.site>');
  const packets = await command('gpg', ['--homedir', home, '--list-packets', at('pki/services/omni.asc')]);
  expect(
    [...packets.matchAll(/secret (?:sub )?key packet:\n\tversion (\d)/g)].map(([, version]) => version),
  ).toEqual(['4', '4']);
  writeFileSync(at('plain'), 'master key');
  await gpg(
    '--trust-model',
    'always',
    '--recipient',
    'admin@omni.site',
    '--output',
    at('secret'),
    '--encrypt',
    at('plain'),
  );
  expect(await gpg('--decrypt', at('secret'))).toBe('master key');
  await command('gpgconf', ['--homedir', home, '--kill', 'all']).catch(() => '');
});

testWith(
  ['docker-registry', 'curl'],
  'docker-registry starts with the certificate, and takes the log-in and no other',
  async () => {
    const registry = await startRegistry({
      auth: { htpasswd: at('pki/services/registry.htpasswd') },
      tls: { certificate: at('pki/services/registry-chain.pem'), key: at('pki/services/registry-key.pem') },
    });
    try {
      const { auths } = JSON.parse(read('pki/registry-auth.json'));
      const login = Buffer.from(auths['registry.site:5000'].auth, 'base64').toString();
      const status = (...args: string[]): Promise<string> =>
        command('curl', [
          '-sS',
          '-o',
          '/dev/null',
          '-w',
          '%{http_code}',
          '--cacert',
          at('pki/ca.pem'),
          ...args,
          `${registry.url}/v2/`,
        ]);
      expect(await status('-u', login)).toBe('200');
      expect(await status('-u', `${login}x`)).toBe('401');
      expect(await status()).toBe('401');
    } finally {
      await registry.stop();
    }
  },
);

testWith(['curl'], 'serve starts with the same files, and takes the log-in and no other', async () => {
  const server = await startServe([
    ...['--writable', at('served'), '--htpasswd', at('pki/services/registry.htpasswd'), '--quiet'],
    ...['--cert', at('pki/services/registry-chain.pem'), '--key', at('pki/services/registry-key.pem')],
  ]);
  try {
    const { auths } = JSON.parse(read('pki/registry-auth.json'));
    const login = Buffer.from(auths['registry.site:5000'].auth, 'base64').toString();
    const status = (...args: string[]): Promise<string> =>
      command('curl', [
        ...['-sS', '-o', '/dev/null', '-w', '%{http_code}', '--cacert', at('pki/ca.pem')],
        ...args,
        `https://${server.host}/token`,
      ]);
    expect(await status('-u', login)).toBe('200');
    expect(await status('-u', `${login}x`)).toBe('401');
  } finally {
    await server.stop();
  }
});

test('the same again keeps every byte and says when certificates expire', async () => {
  const before = first.made.map((path) => [path, readFileSync(path, 'utf8'), statSync(path).mtimeMs]);
  const { code, stdout } = await cli(init);
  expect(code).toBe(0);
  expect(stdout).toMatch(/^Kept \d+ existing files as they are$/m);
  expect(stdout).toMatch(/omni-chain\.pem +20\d\d-\d\d-\d\d +82\d days/);
  expect(first.made.map((path) => [path, readFileSync(path, 'utf8'), statSync(path).mtimeMs])).toEqual(
    before,
  );
});

test('what is still to do ends with exit 5: license terms that nobody has accepted', async () => {
  const { code, stderr } = await cli([
    'site',
    'init',
    '--site',
    at('other.yaml'),
    '--pki',
    at('other'),
    '--omni',
    'o.site',
  ]);
  expect(code).toBe(5);
  expect(stderr).toMatch(
    /nobody has accepted Omni's license terms yet; run the same command with --eula-name NAME/,
  );
});

/** Types lines into a terminal, each when its question has come. Prints what the terminal showed. */
const typist = `
import os, pty, select, sys, json
answers = json.loads(sys.argv[1])
pid, fd = pty.fork()
if pid == 0:
    os.execvp(sys.argv[2], sys.argv[2:])
seen = b''
while True:
    try:
        chunk = os.read(fd, 4096)
    except OSError:
        break
    if not chunk:
        break
    seen += chunk
    while answers and answers[0][0].encode() in seen:
        os.write(fd, (answers.pop(0)[1] + '\\r').encode())
status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
sys.stdout.write(seen.decode())
sys.exit(status if status >= 0 else 128 - status)
`;

testWith(['python3'], 'on a terminal it asks, and shows no password', async () => {
  const run = (site: string, answers: readonly (readonly [string, string])[]): Promise<string> =>
    command(
      'python3',
      [
        ...['-c', typist, JSON.stringify(answers), process.execPath, ...nodeFlags],
        ...[join(root, 'packages/cli/src/main.ts'), 'site', 'init', '--site', at(site), '--pki', at('asked')],
      ],
      folder,
    );
  const shown = await run('asked.yaml', [
    ['Host name of Omni', 'omni.asked.example'],
    ['Image Factory [factory.asked.example:8080]', ''],
    ['Registry [registry.asked.example:5000]', ''],
    ['Log-in service (OIDC) [login.asked.example:5556]', ''],
    ['IP address of Omni', '10.0.0.5'],
    ['Time servers', '10.0.0.1 ntp.asked.example'],
    ['URL for PXE clients', ''],
    ['Name of the person who accepts', 'Ada Lovelace'],
    ['E-mail address of that person', 'ada@asked.example'],
    ['Password for admin@omni.asked.example', 'correct horse'],
    ['The same again', 'correct horse'],
  ]);
  expect(shown).not.toContain('correct horse');
  expect(shown).toContain('Wrote ');
  expect(parseSite(read('asked.yaml'), 'asked.yaml').ntp).toEqual(['10.0.0.1', 'ntp.asked.example']);
  expect(read('asked/services/omni.env')).toMatch(/^OMNI_EULA_NAME='Ada Lovelace'$/m);
  const stopped = await run('stopped.yaml', [['Host name of Omni', '\u0003']]).catch((error: Error) => error);
  expect(stopped).toMatchObject({ code: 130 });
  expect(() => read('stopped.yaml')).toThrow();
});

test('no other command, and no help, loads the libraries for it', async () => {
  const hook = `import { registerHooks } from 'node:module';
registerHooks({ load(url, context, next) {
  if (/openpgp|x509|bcryptjs|packages\\/pki/.test(url)) process.stderr.write('LOADED ' + url + '\\n');
  return next(url, context);
} });`;
  writeFileSync(at('hook.mjs'), hook);
  const loaded = async (...args: string[]): Promise<readonly string[]> =>
    (await cli(args, { env: { NODE_OPTIONS: `--import ${at('hook.mjs')}` } })).stderr.match(
      /^LOADED .*$/gm,
    ) ?? [];
  expect(await loaded('--help')).toEqual([]);
  expect(await loaded('load', '--help')).toEqual([]);
  expect((await loaded('site', 'init', '--site', at('site.yaml'))).length).toBeGreaterThan(3);
});
