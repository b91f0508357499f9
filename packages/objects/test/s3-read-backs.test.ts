/** An object counts as stored once it was read back and is right; the record of that. */
import { createHash } from 'node:crypto';
import { temporaryFolder as temporary } from '@omni-airgap/oci/testing';
import { expect, test } from 'vitest';
import { problem, startS3Double } from '../src/testing/s3-double.ts';
import { damage, flipped, ignore, mib, objectOf, openSink, readsOf } from './s3-support.ts';

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
