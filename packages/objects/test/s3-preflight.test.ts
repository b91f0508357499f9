/** The rights that a load needs in a bucket, tried before it moves data. */
import { temporaryFolder as temporary } from '@omni-airgap/oci/testing';
import { expect, test } from 'vitest';
import { problem, type S3Double, startS3Double } from '../src/testing/s3-double.ts';
import { ignore, mib, objectOf, openSink } from './s3-support.ts';

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
