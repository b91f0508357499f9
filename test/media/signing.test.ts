/**
 * Whether a bundle is signed is decided outside, and each command tells the truth about the result; a signature can be
 * added later, by us or by openssl. U-M6.
 */
import { execFileSync } from 'node:child_process';
import {
  appendFileSync,
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseBundleDocument, parseReceiptDocument } from '../../packages/format/src/index.ts';
import { type RegistryDouble, startRegistryDouble } from '../../packages/oci/src/testing/index.ts';
import { read } from '../repository.ts';
import { testWith } from '../services/service-test.ts';
import { temporaryFolder } from '../services/temporary.ts';
import { cli, cliJson, expectFailure, startServe } from '../support/cli.ts';
import { addImage } from '../support/double-image.ts';
import { listing } from '../support/files.ts';
import { upstreamFlags, type Workspace, workspace } from '../support/workspace.ts';

let site: Workspace;
let upstream: RegistryDouble;
const small = ['--volume-size', '1MiB'];

beforeAll(async () => {
  upstream = await startRegistryDouble();
  await addImage(upstream.repository('acme/app'), 'v1', 1, [700_000, 400_000]);
  site = await workspace('images: [ghcr.io/acme/app:v1]\n');
  await cliJson(['fetch', ...site.store, ...upstreamFlags({ 'ghcr.io': upstream.url })]);
  await cliJson(['bundle', ...inStore(), '--out', site.at('media'), '--unsigned', ...small]);
  await cliJson(['keygen', '--out', site.at('other')]);
});
afterAll(() => upstream?.close());

const inStore = (): readonly string[] => ['--store', site.at('store')];
const lastLine = (text: string): string => text.trim().split('\n').at(-1) ?? '';

/** A copy of the unsigned medium. */
function copied(): string {
  const medium = join(temporaryFolder('medium'), 'media');
  cpSync(site.at('media'), medium, { recursive: true });
  return medium;
}

/** Everything on a medium but its signature. */
const others = (medium: string): readonly (readonly [string, Buffer])[] =>
  listing(medium)
    .filter((name) => !name.startsWith('bundle.json.sig'))
    .map((name) => [name, readFileSync(join(medium, name))]);

test.each(['bundle', 'mirror'])(
  'U-M6 %s without a decision ends before the first request and write',
  async (command) => {
    const empty = site.at('nothing');
    const flags = ['--store', empty, '--out', site.at('new'), ...small];
    const network = ['--config', site.at('mirror.yaml'), ...upstreamFlags({ 'ghcr.io': upstream.url })];
    const before = upstream.requests.length;
    const ended = await cli([command, ...flags, ...(command === 'mirror' ? network : [])]);
    expectFailure(ended, 2, /needs --sign-key KEY or --unsigned: .*keygen.*\[USAGE\]/);
    expect(upstream.requests.length).toBe(before);
    expect([existsSync(empty), existsSync(site.at('new'))]).toEqual([false, false]);
  },
);

test('U-M6 the last line tells what the medium has, whatever the flags were', async () => {
  const out = site.at('truth');
  const bundle = async (...flags: string[]) => {
    const made = await cli(['bundle', ...inStore(), '--out', out, ...small, ...flags]);
    expect(made.code, made.stderr).toBe(0);
    expect(`${made.stderr}${made.stdout}`.match(/signed/gi)).toHaveLength(
      made.stdout.includes('NOT') ? 2 : 1,
    );
    return lastLine(made.stdout);
  };
  expect(await bundle('--unsigned')).toBe('NOT signed: load refuses it without --allow-unsigned.');
  const key = ['--sign-key', site.at('other.key')];
  expect(await bundle(...key)).toMatch(/^Signed with key [a-f0-9]{16}\.$/);
  expect(await bundle('--unsigned')).toBe('Signed by an earlier command; not checked by whom.');
  const document = await cliJson(['bundle', ...inStore(), '--out', out, ...small, '--unsigned']);
  expect(document).toMatchObject({ signed: true });
  const [id = ''] = /[a-f0-9]{64}/.exec(readFileSync(join(out, 'bundle.json'), 'utf8')) ?? [];
  const issued = await cli(['bundle', ...inStore(), '--issued', id, '--volumes', '1', '--out', `${out}-2`]);
  expect(lastLine(issued.stdout)).toBe('Signed by an earlier command; not checked by whom.');
});

