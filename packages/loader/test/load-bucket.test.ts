/** Loads into a bucket: what is read back, what counts as there, and what the receipt says of it. */

import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { problem, type S3Double, startS3Double } from '@omni-airgap/objects/testing';
import { noProgress } from '@omni-airgap/oci';
import type { Layout } from '@omni-airgap/oci/layout';
import { type Descriptor, hexOf, MediaType } from '@omni-airgap/oci/model';
import { expect, test } from 'vitest';
import { dryRun, type LoadReport, load } from '../src/load.ts';
import type { LoadOptions } from '../src/options.ts';
import { openBundles } from '../src/source.ts';
import {
  addBlob,
  addManifest,
  bytesFor,
  makeBundle,
  startDouble,
  type TestBundle,
  temporary,
  two,
} from './support.ts';

const schematic = '3'.repeat(64);
const kernel = bytesFor('kernel', 9000);
const keyOf = (version: string): string => `image/${schematic}/${version}/kernel-amd64`;

/** Media of one version: a kernel. @returns the descriptor of the kernel */
async function media(layout: Layout, version: string): Promise<Descriptor> {
  const config = await addBlob(layout, MediaType.empty, Buffer.from('{}'));
  const file = await addBlob(layout, MediaType.octetStream, kernel);
  await addManifest(layout, `factory.talos.dev/talos-media/${schematic}:${version}`, MediaType.ociManifest, {
    artifactType: 'application/vnd.test.media',
    config,
    layers: [{ ...file, annotations: { 'org.opencontainers.image.title': 'kernel-amd64' } }],
  });
  return file;
}

async function bundleOf(version: string): Promise<TestBundle> {
  return makeBundle(async (layout) => void (await media(layout, version)));
}

/** The second version of a store whose first one brought the kernel, under its own key. */
async function increment(base: TestBundle): Promise<TestBundle> {
  const { digest, size } = await descriptorOfKernel();
  return makeBundle(
    async (layout) => {
      const file = await media(layout, 'v1.13.9');
      await rm(join(layout.root, 'blobs', 'sha256', hexOf(file.digest)));
    },
    {
      sequence: 2,
      base: [{ id: base.document.id, origin: base.document.origin, sequence: 1 }],
      relies: { repositories: [], objects: [{ key: keyOf('v1.13.8'), digest, size }] },
    },
  );
}

async function descriptorOfKernel(): Promise<Descriptor> {
  let file: Descriptor | undefined;
  await makeBundle(async (layout) => {
    file = await media(layout, 'v1');
  });
  return file as Descriptor;
}

interface Site {
  readonly double: S3Double;
  readonly notes: string[];
  options(bundles: readonly TestBundle[], how?: Partial<LoadOptions>): Promise<LoadOptions>;
  load(bundles: readonly TestBundle[], how?: Partial<LoadOptions>): Promise<LoadReport>;
  /** Keys that were read since the last time this was asked. */
  reads(): readonly string[];
}

async function site(): Promise<Site> {
  const double = await startS3Double();
  const endpoint = new URL(double.url);
  const notes: string[] = [];
  const state = await temporary();
  const settings = {
    ...{ bucket: 'talos', prefix: '', endpoint, region: 'us-east-1' },
    ...{ accessKeyId: 'key', secretAccessKey: 'secret' },
  };
  const options: Site['options'] = async (bundles, how = {}) => ({
    source: await openBundles(
      bundles.map(({ folder }) => folder),
      { mode: 'any' },
      undefined,
    ),
    objectStore: { kind: 's3', settings },
    state,
    network: { upstreams: [], allowHosts: [], plainHttp: [endpoint.host], env: {} },
    tool: 'test',
    progress: { ...noProgress, note: (text) => void (text.startsWith('s3:') && notes.push(text)) },
    ...how,
  });
  let seen = 0;
  return {
    double,
    notes,
    options,
    load: async (bundles, how) => load(await options(bundles, how)),
    reads() {
      const found = double.requests
        .slice(seen)
        .filter(
          ({ method, query, path }) =>
            method === 'GET' && query.get('x-id') === 'GetObject' && path.includes('/image/'),
        );
      seen = double.requests.length;
      return found.map(({ path }) => path);
    },
  };
}

/** Changes a byte of an object; its size and metadata stay, and its ETag unless it is told to change. */
function damage(double: S3Double, key: string, etag?: string): void {
  const stored = double.objects.get(`talos/${key}`);
  if (stored === undefined) throw new Error(`no object ${key}`);
  const bytes = Buffer.from(stored.bytes);
  bytes[0] = (bytes[0] ?? 0) ^ 1;
  double.objects.set(`talos/${key}`, { ...stored, bytes, etag: etag ?? stored.etag });
}

test('bytes that a line changed fail the load, and the same command again stores them', async () => {
  const { double, load } = await site();
  const bundle = await bundleOf('v1.13.8');
  const at = `talos/${keyOf('v1.13.8')}`;
  double.keep = (bytes) =>
    bytes.byteLength === kernel.byteLength ? Buffer.from(bytes).fill(7, 50, 51) : bytes;
  await expect(load([bundle])).rejects.toMatchObject({ code: 'DIGEST_MISMATCH' });
  expect(double.objects.has(at)).toBe(false);
  // As long as the line is bad, no load succeeds.
  await expect(load([bundle])).rejects.toMatchObject({ code: 'DIGEST_MISMATCH' });
  double.keep = (bytes) => bytes;
  expect((await load([bundle])).objectsStored).toBe(1);
  expect(double.objects.get(at)?.bytes.equals(kernel)).toBe(true);
});

