/** Uploads: in one body or in parts, resumed, sent again, copied; what is asked of the store for them. */
import { createHash } from 'node:crypto';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { HttpGate } from '@omni-airgap/oci/http';
import { digestFromHex } from '@omni-airgap/oci/model';
import { temporaryFolder as temporary } from '@omni-airgap/oci/testing';
import { expect, onTestFinished, test } from 'vitest';
import { DirectorySink } from '../src/directory-sink.ts';
import { hostsOf, plainHttpHostsOf } from '../src/open-sink.ts';
import { S3Sink } from '../src/s3-sink.ts';
import { objectSinkSuite } from '../src/testing/object-sink-suite.ts';
import { problem, startS3Double } from '../src/testing/s3-double.ts';
import {
  brokenOff,
  damage,
  flipped,
  ignore,
  mib,
  objectOf,
  openSink,
  page,
  partSize,
  readsOf,
} from './s3-support.ts';

objectSinkSuite('an S3 bucket', async () => {
  const double = await startS3Double();
  const scratch = await temporary();
  return {
    sink: await openSink(double, join(scratch, 'state')),
    scratch,
    damage: async (key) => damage(double, key),
  };
});

objectSinkSuite('a folder', async () => {
  const scratch = await temporary();
  const root = join(scratch, 'objects');
  return {
    sink: new DirectorySink(root),
    scratch,
    async damage(key) {
      const bytes = await readFile(join(root, key));
      await writeFile(join(root, key), flipped(bytes));
    },
  };
});

test('F46 plain bodies of known length under a signed hash, no checksum headers, path style', async () => {
  const double = await startS3Double();
  const sink = await openSink(double, await temporary());
  await sink.put(await objectOf(1000), ignore);
  await sink.put(await objectOf(6 * mib, 'image/a/v1/large'), ignore);
  const puts = double.requests.filter(
    ({ method, path }) => method === 'PUT' && !path.includes('omni-airgap-probe'),
  );
  expect(puts).toHaveLength(3);
  for (const { path, headers, body } of double.requests) {
    expect(path).toMatch(/^talos/);
    expect(
      Object.keys(headers).filter((name) => /checksum|trailer|expect|transfer-encoding/.test(name)),
    ).toEqual([]);
    if (body.byteLength > 0) expect(headers['content-length']).toBe(String(body.byteLength));
    expect(headers['content-encoding']).toBeUndefined();
  }
  for (const { headers, body } of puts) {
    expect(headers['x-amz-content-sha256']).toBe(createHash('sha256').update(body).digest('hex'));
    expect(headers['content-md5']).toBeUndefined();
  }
  expect(double.objects.get('talos/site/image/a/v1/large')?.headers).toMatchObject({
    'content-type': 'application/x-iso9660-image',
    'content-disposition': 'attachment; filename="metal-amd64.iso"',
  });
});

test('a store that does not check the signed hash gets Content-MD5', async () => {
  const double = await startS3Double();
  double.checksPayload = false;
  const sink = await openSink(double, await temporary());
  const object = await objectOf(6 * mib);
  await sink.put(object, ignore);
  const parts = double.requests.filter(({ query }) => query.has('partNumber'));
  expect(parts).toHaveLength(2);
  for (const { headers, body } of parts) {
    expect(headers['content-md5']).toBe(createHash('md5').update(body).digest('base64'));
  }
  expect([...double.objects.keys()]).toEqual(['talos/site/image/a/v1/metal-amd64.iso']);
});

test('F43 an upload that broke off goes on where it was, with parts that are what they should be', async () => {
  const double = await startS3Double();
  const journal = await temporary();
  const object = await objectOf(16 * mib);
  const failing = await openSink(double, journal);
  double.fault = ({ query }) => (query.get('partNumber') === '3' ? problem(403, 'AccessDenied') : undefined);
  await expect(failing.put(object, ignore)).rejects.toMatchObject({ code: 'DENIED' });
  expect(double.uploads.size).toBe(1);
  expect(await failing.staleUploads()).toHaveLength(1);
  const [upload] = double.uploads.values();
  // Somebody else's bytes under a part's number are not taken for ours.
  upload?.parts.set(2, Buffer.alloc(partSize));
  double.fault = () => undefined;
  const before = double.requests.length;
  const sink = await openSink(double, journal);
  let counted = 0;
  expect(await sink.put(object, (bytes) => (counted += bytes))).toBe('stored');
  expect(counted).toBe(object.descriptor.size);
  const sent = double.requests.slice(before).map(({ query }) => query.get('partNumber'));
  expect(sent).toEqual(expect.arrayContaining(['2', '3']));
  expect(sent).not.toContain('1');
  expect(double.uploads.size).toBe(0);
});

