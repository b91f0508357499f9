/** Media as they are: too small, with a limit, read-only, lying; several for one bundle; folders that are not ours. */
import { execFileSync } from 'node:child_process';
import { link, mkdir, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { BundleStore, parseBundleDocument, verifyBundle, volumeName } from '@omni-airgap/format';
import { noProgress } from '@omni-airgap/oci';
import { Journal } from '@omni-airgap/oci/fs';
import { describe, expect, onTestFinished, type TestContext, test } from 'vitest';
import { bundle } from '../src/index.ts';
import { Medium } from '../src/medium.ts';
import { runFaulty } from './child.ts';
import { filesOf, flip, made, optionsFor, sampleStore, volumesOf } from './store.ts';

const any = { mode: 'any' } as const;

/** Mounts until the end of the test; without the right to, the test is left out and says why. */
function mount(context: TestContext, folder: string, ...options: string[]): void {
  try {
    execFileSync('mount', [...options, folder], { stdio: 'pipe' });
  } catch {
    context.skip('mounting is not permitted here (it takes root)');
  }
  onTestFinished(() => {
    execFileSync('umount', ['-l', folder]);
  });
}

describe('several media', () => {
  test('each has its volumes, the small content and the documents; together they are the bundle of one folder', async () => {
    const { folder, store } = await made();
    const at = (name: string): string => join(folder, name);
    const whole = await bundle(optionsFor(store, at('whole')));
    const last = whole.volumes.length - 1;
    expect(last).toBeGreaterThan(3);
    // In any order, and one of them twice.
    await bundle(optionsFor(store, at('b'), { volumes: `3-${last}` }));
    await bundle(optionsFor(store, at('a'), { volumes: '1,2' }));
    await bundle(optionsFor(store, at('a2'), { volumes: '1-2' }));
    expect((await readdir(at('a'))).sort()).toEqual([
      'README.txt',
      'SHA256SUMS',
      'bom.cdx.json',
      'bundle.json',
      ...[0, 1, 2].map(volumeName),
      'report.html',
    ]);
    expect(await filesOf(at('a2'))).toEqual(await filesOf(at('a')));
    expect(await readFile(join(at('a'), 'bundle.json'))).toEqual(
      await readFile(join(at('whole'), 'bundle.json')),
    );
    const check = await verifyBundle(await BundleStore.open([at('b'), at('a')], any));
    expect(check).toMatchObject({ damages: [], absent: [], unusable: [] });
    for (const name of ['a', 'b'])
      execFileSync('sha256sum', ['--quiet', '-c', 'SHA256SUMS'], { cwd: at(name) });
  });

  test('are laid out first, so that the first medium is signed before the last volume is written', async () => {
    const { folder, store } = await made();
    const out = join(folder, 'a');
    const report = await bundle(optionsFor(store, out, { volumes: '1' }));
    expect(report.here).toEqual([volumeName(0), volumeName(1)]);
    expect(parseBundleDocument(await readFile(join(out, 'bundle.json'))).volumes).toEqual(report.volumes);
    expect((await BundleStore.open([out], any, { volumes: 'present' })).problems.length).toBe(
      report.volumes.length - 2,
    );
    await expect(BundleStore.open([out], any)).rejects.toMatchObject({ code: 'BAD_VOLUME' });
  });

  test('more volumes are added to a medium that has some', async () => {
    const { folder, store } = await made();
    const out = join(folder, 'a');
    const { volumes } = await bundle(optionsFor(store, out, { volumes: '1' }));
    await bundle(optionsFor(store, out, { volumes: '2' }));
    const report = await bundle(optionsFor(store, out));
    expect(report.here).toHaveLength(volumes.length);
    expect(await bundle(optionsFor(store, out))).toMatchObject({ written: false, sequence: 1 });
    execFileSync('sha256sum', ['--quiet', '-c', 'SHA256SUMS'], { cwd: out });
  });

  test('a blob that is larger than a volume is spread, each volume read back by its hash', async () => {
    const { folder, store } = await made();
    const out = join(folder, 'out');
    const report = await bundle(optionsFor(store, out, { volumeSize: 120 * 1024 }));
    expect(report.volumes.length).toBeGreaterThan(8);
    const check = await verifyBundle(await BundleStore.open([out], any));
    expect(check).toMatchObject({ damages: [], unusable: [] });
    // One medium of those that share a blob: what is here is proved, the blob is not usable.
    const part = join(folder, 'part');
    await bundle(optionsFor(store, part, { volumeSize: 120 * 1024, volumes: '2' }));
    const partial = await verifyBundle(await BundleStore.open([part], any, { volumes: 'present' }));
    expect(partial.damages).toEqual([]);
    await flip(join(part, volumeName(2)), 70_000);
    const flipped = await verifyBundle(await BundleStore.open([part], any, { volumes: 'present' }));
    expect(flipped.damages).toMatchObject([{ volume: volumeName(2) }]);
  });

  test.each([['2-1'], ['x'], ['1-'], ['999'], ['-1']])('--volumes %s is refused', async (volumes) => {
    const { folder, store } = await made();
    await expect(bundle(optionsFor(store, join(folder, 'out'), { volumes }))).rejects.toMatchObject({
      code: 'USAGE',
    });
  });
});

describe('the folder', () => {
  test('of another bundle is left as it is', async () => {
    const { folder, store } = await made();
    const out = join(folder, 'out');
    await bundle(optionsFor(store, out));
    const before = await filesOf(out);
    await store.image('quay.io/new/app:v1', [99]);
    await expect(bundle(optionsFor(store, out))).rejects.toMatchObject({ code: 'CONFLICT' });
    expect(await filesOf(out)).toEqual(before);
  });

  test.each([
    'README.txt',
    'report.html',
    'SHA256SUMS',
    'bundle.json.sig',
    'bundle.json.sigstore.json',
    volumeName(1),
  ])('with a %s that no run of ours is known to have written is left as it is', async (name) => {
    const { folder, store } = await made();
    const out = join(folder, 'out');
    await mkdir(out);
    await writeFile(join(out, name), 'precious');
    await expect(bundle(optionsFor(store, out))).rejects.toMatchObject({
      code: 'CONFLICT',
      message: expect.stringContaining(name),
    });
    expect(await readdir(out)).toEqual([name]);
    expect(await readFile(join(out, name), 'utf8')).toBe('precious');
    await rm(join(out, name));
    await writeFile(join(out, 'holiday.jpg'), "in nobody's way");
    expect(await bundle(optionsFor(store, out))).toMatchObject({ written: true });
  });

  test('of several runs at once, each waits for the others a moment or is refused, and the bundle is right', async () => {
    const { folder, store } = await made();
    const out = join(folder, 'out');
    const runs = await Promise.allSettled([1, 2, 3].map(() => bundle(optionsFor(store, out))));
    const refused = runs.filter((one) => one.status === 'rejected').map(({ reason }) => reason);
    for (const reason of refused) expect(reason).toMatchObject({ code: 'BUSY' });
    expect(refused.length).toBeLessThan(3);
    expect(await bundle(optionsFor(store, out))).toMatchObject({ written: false });
    expect((await verifyBundle(await BundleStore.open([out], any))).damages).toEqual([]);
    expect(await readdir(out)).not.toContain('bundle.lock');
  });

  test('A13 is looked at under its lock, so that nothing another run has just finished is removed', async () => {
    const { folder, store } = await made();
    const out = join(folder, 'out');
    const plan = 'f'.repeat(64);
    const other = await Medium.open(out, plan, [1024]);
    await expect(bundle(optionsFor(store, out))).rejects.toMatchObject({
      code: 'BUSY',
      message: expect.stringContaining(
        `${out}: in use by omni-airgap bundle (process ${process.pid} on host `,
      ),
    });
    await other.close();
    await bundle(optionsFor(store, out));
    const files = await filesOf(out);
    const late = await Medium.open(out, plan, [1024]);
    expect(late.document).toBeDefined();
    await late.close();
    expect(await filesOf(out)).toEqual(files);
  });

  test.each(['.', 'media'])(
    'in the store (%s) is refused: what leaves it would stay in it',
    async (below) => {
      const { store } = await made();
      const before = await readdir(store.root);
      await expect(bundle(optionsFor(store, join(store.root, below)))).rejects.toMatchObject({
        code: 'USAGE',
        message: expect.stringContaining('--out'),
      });
      expect(await readdir(store.root)).toEqual(before);
    },
  );

  test('F29 with volumes of another, unfinished bundle of the same sizes: they are not taken for ours', async () => {
    const { folder, store } = await made();
    const other = await sampleStore(join(folder, 'other'));
    await other.image('ghcr.io/dexidp/dex:v2', [2, 40]);
    const out = join(folder, 'out');
    await bundle(optionsFor(other, out));
    await rm(join(out, 'bundle.json'));
    const unfinished = new Journal(join(out, 'bundle.unfinished'));
    await unfinished.begin({ plan: 'a'.repeat(64) }, { volume: 0 }, { volume: 1 });
    await bundle(optionsFor(store, out, { readBack: false }));
    await bundle(optionsFor(store, join(folder, 'fresh')));
    expect(await volumesOf(out)).toBe(await volumesOf(join(folder, 'fresh')));
  });

  test('T48 that is a link, or holds links and pipes in place of files, is refused; nothing is written through them', async () => {
    const { folder, store } = await made();
    await mkdir(join(folder, 'real'));
    await symlink(join(folder, 'real'), join(folder, 'link'));
    await expect(bundle(optionsFor(store, join(folder, 'link')))).rejects.toMatchObject({ code: 'USAGE' });
    expect(await readdir(join(folder, 'real'))).toEqual([]);
    const out = join(folder, 'out');
    const sentinel = join(folder, 'sentinel');
    await writeFile(sentinel, 'untouched');
    await mkdir(out);
    await symlink(sentinel, join(out, `${volumeName(1)}.partial`));
    await symlink(sentinel, join(out, volumeName(2)));
    execFileSync('mkfifo', [join(out, volumeName(3))]);
    await symlink(sentinel, join(out, 'README.txt'));
    await expect(bundle(optionsFor(store, out))).rejects.toMatchObject({ code: 'CONFLICT' });
    // Where a bundle was begun they are taken for what that run left.
    const begin = (at: string): Promise<void> =>
      new Journal(join(at, 'bundle.unfinished')).begin({ plan: 'a'.repeat(64) });
    await begin(out);
    await bundle(optionsFor(store, out));
    expect(await readFile(sentinel, 'utf8')).toBe('untouched');
    expect((await verifyBundle(await BundleStore.open([out], any))).damages).toEqual([]);
    const linked = join(folder, 'linked');
    await mkdir(linked);
    await begin(linked);
    for (const name of [`${volumeName(1)}.partial`, volumeName(2), 'SHA256SUMS', 'report.html'])
      await link(sentinel, join(linked, name));
    const marked = join(folder, 'marked');
    await mkdir(marked);
    await link(sentinel, join(marked, 'bundle.unfinished'));
    for (const one of [linked, marked]) {
      await bundle(optionsFor(store, one));
      expect(await readFile(sentinel, 'utf8')).toBe('untouched');
      expect((await verifyBundle(await BundleStore.open([one], any))).damages).toEqual([]);
    }
    const pipe = join(folder, 'pipe');
    await mkdir(pipe);
    execFileSync('mkfifo', [join(pipe, 'bundle.json')]);
    await expect(bundle(optionsFor(store, pipe))).rejects.toMatchObject({ code: 'BAD_DOCUMENT' });
  });

  test('T48 a link in place of a folder of the store is not written through', async () => {
    const { folder, store } = await made();
    await mkdir(join(folder, 'elsewhere'));
    await symlink(join(folder, 'elsewhere'), join(store.root, 'bundles'));
    await expect(bundle(optionsFor(store, join(folder, 'out')))).rejects.toMatchObject({ code: 'DISK' });
    expect(await readdir(join(folder, 'elsewhere'))).toEqual([]);
  });

  test('T49 holds only names that every file system takes', async () => {
    const { folder, store } = await made();
    await bundle(optionsFor(store, join(folder, 'out'), { volumes: '1' }));
    for (const name of await readdir(join(folder, 'out'))) {
      expect(name).toMatch(/^[A-Za-z0-9][A-Za-z0-9._-]{0,30}[A-Za-z0-9]$/);
      expect(name).not.toMatch(/^(con|prn|aux|nul|com\d|lpt\d)(\.|$)/i);
    }
  });
});

test('T41 README.txt and report.html are what was signed, on every medium; nothing outside its folder is looked at', async () => {
  const { folder, store } = await made();
  const media = [join(folder, 'a'), join(folder, 'b')];
  const [a = '', b = ''] = media;
  await bundle(optionsFor(store, a, { volumes: '1' }));
  await bundle(optionsFor(store, b, { volumes: '2' }));
  const look = async (depth: 'everything' | 'structure') =>
    (await verifyBundle(await BundleStore.open(media, any, { volumes: 'present' }), { depth })).fileDamages;
  expect(await look('everything')).toEqual([]);
  // One that was left out misleads nobody.
  await rm(join(a, 'README.txt'));
  expect(await look('structure')).toEqual([]);
  await flip(join(b, 'report.html'), 100);
  await symlink(join(b, 'README.txt'), join(a, 'README.txt'));
  for (const depth of ['everything', 'structure'] as const) {
    expect(await look(depth)).toEqual([
      { path: join(a, 'README.txt'), what: 'is not a regular file' },
      { path: join(b, 'report.html'), what: 'is not what bundle.json says' },
    ]);
  }
  for (const medium of media) {
    const path = join(medium, 'bundle.json');
    const text = await readFile(path, 'utf8');
    await writeFile(path, text.replace('"name":"README.txt"', '"name":"../sentinel"'));
  }
  execFileSync('mkfifo', [join(folder, 'sentinel')]);
  await expect(look('structure')).rejects.toMatchObject({ code: 'BAD_DOCUMENT' });
});

describe('F24 a medium that is too small', () => {
  test('is found before anything is written, and says which volumes would fit', async (context) => {
    const { folder, store } = await made();
    const out = join(folder, 'tmpfs');
    await mkdir(out);
    mount(context, out, '-t', 'tmpfs', '-o', 'size=7M', 'tmpfs');
    await store.artifact('quay.io/big/file:v1', 'image', { big: 4_000_000 });
    const failed = bundle(optionsFor(store, out, { volumeSize: 1024 * 1024 }));
    await expect(failed).rejects.toMatchObject({
      code: 'DISK',
      message: expect.stringContaining('--volumes 0-'),
    });
    expect(await readdir(out)).toEqual([]);
  });

  test('ENOSPC on a real file system that fills up: a clear message, and on with it when there is room', async (context) => {
    const { folder, store } = await made();
    const out = join(folder, 'tmpfs');
    await mkdir(out);
    mount(context, out, '-t', 'tmpfs', '-o', 'size=700k', 'tmpfs');
    const full = await runFaulty([{ options: optionsFor(store, out), how: 'blind' }]);
    expect(full?.[0]?.failed).toMatchObject({
      code: 'DISK',
      message: expect.stringMatching(/content\.tar\.00[0-9]: no space left on this disk/),
    });
    const kept = (await readdir(out)).filter((name) => /^content\.tar\.\d+$/.test(name));
    expect(kept.length).toBeGreaterThan(1);
    execFileSync('mount', ['-o', 'remount,size=64M', out]);
    const progress: number[] = [];
    await bundle(
      optionsFor(store, out, { progress: { ...noProgress, expect: (bytes) => progress.push(bytes) } }),
    );
    await bundle(optionsFor(store, join(folder, 'fresh')));
    expect(await volumesOf(out)).toBe(await volumesOf(join(folder, 'fresh')));
    const { volumes } = parseBundleDocument(await readFile(join(out, 'bundle.json')));
    const total = volumes.reduce((sum, volume) => sum + volume.size, 0);
    expect(progress[0]).toBeLessThan(2 * total);
  });

  test('a limit on the size of files names --volume-size, and a smaller one works in the same folder', async () => {
    const { folder, store } = await made();
    const out = join(folder, 'out');
    const limited = await runFaulty([{ options: optionsFor(store, out), how: 'nothing' }], 300);
    expect(limited?.[0]?.failed).toMatchObject({
      code: 'DISK',
      message: expect.stringMatching(/use a smaller --volume-size/),
    });
    await bundle(optionsFor(store, out, { volumeSize: 140 * 1024 }));
    expect((await verifyBundle(await BundleStore.open([out], any))).damages).toEqual([]);
  });

  test('EROFS: a read-only medium is named', async (context) => {
    const { folder, store } = await made();
    const out = join(folder, 'tmpfs');
    await mkdir(out);
    mount(context, out, '-t', 'tmpfs', '-o', 'ro,size=64M', 'tmpfs');
    await expect(bundle(optionsFor(store, out))).rejects.toMatchObject({
      code: 'DISK',
      message: expect.stringMatching(/tmpfs.*read-only/),
    });
  });
});
