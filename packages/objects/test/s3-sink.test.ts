import { createHash } from 'node:crypto';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { CodedError } from '@omni-airgap/oci/base';
import { HttpGate } from '@omni-airgap/oci/http';
import { digestFromHex } from '@omni-airgap/oci/model';
import { temporaryFolder as temporary } from '@omni-airgap/oci/testing';
import { expect, onTestFinished, test } from 'vitest';
import { DirectorySink } from '../src/directory-sink.ts';
import type { NewObject } from '../src/object-sink.ts';
import { hostsOf, plainHttpHostsOf } from '../src/open-sink.ts';
import { S3Sink, type SinkOptions } from '../src/s3-sink.ts';
import { objectSinkSuite } from '../src/testing/object-sink-suite.ts';
import { problem, type S3Double, startS3Double } from '../src/testing/s3-double.ts';

const mib = 1024 * 1024;
const partSize = 5 * mib;

async function openSink(double: S3Double, state: string, options: SinkOptions = {}): Promise<S3Sink> {
  const { host } = new URL(double.url);
  const gate = new HttpGate({
    policy: { hosts: [host], plainHttp: [host], allowPrivate: true, upstreams: [] },
  });
  const settings = {
    bucket: 'talos',
    prefix: 'site',
    endpoint: new URL(double.url),
    region: 'us-east-1',
    accessKeyId: 'key',
    secretAccessKey: 'secret',
  };
  const sink = new S3Sink(gate, settings, state, { partSize, ...options });
  onTestFinished(async () => {
    await sink.close();
    await gate.close();
  });
  return sink;
}

async function objectOf(size: number, key = 'image/a/v1/metal-amd64.iso'): Promise<NewObject> {
  const bytes = Buffer.alloc(size);
  for (let at = 0; at < size; at += mib) bytes.writeUInt32LE(at, at);
  const path = join(await temporary(), 'file');
  await writeFile(path, bytes);
  const hex = createHash('sha256').update(bytes).digest('hex');
  return {
    key,
    descriptor: { digest: digestFromHex(hex), size },
    contentType: 'application/x-iso9660-image',
    fileName: 'metal-amd64.iso',
    content: { kind: 'pieces', pieces: [{ path, offset: 0, size }] },
  };
}

const ignore = (): void => {};

function flipped(bytes: Buffer): Buffer {
  const copy = Buffer.from(bytes);
  copy[0] = (copy[0] ?? 0) ^ 1;
  return copy;
}

/** Other bytes under the same metadata, as an upload over a bad line leaves them. */
function damage(double: S3Double, key: string): void {
  const at = `talos/site/${key}`;
  const object = double.objects.get(at);
  if (object === undefined) throw new Error(`no object ${at}`);
  const bytes = flipped(object.bytes);
  const etag = createHash('md5').update(bytes).digest('hex');
  double.objects.set(at, { ...object, bytes, etag });
}

/** Reads of objects, as `METHOD key`, since a moment. */
function readsOf(double: S3Double, from = 0): readonly string[] {
  return double.requests
    .slice(from)
    .filter(({ method, query }) => method === 'GET' && query.get('x-id') === 'GetObject')
    .map(({ path }) => path);
}

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

/** An upload of two parts that the store has taken one of. */
async function brokenOff() {
  const double = await startS3Double();
  const object = await objectOf(6 * mib);
  double.fault = ({ query }) => (query.get('partNumber') === '2' ? problem(403, 'AccessDenied') : undefined);
  const sink = await openSink(double, await temporary());
  await expect(sink.put(object, ignore)).rejects.toThrow();
  return { double, object, sink };
}

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

test.each(['<html>log in</html>', 'log in'])(
  'C13 a web page in place of an answer is named',
  async (body) => {
    const double = await startS3Double();
    const sink = await openSink(double, join(await temporary(), 'journal'));
    const portal = { status: 200, body, headers: { 'content-type': 'text/html' } };
    double.fault = ({ method }) => (method === 'HEAD' ? undefined : portal);
    await expect(sink.put(await objectOf(12 * mib), ignore)).rejects.toMatchObject({
      code: 'UPSTREAM',
      message: expect.stringContaining('a web page (text/html)'),
    });
  },
);