test('the report states what was known when the bundle was issued', async () => {
  const report = (medium: string): string => readFileSync(join(medium, 'report.html'), 'utf8');
  expect(report(site.at('media'))).toContain('UNSIGNED');
  const out = site.at('signed');
  const store = join(temporaryFolder('store'), 'store');
  cpSync(site.at('store'), store, { recursive: true });
  rmSync(join(store, 'bundles'), { recursive: true });
  const key = ['--sign-key', site.at('site.key')];
  const { signedBy } = await cliJson<{ signedBy: string }>([
    'bundle',
    '--store',
    store,
    '--out',
    out,
    ...key,
  ]);
  expect(report(out)).toContain(`by key <code>${signedBy}</code>`);
});

test('U-M6 verify without a key says that it did not check who made it', async () => {
  const seen = async (...flags: string[]) => (await cli(['verify', ...flags])).stdout;
  const signed = copied();
  await cliJson(['sign', '--bundle', signed, '--sign-key', site.at('site.key')]);
  const unchecked = /^Complete and undamaged; NOT checked who made it: bundle [a-f0-9]{64}\n.*/;
  expect(await seen('--bundle', site.at('media'))).toMatch(unchecked);
  expect(await seen('--bundle', site.at('media'))).toMatch(/, not signed by anyone\.$/m);
  expect(await seen('--bundle', signed)).toMatch(unchecked);
  expect(await seen('--bundle', signed)).toMatch(
    /, signature not checked \(--verify-key PUB checks it\)\.$/m,
  );
  const quick = await seen('--bundle', signed, '--quick');
  expect(quick).toMatch(/^Structure is right; NOT checked who made it.*\n.*content not read/);
  const checked = await seen('--bundle', signed, '--verify-key', site.at('site.pub'), '--require-signature');
  expect(checked).toMatch(/^Complete and undamaged: bundle.*\n.*signed by [a-f0-9]{16}\.$/m);
  expect(await seen(...inStore(), '--quick')).toMatch(/^Structure is right.*content not read/);
});

test.each<[title: string, flags: () => readonly string[], code: number, message: RegExp]>([
  ['without a key', () => [], 4, /--require-signature: pass --verify-key PUB.*\[UNSIGNED\]/],
  [
    'of an unsigned bundle',
    () => ['--verify-key', site.at('site.pub')],
    4,
    /bundle\.json\.sig: missing.*\[UNSIGNED\]/,
  ],
])('verify --require-signature %s is refused', async (_title, flags, code, message) => {
  const ended = await cli(['verify', '--bundle', site.at('media'), '--require-signature', ...flags()]);
  expectFailure(ended, code, message);
});

test('a store has no signature to require', async () => {
  expectFailure(
    await cli(['verify', ...inStore(), '--require-signature']),
    2,
    /a store has no signature.*\[USAGE\]/,
  );
});

test('sign adds a signature and changes nothing else; again it does nothing; another key replaces it', async () => {
  const medium = copied();
  const before = others(medium);
  const sign = (...flags: string[]) => cli(['sign', '--bundle', medium, ...flags]);
  const key = ['--sign-key', site.at('site.key')];
  const signed = await sign(...key, '--verify-key', site.at('site.pub'));
  expect(signed.code, signed.stderr).toBe(0);
  expect(lastLine(signed.stdout)).toMatch(/^Signed with key [a-f0-9]{16}\.$/);
  expect(others(medium)).toEqual(before);
  const verify = (name: string) => cli(['verify', '--bundle', medium, '--verify-key', site.at(name)]);
  expect((await verify('site.pub')).code).toBe(0);
  execFileSync('sha256sum', ['--check', '--strict', '--quiet', 'SHA256SUMS'], { cwd: medium });
  const signature = readFileSync(join(medium, 'bundle.json.sig'), 'latin1');
  expect((await sign(...key)).stdout).toContain('Nothing to do: it has a signature of this key.');
  expect(readFileSync(join(medium, 'bundle.json.sig'), 'latin1')).toBe(signature);
  const other = await sign('--sign-key', site.at('other.key'));
  expect(other.stdout).toContain(`Replaced the signature of another key in ${medium}.`);
  expectFailure(await verify('site.pub'), 3, /\[BAD_SIGNATURE\]/);
  expect((await verify('other.pub')).code).toBe(0);
});

