/** The release: what is in it, that it does the main job, and that it is the same each time. */
import { execFile, execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { passwordHash } from '../../packages/pki/src/log-ins.ts';
import { elfNeeds } from '../../scripts/lib/elf.ts';
import { runInEmptyRoot } from '../../scripts/lib/empty-root.ts';
import { allowed, platforms } from '../../scripts/lib/release-platforms.ts';
import { startSampleUpstream } from '../../scripts/sample-upstream/sample-upstream.ts';
import { read, root } from '../repository.ts';
import { testWith } from '../services/service-test.ts';
import { temporaryFolder } from '../services/temporary.ts';
import { upstreamFlags } from '../support/workspace.ts';

const release = join(root, 'scripts', 'release');
let dist: string;
/** Holds the executable alone. */
let machine: string;

let printed: string;
const here = platforms.find(({ arch }) => arch === process.arch)?.name ?? 'none';

beforeAll(() => {
  dist = temporaryFolder('release');
  printed = execFileSync(release, [dist], { encoding: 'utf8' });
  machine = temporaryFolder('machine');
  copyFileSync(join(dist, `omni-airgap-${here}`), join(machine, 'omni-airgap'));
});

const environment = () => ({ cwd: machine, env: { HOME: machine } });

async function omniAirgap(...args: readonly string[]): Promise<string> {
  const { stdout } = await promisify(execFile)(join(machine, 'omni-airgap'), args, environment());
  return stdout;
}

test('the executable fetches, bundles, verifies, loads and serves', async () => {
  const upstream = await startSampleUpstream({ dir: temporaryFolder('upstream'), sizeMiB: 1, buildMs: 1 });
  onTestFinished(() => upstream.stop());
  await omniAirgap('init');
  await omniAirgap('fetch', ...upstreamFlags(upstream.urls));
  await omniAirgap('keygen', '--out', 'site');
  await omniAirgap('bundle', '--out', 'media', '--sign-key', 'site.key', '--with-program', dist);
  const carried = join(machine, 'media', `omni-airgap-${here}`);
  expect(await promisify(execFile)(carried, ['--version'])).toEqual(
    await promisify(execFile)(join(machine, 'omni-airgap'), ['--version']),
  );
  const bundle = ['--bundle', 'media', '--verify-key', 'site.pub'];
  expect(await omniAirgap('verify', ...bundle)).toMatch(/^Complete and undamaged: bundle [0-9a-f]{64}/);
  const objects = pathToFileURL(join(machine, 'objects')).href;
  await omniAirgap('load', ...bundle, '--object-store', objects, '--state', 'state');

  const server = spawn(
    join(machine, 'omni-airgap'),
    ['serve', ...bundle, '--listen', '127.0.0.1:0', '--json', '--quiet'],
    { ...environment(), stdio: ['ignore', 'pipe', 'inherit'] },
  );
  onTestFinished(() => void server.kill('SIGKILL'));
  const [line] = (await once(createInterface(server.stdout), 'line')) as [string];
  const { url } = JSON.parse(line) as { url: string };
  const path = `image/376567988ad370138ad8b2698212367b8edcb69b5fd68c80be1f2ec7d603b4ba/v1.13.9/metal-amd64.iso`;
  const served = await (await fetch(`${url}/${path}`)).bytes();
  expect(sha256(served)).toBe(sha256(readFileSync(join(machine, 'objects', path))));
  server.kill('SIGINT');
  expect((await once(server, 'exit'))[0]).toBe(0);
});

test.each([
  ['executable', () => [join(machine, 'omni-airgap')]],
  ['module', () => [process.execPath, join(dist, 'omni-airgap.mjs')]],
] as const)('the %s checks a password on a thread, whose program it has inside', async (kind, program) => {
  const [password, htpasswd] = ['password of site', join(machine, `${kind}.htpasswd`)];
  writeFileSync(htpasswd, `site:${await passwordHash(password)}\n`);
  const [command = '', ...args] = program();
  const serve = [
    'serve',
    '--writable',
    `${kind}-registry`,
    '--htpasswd',
    htpasswd,
    '--listen',
    '127.0.0.1:0',
  ];
  const server = spawn(command, [...args, ...serve, '--json', '--quiet'], {
    ...environment(),
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  onTestFinished(() => void server.kill('SIGKILL'));
  const [line] = (await once(createInterface(server.stdout), 'line')) as [string];
  const { url } = JSON.parse(line) as { url: string };
  const statusFor = async (secret: string): Promise<number> => {
    const authorization = `Basic ${Buffer.from(`site:${secret}`).toString('base64')}`;
    return (await fetch(`${url}/token`, { headers: { authorization } })).status;
  };
  expect([await statusFor(password), await statusFor('another')]).toEqual([200, 401]);
});

test('the module runs in the Node.js of the machine', () => {
  const version = execFileSync(process.execPath, [join(dist, 'omni-airgap.mjs'), '--version'], environment());
  expect(version.toString()).toBe(execFileSync(join(machine, 'omni-airgap'), ['--version']).toString());
});

test('both make certificates, keys and hashes: libraries that look for their own place find one', async () => {
  const terms = ['--eula-name', 'Ada Lovelace', '--eula-email', 'ada@site.example'];
  const omni = ['--omni', 'omni.site', ...terms];
  expect(await omniAirgap('site', 'init', '--pki', 'pki', ...omni)).toContain('Wrote pki/services/omni.asc');
  const module = [join(dist, 'omni-airgap.mjs'), 'site', 'init', '--site', 'other.yaml', '--pki', 'other'];
  const printed = execFileSync(process.execPath, [...module, ...omni], environment()).toString();
  expect(printed).toContain('Wrote other/services/omni.asc');
});

test('the sums are right, and another build has the same', () => {
  execFileSync('sha256sum', ['--quiet', '--strict', '-c', 'SHA256SUMS'], { cwd: dist });
  const again = temporaryFolder('release');
  execFileSync(release, [again], { stdio: 'pipe' });
  expect(readFileSync(join(again, 'SHA256SUMS'), 'utf8')).toBe(
    readFileSync(join(dist, 'SHA256SUMS'), 'utf8'),
  );
});

test('the licenses of everything inside are included, and no path of this machine', () => {
  const licenses = readFileSync(join(dist, 'LICENSES.txt'), 'utf8');
  for (const name of [
    'omni-airgap',
    `Node.js ${process.version}`,
    'undici',
    'commander',
    'openpgp',
    '@peculiar/x509',
    '@aws-sdk/client-s3',
  ])
    expect(licenses).toMatch(new RegExp(`^${name}\\b`, 'm'));
  expect(readFileSync(join(dist, 'omni-airgap.mjs'), 'utf8')).not.toContain(root);
  for (const { name } of platforms)
    expect(readFileSync(join(dist, `omni-airgap-${name}`)).includes(root)).toBe(false);
});

describe('what an executable needs of its system', () => {
  test.each(platforms)('is read from its header: $name', ({ name, arch }) => {
    const { machine: made, libraries, versions } = elfNeeds(join(dist, `omni-airgap-${name}`));
    expect(made).toBe(arch);
    expect(libraries).toEqual(expect.arrayContaining([...allowed.libraries, 'libc.so.6']));
    expect(versions).toContain(allowed.glibc);
  });

  test('is what ldd says, and stands in RELEASE.txt', () => {
    const ldd = execFileSync('ldd', [join(machine, 'omni-airgap')], { encoding: 'utf8' });
    const libraries = [...ldd.matchAll(/^\t(?:\/\S+\/)?([a-z_+-]+[^/ ]*\.so[.0-9]*)/gm)]
      .map(([, name]) => name ?? '')
      .filter((name) => !name.startsWith('linux-vdso'));
    const notes = readFileSync(join(dist, 'RELEASE.txt'), 'utf8');
    const [, section = ''] = notes.split(`\n\nomni-airgap-${here}\n`);
    const [listed = ''] = section.split('\n\n');
    expect(libraries.length).toBeGreaterThan(4);
    expect([...listed.matchAll(/\S+\.so\.\d+$/gm)].map(([name]) => name.split('/').at(-1)).sort()).toEqual(
      // The loader is also a library.
      [...libraries, ...libraries.filter((name) => name.startsWith('ld-linux'))].sort(),
    );
  });

  test('is what README.md names', () => {
    const readme = read('README.md');
    for (const name of [...allowed.libraries, `glibc ${allowed.glibc.replace('GLIBC_', '')}`])
      expect(readme).toContain(name);
  });

  test('is all there is in the root that scripts/release starts it in', (context) => {
    expect(printed).toMatch(new RegExp(`^omni-airgap-${here}: starts`, 'm'));
    if (process.getuid?.() !== 0) return context.skip('not root: no empty root to start a program in');
    expect(printed).toMatch(new RegExp(`^omni-airgap-${here}: starts in an empty root`, 'm'));
    expect(() =>
      runInEmptyRoot(join(machine, 'omni-airgap'), ['--version'], (library) => library !== 'libstdc++.so.6'),
    ).toThrow(/libstdc\+\+\.so\.6: cannot open shared object file/);
  });

  testWith(
    ['qemu-aarch64', '/usr/aarch64-linux-gnu/lib/libstdc++.so.6'],
    'is had by the one for arm64 too',
    () => {
      expect(printed).toMatch(/^omni-airgap-linux-arm64: starts/m);
    },
  );
});

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