test('a store that labels its answers text/html is none', async () => {
  const double = await startS3Double();
  double.answerType = 'text/html; charset=utf-8';
  const sink = await openSink(double, join(await temporary(), 'journal'));
  expect(await sink.put(await objectOf(12 * mib), ignore)).toBe('stored');
});

test('T28 an answer without end, and entities that grow, are refused; memory stays as it was', async () => {
  const { double, object, sink } = await brokenOff();
  const xml = { 'content-type': 'application/xml' };
  const parts = (body: string): void => {
    double.fault = ({ method, query }) =>
      method === 'GET' && query.has('uploadId') ? { status: 200, body, headers: xml } : undefined;
  };

  parts(`<ListPartsResult>${'<Part></Part>'.repeat(9 * mib)}</ListPartsResult>`);
  await expect(sink.put(object, ignore)).rejects.toMatchObject({
    code: 'UPSTREAM',
    message: expect.stringContaining('an answer of the object store'),
  });

  const entities = Array.from({ length: 30 }, (_, i) => `<!ENTITY e${i + 1} "&e${i};&e${i};">`).join('');
  parts(
    `<!DOCTYPE x [<!ENTITY e0 "0123456789">${entities}]><ListPartsResult><Bucket>&e30;</Bucket></ListPartsResult>`,
  );
  const before = process.memoryUsage().rss;
  await sink.put(object, ignore).catch((error: unknown) => expect(error).toBeInstanceOf(CodedError));
  expect(process.memoryUsage().rss - before).toBeLessThan(200 * mib);

  double.fault = () => undefined;
  expect(await sink.put(object, ignore)).not.toBe('failed');
  expect(double.objects.size).toBe(1);
});

