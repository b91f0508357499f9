/**
 * F25 F30: disks that fail while they are written to or read, as the kernel tells of it: at a write, at a sync in the
 * middle of a volume or at its end, at reading back; and the file system that becomes read-only after it. What the
 * command says then, what is left there, and that it heals once the disk is whole again.
 */
import { closeSync, existsSync, openSync, readdirSync, readFileSync, readSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { type RegistryDouble, startRegistryDouble } from '../../packages/oci/src/testing/index.ts';
import { cli, cliJson, type Ended, expectFailure, startCli } from '../support/cli.ts';
import { Disk } from '../support/disk.ts';
import { addImage } from '../support/double-image.ts';
import { digestOfFile, listing } from '../support/files.ts';
import { type Workspace, workspace } from '../support/workspace.ts';

const mebibyte = 1024 * 1024;
const layer = 14 * mebibyte;
/** MiB that a disk says it has; the content is 140. */
const size = 512;
const small = '16MiB';
/** Of one volume of these, more than 128 MiB are written: a sync comes in the middle. */
const large = '1GiB';

let upstream: RegistryDouble;
let site: Workspace;
/** Digests of its layers, by name. */
const layersOf = new Map<string, readonly string[]>();

beforeAll(async () => {
  upstream = await startRegistryDouble();
  for (const [path, layers] of [
    ['acme/app', 7],
    ['acme/tool', 3],
  ] as const) {
    const image = await addImage(upstream.repository(path), 'v1', layers, Array<number>(layers).fill(layer));
    layersOf.set(
      `ghcr.io/${path}:v1`,
      image.layers.map(({ digest }) => digest),
    );
  }
  site = await workspace('images: [ghcr.io/acme/app:v1, ghcr.io/acme/tool:v1]\n');
  await cliJson(['fetch', ...site.store, '--upstream', `ghcr.io=${upstream.url}`]);
  for (const each of [small, large]) await cliJson(bundleInto(site.at(each), each));
});
afterAll(() => upstream?.close());

const bundleInto = (out: string, volumeSize: string): readonly string[] => [
  ...['bundle', '--store', site.at('store'), '--out', out],
  ...['--volume-size', volumeSize, '--sign-key', site.at('site.key')],
];
const volumesIn = (folder: string): readonly string[] =>
  readdirSync(folder).filter((name) => /^content\.tar\.[0-9]{3}$/.test(name));
const trustIn = (folder: string): readonly string[] => [
  ...['--bundle', folder, '--verify-key', site.at('site.pub')],
];

interface Failure {
  readonly volumeSize: string;
  /** MiB behind what the disk says it has; undefined for as many. */
  readonly room?: number;
  /** The file that must be there before the disk fails, and the bytes of the disk that still work then. */
  readonly fail?: { readonly when: string; readonly kept: number };
  readonly says: RegExp;
  /** What each of the next attempts says, the disk being as it is. */
  readonly saysThen: RegExp;
}

const full =
  /no space left on this disk; free some and run the same command again(?:, or specify another path with --out)? \[DISK\]$/;
const failing =
  /(input\/output error; plug it in again|read-only; if its device failed, plug that in again).*run the same command again(?:, or specify another path with --out)? \[DISK\]$/;

const failures: readonly (readonly [title: string, failure: Failure])[] = [
  [
    'takes less than it says, found at the end of a volume',
    // For four volumes and what ext4 writes by and by for itself.
    { volumeSize: small, room: 76, says: full, saysThen: full },
  ],
  [
    'takes less than it says, found in the middle of a volume',
    { volumeSize: large, room: 60, says: full, saysThen: full },
  ],
  [
    'fails between volumes',
    {
      volumeSize: small,
      fail: { when: 'content.tar.003', kept: 20 * mebibyte },
      says: failing,
      saysThen: failing,
    },
  ],
  [
    'is gone in the middle of a volume',
    {
      volumeSize: large,
      fail: { when: 'content.tar.001.partial', kept: 0 },
      says: failing,
      saysThen: failing,
    },
  ],
  [
    'fails while a volume is read back',
    {
      volumeSize: large,
      fail: { when: 'content.tar.001', kept: 20 * mebibyte },
      says: failing,
      saysThen: failing,
    },
  ],
];

/** What must hold of a medium as a failed command leaves it. */
function expectUnfinished(ended: Ended, folder: string, message: RegExp): void {
  expectFailure(ended, 5, message);
  expect(ended.stderr).toContain(folder);
  expect(existsSync(join(folder, 'bundle.json'))).toBe(false);
}

async function expectSameVolumes(
  folder: string,
  undisturbed: string,
  names: readonly string[],
): Promise<void> {
  for (const name of names)
    expect(await digestOfFile(join(folder, name)), name).toBe(await digestOfFile(join(undisturbed, name)));
}

describe('F25 a disk that', () => {
  test.for(failures)('%s', async ([, { volumeSize, room, fail, says, saysThen }], context) => {
    const disk = Disk.make(context, room === undefined ? { size } : { size, room });
    const { folder } = disk;
    const bundle = bundleInto(folder, volumeSize);
    const running = startCli(bundle);
    if (fail !== undefined) {
      await running.until(() => readdirSync(folder).includes(fail.when));
      disk.fail(fail.kept);
    }
    expectUnfinished(await running.ended, folder, says);
    // As it is, it goes no better; a file system whose journal cannot be written ends as read-only.
    let last = await cli(bundle);
    for (let i = 0; fail !== undefined && i < 20 && !/read-only/.test(last.stderr); i++) {
      expectUnfinished(last, folder, saysThen);
      last = await cli(bundle);
    }
    expectUnfinished(last, folder, fail === undefined ? saysThen : /read-only/);

    disk.plugIn();
    expect(existsSync(join(folder, 'bundle.json'))).toBe(false);
    const survived = volumesIn(folder);
    await expectSameVolumes(folder, site.at(volumeSize), survived);
    const journal = readFileSync(join(folder, 'bundle.unfinished'), 'utf8');
    const listed = survived.filter((name) => journal.includes(`{"volume":${Number(name.slice(-3))}}`));
    expect(listed.length).toBeGreaterThan(volumeSize === small ? 2 : 0);
    const before = listed.map((name) => statSync(join(folder, name)));
    await cliJson(bundle);
    // What was listed as done is not written again.
    expect(listed.map((name) => statSync(join(folder, name)).ino)).toEqual(before.map(({ ino }) => ino));
    expect(listing(folder).filter((name) => name !== 'lost+found')).toEqual(listing(site.at(volumeSize)));
    disk.forget();
    await expectSameVolumes(folder, site.at(volumeSize), volumesIn(site.at(volumeSize)));
    expect(await cliJson(['verify', ...trustIn(folder)])).toMatchObject({ damages: [], unusable: [] });
  });
});

/** First byte of a file that the kernel cannot read; undefined when it can read all. */
function firstUnreadable(path: string): number | undefined {
  const file = openSync(path, 'r');
  const page = Buffer.alloc(4096);
  try {
    for (let at = 0; ; ) {
      const bytes = readSync(file, page, 0, page.byteLength, at);
      if (bytes === 0) return undefined;
      at += bytes;
    }
  } catch (error) {
    expect((error as NodeJS.ErrnoException).code).toBe('EIO');
    for (let at = 0; ; at += page.byteLength) {
      try {
        readSync(file, page, 0, page.byteLength, at);
      } catch {
        return at;
      }
    }
  } finally {
    closeSync(file);
  }
}

test('F30 sectors that cannot be read: verify says in which volume and where, and what is still usable; load names nothing that it cannot read', async (context) => {
  const disk = Disk.make(context, { size });
  const { folder } = disk;
  await cliJson(bundleInto(folder, small));
  const ends = volumesIn(folder).map((name) => disk.endOf(join(folder, name)));
  disk.forget();
  // The end of the volume that lies last.
  disk.fail(Math.max(...ends) - 5 * mebibyte);
  const hit = volumesIn(folder).flatMap((name) => {
    const offset = firstUnreadable(join(folder, name));
    return offset === undefined ? [] : [[name, offset] as const];
  });
  expect(hit.length).toBeGreaterThan(0);
  const { blobs } = JSON.parse(readFileSync(join(folder, 'bundle.json'), 'utf8')) as {
    readonly blobs: readonly { readonly digest: string; readonly volume: number }[];
  };
  const lost = blobs.filter(({ volume }) => hit.some(([name]) => Number(name.slice(-3)) === volume));
  const needing = [...layersOf].filter(([, layers]) => lost.some(({ digest }) => layers.includes(digest)));
  expect(needing).toHaveLength(1);
  disk.forget();
  const ended = await cli(['verify', ...trustIn(folder), '--json']);
  expectFailure(
    ended,
    3,
    /content\.tar\.([0-9]{3}): damaged, first at byte [0-9]+ of content\.tar\.\1; 1 of 2 names are still usable; copy the volume again \[BAD_VOLUME\]$/,
  );
  const { damages, unusable } = JSON.parse(ended.stdout) as {
    readonly damages: readonly { readonly volume: string; readonly offset: number; readonly what: string }[];
    readonly unusable: readonly string[];
  };
  const unreadable = damages.filter(({ what }) => what.startsWith('cannot be read'));
  expect(unreadable.map(({ volume }) => volume)).toEqual(hit.map(([name]) => name));
  // The kernel reads some pages at a time, and which ones it takes together is its own affair.
  for (const [i, [, offset]] of hit.entries())
    expect(Math.abs((unreadable[i]?.offset ?? -1) - offset)).toBeLessThanOrEqual(mebibyte);
  expect(unusable).toEqual(needing.map(([name]) => name));
  const inside = await startRegistryDouble();
  onTestFinished(() => inside.close());
  const loaded = await cli([
    'load',
    ...trustIn(folder),
    '--registry',
    inside.host,
    '--plain-http',
    inside.host,
  ]);
  expectFailure(loaded, 5, /content\.tar\.[0-9]{3}: the device reports an input\/output error/);
  expect(['acme/app', 'acme/tool'].flatMap((path) => [...inside.repository(path).tags])).toEqual([]);
  disk.plugIn();
  await cliJson(['load', ...trustIn(folder), '--registry', inside.host, '--plain-http', inside.host]);
});