test('P14 both files of a signature are written, and verify refuses two that differ', async () => {
  const [medium, other] = [copied(), copied()];
  const sigstore = join(medium, 'bundle.json.sigstore.json');
  for (const one of [medium, other])
    await cliJson(['sign', '--bundle', one, '--sign-key', site.at('site.key')]);
  const right = readFileSync(sigstore);
  expect(JSON.parse(right.toString('utf8'))).toMatchObject({
    messageSignature: { signature: readFileSync(join(medium, 'bundle.json.sig'), 'latin1').trim() },
  });
  cpSync(join(other, 'bundle.json.sigstore.json'), sigstore);
  const key = ['--verify-key', site.at('site.pub')];
  for (const flags of [key, []]) {
    const ended = await cli(['verify', '--bundle', medium, ...flags]);
    expectFailure(
      ended,
      3,
      /bundle\.json\.sigstore\.json: does not hold the signature of.*\[BAD_SIGNATURE\]/,
    );
  }
  rmSync(sigstore);
  await cliJson(['verify', '--bundle', medium, ...key]);
  // As on media of a version that wrote no such file.
  await cliJson(['sign', '--bundle', medium, '--sign-key', site.at('site.key')]);
  expect(readFileSync(sigstore)).toEqual(right);
});

test('media of one bundle get the same signature, with no volume at hand', async () => {
  const media = [copied(), copied()];
  for (const medium of media) rmSync(join(medium, 'content.tar.001'));
  await cliJson(['sign', '--bundle', media[0] ?? '', '--sign-key', site.at('site.key')]);
  const both = media.flatMap((medium) => ['--bundle', medium]);
  const report = await cliJson<{ written: string[] }>(['sign', ...both, '--sign-key', site.at('site.key')]);
  expect(report.written).toEqual(media.slice(1));
  const [one, two] = media.map((medium) => readFileSync(join(medium, 'bundle.json.sig'), 'latin1'));
  expect(one).toBe(two);
  writeFileSync(join(media[1] ?? '', 'bundle.json.sig'), 'MEUCIQ==\n');
  const ended = await cli(['verify', ...both, '--verify-key', site.at('site.pub')]);
  expectFailure(ended, 3, /bundle\.json\.sig: the signature does not verify.*\[BAD_SIGNATURE\]/);
});

test('the commands of docs/bundle-format.md sign with openssl', async () => {
  const medium = copied();
  const [, commands = ''] =
    /by a device that keeps the key:\n\n```console\n([\s\S]*?)```/.exec(read('docs/bundle-format.md')) ?? [];
  const lines = commands
    .trim()
    .split('\n')
    .map((line) => line.replace(/^\$ /, '').replaceAll('/mnt/usb', medium));
  const ours = lines.filter((line) => line.startsWith('omni-airgap '));
  const theirs = lines.filter((line) => line.startsWith('openssl '));
  expect([theirs.length, ours.length]).toEqual([2, 1]);
  for (const line of theirs) execFileSync('sh', ['-ec', line], { cwd: site.root });
  const [, ...args] = ours[0]?.split(' ') ?? [];
  const ended = await cli(args, { cwd: site.root });
  expect(ended.code, ended.stderr).toBe(0);
  await cliJson(['verify', '--bundle', medium, '--verify-key', site.at('site.pub')]);

  const encoded = copied();
  writeFileSync(
    site.at('site.b64'),
    readFileSync(site.at('site.sig')).toString('base64').replace(/.{40}/g, '$&\r\n'),
  );
  const made = ['--signature', site.at('site.b64'), '--verify-key', site.at('site.pub')];
  await cliJson(['sign', '--bundle', encoded, ...made]);
  await cliJson(['verify', '--bundle', encoded, '--verify-key', site.at('site.pub')]);
});

