/** site init: what is asked, written, kept, refused, and said about certificates. */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseSite } from '@omni-airgap/talos';
import bcrypt from 'bcryptjs';
import { afterAll, beforeEach, describe, expect, test } from 'vitest';
import { authorityCertificate, newKey, serverChain } from '../src/certificates.ts';
import { type Ask, initSite, type SiteInit, type SiteInitReport } from '../src/init-site.ts';
import { passwordHash } from '../src/log-ins.ts';

const folders: string[] = [];
let folder: string;
const at = (name: string): string => join(folder, name);
const read = (name: string): Promise<string> => readFile(at(name), 'utf8');

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'omni-airgap-pki-'));
  folders.push(folder);
  await mkdir(at('pki/services'), { recursive: true });
  // These take seconds to make; what is there is kept.
  await writeFile(
    at('pki/services/omni.env'),
    `OMNI_PASSWORD_HASH_ADMIN_OMNI_SITE_EXAMPLE='$2y$12$${'a'.repeat(53)}'\n`,
    { mode: 0o600 },
  );
  await writeFile(at('pki/services/omni.asc'), 'a key from another test\n');
});
afterAll(() => Promise.all(folders.map((one) => rm(one, { recursive: true }))));

const eula = { eulaName: 'Ada Lovelace', eulaEmail: 'ada@site.example' };
const init = (options: Partial<SiteInit> = {}): Promise<SiteInitReport> =>
  initSite({ site: at('site.yaml'), pki: at('pki'), answers: {}, ...eula, ...options });
const named = { answers: { omni: 'omni.site.example', wireguard: '10.0.0.5' } };

/** Answers in turn; keeps the questions. */
function answering(...answers: readonly string[]): { readonly ask: Ask; readonly asked: string[] } {
  const asked: string[] = [];
  return {
    asked,
    ask: async (question) => {
      asked.push(question);
      const answer = answers[asked.length - 1];
      if (answer === undefined) throw new Error(`nothing answers: ${question}`);
      return answer;
    },
  };
}

async function allFiles(): Promise<ReadonlyMap<string, string>> {
  const names = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = names.filter((one) => one.isFile()).map((one) => join(one.parentPath, one.name));
  return new Map(await Promise.all(files.map(async (path) => [path, await readFile(path, 'utf8')] as const)));
}

