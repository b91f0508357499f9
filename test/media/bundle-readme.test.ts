/** README.txt on the medium: every command in it is run as it stands there, with the site's own names filled in. */
import { execFileSync, spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, expect, onTestFinished, test } from 'vitest';
import { parseBundleDocument } from '../../packages/format/src/index.ts';
import { type RegistryDouble, startRegistryDouble } from '../../packages/oci/src/testing/index.ts';
import { startRegistry } from '../services/docker-registry.ts';
import { describeWith, testWith } from '../services/service-test.ts';
import { temporaryFolder } from '../services/temporary.ts';
import { cli, cliJson } from '../support/cli.ts';
import { addImage } from '../support/double-image.ts';
import { upstreamFlags, type Workspace, workspace } from '../support/workspace.ts';

let site: Workspace;
let upstream: RegistryDouble;

beforeAll(async () => {
  upstream = await startRegistryDouble();
  await addImage(upstream.repository('acme/app'), 'v1', 1, [1_500_000, 400_000]);
  site = await workspace('images: [ghcr.io/acme/app:v1]\n');
  await cliJson(['fetch', ...site.store, ...upstreamFlags({ 'ghcr.io': upstream.url })]);
  await cliJson(['bundle', ...site.bundle, '--volume-size', '1MiB']);
  await addImage(upstream.repository('acme/app'), 'v2', 2, [300_000]);
  site.write(
    'mirror.yaml',
    'apiVersion: omni-airgap/v1\nimages: [ghcr.io/acme/app:v1, ghcr.io/acme/app:v2]\n',
  );
  await cliJson(['fetch', ...site.store, ...upstreamFlags({ 'ghcr.io': upstream.url })]);
  const store = ['--store', site.at('store'), '--sign-key', site.at('site.key')];
  await cliJson(['bundle', ...store, '--out', site.at('second'), '--since', site.at('media')]);
  return () => upstream.close();
});

/** Command lines of a README.txt, those over several lines put together. */
function commandsIn(folder: string): readonly string[] {
  const text = readFileSync(join(folder, 'README.txt'), 'latin1').replaceAll('\r\n', '\n');
  return text
    .replaceAll(/ \\\n +/g, ' ')
    .split('\n')
    .map((line) => line.trim().replace(/^or: /, ''))
    .filter((line) =>
      /^(sha256sum|base64|openssl|cosign|omni-airgap|mkdir|cat|skopeo copy|oras copy) /.test(line),
    );
}

/** Runs a line in a shell. @returns its output */
function sh(line: string, cwd: string): string {
  return execFileSync('sh', ['-c', line], { cwd, stdio: 'pipe', encoding: 'utf8' });
}

const starting = (folder: string, begin: string): string =>
  commandsIn(folder).find((line) => line.startsWith(begin)) ?? expect.fail(`no command ${begin}`);

test('these are all commands of it: a new one needs its test', () => {
  const words = (folder: string): string[] =>
    commandsIn(folder).map((line) => line.split(' ').slice(0, 2).join(' '));
  const all = [
    'sha256sum -c',
    'base64 -d',
    'openssl dgst',
    'cosign verify-blob',
    'sha256sum content.tar.000',
    'omni-airgap verify',
    'omni-airgap load',
    'mkdir layout',
    'skopeo copy',
    'oras copy',
  ];
  expect(words(site.at('media'))).toEqual(all);
  expect(words(site.at('second'))).toEqual([...all.slice(0, 8), 'cat content.tar.000', ...all.slice(8)]);
});

describeWith(['sha256sum', 'openssl'], 'checking', () => {
  test.each(['media', 'second'])('the medium and who made it: %s', (name) => {
    const folder = site.at(name);
    expect(sh(starting(folder, 'sha256sum -c'), folder)).not.toContain('FAILED');
    const signature = join(temporaryFolder('readme'), 'bundle.sig');
    const filled = (begin: string): string =>
      starting(folder, begin).replace('/tmp/bundle.sig', signature).replace('KEY.pub', site.at('site.pub'));
    sh(filled('base64 -d'), folder);
    expect(sh(filled('openssl dgst'), folder)).toBe('Verified OK\n');
    const { id } = parseBundleDocument(readFileSync(join(folder, 'bundle.json')));
    expect(sh(starting(folder, 'sha256sum content'), folder).slice(0, 64)).toBe(id);
  });
});