const softHsm = '/usr/lib/softhsm/libsofthsm2.so';

testWith(
  ['softhsm2-util', softHsm, 'pkcs11-tool', 'openssl'],
  'the commands of docs/bundle-format.md sign with a device that keeps the key (PKCS#11)',
  async () => {
    const device = temporaryFolder('device');
    mkdirSync(join(device, 'tokens'));
    const settings = join(device, 'softhsm2.conf');
    writeFileSync(settings, `directories.tokendir = ${join(device, 'tokens')}\nobjectstore.backend = file\n`);
    const env = { ...process.env, SOFTHSM2_CONF: settings };
    const run = (line: string): unknown =>
      execFileSync('sh', ['-ec', line], { cwd: device, env, stdio: 'pipe' });
    run('softhsm2-util --init-token --free --label site --so-pin 12345678 --pin 1234');
    const login = `pkcs11-tool --module ${softHsm} --login --pin 1234`;
    run(`${login} --keypairgen --key-type EC:prime256v1 --label site --id 01`);
    const medium = copied();
    const [, commands = ''] =
      /The device signs the SHA-256[^\n]*\n\n```console\n([\s\S]*?)```/.exec(read('docs/bundle-format.md')) ??
      [];
    const lines = commands.trim().split('\n');
    expect(lines).toHaveLength(4);
    for (const line of lines) {
      run(
        line
          .replace(/^\$ /, '')
          .replaceAll('/mnt/usb', medium)
          .replace('MODULE', softHsm)
          // A person types it.
          .replace('--login', '--login --pin 1234'),
      );
    }
    const made = ['--signature', join(device, 'site.sig'), '--verify-key', join(device, 'site.pub')];
    await cliJson(['sign', '--bundle', medium, ...made]);
    await cliJson(['verify', '--bundle', medium, '--verify-key', join(device, 'site.pub')]);
    const help = read('docs/commands.md').replace(/\s*\\\n\s*/g, ' ');
    for (const line of lines.slice(0, 2)) expect(help).toContain(line.replace(/^\$ /, '  '));
  },
);

test.each<[title: string, flags: (medium: string) => readonly string[], code: number, message: RegExp]>([
  ['neither key nor signature', () => [], 2, /either --sign-key KEY or --signature FILE \[USAGE\]/],
  [
    'a signature without the key to check it',
    () => ['--signature', '/dev/null'],
    2,
    /needs --verify-key PUB.*\[USAGE\]/,
  ],
  [
    'keys that are no pair',
    () => ['--sign-key', site.at('site.key'), '--verify-key', site.at('other.pub')],
    2,
    /is not the public key of --sign-key.*\[CONFIG\]/,
  ],
  [
    'a signature of something else',
    () => made('README.txt'),
    3,
    /made\.sig: the signature does not verify.*\[BAD_SIGNATURE\]/,
  ],
  [
    'a raw signature',
    () => {
      const flags = made('bundle.json');
      writeFileSync(site.at('made.sig'), Buffer.alloc(64, 7));
      return flags;
    },
    3,
    /made\.sig: is the raw form.*--signature-format openssl \[BAD_SIGNATURE\]/,
  ],
  [
    'a report that is not what bundle.json says',
    (medium) => {
      appendFileSync(join(medium, 'report.html'), '<p>Approved</p>');
      return ['--sign-key', site.at('site.key')];
    },
    3,
    /report\.html is not what bundle\.json says; nothing was signed.*\[DIGEST_MISMATCH\]/,
  ],
])('sign refuses %s, and writes nothing', async (_title, flags, code, message) => {
  const medium = copied();
  expectFailure(await cli(['sign', '--bundle', medium, ...flags(medium)]), code, message);
  expect(listing(medium).filter((name) => /sig|lock/.test(name))).toEqual([]);
});