test('F44 a 200 that holds an error is none', async () => {
  const double = await startS3Double();
  const object = await objectOf(6 * mib);
  let failures = 1;
  double.fault = ({ method, query }) => {
    if (method !== 'POST' || !query.has('uploadId') || failures-- <= 0) return undefined;
    return { ...problem(200, 'InternalError'), headers: { 'content-type': 'application/xml' } };
  };
  const sink = await openSink(double, await temporary());
  expect(await sink.put(object, ignore)).toBe('stored');
  expect(failures).toBe(-1);
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

test('F45 a store that keeps something else than it was sent is found by reading back', async () => {
  const double = await startS3Double();
  double.keep = (bytes) =>
    Buffer.concat([Buffer.from('40;chunk-signature=0\r\n'), bytes]).subarray(0, bytes.length);
  const sink = await openSink(double, await temporary());
  await expect(sink.put(await objectOf(5000), ignore)).rejects.toMatchObject({
    code: 'DIGEST_MISMATCH',
    message: expect.stringContaining('read back'),
  });
});

test('a read-back on record is enough, as long as the object is the one that was read', async () => {
  const double = await startS3Double();
  const state = await temporary();
  const object = await objectOf(6 * mib);
  await (await openSink(double, state)).put(object, ignore);
  expect(readsOf(double)).toHaveLength(1);

  const again = await openSink(double, state);
  expect(await again.put(object, ignore)).toBe('present');
  expect(await again.unproven([object])).toEqual([]);
  expect(readsOf(double)).toHaveLength(1);

  // Somebody else stored the same content again: another ETag needs another proof.
  const at = `talos/site/${object.key}`;
  const stored = double.objects.get(at);
  if (stored !== undefined) double.objects.set(at, { ...stored, etag: 'another' });
  expect(await again.unproven([object])).toEqual([object]);
  expect(await again.put(object, ignore)).toBe('present');
  expect(readsOf(double)).toHaveLength(2);
  expect(await again.unproven([object])).toEqual([]);
});

test('the record is of one host and of one endpoint: elsewhere the object is read back, not sent', async () => {
  const double = await startS3Double();
  const object = await objectOf(1000);
  await (await openSink(double, await temporary())).put(object, ignore);
  const before = double.requests.length;
  const sink = await openSink(double, await temporary());
  expect(await sink.unproven([object])).toEqual([object]);
  expect(await sink.put(object, ignore)).toBe('present');
  expect(readsOf(double, before)).toHaveLength(1);
  expect(double.requests.slice(before).some(({ method }) => method === 'PUT')).toBe(false);
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

test('an object whose read-back failed is removed, and stored by the next load', async () => {
  const double = await startS3Double();
  const state = await temporary();
  const object = await objectOf(5000);
  double.keep = flipped;
  await expect((await openSink(double, state)).put(object, ignore)).rejects.toMatchObject({
    code: 'DIGEST_MISMATCH',
    message: expect.stringContaining('load removed the object'),
  });
  expect([...double.objects.keys()]).toEqual([]);
  double.keep = (bytes) => bytes;
  expect(await (await openSink(double, state)).put(object, ignore)).toBe('stored');
});

test('a read-back that does not come to its end is made up for by the next load', async () => {
  const double = await startS3Double();
  const state = await temporary();
  const object = await objectOf(5000);
  double.fault = ({ method }) => (method === 'GET' ? problem(403, 'AccessDenied') : undefined);
  await expect((await openSink(double, state)).put(object, ignore)).rejects.toMatchObject({ code: 'DENIED' });
  double.fault = () => undefined;
  const before = double.requests.length;
  expect(await (await openSink(double, state)).put(object, ignore)).toBe('present');
  expect(readsOf(double, before)).toEqual([`talos/site/${object.key}`]);
});

test('a read-back whose line is cut begins again', async () => {
  const double = await startS3Double();
  const object = await objectOf(200_000);
  let cuts = 1;
  double.fault = ({ method, query }) =>
    method === 'GET' && query.get('x-id') === 'GetObject' && cuts-- > 0 ? 'cut' : undefined;
  expect(await (await openSink(double, await temporary())).put(object, ignore)).toBe('stored');
  expect(readsOf(double)).toHaveLength(2);
});

test('wrong bytes under the right metadata are reported and stored again', async () => {
  const double = await startS3Double();
  const object = await objectOf(5000);
  await (await openSink(double, await temporary())).put(object, ignore);
  damage(double, object.key);
  const notes: string[] = [];
  const sink = await openSink(double, await temporary(), { note: (text) => notes.push(text) });
  expect(await sink.put(object, ignore)).toBe('stored');
  expect(notes).toEqual([
    expect.stringMatching(/metal-amd64\.iso: read back, the stored bytes have .*again/),
  ]);
  expect(await sink.holds(object)).toBe(true);
});

test.each([
  [
    'retention',
    {
      'x-amz-object-lock-mode': 'COMPLIANCE',
      'x-amz-object-lock-retain-until-date': '2999-01-01T00:00:00.000Z',
    },
    'compliance retention until 2999-01-01',
  ],
  ['a legal hold', { 'x-amz-object-lock-legal-hold': 'ON' }, 'a legal hold'],
])('wrong bytes under %s stay, and the lock is named', async (_, headers, reason) => {
  const double = await startS3Double();
  const object = await objectOf(5000);
  await (await openSink(double, await temporary())).put(object, ignore);
  damage(double, object.key);
  const at = `talos/site/${object.key}`;
  const stored = double.objects.get(at);
  if (stored !== undefined) double.objects.set(at, { ...stored, headers: { ...stored.headers, ...headers } });
  const sink = await openSink(double, await temporary());
  await expect(sink.put(object, ignore)).rejects.toMatchObject({
    code: 'DIGEST_MISMATCH',
    message: expect.stringContaining(reason),
  });
  expect(double.objects.has(at)).toBe(true);
});

test('an object that somebody else has put there meanwhile is not removed', async () => {
  const double = await startS3Double();
  const object = await objectOf(5000);
  double.fault = ({ method, query }) =>
    method === 'GET' && query.get('x-id') === 'GetObject'
      ? { status: 200, body: 'of another load', headers: { etag: '"another"' } }
      : undefined;
  const sink = await openSink(double, await temporary());
  await expect(sink.put(object, ignore)).rejects.toMatchObject({ code: 'DIGEST_MISMATCH' });
  expect(double.objects.has(`talos/site/${object.key}`)).toBe(true);
});

test('always: what is on record is read too; never: nothing is read, and nothing is recorded', async () => {
  const double = await startS3Double();
  const state = await temporary();
  const object = await objectOf(5000);
  const quick = await openSink(double, state, { readBack: 'never' });
  expect(await quick.put(object, ignore)).toBe('stored');
  expect(await quick.put(object, ignore)).toBe('present');
  expect(readsOf(double)).toEqual([]);
  expect(await (await openSink(double, state)).unproven([object])).toEqual([object]);
  expect(await (await openSink(double, state)).put(object, ignore)).toBe('present');
  expect(readsOf(double)).toHaveLength(1);
  damage(double, object.key);
  const at = `talos/site/${object.key}`;
  const stored = double.objects.get(at);
  // A disk of the store that rots: the ETag is the one that was recorded.
  const etag = createHash('md5')
    .update(flipped(stored?.bytes ?? Buffer.alloc(0)))
    .digest('hex');
  if (stored !== undefined) double.objects.set(at, { ...stored, etag });
  expect(await (await openSink(double, state)).put(object, ignore)).toBe('present');
  const full = await openSink(double, state, { readBack: 'always' });
  expect(await full.unproven([object])).toEqual([object]);
  expect(await full.put(object, ignore)).toBe('stored');
});

type Request = Parameters<S3Double['fault']>[0];

/** A right that a policy lacks, by the requests that need it; what is found, and whether load can do without. */
const rights: readonly (readonly [
  right: string,
  what: string,
  state: string,
  is: (r: Request) => boolean,
])[] = [
  ['s3:PutObject', 'write', 'failed', ({ method }) => method === 'PUT'],
  ['s3:GetObject', 'look up', 'failed', ({ method, path }) => method === 'HEAD' && !path.endsWith('-absent')],
  [
    's3:ListBucket',
    'look up a missing object',
    'failed',
    ({ method, path }) => method === 'HEAD' && path.endsWith('-absent'),
  ],
  [
    's3:GetObject',
    'read',
    'failed',
    ({ method, query }) => method === 'GET' && query.get('x-id') === 'GetObject',
  ],
  ['s3:PutObject', 'begin an upload in parts', 'failed', ({ method }) => method === 'POST'],
  [
    's3:ListMultipartUploadParts',
    'list parts',
    'note',
    ({ method, query }) => method === 'GET' && query.has('uploadId'),
  ],
  [
    's3:AbortMultipartUpload',
    'abort an upload',
    'note',
    ({ method, query }) => method === 'DELETE' && query.has('uploadId'),
  ],
  [
    's3:ListBucketMultipartUploads',
    'list unfinished uploads',
    'note',
    ({ method, query }) => method === 'GET' && query.has('uploads'),
  ],
  ['s3:GetObject and s3:PutObject', 'copy', 'failed', ({ headers }) => 'x-amz-copy-source' in headers],
  ['s3:DeleteObject', 'delete', 'note', ({ method, query }) => method === 'DELETE' && !query.has('uploadId')],
];

test.each(rights)('the preflight finds that %s is missing (%s)', async (right, what, state, is) => {
  const double = await startS3Double();
  double.fault = (request) =>
    is(request) ? (request.method === 'HEAD' ? { status: 403 } : problem(403, 'AccessDenied')) : undefined;
  const sink = await openSink(double, await temporary());
  const steps = await sink.preflight(true);
  const bad = steps.filter((step) => step.state !== 'ok');
  expect(bad).toEqual([
    expect.objectContaining({ what, state, detail: expect.stringContaining(`must allow ${right} here`) }),
  ]);
  expect(bad[0]?.detail).not.toContain('Unknown');
  if (what !== 'write') expect(steps.length).toBeGreaterThan(8);
});

test.each([403, 405, 501])(
  'a store that answers %d to the listing of uploads is loaded into, and an upload resumes or begins again',
  async (status) => {
    const double = await startS3Double();
    const state = await temporary();
    const object = await objectOf(11 * mib);
    const listings = ({ method, query }: Request): boolean =>
      method === 'GET' && (query.has('uploads') || query.has('uploadId'));
    double.fault = (request) =>
      listings(request)
        ? problem(status, 'NotImplemented')
        : request.query.get('partNumber') === '3'
          ? problem(403, 'AccessDenied')
          : undefined;
    const sink = await openSink(double, state);
    expect((await sink.preflight(false)).some((step) => step.state === 'failed')).toBe(false);
    expect(await sink.staleUploads()).toEqual([]);
    await expect(sink.put(object, ignore)).rejects.toMatchObject({ code: 'DENIED' });
    double.fault = (request) => (listings(request) ? problem(status, 'NotImplemented') : undefined);
    expect(await (await openSink(double, state)).put(object, ignore)).toBe('stored');
    expect(double.uploads.size).toBe(0);
  },
);

test('the preflight leaves nothing, and copies only where copies are needed decide', async () => {
  const double = await startS3Double();
  const sink = await openSink(double, await temporary());
  expect((await sink.preflight(true)).filter(({ state }) => state !== 'ok')).toEqual([]);
  expect([...double.objects.keys(), ...double.uploads.keys()]).toEqual([]);
  double.fault = ({ headers }) =>
    'x-amz-copy-source' in headers ? problem(501, 'NotImplemented') : undefined;
  const steps = await sink.preflight(false);
  expect(steps.filter(({ state }) => state !== 'ok')).toMatchObject([{ what: 'copy', state: 'note' }]);
});

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

test('F47 a clock that is an hour off is named as the reason', async () => {
  const double = await startS3Double();
  const date = new Date(Date.now() + 3_600_000).toUTCString();
  double.fault = () => ({ ...problem(403, 'RequestTimeTooSkewed'), headers: { date } });
  const sink = await openSink(double, await temporary());
  await expect(sink.put(await objectOf(10), ignore)).rejects.toMatchObject({
    code: 'DENIED',
    message: expect.stringMatching(/clock here and the clock there/),
  });
});

test.each(['constructor', '__proto__', 'toString'])(
  'A20 an error code of a store that is %s is printed as it is',
  async (code) => {
    const double = await startS3Double();
    double.fault = ({ method }) => (method === 'PUT' ? problem(403, code) : undefined);
    const sink = await openSink(double, await temporary());
    const put = sink.put(
      { ...(await objectOf(10)), content: { kind: 'bytes', bytes: Buffer.alloc(10) } },
      ignore,
    );
    await expect(put).rejects.toThrow(/the object store answers /);
    await expect(put).rejects.not.toThrow(/native code|object Object/);
  },
);

/** What nginx answers, with a page of its own. */
function page(status: number, reason: string, headers: Record<string, string> = {}) {
  const body = `<html>\r\n<head><title>${status} ${reason}</title></head>\r\n<body>\r\n<hr><center>nginx</center></body></html>`;
  return { status, body, headers: { 'content-type': 'text/html', ...headers } };
}

test.each([
  [
    'a proxy that refuses bodies',
    page(413, 'Request Entity Too Large'),
    /answers 413 \(413 Request Entity Too Large\): it refuses bodies.*client_max_body_size 0/,
  ],
  [
    'a redirect',
    page(307, 'Temporary Redirect', { location: 'https://s3.other:9000/talos?x' }),
    /answers 307 .*it redirects to https:\/\/s3\.other:9000; specify that with --s3-endpoint/,
  ],
  ['a redirect without a body', { status: 301, headers: { location: 'https://s3.other/' } }, /redirects to/],
  ['a web server', page(404, 'Not Found'), /answers 404 .*correct --s3-endpoint/],
  ['a filter', page(403, 'Forbidden'), /answers 403 \(403 Forbidden\)/],
  ['text', { status: 405, body: 'no PUT here' }, /answers 405 \(no PUT here\)/],
  ['JSON', { status: 400, body: '{"error":"bad"}' }, /answers 400 \(\{"error":"bad"\}\)/],
  ['nothing at all', { status: 403 }, /the object store answers 403: the credentials are wrong, or/],
  ['no message', { status: 400, body: '<Error><Code>Odd</Code></Error>' }, /the object store answers Odd$/],
  [
    'a quota',
    { status: 403, body: '<Error><Code>QuotaExceeded</Code></Error>' },
    /QuotaExceeded: the quota is used up$/,
  ],
  ['a full disk', { status: 507 }, /answers 507: the store is full$/],
  [
    'another signature',
    { status: 403, body: '<Error><Code>SignatureDoesNotMatch</Code></Error>' },
    /changes the Host header or the path \(nginx: proxy_set_header Host \$http_host/,
  ],
])('an answer that is no S3 XML is told by its status and text: %s', async (_, fault, message) => {
  const double = await startS3Double();
  double.fault = ({ method }) => (method === 'PUT' ? fault : undefined);
  const sink = await openSink(double, await temporary());
  const failed = sink.put(await objectOf(1000), ignore);
  await expect(failed).rejects.toThrow(message);
  await expect(failed).rejects.not.toThrow(/Unknown|deserializ|\$response|XML parse/i);
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