/** Without a network: who checks the medium has none. */
test('P14 who made it, with cosign', (context) => {
  const cosign = process.env['COSIGN'] ?? 'cosign';
  const version = /GitVersion:\s+v([0-9]+)/.exec(
    spawnSync(cosign, ['version'], { encoding: 'utf8' }).stdout ?? '',
  )?.[1];
  if (Number(version ?? 0) < 3) return context.skip('cosign 3 is not on PATH and COSIGN does not name it');
  const alone = spawnSync('unshare', ['-rn', 'true']).status === 0 ? 'unshare -rn ' : '';
  for (const name of ['media', 'second']) {
    const folder = site.at(name);
    const line = starting(folder, 'cosign verify-blob').replace('KEY.pub', site.at('site.pub'));
    const run = `HOME=${temporaryFolder('home')} ${alone}${line.replace('cosign', cosign)}`;
    expect(sh(`${run} 2>&1`, folder)).toContain('Verified OK');
    expect(() => sh(run.replace(/bundle\.json$/, 'README.txt'), folder)).toThrow();
  }
});

test('loading with omni-airgap', async () => {
  const registry = await startRegistryDouble();
  onTestFinished(() => registry.close());
  for (const name of ['media', 'second']) {
    for (const begin of ['omni-airgap verify', 'omni-airgap load']) {
      const args = starting(site.at(name), begin)
        .replace('--bundle .', `--bundle ${site.at(name)}`)
        .replace('KEY.pub', site.at('site.pub'))
        .replace('REGISTRY:PORT', registry.host)
        .replace('s3://BUCKET', `file://${site.at('objects')}`)
        .split(/ +/)
        .slice(1);
      const more = begin.endsWith('load') ? ['--plain-http', registry.host] : [];
      const ended = await cli([...args, ...more], { cwd: site.root });
      // The first load of all names the store.
      const said =
        name === 'media' && begin.endsWith('load') ? /^load: bundle \S+ is the first from store/ : /^$/;
      expect(ended.stderr).toMatch(said);
      expect(ended.code).toBe(0);
    }
  }
  expect([...registry.repository('acme/app').tags.keys()].sort()).toEqual(['v1', 'v2']);
});

test('A12 a stranger beside the volumes has no part in what is checked and unpacked', () => {
  const at = temporaryFolder('stranger');
  for (const name of readdirSync(site.at('media')))
    copyFileSync(join(site.at('media'), name), join(at, name));
  const { id, volumes } = parseBundleDocument(readFileSync(join(at, 'bundle.json')));
  expect(volumes.length).toBeGreaterThan(2);
  // Without the end of an archive, so that tar goes on behind it.
  const evil = temporaryFolder('evil');
  writeFileSync(join(evil, 'evil.txt'), 'not ours');
  const archive = execFileSync('tar', ['cf', '-', '-C', evil, 'evil.txt']).subarray(0, 1024);
  for (const name of ['content.tar.000a', 'content.tar.00x', 'content.tar.999', 'content.tar.000.partial'])
    writeFileSync(join(at, name), archive);
  expect(sh(starting(at, 'sha256sum content'), at).slice(0, 64)).toBe(id);
  sh(starting(at, 'mkdir layout'), at);
  expect(readdirSync(join(at, 'layout')).sort()).toEqual(['blobs', 'index.json', 'oci-layout']);
});

testWith(['tar', 'skopeo', 'docker-registry'], 'loading without it: tar and skopeo', async () => {
  const registry = await startRegistry();
  onTestFinished(() => registry.stop());
  const copy = (folder: string, at: string, tag: string): string =>
    sh(
      starting(folder, 'skopeo copy')
        .replace(/oci:layout:\S+/, `oci:layout:ghcr.io/acme/app:${tag}`)
        .replace('docker://REGISTRY/REPOSITORY:TAG', `docker://${registry.host}/acme/app:${tag}`)
        .replace('skopeo copy', 'skopeo --insecure-policy copy --dest-tls-verify=false'),
      at,
    );
  // Where the medium is mounted, and what is unpacked beside it.
  const at = temporaryFolder('unpack');
  const put = (folder: string): void => {
    for (const name of readdirSync(folder)) {
      if (name.startsWith('content.tar.')) copyFileSync(join(folder, name), join(at, name));
    }
  };
  put(site.at('media'));
  sh(starting(site.at('media'), 'mkdir layout'), at);
  copy(site.at('media'), at, 'v1');
  for (const name of readdirSync(at).filter((one) => one.startsWith('content'))) sh(`rm ${name}`, at);
  put(site.at('second'));
  sh(starting(site.at('second'), 'cat content.tar'), at);
  copy(site.at('second'), at, 'v2');
  for (const tag of ['v1', 'v2']) {
    const { roots } = parseBundleDocument(readFileSync(site.at('second', 'bundle.json')));
    const { digest } = roots.find((root) => root.name.endsWith(`:${tag}`))?.descriptor ?? expect.fail(tag);
    const answer = await fetch(`${registry.url}/v2/acme/app/manifests/${tag}`, {
      headers: { accept: 'application/vnd.oci.image.manifest.v1+json' },
    });
    expect(answer.headers.get('docker-content-digest')).toBe(digest);
  }
  expect(existsSync(join(at, 'layout', 'index.json'))).toBe(true);
});
