/** The release does the main job on a machine that has nothing else. */
import { execFile, execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { copyFileSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { beforeAll, expect, onTestFinished, test } from 'vitest';
import { startSampleUpstream } from '../scripts/sample-upstream/sample-upstream.ts';
import { root } from './repository.ts';
import { temporaryFolder } from './services/temporary.ts';
import { upstreamFlags } from './support/workspace.ts';

const release = join(root, 'scripts', 'release');
let dist: string;
/** Holds the executable alone. */
let machine: string;

beforeAll(() => {
  dist = temporaryFolder('release');
  execFileSync(release, [dist], { stdio: 'pipe' });
  machine = temporaryFolder('machine');
  copyFileSync(join(dist, 'omni-airgap'), join(machine, 'omni-airgap'));
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
  await omniAirgap('bundle', '--out', 'media', '--sign-key', 'site.key');
  const bundle = ['--bundle', 'media', '--verify-key', 'site.pub'];
  expect(await omniAirgap('verify', ...bundle)).toMatch(/^Whole and right: bundle [0-9a-f]{64}/);
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

test('the module runs in the Node.js of the machine', () => {
  const version = execFileSync(process.execPath, [join(dist, 'omni-airgap.mjs'), '--version'], environment());
  expect(version.toString()).toBe(execFileSync(join(machine, 'omni-airgap'), ['--version']).toString());
});

test('the sums are right, and another build has the same', () => {
  execFileSync('sha256sum', ['--quiet', '--strict', '-c', 'SHA256SUMS'], { cwd: dist });
  const again = temporaryFolder('release');
  execFileSync(release, [again], { stdio: 'pipe' });
  expect(readFileSync(join(again, 'SHA256SUMS'), 'utf8')).toBe(
    readFileSync(join(dist, 'SHA256SUMS'), 'utf8'),
  );
});

test('the licences of what is inside come along, and no path of this machine', () => {
  const licences = readFileSync(join(dist, 'LICENSES.txt'), 'utf8');
  for (const name of [
    'omni-airgap',
    `Node.js ${process.version}`,
    'undici',
    'commander',
    '@aws-sdk/client-s3',
  ])
    expect(licences).toMatch(new RegExp(`^${name}\\b`, 'm'));
  expect(readFileSync(join(dist, 'omni-airgap.mjs'), 'utf8')).not.toContain(root);
});

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