describe('U-M7 a chain whose key was changed', () => {
  const pair = (): readonly string[] => ['--bundle', site.at('media-1'), '--bundle', site.at('media-2')];
  const keys = (...names: string[]): readonly string[] =>
    names.flatMap((name) => ['--verify-key', site.at(name)]);
  const ofDer = 'openssl pkey -pubin -in "$0" -outform DER | sha256sum';
  const fingerprint = (name: string): string =>
    execFileSync('sh', ['-c', ofDer, site.at(name)], { encoding: 'utf8' }).slice(0, 64);
  let inside: RegistryDouble;

  beforeAll(async () => {
    inside = await startRegistryDouble();
    cpSync(site.at('media'), site.at('media-1'), { recursive: true });
    await cliJson(['sign', '--bundle', site.at('media-1'), '--sign-key', site.at('site.key')]);
    await addImage(upstream.repository('acme/app'), 'v2', 2, [90_000]);
    site.write(
      'mirror.yaml',
      'apiVersion: omni-airgap/v1\nimages: [ghcr.io/acme/app:v1, ghcr.io/acme/app:v2]\n',
    );
    await cliJson(['fetch', ...site.store, ...upstreamFlags({ 'ghcr.io': upstream.url })]);
    const since = ['--since', site.at('media-1'), '--sign-key', site.at('other.key')];
    await cliJson(['bundle', ...inStore(), '--out', site.at('media-2'), ...since]);
    const both = ['site.pub', 'other.pub'].map((name) => readFileSync(site.at(name), 'latin1'));
    writeFileSync(site.at('both.pem'), both.join(''));
  });
  afterAll(() => inside?.close());

  test.each([[['site.pub', 'other.pub']], [['both.pem']]])(
    'is loaded with %s; the receipt says who signed what',
    async (names) => {
      const receipt = site.at('receipt.json');
      const to = ['--registry', inside.host, '--plain-http', inside.host, '--receipt', receipt];
      await cliJson(['load', ...pair(), ...keys(...names), ...to, '--state', site.at('state')]);
      const document = parseReceiptDocument(readFileSync(receipt));
      const idOf = (medium: string): string =>
        parseBundleDocument(readFileSync(site.at(medium, 'bundle.json'))).id;
      expect(document.trust).toEqual({ mode: 'signed', key: fingerprint('other.pub') });
      expect(document.signers).toEqual([
        { bundle: idOf('media-1'), key: fingerprint('site.pub') },
        { bundle: idOf('media-2'), key: fingerprint('other.pub') },
      ]);
    },
  );

  test('is served with both keys, and says who signed what', async () => {
    const { host, stop } = await startServe([...pair(), ...keys('site.pub', 'other.pub')]);
    const page = await (await fetch(`http://${host}/`)).text();
    await stop();
    for (const name of ['site.pub', 'other.pub']) expect(page).toContain(`<code>${fingerprint(name)}</code>`);
  });

  test('is refused with one key alone', async () => {
    const to = ['--registry', inside.host, '--plain-http', inside.host, '--state', site.at('state')];
    for (const name of ['site.pub', 'other.pub'])
      expectFailure(await cli(['load', ...pair(), ...keys(name), ...to]), 3, /media-[12].*\[BAD_SIGNATURE\]/);
  });
});

test('A23 a private key that other users can access is noted, and still signs', async () => {
  const medium = copied();
  const open = site.at('open.key');
  cpSync(site.at('site.key'), open);
  chmodSync(open, 0o666);
  const sign = (...flags: string[]) => cli(['sign', '--bundle', medium, '--sign-key', open, ...flags]);
  const noted = await sign();
  expect(noted.code).toBe(0);
  expect(noted.stderr).toBe(
    `omni-airgap: --sign-key ${open}: other users can access this private key (mode 0666); chmod 600 it\n`,
  );
  expect((await sign('--quiet')).stderr).toBe('');
  chmodSync(open, 0o600);
  expect((await sign()).stderr).toBe('');
});

/** `--signature` by openssl of a file of the medium. */
function made(name: string): readonly string[] {
  const signed = join(site.at('media'), name);
  execFileSync('openssl', [
    'dgst',
    '-sha256',
    '-sign',
    site.at('site.key'),
    '-out',
    site.at('made.sig'),
    signed,
  ]);
  return ['--signature', site.at('made.sig'), '--verify-key', site.at('site.pub')];
}