test('F43 a part that was sent from a damaged medium is sent again from a good one', async () => {
  const double = await startS3Double();
  const journal = await temporary();
  const object = await objectOf(11 * mib);
  const path = object.content.kind === 'pieces' ? (object.content.pieces[0]?.path ?? '') : '';
  const good = await readFile(path);
  await writeFile(path, Buffer.from(good).fill(0xff, 100, 200));
  const denied = problem(403, 'AccessDenied');
  double.fault = ({ query }) => (query.get('partNumber') === '3' ? denied : undefined);
  await expect((await openSink(double, journal)).put(object, ignore)).rejects.toMatchObject({
    code: 'DENIED',
  });
  await writeFile(path, good);
  double.fault = () => undefined;
  const before = double.requests.length;
  expect(await (await openSink(double, journal)).put(object, ignore)).toBe('stored');
  const sent = double.requests.slice(before).flatMap(({ query }) => query.get('partNumber') ?? []);
  expect(sent.sort()).toEqual(['1', '3']);
  expect(double.objects.get(`talos/site/${object.key}`)?.bytes.equals(good)).toBe(true);
});

test('F43 an upload that the store has forgotten is begun anew', async () => {
  const { double, object, sink } = await brokenOff();
  double.uploads.clear();
  double.fault = () => undefined;
  expect(await sink.put(object, ignore)).toBe('stored');
});

test('an answer to the last request that is lost costs nothing', async () => {
  const double = await startS3Double();
  const object = await objectOf(6 * mib);
  let failures = 1;
  double.fault = ({ method, query }) =>
    method === 'POST' && query.has('uploadId') && failures-- > 0 ? 'lose' : undefined;
  const sink = await openSink(double, await temporary());
  expect(await sink.put(object, ignore)).toBe('stored');
});

test.each(['{', '[]', '{"object":"s3://talos/site"}', ''])(
  'a record that holds %j proves nothing',
  async (text) => {
    const double = await startS3Double();
    const state = await temporary();
    const object = await objectOf(1000);
    await (await openSink(double, state)).put(object, ignore);
    const [record = ''] = await readdir(join(state, 'read-back'));
    await writeFile(join(state, 'read-back', record), text);
    expect(await (await openSink(double, state)).put(object, ignore)).toBe('present');
    expect(readsOf(double)).toHaveLength(2);
  },
);

test('a store that removes an object with the upload of its key that is aborted fails nothing', async () => {
  const double = await startS3Double();
  double.fault = ({ method, path, query }) => {
    if (method === 'DELETE' && query.has('uploadId')) double.objects.delete(path);
    return undefined;
  };
  const sink = await openSink(double, join(await temporary(), 'journal'));
  const steps = await sink.preflight(true);
  expect(steps.filter(({ state }) => state === 'failed')).toEqual([]);
});

test('A8 a probe of the payload that a busy store refuses is made again', async () => {
  const double = await startS3Double();
  let refusals = 2;
  double.fault = ({ method, path }) =>
    method === 'PUT' && path.includes('omni-airgap-probe') && refusals-- > 0
      ? problem(503, 'SlowDown')
      : undefined;
  const sink = await openSink(double, await temporary());
  expect(await sink.put(await objectOf(1000), ignore)).toBe('stored');
});

test('A8 a probe that failed is no verdict on the next object', async () => {
  const double = await startS3Double();
  double.fault = ({ path }) =>
    path.includes('omni-airgap-probe') ? problem(403, 'AccessDenied') : undefined;
  const sink = await openSink(double, await temporary());
  await expect(sink.put(await objectOf(1000), ignore)).rejects.toMatchObject({ code: 'DENIED' });
  double.fault = () => undefined;
  expect(await sink.put(await objectOf(1000), ignore)).toBe('stored');
});

test('A8 a store that takes wrong bytes for a wrong signature has refused them', async () => {
  const double = await startS3Double();
  double.fault = ({ method, headers, body }) =>
    method === 'PUT' && createHash('sha256').update(body).digest('hex') !== headers['x-amz-content-sha256']
      ? problem(403, 'SignatureDoesNotMatch')
      : undefined;
  const sink = await openSink(double, await temporary());
  expect((await sink.preflight(true)).filter(({ state }) => state !== 'ok')).toEqual([]);
  expect(await sink.put(await objectOf(1000), ignore)).toBe('stored');
  expect(double.requests.some(({ headers }) => 'content-md5' in headers)).toBe(false);
});

test('a bucket with a default retention that asks for Content-MD5 gets one, with each body', async () => {
  const double = await startS3Double();
  const asks =
    'Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object requests with Object Lock parameters';
  const refusal = `<Error><Code>InvalidRequest</Code><Message>${asks}</Message></Error>`;
  double.fault = ({ method, headers }) =>
    method === 'PUT' && !('content-md5' in headers) ? { status: 400, body: refusal } : undefined;
  for (const withPreflight of [true, false]) {
    const sink = await openSink(double, await temporary());
    if (withPreflight)
      expect((await sink.preflight(false)).some(({ state }) => state === 'failed')).toBe(false);
    expect(await sink.put(await objectOf(6 * mib, `image/${withPreflight}/large`), ignore)).toBe('stored');
    expect(await sink.put(await objectOf(1000, `image/${withPreflight}/small`), ignore)).toBe('stored');
  }
});