describe('the site file', () => {
  test('has every key, from the name of Omni alone, and is read back', async () => {
    await init({ ...named, pki: undefined });
    const text = await read('site.yaml');
    expect(parseSite(text, 'site.yaml')).toMatchObject({
      omni: 'https://omni.site.example',
      machineApi: 'https://omni.site.example:8090',
      kubernetesProxy: 'https://omni.site.example:8100',
      factory: 'https://factory.site.example:8080',
      registry: { host: 'registry.site.example:5000', prefix: '', plainHttp: false },
      login: 'https://login.site.example:5556',
      wireguard: '10.0.0.5:50180',
    });
    for (const key of ['oidc', 'pxe', 'objectStore', 'ntp', 'caFile', 'certificates', 'secrets', 'users'])
      expect(text).toMatch(new RegExp(`^# ${key}:`, 'm'));
  });

  test('without DNS: one address, several ports', async () => {
    await init({ answers: { omni: '10.0.0.5' }, pki: undefined });
    expect(parseSite(await read('site.yaml'), 'site.yaml')).toMatchObject({
      omni: 'https://10.0.0.5',
      factory: 'https://10.0.0.5:8080',
      registry: { host: '10.0.0.5:5000' },
      wireguard: '10.0.0.5:50180',
    });
  });

  test('names everything that --pki makes', async () => {
    const report = await init({
      answers: { ...named.answers, objectStore: 's3.site.example', users: ['ada@site.example'] },
    });
    expect(report.missingLines).toEqual([]);
    const { certificates = {}, ...site } = parseSite(await read('site.yaml'), 'site.yaml');
    expect(site).toMatchObject({
      caFile: 'pki/ca.pem',
      secrets: 'pki/services',
      users: ['ada@site.example'],
    });
    expect(Object.keys(certificates)).toEqual(['omni', 'factory', 'login', 'registry', 'objectStore']);
    for (const { chain, key } of Object.values(certificates)) {
      const certificate = new X509Certificate(await read(chain));
      expect(certificate.checkPrivateKey(createPrivateKey(await read(key)))).toBe(true);
    }
  });

  test("names the site's own OIDC provider: no dex, no password, its secret for Omni", async () => {
    await rm(at('pki/services/omni.env'));
    await writeFile(at('secret.txt'), 's3cret=of the client\n');
    const oidc = { issuer: 'https://sso.site/realms/x/', clientId: 'omni', clientSecretFile: 'secret.txt' };
    const own = { answers: { ...named.answers, oidc } };
    await init(own);
    const site = parseSite(await read('site.yaml'), 'site.yaml');
    expect(site.oidc).toEqual(oidc);
    expect(site.login).toBeUndefined();
    expect(Object.keys(site.certificates ?? {})).toEqual(['omni', 'factory', 'registry']);
    const variables = await read('pki/services/omni.env');
    expect(variables).toContain("OMNI_OIDC_SECRET='s3cret=of the client'");
    expect(variables).not.toContain('PASSWORD_HASH');
    await writeFile(at('secret.txt'), 'another\n');
    expect((await init(own)).problems).toEqual([
      expect.stringMatching(/OMNI_OIDC_SECRET is not the secret in clientSecretFile; remove the line/),
    ]);
  });

  test("a missing secret of the site's own OIDC provider is named before anything is written", async () => {
    const oidc = { issuer: 'https://sso.site', clientId: 'omni', clientSecretFile: 'secret.txt' };
    await expect(init({ answers: { ...named.answers, oidc } })).rejects.toMatchObject({
      code: 'NO_INPUT',
      message: expect.stringContaining('secret.txt'),
    });
    await writeFile(at('secret.txt'), '\n');
    await expect(init({ answers: { ...named.answers, oidc } })).rejects.toMatchObject({ code: 'CONFIG' });
    expect([...(await allFiles()).keys()].some((path) => path.endsWith('site.yaml'))).toBe(false);
    const both = { ...named.answers, oidc, login: 'login.site' };
    await expect(init({ answers: both })).rejects.toMatchObject({ code: 'USAGE' });
  });

  test.each([
    ['no name of Omni', {}, /needs --omni HOST/],
    [
      'http',
      { omni: 'http://omni.site' },
      /--omni http:\/\/omni\.site: write HOST\[:PORT\]; it is reached by https/,
    ],
    ['a path', { omni: 'omni.site/x' }, /write HOST/],
    ['a log-in in a URL', { omni: 'https://me:hunter2@omni.site' }, /write HOST/],
    ['a URL for WireGuard', { omni: 'o.site', wireguard: 'udp://omni.site' }, /write the address of Omni/],
    ['a port that is none', { omni: 'o.site', wireguard: '10.0.0.5:70000' }, /write the address of Omni/],
    ['a prefix in capitals', { omni: 'o.site', registry: 'r.site/Prefix' }, /HOST\[:PORT\]\[\/PREFIX\]/],
    ['PXE without a scheme', { omni: 'o.site', pxe: 'pxe.site' }, /write a URL such as/],
    ['a user that is no address', { omni: 'o.site', users: ['ada'] }, /--user ada: write an e-mail address/],
    ['a line break', { omni: 'o.site', ntp: ['a\nb'] }, /--ntp/],
  ])('is not written for %s', async (_, answers, message) => {
    await expect(init({ answers, pki: undefined })).rejects.toMatchObject({
      code: 'USAGE',
      message: expect.stringMatching(message),
    });
    await expect(read('site.yaml')).rejects.toThrow();
  });

  test.each([
    ['factory.other:443', 'https://factory.other'],
    ['https://factory.other', 'https://factory.other'],
    ['https://factory.other:9000/', 'https://factory.other:9000'],
    ['factory.other', 'https://factory.other:8080'],
    ['[fd00::1]:8080', 'https://[fd00::1]:8080'],
  ])('takes %s as %s', async (factory, url) => {
    await init({ answers: { ...named.answers, factory }, pki: undefined });
    expect(parseSite(await read('site.yaml'), 'site.yaml').factory).toBe(url);
  });

  test('is never changed: a flag that says something else is refused, the same again is not', async () => {
    await init({ ...named, pki: undefined });
    const before = await read('site.yaml');
    await init({ ...named, pki: undefined });
    await expect(init({ answers: { factory: 'other.site' }, pki: undefined })).rejects.toMatchObject({
      code: 'CONFLICT',
      message: expect.stringContaining('says factory: https://factory.site.example:8080'),
    });
    await expect(init({ answers: { pxe: 'http://pxe.site' }, pki: undefined })).rejects.toMatchObject({
      code: 'CONFLICT',
      message: expect.stringContaining('already exists and has no pxe'),
    });
    expect(await read('site.yaml')).toBe(before);
  });

  test('one that is there already is told which lines name the new files', async () => {
    await writeFile(at('site.yaml'), 'omni: https://omni.site\nregistry: registry.site:5000\n');
    const { missingLines } = await init();
    expect(missingLines).toEqual([
      'caFile: pki/ca.pem',
      'secrets: pki/services',
      'certificates:',
      '  omni: {chain: pki/services/omni-chain.pem, key: pki/services/omni-key.pem}',
      '  registry: {chain: pki/services/registry-chain.pem, key: pki/services/registry-key.pem}',
    ]);
    await writeFile(at('site.yaml'), `${await read('site.yaml')}${missingLines.join('\n')}\n`);
    expect(await init()).toMatchObject({ made: [], missingLines: [], problems: [] });
  });
});

