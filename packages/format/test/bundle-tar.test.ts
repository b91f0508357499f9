/** T12: our volumes as other programs see them. */
import { mkdir, readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ExitCode, exitCodeOf } from '@omni-airgap/oci/base';
import { Layout } from '@omni-airgap/oci/layout';
import { bytesOf, descriptorOf, MediaType } from '@omni-airgap/oci/model';
import {
  generatedBlob,
  generateGraph,
  run,
  skipWithout,
  temporaryFolder,
  temporaryLayout,
} from '@omni-airgap/oci/testing';
import { describe, expect, test } from 'vitest';
import { BundleStore } from '../src/bundle-store.ts';
import { writeTestBundle, writeVolumes } from '../src/testing/bundle.ts';

/** A layout with small and large content, and its bundle of several volumes, one blob cut over three. */
async function makeBundle(): Promise<{ layout: Layout; folder: string; volumes: number }> {
  const layout = await temporaryLayout();
  await generateGraph(layout, { seed: 77, roots: 8 });
  const empty = descriptorOf(MediaType.octetStream, new Uint8Array(0));
  await layout.push(empty, () => bytesOf());
  for (const size of [2_500_001, 65_536, 65_537, 512]) {
    const { descriptor, open } = await generatedBlob(size, size);
    await layout.push(descriptor, open);
  }
  const folder = await temporaryFolder();
  const { volumes } = await writeTestBundle(layout, folder, { volumeSize: 1024 * 1024 });
  return { layout, folder, volumes: volumes.length };
}

describe.each([
  ['GNU tar', 'tar', 'cat content.tar.* | tar -xf - -C "$0"', 'cat content.tar.* | tar -tf -'],
  ['bsdtar', 'bsdtar', 'cat content.tar.* | bsdtar -xf - -C "$0"', 'cat content.tar.* | bsdtar -tf -'],
  [
    'Python',
    'python3',
    `cat content.tar.* | python3 -c 'import sys,tarfile; tarfile.open(fileobj=sys.stdin.buffer,mode="r|").extractall(sys.argv[1])' "$0"`,
    `cat content.tar.* | python3 -c 'import sys,tarfile; [print(m.name+("/" if m.isdir() else "")) for m in tarfile.open(fileobj=sys.stdin.buffer,mode="r|")]'`,
  ],
])('%s', (_name, command, extract, list) => {
  test('unpacks the volumes in a row to a layout identical to the store', async (context) => {
    skipWithout(context, command);
    const { layout, folder, volumes } = await makeBundle();
    expect(volumes).toBeGreaterThan(4);
    const out = join(await temporaryFolder(), 'out');
    await mkdir(out);
    const errors = run('sh', ['-c', `{ ${extract}; } 2>&1`, out], { cwd: folder });
    expect(errors.toString()).toBe('');
    run('diff', ['-r', '--exclude=ingest', layout.root, out]);
    const opened = await Layout.open(out);
    for await (const [root, descriptor] of layout.names())
      expect(await opened.resolve(root)).toEqual(descriptor);
  });

  test('lists exactly the members that bundle.json implies', async (context) => {
    skipWithout(context, command);
    const { folder } = await makeBundle();
    const { document } = await BundleStore.open([folder], { mode: 'any' });
    const listed = run('sh', ['-c', list], { cwd: folder }).toString().trim().split('\n');
    const inOrder = [...document.blobs].sort((a, b) => a.volume - b.volume || a.offset - b.offset);
    expect(listed).toEqual([
      'oci-layout',
      'index.json',
      'blobs/',
      'blobs/sha256/',
      ...inOrder.map(({ digest }) => `blobs/sha256/${digest.slice(7)}`),
    ]);
  });

  test('lists each volume by itself', async (context) => {
    skipWithout(context, command);
    const layout = await temporaryLayout();
    await generateGraph(layout, { seed: 78, roots: 8 });
    const folder = await temporaryFolder();
    const { volumes } = await writeTestBundle(layout, folder, { volumeSize: 1024 * 1024 });
    expect(volumes.length).toBeGreaterThan(2);
    for (const volume of volumes) {
      const one = list.replace('cat content.tar.*', `cat ${volume.name}`);
      expect(run('sh', ['-c', one], { cwd: folder }).toString()).toMatch(/blobs\/sha256\/[a-f0-9]{64}\n/);
    }
  });
});

describe('writing volumes', () => {
  test('golden: the same content gives the same bytes, on any machine', async () => {
    for (const _time of [1, 2]) {
      const layout = await temporaryLayout();
      await generateGraph(layout, { seed: 79, layerBytes: 100_000 });
      const { id } = await writeTestBundle(layout, await temporaryFolder(), { volumeSize: 1024 * 1024 });
      // Changes only when the format of the volumes does.
      expect(id).toBe('8aaf82f211842ad3e7b93fdeda8a3580df65cca434800bd6faf187171c36a568');
    }
  });

  test('gives the id that anybody can compute', async () => {
    const { folder } = await makeBundle();
    const { document } = await BundleStore.open([folder], { mode: 'any' });
    const printed = run('sh', ['-c', 'sha256sum content.tar.* | sha256sum'], { cwd: folder });
    expect(printed.toString().slice(0, 64)).toBe(document.id);
  });

  test('F27 of content that is gone leaves nothing', async () => {
    const { folder: bundleFolder } = await makeBundle();
    const { map } = await BundleStore.open([bundleFolder], { mode: 'any' });
    const folder = await temporaryFolder();
    const nothing = { locate: async () => undefined };
    await expect(writeVolumes(map, nothing, folder)).rejects.toMatchObject({ code: 'MISSING_CONTENT' });
    expect(await readdir(folder)).toEqual([]);
  });

  test('stops when it is told to, and leaves no half volume', async () => {
    const { layout, folder: bundleFolder } = await makeBundle();
    const { map } = await BundleStore.open([bundleFolder], { mode: 'any' });
    const folder = await temporaryFolder();
    const controller = new AbortController();
    let bytes = 0;
    const onBytes = (n: number): void => {
      bytes += n;
      if (bytes > 1_500_000) controller.abort();
    };
    const writing = writeVolumes(map, layout, folder, { onBytes, signal: controller.signal });
    expect(exitCodeOf(await writing.catch((error: unknown) => error))).toBe(ExitCode.interrupted);
    for (const name of await readdir(folder)) {
      expect((await stat(join(folder, name))).size).toBe(map.sizes[Number(name.slice(-3))]);
    }
  });

  test('replaces what an interrupted run left under a temporary name, also a link', async () => {
    const { layout, folder: bundleFolder } = await makeBundle();
    const { map } = await BundleStore.open([bundleFolder], { mode: 'any' });
    const folder = await temporaryFolder();
    const outside = join(await temporaryFolder(), 'outside');
    await writeFile(outside, 'precious');
    await symlink(outside, join(folder, 'content.tar.000.partial'));
    await writeFile(join(folder, 'content.tar.001.partial'), 'x'.repeat(5_000_000));
    await writeVolumes(map, layout, folder);
    run('sh', [
      '-c',
      `cd "$1" && sha256sum content.tar.* > sums && cd "$0" && sha256sum -c "$1/sums"`,
      folder,
      bundleFolder,
    ]);
    expect(await readFile(outside, 'utf8')).toBe('precious');
  });
});
