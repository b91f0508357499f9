/** Downloads that broke off: kept, taken over, gone on with, or thrown away. */
import { link, mkdir, readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { CodedError, ExitCode, exitCodeOf } from '../src/base/errors.ts';
import { acquireLock } from '../src/fs/lock.ts';
import type { Checkpoint, Checkpoints } from '../src/layout/ingest.ts';
import { Layout } from '../src/layout/layout.ts';
import { collect } from '../src/model/bytes.ts';
import { digestOf, hexOf } from '../src/model/digest.ts';
import { MediaType } from '../src/model/media-type.ts';
import type { OpenBytes } from '../src/storage.ts';
import { generatedBlob } from '../src/testing/generated-blob.ts';
import { run } from '../src/testing/run.ts';
import { partsOf, temporaryFolder, temporaryLayout } from '../src/testing/temporary.ts';

const size = 3_000_000;
const blob = await generatedBlob(1, size);
const hex = hexOf(blob.descriptor.digest);
const whole = Buffer.from(await collect(blob.open(), size, ''));
/** A run that no process has. */
const killed = '0123456789abcdef';

/** Opens the blob and keeps the offsets it was opened at and the bytes it gave. */
function recorded(open: OpenBytes = blob.open): { open: OpenBytes; offsets: number[]; bytes: () => number } {
  const offsets: number[] = [];
  let bytes = 0;
  return {
    offsets,
    bytes: () => bytes,
    open: async function* (offset = 0) {
      offsets.push(offset);
      for await (const chunk of open(offset)) {
        bytes += chunk.byteLength;
        yield chunk;
      }
    },
  };
}

/** Gives so many bytes, then breaks. */
function breaking(after: number): OpenBytes {
  return async function* (offset = 0) {
    yield whole.subarray(offset, after);
    throw new CodedError('NETWORK', 'the line broke');
  };
}

async function expectStored(layout: Layout): Promise<void> {
  expect(Buffer.compare(await readFile(layout.pathOf(blob.descriptor.digest)), whole)).toBe(0);
  expect(await partsOf(layout)).toEqual([]);
}

describe('F06 what a failed push leaves', () => {
  test('is gone on with where it stopped', async () => {
    const layout = await temporaryLayout();
    for (const after of [1_000_001, 2_000_000]) {
      await expect(layout.push(blob.descriptor, breaking(after))).rejects.toMatchObject({ code: 'NETWORK' });
      expect(await partsOf(layout)).toEqual([`${hex}.part`]);
      expect(await readdir(join(layout.root, 'blobs', 'sha256'))).toEqual([]);
    }
    const source = recorded();
    expect(await layout.push(blob.descriptor, source.open)).toBe('stored');
    expect([source.offsets, source.bytes()]).toEqual([[2_000_000], 1_000_000]);
    await expectStored(layout);
  });

  test('also while another one is under way', async () => {
    const layout = await temporaryLayout();
    const other = await generatedBlob(2, size);
    const { promise: mayGoOn, resolve: goOn } = Promise.withResolvers<void>();
    const slow: OpenBytes = async function* (offset) {
      await mayGoOn;
      yield* other.open(offset);
    };
    const pushing = layout.push(other.descriptor, slow);
    await expect(layout.push(blob.descriptor, breaking(2_000_000))).rejects.toMatchObject({
      code: 'NETWORK',
    });
    const source = recorded();
    expect(await layout.push(blob.descriptor, source.open)).toBe('stored');
    expect(source.offsets).toEqual([2_000_000]);
    goOn();
    expect(await pushing).toBe('stored');
    await expectStored(layout);
  });

  test('also when it was stopped by the user', async () => {
    const layout = await temporaryLayout();
    const controller = new AbortController();
    const stopping: OpenBytes = async function* () {
      yield whole.subarray(0, 600_000);
      controller.abort();
      yield whole.subarray(600_000, 700_000);
    };
    const error = await layout.push(blob.descriptor, stopping, controller.signal).catch((e: unknown) => e);
    expect(exitCodeOf(error)).toBe(ExitCode.interrupted);
    const source = recorded();
    await layout.push(blob.descriptor, source.open);
    expect(source.offsets).toEqual([600_000]);
  });

  test('is thrown away when it is little, or when the content was refused', async () => {
    const layout = await temporaryLayout();
    await expect(layout.push(blob.descriptor, breaking(100_000))).rejects.toMatchObject({ code: 'NETWORK' });
    expect(await partsOf(layout)).toEqual([]);
    const refused: OpenBytes = async function* () {
      yield whole.subarray(0, 1_000_000);
      throw new CodedError('DIGEST_MISMATCH', 'the sender announces another size');
    };
    await expect(layout.push(blob.descriptor, refused)).rejects.toMatchObject({ code: 'DIGEST_MISMATCH' });
    expect(await partsOf(layout)).toEqual([]);
  });
});

describe('A4 content whose digest is not known', () => {
  const every = 524_288;
  const key = 'https://x/metal-amd64.iso';
  const partName = `${hexOf(digestOf(Buffer.from(key)))}.part`;

  /** A layout, and what was recorded for the download. */
  async function site() {
    const layout = await temporaryLayout();
    const recorded: Checkpoint[] = [];
    const checkpoints: Checkpoints = {
      every,
      read: async () => recorded,
      add: async (checkpoint) => void recorded.push(checkpoint),
    };
    return {
      layout,
      recorded,
      part: join(layout.root, 'ingest', partName),
      ingest: (open: OpenBytes) =>
        layout.ingest(open, { mediaType: MediaType.octetStream, key, maxSize: size, checkpoints }),
    };
  }
  const dripping: OpenBytes = async function* () {
    for (let at = 0; at < 2_500_000; at += 100_000) yield whole.subarray(at, at + 100_000);
    throw new CodedError('NETWORK', 'the line broke');
  };
  /** 2,500,000 bytes came; then the line broke. */
  async function broken() {
    const made = await site();
    await expect(made.ingest(dripping)).rejects.toMatchObject({ code: 'NETWORK' });
    return made;
  }

  test('is recorded as it comes, and where it stops', async () => {
    const { recorded, part } = await broken();
    const sizes = recorded.map((one) => one.size);
    expect(sizes).toEqual([600_000, 1_200_000, 1_800_000, 2_400_000, 2_500_000]);
    for (const checkpoint of recorded)
      expect(checkpoint.digest).toBe(digestOf(whole.subarray(0, checkpoint.size)));
    expect((await stat(part)).size).toBe(2_500_000);
  });

  test('resumes where it stopped', async () => {
    const { layout, ingest } = await broken();
    const source = recorded();
    expect(await ingest(source.open)).toEqual(blob.descriptor);
    expect(source.offsets).toEqual([2_500_000]);
    await expectStored(layout);
  });

  const sectors = 256 * 1024;
  test.each([
    [
      'zeros at its end, after a power cut',
      (bytes: Buffer) => bytes.fill(0, bytes.byteLength - sectors),
      1_800_000,
    ],
    [
      'zeros past its end, which never were recorded',
      (b: Buffer) => Buffer.concat([b, Buffer.alloc(300_000)]),
      2_500_000,
    ],
    [
      'a bad sector before a checkpoint in the middle',
      (bytes: Buffer) => bytes.fill(0xff, 1_100_000, 1_100_512),
      600_000,
    ],
    ['a wrong bit before the first checkpoint', (bytes: Buffer) => bytes.fill((bytes[9] ?? 0) ^ 1, 9, 10), 0],
    ['an end that was lost', (bytes: Buffer) => bytes.subarray(0, 2_000_000), 1_800_000],
    ['nothing', () => Buffer.alloc(0), 0],
  ] as const)('with %s resumes at the last checkpoint that fits', async (_what, damage, kept) => {
    const { layout, ingest, part } = await broken();
    await writeFile(part, damage(Buffer.from(whole.subarray(0, 2_500_000))));
    const source = recorded();
    expect(await ingest(source.open)).toEqual(blob.descriptor);
    expect(source.offsets).toEqual([kept]);
    await expectStored(layout);
  });

  test('begins at byte 0 when nothing was recorded', async () => {
    const { layout, recorded: checkpoints, ingest } = await broken();
    checkpoints.length = 0;
    const source = recorded();
    expect(await ingest(source.open)).toEqual(blob.descriptor);
    expect(source.offsets).toEqual([0]);
    await expectStored(layout);
  });
});

describe('content that nothing can check when it is gone on with', () => {
  const options = {
    mediaType: MediaType.octetStream,
    key: 'https://x/changing.iso',
    maxSize: size,
  };

  test('leaves nothing when it fails', async () => {
    const layout = await temporaryLayout();
    await expect(layout.ingest(breaking(2_000_000), options)).rejects.toMatchObject({ code: 'NETWORK' });
    expect(await partsOf(layout)).toEqual([]);
  });

  test('F01 F3 is begun again after a kill; what was left is removed, of whatever key', async () => {
    const layout = await temporaryLayout();
    for (const key of [options.key, 'https://x/other.iso']) {
      const name = `${hexOf(digestOf(Buffer.from(key)))}.${killed}.0.once.part`;
      await writeFile(join(layout.root, 'ingest', name), 'x'.repeat(1_000_000));
    }
    const source = recorded();
    expect(await layout.ingest(source.open, options)).toEqual(blob.descriptor);
    expect(source.offsets).toEqual([0]);
    await expectStored(layout);
  });

  test('of another process stays while that works on it', async () => {
    const layout = await temporaryLayout();
    const lock = await acquireLock(join(layout.root, 'ingest', `${killed}.run`), 'exclusive');
    onTestFinished(() => lock.release());
    const name = `${'a'.repeat(64)}.${killed}.0.once.part`;
    await writeFile(join(layout.root, 'ingest', name), 'x');
    await layout.removeAbandoned();
    expect(await partsOf(layout)).toContain(name);
    await lock.release();
    await layout.removeAbandoned();
    expect(await partsOf(layout)).not.toContain(name);
  });

  test('leaves nothing when it is not accepted', async () => {
    const layout = await temporaryLayout();
    const accept = (found: object): void => {
      throw new CodedError('DIGEST_MISMATCH', JSON.stringify(found));
    };
    await expect(layout.ingest(blob.open, { ...options, accept })).rejects.toMatchObject({
      code: 'DIGEST_MISMATCH',
      message: JSON.stringify(blob.descriptor),
    });
    expect(await partsOf(layout)).toEqual([]);
    expect(await readdir(join(layout.root, 'blobs', 'sha256'))).toEqual([]);
  });
});

describe('F01 what a killed process left', () => {
  test.each([
    ['with the lock file of its run', true],
    ['without', false],
  ])('A3 F2 %s is taken over', async (_what, hasLock) => {
    const layout = await temporaryLayout();
    await writeFile(join(layout.root, 'ingest', `${hex}.${killed}.0.part`), whole.subarray(0, 1_234_567));
    if (hasLock) await writeFile(join(layout.root, 'ingest', `${killed}.run`), '');
    const source = recorded();
    expect(await layout.push(blob.descriptor, source.open)).toBe('stored');
    expect([source.offsets, source.bytes()]).toEqual([[1_234_567], size - 1_234_567]);
    await expectStored(layout);
  });

  test('complete but not yet published is not asked for again', async () => {
    const layout = await temporaryLayout();
    await writeFile(join(layout.root, 'ingest', `${hex}.part`), whole);
    const source = recorded();
    await layout.push(blob.descriptor, source.open);
    expect(source.bytes()).toBe(0);
    await expectStored(layout);
  });

  test('of a process that runs is left alone', async () => {
    const layout = await temporaryLayout();
    const name = `${hex}.${killed}.0.part`;
    const lock = await acquireLock(join(layout.root, 'ingest', `${killed}.run`), 'exclusive', {
      temporary: true,
    });
    await writeFile(join(layout.root, 'ingest', name), whole.subarray(0, 1_000_000));
    const source = recorded();
    await layout.push(blob.descriptor, source.open);
    expect(source.offsets).toEqual([0]);
    expect((await partsOf(layout)).sort()).toEqual([`${killed}.run`, name]);
    await lock.release();
  });

  test('damaged is thrown away, and all of it fetched again', async () => {
    const layout = await temporaryLayout();
    const damaged = Buffer.from(whole.subarray(0, 1_000_000));
    damaged[500_000] = (damaged[500_000] ?? 0) ^ 1;
    await writeFile(join(layout.root, 'ingest', `${hex}.part`), damaged);
    const source = recorded();
    expect(await layout.push(blob.descriptor, source.open)).toBe('stored');
    expect(source.offsets).toEqual([1_000_000, 0]);
    await expectStored(layout);
  });

  test.each([
    ['is refused with more bytes than there are', () => blob.open()],
    [
      'is refused by the sender',
      async function* (offset = 0) {
        if (offset > 0) throw new CodedError('DIGEST_MISMATCH', 'the sender announces another size');
        yield* blob.open();
      },
    ],
  ] as const satisfies readonly (readonly [string, OpenBytes])[])(
    'F6 %s when it is gone on with, and all of it fetched again',
    async (_what, open) => {
      const layout = await temporaryLayout();
      await writeFile(join(layout.root, 'ingest', `${hex}.part`), whole.subarray(0, 1_000_000));
      await writeFile(join(layout.root, 'ingest', `${hex}.${killed}.0.part`), whole.subarray(0, 500_000));
      const source = recorded(open);
      expect(await layout.push(blob.descriptor, source.open)).toBe('stored');
      expect(source.offsets.at(-1)).toBe(0);
      expect(source.offsets).toHaveLength(2);
      expect(Buffer.compare(await readFile(layout.pathOf(blob.descriptor.digest)), whole)).toBe(0);
    },
  );

  test('complete and read-only already, when the process died just before the rename, can be written again', async () => {
    const layout = await temporaryLayout();
    await writeFile(join(layout.root, 'ingest', `${hex}.part`), whole.subarray(0, 1_000_000), {
      mode: 0o444,
    });
    await expect(layout.push(blob.descriptor, breaking(1_000_000))).rejects.toMatchObject({
      code: 'NETWORK',
    });
    expect((await stat(join(layout.root, 'ingest', `${hex}.part`))).mode & 0o777).toBe(0o600);
  });

  test('with a hole where a write was lost is thrown away too', async () => {
    const layout = await temporaryLayout();
    const holed = Buffer.from(whole.subarray(0, 2_000_000)).fill(0, 4096, 8192);
    await writeFile(join(layout.root, 'ingest', `${hex}.part`), holed);
    const source = recorded();
    await layout.push(blob.descriptor, source.open);
    expect(source.offsets).toEqual([2_000_000, 0]);
    await expectStored(layout);
  });

  test('longer than the content is thrown away', async () => {
    const layout = await temporaryLayout();
    await writeFile(join(layout.root, 'ingest', `${hex}.part`), Buffer.concat([whole, Buffer.from('x')]));
    const source = recorded();
    await layout.push(blob.descriptor, source.open);
    expect(source.offsets).toEqual([0]);
    await expectStored(layout);
  });

  test('T48 a link, a FIFO or a folder in its place is never written to', async () => {
    const outside = join(await temporaryFolder(), 'outside');
    await writeFile(outside, whole.subarray(0, 1_000_000));
    const plant: Record<string, (path: string) => Promise<void>> = {
      symlink: (path) => symlink(outside, path),
      'hard link': (path) => link(outside, path),
      FIFO: async (path) => void run('mkfifo', [path]),
    };
    for (const [kind, make] of Object.entries(plant)) {
      const layout = await temporaryLayout();
      await make(join(layout.root, 'ingest', `${hex}.part`));
      const source = recorded();
      expect(await layout.push(blob.descriptor, source.open), kind).toBe('stored');
      expect(source.offsets).toEqual([0]);
      await expectStored(layout);
      expect(await readFile(outside)).toHaveLength(1_000_000);
    }
    const layout = await temporaryLayout();
    await mkdir(join(layout.root, 'ingest', `${hex}.part`));
    await expect(layout.push(blob.descriptor, blob.open)).rejects.toMatchObject({ code: 'DISK' });
  });

  test('beside index.json is removed by the next write, and nothing that others may be writing', async () => {
    const layout = await temporaryLayout();
    await layout.push(blob.descriptor, blob.open);
    const abandoned = '.index.json.0123456789abcdef.tmp';
    const others = ['.lock.json.0123456789abcdef.tmp', '.hidden.tmp'];
    for (const name of [abandoned, ...others]) await writeFile(join(layout.root, name), 'x');
    const again = await Layout.open(layout.root);
    await again.tag({ ...blob.descriptor, mediaType: MediaType.ociManifest }, 'name');
    const names = await readdir(layout.root);
    expect(names).not.toContain(abandoned);
    expect(names).toEqual(expect.arrayContaining(others));
  });
});

test('F02 a full disk keeps what came, says so, and the next run goes on', async (context) => {
  const folder = await temporaryFolder();
  try {
    run('mount', ['-t', 'tmpfs', '-o', 'size=2m', 'tmpfs', folder]);
  } catch {
    return context.skip('mounting a small tmpfs needs root');
  }
  onTestFinished(() => void run('umount', [folder]));
  const layout = await Layout.open(join(folder, 'store'), { create: true });
  await expect(layout.push(blob.descriptor, blob.open)).rejects.toMatchObject({
    code: 'DISK',
    message: expect.stringMatching(/no space left on this disk; free some and run the same command again$/),
  });
  expect(await partsOf(layout)).toEqual([`${hex}.part`]);
  expect(await readdir(join(layout.root, 'blobs', 'sha256'))).toEqual([]);
  const kept = await readFile(join(layout.root, 'ingest', `${hex}.part`));
  expect(kept.byteLength).toBeGreaterThan(1024 * 1024);
  expect(kept.equals(whole.subarray(0, kept.byteLength))).toBe(true);
  run('mount', ['-o', 'remount,size=8m', folder]);
  const source = recorded();
  expect(await layout.push(blob.descriptor, source.open)).toBe('stored');
  expect(source.offsets).toEqual([kept.byteLength]);
  await expectStored(layout);
});