describe('on a terminal', () => {
  test('host names come first, each with what Enter means; the license terms have no default', async () => {
    await rm(at('pki/services/omni.env'));
    const { ask, asked } = answering(
      'omni.site.example',
      '',
      'registry.other:5000/prefix',
      '',
      '10.0.0.5',
      '10.0.0.1 10.0.0.2',
      '',
      'Ada Lovelace',
      'ada@site.example',
      'correct horse',
      'correct horse',
    );
    const { problems } = await initSite({ site: at('site.yaml'), pki: at('pki'), answers: {}, ask });
    expect(problems).toEqual([]);
    expect(asked.map((question) => question.replace(/ ?[;,(].*?(?= \[|$)/, ''))).toEqual([
      'Host name of Omni',
      'Image Factory [factory.site.example:8080]',
      'Registry [registry.site.example:5000]',
      'Log-in service [login.site.example:5556]',
      'IP address of Omni',
      'Time servers',
      'URL for PXE clients',
      "Name of the person who accepts Omni's license terms",
      'E-mail address of that person',
      'Password for admin@omni.site.example',
      'The same again',
    ]);
    expect(parseSite(await read('site.yaml'), 'site.yaml')).toMatchObject({
      registry: { host: 'registry.other:5000', prefix: 'prefix', plainHttp: false },
      ntp: ['10.0.0.1', '10.0.0.2'],
    });
    const hash = /^OMNI_PASSWORD_HASH_ADMIN_OMNI_SITE_EXAMPLE='(.*)'$/m.exec(
      await read('pki/services/omni.env'),
    );
    expect(await bcrypt.compare('correct horse', hash?.[1] ?? '')).toBe(true);
    await expect(read('pki/log-ins.txt')).rejects.toThrow();
  });

  test('an answer that cannot be used is asked for again, with the reason', async () => {
    const { ask, asked } = answering(
      '',
      'http://omni.site',
      'omni.site',
      '',
      '',
      '',
      'udp://omni.site',
      '10.0.0.5',
      '',
      '',
    );
    await init({ pki: undefined, ask });
    expect(asked[1]).toMatch(/^a host name is needed\nHost name of Omni/);
    expect(asked[2]).toMatch(/^--omni http:\/\/omni\.site: write HOST/);
    expect(asked[7]).toMatch(/^--wireguard udp:\/\/omni\.site: write the address/);
  });

  test('a password is asked twice; one that bcrypt would cut is asked again', async () => {
    const { ask, asked } = answering('short', 'x'.repeat(73), 'ü'.repeat(37), 'correct horse', 'other', '');
    await init({
      answers: {
        omni: 'omni.site',
        factory: 'f',
        registry: 'r',
        login: 'l',
        wireguard: '10.0.0.5',
        ntp: ['n'],
        pxe: 'http://p',
      },
      ask,
    });
    expect(asked[1]).toContain('use at least 8 characters');
    expect(asked[2]).toContain('has 73 bytes; bcrypt reads no more than 72');
    expect(asked[3]).toContain('has 74 bytes');
    expect(asked[5]).toMatch(/^The two differ/);
    expect(await read('pki/log-ins.txt')).toMatch(/^admin@omni\.site {2}\S{24}$/m);
  });
});

describe('--pki', () => {
  test('secrets are for their owner alone; the key of the authority is in no folder that is mounted', async () => {
    await rm(at('pki/services/omni.env'));
    await init({ ...named, registryUser: 'loader' });
    const modes = async (names: readonly string[]): Promise<ReadonlySet<string>> =>
      new Set(
        await Promise.all(names.map(async (name) => ((await stat(at(name))).mode & 0o777).toString(8))),
      );
    const secret = [
      'omni-key.pem',
      'factory-key.pem',
      'login-key.pem',
      'registry-key.pem',
      'signing-key.key',
    ];
    const files = [...secret, 'omni.env', 'registry.htpasswd'].map((name) => `pki/services/${name}`);
    expect(await modes([...files, 'pki/ca-key.pem', 'pki/log-ins.txt', 'pki/registry-auth.json'])).toEqual(
      new Set(['600']),
    );
    expect(await modes(['pki/ca.pem', 'pki/services/omni-chain.pem'])).toEqual(new Set(['644']));
    expect(await readdir(at('pki/services'))).not.toContain('ca-key.pem');
  });

  test('certificates are for every name and address of their service', async () => {
    await init({
      answers: { ...named.answers, pxe: 'https://pxe.site.example', objectStore: '10.0.0.9:9000' },
    });
    const namesOf = async (service: string): Promise<string | undefined> =>
      new X509Certificate(await read(`pki/services/${service}-chain.pem`)).subjectAltName?.replaceAll(
        /(DNS|IP Address):/g,
        '',
      );
    expect(await namesOf('omni')).toBe('omni.site.example, 10.0.0.5, localhost, 127.0.0.1');
    expect(await namesOf('factory')).toBe('factory.site.example, pxe.site.example, localhost, 127.0.0.1');
    expect(await namesOf('objectStore')).toBe('10.0.0.9, localhost, 127.0.0.1');
  });

  test('the same command again changes no byte, and makes what is missing', async () => {
    await init({ ...named, registryUser: 'loader' });
    const before = await allFiles();
    expect(await init({ ...named, registryUser: 'loader' })).toMatchObject({ made: [], problems: [] });
    expect(await allFiles()).toEqual(before);
    for (const name of ['omni-chain.pem', 'signing-key.key', 'registry.htpasswd']) {
      await rm(at(`pki/services/${name}`));
      const report = await init({ ...named, registryUser: 'loader' });
      expect(report).toMatchObject({ made: [at(`pki/services/${name}`)], problems: [] });
    }
    expect(await read('pki/services/omni-key.pem')).toBe(before.get(at('pki/services/omni-key.pem')));
  });

  test('a line that is missing in omni.env is added, all others stay as they are', async () => {
    await init({ ...named, eulaName: undefined, eulaEmail: undefined });
    const before = await read('pki/services/omni.env');
    expect(before).not.toContain('EULA');
    expect(await init({ eulaName: undefined, eulaEmail: undefined })).toMatchObject({
      made: [],
      problems: [
        expect.stringMatching(/accepted Omni's license terms yet; .* --eula-name NAME --eula-email EMAIL/),
      ],
    });
    await init({ eulaName: "Ada O'Lovelace" });
    expect(await read('pki/services/omni.env')).toBe(
      `${before}OMNI_EULA_NAME='Ada O\\'Lovelace'\nOMNI_EULA_EMAIL=ada@site.example\n`,
    );
  });

  test('an authority whose key is in a safe is enough while no certificate is missing', async () => {
    await init(named);
    await rm(at('pki/ca-key.pem'));
    expect(await init()).toMatchObject({ made: [], problems: [] });
    await rm(at('pki/services/omni-chain.pem'));
    await rm(at('pki/services/omni-key.pem'));
    const before = await allFiles();
    await expect(init()).rejects.toMatchObject({
      code: 'CONFIG',
      message: expect.stringMatching(
        /ca-key\.pem: no such file, and .*omni-chain\.pem cannot be made without it/,
      ),
    });
    expect(await allFiles()).toEqual(before);
  });

  test('expiry is said: soon, past, and renewed by removing the certificate', async () => {
    await init(named);
    const day = 24 * 60 * 60 * 1000;
    const later = (days: number): Partial<SiteInit> => ({ now: new Date(Date.now() + days * day) });
    const first = await init(later(0));
    expect(first.certificates.map(({ daysLeft, soon }) => [daysLeft, soon])).toEqual([
      [3648, false],
      ...Array.from({ length: 4 }, () => [823, false]),
    ]);
    expect((await init(later(800))).certificates.filter(({ soon }) => soon)).toHaveLength(4);
    const expired = await init(later(900));
    expect(expired.problems).toHaveLength(4);
    expect(expired.problems[0]).toMatch(
      /omni-chain\.pem: expired 20\d\d-\d\d-\d\d; to renew, remove .* and run the same command again/,
    );
    await rm(at('pki/services/omni-chain.pem'));
    expect((await init(later(900))).problems).toHaveLength(3);
  });

  test('a certificate that does not do what the site file says is named, with the remedy', async () => {
    await init(named);
    await writeFile(
      at('site.yaml'),
      (await read('site.yaml')).replace('factory.site.example', 'new.site.example'),
    );
    const other = { key: newKey(), certificate: '' };
    const certificate = await authorityCertificate(other.key, 'other', new Date());
    const key = await read('pki/services/login-key.pem');
    await writeFile(
      at('pki/services/login-chain.pem'),
      await serverChain(
        { ...other, certificate },
        key,
        ['login.site.example', 'localhost', '127.0.0.1'],
        new Date(),
      ),
    );
    await writeFile(at('pki/services/registry-key.pem'), newKey());
    const { problems } = await init();
    expect(problems).toEqual([
      expect.stringMatching(/factory-chain\.pem: is not for new\.site\.example; remove it and run/),
      expect.stringMatching(/login-chain\.pem: was not issued by .*ca\.pem; remove it/),
      expect.stringMatching(/registry-key\.pem: is not the key of .*registry-chain\.pem; remove/),
    ]);
  });

  test('a site with a PKI names its files: they are checked, never made', async () => {
    const key = newKey();
    const authority = { key, certificate: await authorityCertificate(key, 'corporate', new Date()) };
    const omniKey = newKey();
    await writeFile(at('corporate.pem'), authority.certificate);
    await writeFile(at('omni.key'), omniKey);
    await writeFile(
      at('omni.pem'),
      await serverChain(authority, omniKey, ['omni.site', '10.0.0.5'], new Date()),
    );
    await writeFile(
      at('site.yaml'),
      'omni: https://omni.site\nfactory: https://factory.site\nwireguard: 10.0.0.5:50180\ncaFile: corporate.pem\ncertificates:\n  omni: {chain: omni.pem, key: omni.key}\n  factory: {chain: factory.pem, key: factory.key}\n',
    );
    const { problems, certificates } = await init({ pki: undefined });
    expect(problems).toEqual([`${at('factory.pem')}: no such file`]);
    expect(certificates.map(({ path }) => path)).toEqual([at('corporate.pem'), at('omni.pem')]);
    await rm(at('pki'), { recursive: true });
    await expect(init({ pki: undefined })).resolves.toMatchObject({ made: [] });
    await expect(readdir(at('pki'))).rejects.toThrow();
  });

  test('hashes that dex would refuse are named', async () => {
    await init({ ...named, answers: { ...named.answers, users: ['ada@site.example', 'bob@site.example'] } });
    const text = await read('pki/services/omni.env');
    const [, hash = ''] = /^OMNI_PASSWORD_HASH_ADA_SITE_EXAMPLE='(.*)'$/m.exec(text) ?? [];
    await writeFile(at('pki/services/omni.env'), text.replace(hash, hash.replace('$12$', '$05$')));
    expect((await init()).problems).toEqual([
      expect.stringContaining(
        'OMNI_PASSWORD_HASH_ADA_SITE_EXAMPLE has a bcrypt cost of 5; dex accepts 10 to 16',
      ),
    ]);
  });

  test('the password of a file is used for the only user, and checked before anything is written', async () => {
    await rm(at('pki/services/omni.env'));
    await writeFile(at('password'), 'correct horse\n');
    await expect(
      init({ answers: { ...named.answers, users: ['a@s', 'b@s'] }, passwordFile: at('password') }),
    ).rejects.toMatchObject({ code: 'USAGE', message: expect.stringContaining('is for one --user') });
    await writeFile(at('long'), 'x'.repeat(73));
    const refused = init({ ...named, passwordFile: at('long') });
    await expect(refused).rejects.toMatchObject({ code: 'USAGE' });
    await expect(refused).rejects.not.toThrow(/xxx/);
    await expect(read('site.yaml')).rejects.toThrow();
    await init({ ...named, passwordFile: at('password') });
    const hash = /HASH_ADMIN_OMNI_SITE_EXAMPLE='(.*)'/.exec(await read('pki/services/omni.env'))?.[1] ?? '';
    expect(await bcrypt.compare('correct horse', hash)).toBe(true);
  });

  test('the hash is spelled as htpasswd does, and has a cost that dex accepts', async () => {
    expect(await passwordHash('correct horse')).toMatch(/^\$2y\$12\$.{53}$/);
  });

  test('paths that the site file could not name are refused before anything is written', async () => {
    await expect(init({ ...named, pki: at('my pki') })).rejects.toMatchObject({ code: 'USAGE' });
    expect(await readdir(folder)).toEqual(['pki']);
  });
});
