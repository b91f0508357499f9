/** Answers that are no S3: web pages, proxies, errors, endless bodies; what is said of them. */
import { join } from 'node:path';
import { CodedError } from '@omni-airgap/oci/base';
import { temporaryFolder as temporary } from '@omni-airgap/oci/testing';
import { expect, test } from 'vitest';
import { problem, startS3Double } from '../src/testing/s3-double.ts';
import { brokenOff, ignore, mib, objectOf, openSink, page } from './s3-support.ts';

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