test('objects without a read-back on record: how much is read is told first, and the next load reads nothing', async () => {
  const { double, load, notes, options, reads } = await site();
  const bundle = await bundleOf('v1.13.8');
  await load([bundle], { verify: 'quick' });
  expect(reads()).toEqual([]);

  await dryRun(await options([bundle]));
  expect(reads()).toEqual([]);
  const told = expect.stringMatching(/load reads 1 existing object\(s\) back \(8\.8 KiB\): .*--verify quick/);
  expect(notes).toEqual([told]);

  expect((await load([bundle])).objectsPresent).toBe(1);
  expect(reads()).toEqual([`talos/${keyOf('v1.13.8')}`]);
  expect(notes).toEqual([told, told]);
  await load([bundle]);
  expect(reads()).toEqual([]);
  expect(notes).toHaveLength(2);
  expect(double.objects.size).toBe(1);
});

test('the receipt says whether objects were read back', async () => {
  const { load } = await site();
  const bundle = await bundleOf('v1.13.8');
  expect((await load([bundle], { verify: 'quick' })).receipt.objectsReadBack).toBe(false);
  expect((await load([bundle])).receipt.objectsReadBack).toBe(true);
});

test('--verify full reads objects that are on record, and stores those again that rotted', async () => {
  const { double, load, reads, notes } = await site();
  const bundle = await bundleOf('v1.13.8');
  await load([bundle]);
  damage(double, keyOf('v1.13.8'));
  expect((await load([bundle])).objectsPresent).toBe(1);
  reads();
  const report = await load([bundle], { verify: 'full' });
  expect(report).toMatchObject({ objectsStored: 1, verifiedBytes: kernel.byteLength });
  expect(reads()).toHaveLength(2);
  expect(notes).toEqual([
    expect.stringContaining('as --verify full asks'),
    expect.stringMatching(/read back, the stored bytes have .* stores the object again/),
  ]);
});

test('an increment builds only on objects that were read back', async () => {
  const { double, load, notes, reads } = await site();
  const base = await bundleOf('v1.13.8');
  const next = await increment(base);
  await load([base], { verify: 'quick' });
  damage(double, keyOf('v1.13.8'), 'of the wrong bytes');
  await expect(load([next])).rejects.toMatchObject({ code: 'MISSING_CONTENT' });
  expect(notes.join('\n')).toContain(`${keyOf('v1.13.8')}: read back, the stored bytes have`);
  expect(double.objects.has(`talos/${keyOf('v1.13.9')}`)).toBe(false);

  await load([base]);
  reads();
  expect((await load([next])).objectsStored).toBe(1);
  // The one that was copied, not the one it was copied from.
  expect(reads()).toEqual([`talos/${keyOf('v1.13.9')}`]);
  expect(double.objects.get(`talos/${keyOf('v1.13.9')}`)?.bytes.equals(kernel)).toBe(true);
});

test('a bucket that may not be written is found before anything goes into the registry', async () => {
  const { double, load } = await site();
  const registry = await startDouble();
  const bundle = await makeBundle(async (layout) => {
    await two(layout);
    await media(layout, 'v1.13.8');
  });
  double.fault = ({ method }) => (method === 'PUT' ? problem(403, 'AccessDenied') : undefined);
  const hosts = [registry.host, new URL(double.url).host];
  const both = {
    registry: { host: registry.host, prefix: '' },
    network: { upstreams: [], allowHosts: [], plainHttp: hosts, env: {} },
  };
  await expect(load([bundle], both)).rejects.toMatchObject({
    code: 'DENIED',
    message: expect.stringMatching(/write: .*must allow s3:PutObject here; nothing was loaded$/),
  });
  expect(registry.requests.filter(({ method }) => method !== 'GET' && method !== 'HEAD')).toEqual([]);
});

test('A7 a store that does not list unfinished uploads is loaded into, with a note', async () => {
  const { double, load, notes } = await site();
  double.fault = ({ method, query }) =>
    method === 'GET' && query.has('uploads') ? problem(501, 'NotImplemented') : undefined;
  expect((await load([await bundleOf('v1.13.8')])).objectsStored).toBe(1);
  expect(notes).toEqual([expect.stringContaining('list unfinished uploads')]);
});

test('a quota that is used up: what is stored stays, and how much is still needed is told', async () => {
  const { double, load } = await site();
  const bundle = await makeBundle(async (layout) => {
    await media(layout, 'v1.13.8');
    await media(layout, 'v1.13.9');
    await media(layout, 'v1.14.0');
  });
  double.fault = ({ method, path }) =>
    method === 'PUT' && path.includes('/image/') && !path.includes('v1.13.8')
      ? problem(403, 'QuotaExceeded')
      : undefined;
  await expect(load([bundle])).rejects.toThrow(
    /the quota is used up; (17\.6 KiB in 2|26\.4 KiB in 3) object\(s\) are still to be stored: make room/,
  );
  double.fault = () => undefined;
  expect((await load([bundle])).objectsStored).toBeGreaterThanOrEqual(2);
});

test('S7 what is copied inside the store is no part of the bytes to move', async () => {
  const { load } = await site();
  const base = await bundleOf('v1.13.8');
  for (const bundles of [[base], [await increment(base)]]) {
    let [expected, moved] = [0, 0];
    const progress = {
      ...noProgress,
      expect(bytes: number) {
        expected += bytes;
      },
      advance(bytes: number) {
        moved += bytes;
      },
    };
    expect((await load(bundles, { progress })).objectsStored).toBeGreaterThan(0);
    expect(moved).toBe(expected);
  }
});