test('parts get smaller until a proxy takes them, and stay so', async () => {
  const double = await startS3Double();
  const limit = 6 * mib;
  double.fault = ({ body }) => (body.byteLength > limit ? page(413, 'Request Entity Too Large') : undefined);
  const notes: string[] = [];
  const options = { partSize: 16 * mib, note: (text: string) => void notes.push(text) };
  const sink = await openSink(double, await temporary(), options);
  const object = await objectOf(18 * mib);
  let counted = 0;
  expect(await sink.put(object, (bytes) => (counted += bytes))).toBe('stored');
  expect(counted).toBe(object.descriptor.size);
  expect(notes).toEqual([
    expect.stringContaining('load sends parts of 8.0 MiB'),
    expect.stringContaining('load sends parts of 5.0 MiB'),
  ]);
  expect(double.uploads.size).toBe(0);
  const before = double.requests.length;
  expect(await sink.put(await objectOf(12 * mib, 'image/b'), ignore)).toBe('stored');
  expect(double.requests.slice(before).some(({ body }) => body.byteLength > limit)).toBe(false);
});

test('a body in one piece that is too large goes up in parts; below 5 MiB nothing helps', async () => {
  const double = await startS3Double();
  let limit = 6 * mib;
  double.fault = ({ body }) => (body.byteLength > limit ? page(413, 'Request Entity Too Large') : undefined);
  const sink = await openSink(double, await temporary(), { partSize: 16 * mib });
  expect(await sink.put(await objectOf(12 * mib), ignore)).toBe('stored');
  limit = mib;
  await expect(sink.put(await objectOf(12 * mib, 'image/b'), ignore)).rejects.toMatchObject({
    code: 'UPSTREAM',
    message: expect.stringContaining('client_max_body_size 0'),
  });
});

test('an object above 5 GiB is copied in parts inside the store', async () => {
  const double = await startS3Double();
  const size = 5 * 1024 ** 3 + 12_345;
  const digest = digestFromHex('a'.repeat(64));
  const headers = { 'x-amz-meta-sha256': 'a'.repeat(64) };
  const sparse = { bytes: Buffer.alloc(0), etag: 'sparse', headers, size };
  double.objects.set('talos/site/image/a/large', sparse);
  const sink = await openSink(double, await temporary(), { readBack: 'never' });
  double.fault = ({ method, path, query }) => {
    // What was joined has the size of its source.
    if (method === 'HEAD' && path.endsWith('/b/large') && double.objects.has(path)) {
      double.objects.set(path, { ...sparse, headers: double.objects.get(path)?.headers ?? {} });
    }
    return method === 'PUT' && !query.has('partNumber') ? problem(400, 'EntityTooLarge') : undefined;
  };
  const object = {
    key: 'image/b/large',
    descriptor: { digest, size },
    contentType: 'application/octet-stream',
    content: { kind: 'object', key: 'image/a/large' },
  } as const;
  expect(await sink.put(object, ignore)).toBe('stored');
  let next = 0;
  for (const { headers: sent } of double.requests) {
    const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(String(sent['x-amz-copy-source-range'])) ?? [];
    if (last === undefined) continue;
    expect(Number(first)).toBe(next);
    next = Number(last) + 1;
  }
  expect(next).toBe(size);
  expect(double.uploads.size).toBe(0);
  expect(double.requests.reduce((sum, { body }) => sum + body.byteLength, 0)).toBeLessThan(10_000);
});

test('--s3-addressing virtual: the bucket is in the name of the host', async () => {
  const double = await startS3Double();
  const { port } = new URL(double.url);
  const settings = {
    ...{ bucket: 'talos', prefix: '', endpoint: new URL(`http://s3.test:${port}`), region: 'us-east-1' },
    ...{ accessKeyId: 'key', secretAccessKey: 'secret' },
    addressing: 'virtual',
  } as const;
  const hosts = hostsOf({ kind: 's3', settings });
  expect(hosts).toEqual([`s3.test:${port}`, `talos.s3.test:${port}`]);
  expect(plainHttpHostsOf({ kind: 's3', settings })).toEqual(hosts);
  const secure = { ...settings, endpoint: new URL('https://s3.test') };
  expect(plainHttpHostsOf({ kind: 's3', settings: secure })).toEqual([]);
  const lookup = async () => [{ address: '127.0.0.1', family: 4 }];
  const gate = new HttpGate({
    policy: { hosts, plainHttp: hosts, allowPrivate: true, upstreams: [] },
    lookup,
  });
  onTestFinished(() => gate.close());
  const sink = new S3Sink(gate, settings, await temporary());
  const object = await objectOf(1000);
  expect(await sink.put(object, ignore)).toBe('stored');
  expect([...double.objects.keys()]).toEqual([`talos/${object.key}`]);
  const asked = new Set(double.requests.map(({ headers }) => headers.host));
  expect([...asked]).toEqual([`talos.s3.test:${port}`]);
});
