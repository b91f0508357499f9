/**
 * The format in the hands of a second implementation: support/bundle-oracle.py, which was written from
 * docs/bundle-format.md alone. What has to be told to it here has to be told to every other reader there.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import { startRegistryDouble } from '../../packages/oci/src/testing/index.ts';
import { vectorsPath } from '../../scripts/bundle-vectors.ts';
import { describeWith } from '../services/service-test.ts';
import { temporaryFolder } from '../services/temporary.ts';
import { cliJson } from '../support/cli.ts';
import { addImage } from '../support/double-image.ts';
import { upstreamFlags, type Workspace, workspace } from '../support/workspace.ts';

const oracle = join(import.meta.dirname, '../support', 'bundle-oracle.py');

/** What it says of a bundle, a folder for each medium. */
function read(site: Workspace, ...names: readonly string[]): Record<string, unknown> {
  const folders = names.map((name) => site.at(name));
  return JSON.parse(
    execFileSync('python3', [oracle, 'check', '--key', site.at('site.pub'), ...folders], {
      encoding: 'utf8',
    }),
  );
}

describeWith(['python3', 'openssl', 'sha256sum'], 'a reader and writer of its own', () => {
  let site: Workspace;

  beforeAll(async () => {
    const upstream = await startRegistryDouble();
    await addImage(upstream.repository('acme/app'), 'v1', 1, [1_500_000, 400_000, 300_000]);
    site = await workspace('images: [ghcr.io/acme/app:v1]\n');
    const network = upstreamFlags({ 'ghcr.io': upstream.url });
    await cliJson(['fetch', ...site.store, ...network]);
    await cliJson(['bundle', ...site.bundle, '--volume-size', '1100KB']);
    const store = ['--store', site.at('store'), '--sign-key', site.at('site.key')];
    await cliJson(['bundle', ...store, '--volume-size', '1100KB', '--volumes', '0-1', '--out', site.at('a')]);
    await cliJson(['bundle', ...store, '--volume-size', '1100KB', '--volumes', '2-3', '--out', site.at('b')]);
    await addImage(upstream.repository('acme/app'), 'v2', 1, [1_500_000, 90_000]);
    site.write(
      'mirror.yaml',
      'apiVersion: omni-airgap/v1\nimages: [ghcr.io/acme/app:v1, ghcr.io/acme/app:v2]\n',
    );
    await cliJson(['fetch', ...site.store, ...network]);
    await cliJson(['bundle', ...store, '--out', site.at('second'), '--since', site.at('media')]);
    site.write('mirror.yaml', 'apiVersion: omni-airgap/v1\nimages: [ghcr.io/acme/app:v2]\n');
    await cliJson(['fetch', ...site.store, ...network]);
    await cliJson(['bundle', ...store, '--out', site.at('third'), '--withdraw', '*/app:v1']);
    return () => upstream.close();
  });

  test('writes the golden vectors byte for byte', () => {
    const made = execFileSync('python3', [oracle, 'vectors', vectorsPath], { encoding: 'utf8' });
    expect(made.trim().split('\n')).toHaveLength(readFileSync(vectorsPath, 'utf8').trim().split('\n').length);
  });

  test('reads a signed bundle of several volumes with a blob cut over two of them', () => {
    const seen = read(site, 'media');
    expect(seen).toMatchObject({ names: 1, cut: 1, relied: 0, signed: true });
    expect(seen['volumes']).toBeGreaterThan(2);
  });

  test('reads it from several media', () => {
    expect(read(site, 'a', 'b')['cut']).toBe(1);
  });

  test('reads an increment', () => {
    expect(read(site, 'second')).toMatchObject({ names: 2, blobs: 2 });
    expect(read(site, 'second')['relied']).toBeGreaterThan(1);
  });

  test('reads a bundle that withdraws a name, and no such name in schema 1', () => {
    expect(read(site, 'third')).toMatchObject({ names: 1, relied: 0 });
    const folder = join(temporaryFolder('oracle'), 'media');
    cpSync(site.at('third'), folder, { recursive: true });
    const path = join(folder, 'bundle.json');
    writeFileSync(path, readFileSync(path, 'utf8').replace('"schema": 2', '"schema": 1'));
    for (const name of ['bundle.json.sig', 'bundle.json.sigstore.json']) rmSync(join(folder, name));
    const { status, stderr } = spawnSync('python3', [oracle, 'check', folder], { encoding: 'utf8' });
    expect([status, stderr.trim()]).toEqual([1, 'bundle.json: kind or schema']);
  });

  test('reads a bundle from before there was an inventory', () => {
    const folder = join(temporaryFolder('oracle'), 'media');
    cpSync(site.at('media'), folder, { recursive: true });
    for (const name of ['bom.cdx.json', 'bundle.json.sig', 'bundle.json.sigstore.json'])
      rmSync(join(folder, name));
    const path = join(folder, 'bundle.json');
    const before = JSON.parse(readFileSync(path, 'utf8')) as { readonly files: readonly { name: string }[] };
    const files = before.files.filter(({ name }) => name !== 'bom.cdx.json');
    expect(files).toHaveLength(before.files.length - 1);
    writeFileSync(path, JSON.stringify({ ...before, files }));
    const sums = readFileSync(join(folder, 'SHA256SUMS'), 'utf8');
    writeFileSync(join(folder, 'SHA256SUMS'), sums.replaceAll(/^.* {2}(?:bom\.cdx|bundle)\.json\n/gm, ''));
    expect(spawnSync('python3', [oracle, 'check', folder], { encoding: 'utf8' })).toMatchObject({
      status: 0,
      stderr: '',
    });
  });

  test.each([
    ['a header', 'content.tar.000', 600, 'bytes that are no blob'],
    ['a large blob', 'content.tar.001', 5_000, ' is damaged'],
    ['the end of the archive', 'content.tar.003', -1, 'bytes that are no blob'],
    ['the document', 'bundle.json', 300, 'is not of this key'],
  ])('is no rubber stamp: a flipped bit in %s', (_, name, at, says) => {
    const folder = join(temporaryFolder('oracle'), 'media');
    cpSync(site.at('media'), folder, { recursive: true });
    const bytes = readFileSync(join(folder, name));
    const offset = (at + bytes.length) % bytes.length;
    bytes.writeUInt8((bytes[offset] ?? 0) ^ 1, offset);
    writeFileSync(join(folder, name), bytes);
    // Whoever changes a volume can change its sum as well.
    const sums = readFileSync(join(folder, 'SHA256SUMS'), 'utf8');
    writeFileSync(join(folder, 'SHA256SUMS'), sums.replace(new RegExp(`^.*${name}\n`, 'm'), ''));
    const args = [oracle, 'check', '--key', site.at('site.pub'), folder];
    const { status, stderr } = spawnSync('python3', args, { encoding: 'utf8' });
    expect(status).toBe(1);
    expect(stderr).toContain(says);
  });
  test('A12 refuses a file that looks like a volume', () => {
    const folder = join(temporaryFolder('oracle'), 'media');
    cpSync(site.at('media'), folder, { recursive: true });
    writeFileSync(join(folder, 'content.tar.000a'), '');
    const { status, stderr } = spawnSync('python3', [oracle, 'check', folder], { encoding: 'utf8' });
    expect(status).toBe(1);
    expect(stderr).toContain('content.tar.000a is no volume of this bundle');
  });
});
