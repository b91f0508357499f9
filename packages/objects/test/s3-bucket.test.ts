/** A bucket that is served from: looked at, listed, read in parts, written in small. */

import { collect } from '@omni-airgap/oci/model';
import { temporaryFolder as temporary } from '@omni-airgap/oci/testing';
import { expect, test } from 'vitest';
import type { BucketObject } from '../src/s3-bucket.ts';
import { startS3Double } from '../src/testing/s3-double.ts';
import { ignore, mib, objectOf, openBucket, openSink } from './s3-support.ts';

const key = 'image/a/v1/metal-amd64.iso';

/** A bucket with one object of 3 MiB, as load stores it. */
async function loaded() {
  const double = await startS3Double();
  const sink = await openSink(double, await temporary());
  await sink.put(await objectOf(3 * mib, key), ignore);
  const bucket = openBucket(double);
  const object = (await bucket.look(key)) as BucketObject;
  const bytes = double.objects.get(`talos/site/${key}`)?.bytes ?? Buffer.alloc(0);
  return { double, bucket, object, bytes };
}

const read = async (
  bucket: ReturnType<typeof openBucket>,
  object: BucketObject,
  start: number,
  end: number,
) => Buffer.from(await collect(bucket.open(object, start, end), 4 * mib, key));

test('an object is what its metadata says, until it is read', async () => {
  const { bucket, object, bytes } = await loaded();
  expect(object).toMatchObject({ key, size: 3 * mib, digest: expect.stringMatching(/^sha256:/) });
  expect(await bucket.look('image/a/v1/none')).toBeUndefined();
  expect((await read(bucket, object, 0, 3 * mib)).equals(bytes)).toBe(true);
});

test('a part is requested as a range; an interrupted transfer resumes where it ended', async () => {
  const { double, bucket, object, bytes } = await loaded();
  expect((await read(bucket, object, 1000, 2000)).equals(bytes.subarray(1000, 2000))).toBe(true);
  let cuts = 2;
  double.fault = ({ method }) => (method === 'GET' && cuts-- > 0 ? 'cut' : undefined);
  expect((await read(bucket, object, 100, 2 * mib)).equals(bytes.subarray(100, 2 * mib))).toBe(true);
  const ranges = double.requests.flatMap(({ headers }) => headers.range ?? []);
  expect(ranges.slice(0, 2)).toEqual(['bytes=1000-1999', `bytes=100-${2 * mib - 1}`]);
  expect(ranges.at(-1)).toMatch(new RegExp(`^bytes=[1-9][0-9]{4,}-${2 * mib - 1}$`));
});

test('an object that was replaced since is not read on', async () => {
  const { double, bucket, object } = await loaded();
  const stored = double.objects.get(`talos/site/${key}`);
  if (stored !== undefined) double.objects.set(`talos/site/${key}`, { ...stored, etag: 'another' });
  await expect(read(bucket, object, 0, 3 * mib)).rejects.toMatchObject({ code: 'UPSTREAM', status: 412 });
});

test('keys below a prefix, over several pages, without the prefix of the bucket', async () => {
  const { double, bucket } = await loaded();
  for (let i = 0; i < 5; i++) await bucket.write(`wishes/${i}`, Buffer.from(`${i}`), 'text/plain');
  double.objects.set('talos/other/wishes/9', { bytes: Buffer.from('x'), etag: 'x', headers: {} });
  const listed: string[] = [];
  for await (const { key: found, size } of bucket.list('wishes/')) listed.push(`${found} ${size}`);
  expect(listed).toEqual(['wishes/0 1', 'wishes/1 1', 'wishes/2 1', 'wishes/3 1', 'wishes/4 1']);
});

test('a small object is written under a signed hash, and read back whole or not at all', async () => {
  const { double, bucket } = await loaded();
  await bucket.write('wishes/one', Buffer.from('text'), 'text/plain');
  expect(Buffer.from((await bucket.read('wishes/one', 10)) ?? []).toString()).toBe('text');
  expect(await bucket.read('wishes/none', 10)).toBeUndefined();
  await expect(bucket.read('wishes/one', 3)).rejects.toMatchObject({ code: 'BAD_DOCUMENT' });
  double.fault = ({ method }) => (method === 'PUT' ? { status: 403 } : undefined);
  await expect(bucket.write('wishes/two', Buffer.from('x'), 'text/plain')).rejects.toMatchObject({
    code: 'DENIED',
    message: expect.stringContaining('s3:PutObject'),
  });
});

test.each([
  ['path', 'https://s3.site:9000', 'https://s3.site:9000/talos/site/image/a/v1/metal-amd64.iso'],
  ['virtual', 'https://s3.site', 'https://talos.s3.site/site/image/a/v1/metal-amd64.iso'],
  ['path', 'https://site/store/', 'https://site/store/talos/site/image/a/v1/metal-amd64.iso'],
] as const)('a presigned URL, with the bucket in the %s of %s', async (addressing, endpoint, expected) => {
  const bucket = openBucket(await startS3Double(), { addressing });
  const url = new URL(
    await bucket.presign(key, new URL(endpoint), { disposition: 'attachment; filename="a b"' }),
  );
  expect(`${url.origin}${url.pathname}`).toBe(expected);
  expect(url.searchParams.get('response-content-disposition')).toBe('attachment; filename="a b"');
  expect(url.searchParams.get('X-Amz-Signature')).toMatch(/^[0-9a-f]{64}$/);
  expect(url.href).not.toContain('secret');
});
