/** A bundle in the hands of other programs: readers of tar and OCI, checksums, signatures, the media themselves. */
import { execFileSync } from 'node:child_process';
import { appendFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import { parseBundleDocument } from '../../packages/format/src/index.ts';
import { type RegistryDouble, startRegistryDouble } from '../../packages/oci/src/testing/index.ts';
import { command } from '../services/command.ts';
import { describeWith, testWith } from '../services/service-test.ts';
import { temporaryFolder } from '../services/temporary.ts';
import { cli, cliJson, expectFailure } from '../support/cli.ts';
import { addImage } from '../support/double-image.ts';
import { upstreamFlags, type Workspace, workspace } from '../support/workspace.ts';

let site: Workspace;
let media: string;
let store: readonly string[];
let upstream: RegistryDouble;
let network: readonly string[];

beforeAll(async () => {
  upstream = await startRegistryDouble();
  await addImage(upstream.repository('acme/app'), 'v1', 1, [2_700_000, 400_000]);
  await addImage(upstream.repository('acme/tool'), 'v1', 2, [300_000, 1_000]);
  site = await workspace('images: [ghcr.io/acme/app:v1, ghcr.io/acme/tool:v1]\n');
  network = upstreamFlags({ 'ghcr.io': upstream.url });
  await cliJson(['fetch', ...site.store, ...network]);
  await cliJson(['bundle', ...site.bundle, '--volume-size', '1MiB']);
  media = site.at('media');
  store = ['--store', site.at('store')];
  return () => upstream.close();
});

const volumes = (folder: string): string[] =>
  readdirSync(folder)
    .filter((name) => name.startsWith('content.tar.'))
    .sort();

test('T12 node-tar lists what bundle.json implies, with the sizes', async () => {
  const document = parseBundleDocument(readFileSync(join(media, 'bundle.json')));
  const script = `
    import { list } from 'tar';
    import { createReadStream } from 'node:fs';
    const entries = [];
    const parser = list({ strict: true, onReadEntry: (e) => entries.push([e.path, e.type, e.size]) });
    const ended = new Promise((resolve, reject) => parser.on('end', resolve).on('error', reject));
    for (const path of process.argv.slice(1)) for await (const chunk of createReadStream(path)) parser.write(chunk);
    parser.end();
    await ended;
    console.log(JSON.stringify(entries));`;
  const paths = volumes(media).map((name) => join(media, name));
  const cwd = join(import.meta.dirname, '../..', 'packages', 'fetcher');
  const listed = JSON.parse(
    await command(process.execPath, ['--input-type=module', '-e', script, ...paths], cwd),
  );
  const blobs = document.blobs.map(({ digest, size }) => [`blobs/sha256/${digest.slice(7)}`, 'File', size]);
  const head = listed.slice(0, 4).map(([path, type]: [string, string]) => [path, type]);
  expect(head).toEqual([
    ['oci-layout', 'File'],
    ['index.json', 'File'],
    ['blobs/', 'Directory'],
    ['blobs/sha256/', 'Directory'],
  ]);
  expect(new Map(listed.slice(4).map((entry: unknown[]) => [entry[0], entry]))).toEqual(
    new Map(blobs.map((entry) => [entry[0], entry])),
  );
});

describeWith(['sha256sum'], 'sha256sum', () => {
  test('checks the medium, and gives the id', () => {
    execFileSync('sha256sum', ['--quiet', '--strict', '-c', 'SHA256SUMS'], { cwd: media });
    const id = execFileSync('sh', ['-c', 'sha256sum content.tar.* | sha256sum'], { cwd: media }).toString();
    expect(id.slice(0, 64)).toBe(parseBundleDocument(readFileSync(join(media, 'bundle.json'))).id);
  });
});

describeWith(['openssl'], 'openssl', () => {
  const verify = (document: string): Promise<string> => {
    const signature = join(temporaryFolder('openssl'), 'bundle.sig');
    writeFileSync(signature, Buffer.from(readFileSync(join(media, 'bundle.json.sig'), 'latin1'), 'base64'));
    const key = site.at('site.pub');
    return command('openssl', ['dgst', '-sha256', '-verify', key, '-signature', signature, document]);
  };

  test('verifies the signature as README.txt says, and no other bytes', async () => {
    expect(await verify(join(media, 'bundle.json'))).toBe('Verified OK\n');
    const changed = join(temporaryFolder('openssl'), 'bundle.json');
    writeFileSync(changed, readFileSync(join(media, 'bundle.json')));
    appendFileSync(changed, ' ');
    await expect(verify(changed)).rejects.toThrow();
  });

  test('reads the keys of keygen, the encrypted one with its passphrase', async () => {
    const name = join(temporaryFolder('keys'), 'site');
    const env = { OMNI_AIRGAP_KEY_PASSPHRASE: 'correct horse' };
    expect((await cli(['keygen', '--out', name], { env })).code).toBe(0);
    expect(readFileSync(`${name}.key`, 'latin1')).toContain('BEGIN ENCRYPTED PRIVATE KEY');
    const pub = await command('openssl', [
      'pkey',
      '-in',
      `${name}.key`,
      '-passin',
      'pass:correct horse',
      '-pubout',
    ]);
    expect(pub).toBe(readFileSync(`${name}.pub`, 'latin1'));
    const unopened = await cli([
      'bundle',
      ...store,
      '--out',
      site.at('encrypted'),
      '--sign-key',
      `${name}.key`,
    ]);
    expectFailure(unopened, 2, /OMNI_AIRGAP_KEY_PASSPHRASE/);
    const opened = await cli(
      ['bundle', ...store, '--out', site.at('encrypted'), '--sign-key', `${name}.key`],
      { env },
    );
    expect(opened.code).toBe(0);
    expect(opened.stdout + opened.stderr).not.toContain('correct horse');
  });
});

testWith(['skopeo', 'umoci', 'tar'], 'skopeo and umoci read the layout that tar unpacks', async () => {
  const layout = join(temporaryFolder('unpacked'), 'layout');
  mkdirSync(layout);
  await command('sh', ['-c', 'cd "$0" && cat content.tar.* | tar x -C "$1"', media, layout]);
  const raw = await command('skopeo', ['inspect', '--raw', `oci:${layout}:ghcr.io/acme/app:v1`]);
  const { roots } = parseBundleDocument(readFileSync(join(media, 'bundle.json')));
  const root = roots.find(({ name }) => name === 'ghcr.io/acme/app:v1');
  expect(Buffer.byteLength(raw)).toBe(root?.descriptor.size);
  const copied = join(temporaryFolder('copied'), 'layout');
  await command('skopeo', [
    '--insecure-policy',
    'copy',
    '--all',
    `oci:${layout}:ghcr.io/acme/app:v1`,
    `oci:${copied}:v1`,
  ]);
  const listed = (await command('umoci', ['list', '--layout', layout])).trim().split('\n');
  expect(listed.sort()).toEqual(roots.map(({ name }) => name).sort());
});

testWith(['mcopy', 'mkfs.vfat'], 'a FAT file system takes it and gives it back', async () => {
  const folder = temporaryFolder('fat');
  const image = join(folder, 'usb.img');
  await command('sh', ['-c', 'truncate -s 48M "$0" && mkfs.vfat -F 32 "$0"', image]);
  await command('sh', ['-c', 'mcopy -i "$0" "$1"/* ::', image, media]);
  const back = join(folder, 'back');
  mkdirSync(back);
  await command('mcopy', ['-n', '-i', image, '::*', back]);
  expect(readdirSync(back).sort()).toEqual(readdirSync(media).sort());
  const verified = await cli(['verify', '--bundle', back, '--verify-key', site.at('site.pub')]);
  expect(verified.stdout).toContain('Complete and undamaged');
});

testWith(
  ['xorriso', 'bsdtar'],
  'T49 a disc (ISO 9660 with Rock Ridge and Joliet) takes it and gives it back',
  async () => {
    const folder = temporaryFolder('disc');
    const image = join(folder, 'disc.iso');
    await command('xorriso', ['-as', 'mkisofs', '-quiet', '-r', '-J', '-o', image, media]);
    const back = join(folder, 'back');
    mkdirSync(back);
    await command('bsdtar', ['-xf', image, '-C', back]);
    expect(readdirSync(back).sort()).toEqual(readdirSync(media).sort());
    const verified = await cli(['verify', '--bundle', back, '--verify-key', site.at('site.pub')]);
    expect(verified.stdout).toContain('Complete and undamaged');
  },
);

for (const [type, make] of [
  ['vfat', 'mkfs.vfat'],
  ['exfat', 'mkfs.exfat'],
] as const) {
  testWith(
    [make, 'mount'],
    `${type} mounted: written, synced, read back past the caches`,
    async (context) => {
      const folder = temporaryFolder(type);
      const at = join(folder, 'mounted');
      mkdirSync(at);
      try {
        await command('sh', [
          '-c',
          `truncate -s 48M "$0" && ${make} "$0" && mount -t ${type} -o loop "$0" "$1"`,
          join(folder, 'image'),
          at,
        ]);
      } catch {
        return context.skip(`this kernel mounts no ${type} here`);
      }
      try {
        const made = await cli([
          'bundle',
          ...store,
          '--out',
          join(at, 'media'),
          '--unsigned',
          '--volume-size',
          '1MiB',
        ]);
        expect(made.stderr).not.toContain('cannot be read past the caches');
        expect(made.code).toBe(0);
      } finally {
        await command('umount', [at]);
      }
    },
  );
}

test('inspect says from the first medium alone what the report says', async () => {
  const first = site.at('first');
  await cliJson([
    'bundle',
    ...store,
    '--out',
    first,
    '--unsigned',
    '--volume-size',
    '1MiB',
    '--volumes',
    '0',
  ]);
  const inspection = await cliJson<{ items: { name: string; platforms: string[] }[]; absent: string[] }>([
    'inspect',
    '--bundle',
    first,
  ]);
  expect(inspection.absent).toEqual(volumes(media).slice(1));
  const page = readFileSync(join(first, 'report.html'), 'utf8');
  expect(readFileSync(join(media, 'report.html'), 'utf8')).toBe(page);
  for (const { name, platforms } of inspection.items) {
    for (const part of name.split(/:(?=[^/]*$)/)) expect(page).toContain(part);
    for (const platform of platforms) expect(page).toContain(platform);
  }
  const text = (await cli(['inspect', '--bundle', first])).stdout;
  expect(text).toContain('ghcr.io/acme/app:v1');
  expectFailure(await cli(['verify', '--bundle', first]), 3, /content\.tar\.001/);
});
