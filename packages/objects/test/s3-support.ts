/** A sink over a double of S3, and objects for it. */
import { createHash } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { HttpGate } from '@omni-airgap/oci/http';
import { digestFromHex } from '@omni-airgap/oci/model';
import { temporaryFolder as temporary } from '@omni-airgap/oci/testing';
import { expect, onTestFinished } from 'vitest';
import type { NewObject } from '../src/object-sink.ts';
import { S3Bucket } from '../src/s3-bucket.ts';
import type { S3Settings } from '../src/s3-settings.ts';
import { S3Sink, type SinkOptions } from '../src/s3-sink.ts';
import { problem, type S3Double, startS3Double } from '../src/testing/s3-double.ts';

export const mib = 1024 * 1024;
export const partSize = 5 * mib;

function gateTo({ url }: S3Double): HttpGate {
  const { host } = new URL(url);
  return new HttpGate({ policy: { hosts: [host], plainHttp: [host], allowPrivate: true, upstreams: [] } });
}

function settingsOf({ url }: S3Double): S3Settings {
  return {
    bucket: 'talos',
    prefix: 'site',
    endpoint: new URL(url),
    region: 'us-east-1',
    accessKeyId: 'key',
    secretAccessKey: 'secret',
  };
}

export function openBucket(double: S3Double, more: Partial<S3Settings> = {}): S3Bucket {
  const gate = gateTo(double);
  const bucket = new S3Bucket(gate, { ...settingsOf(double), ...more }, 3);
  onTestFinished(async () => {
    bucket.close();
    await gate.close();
  });
  return bucket;
}

export async function openSink(double: S3Double, state: string, options: SinkOptions = {}): Promise<S3Sink> {
  const gate = gateTo(double);
  const sink = new S3Sink(gate, settingsOf(double), state, { partSize, ...options });
  onTestFinished(async () => {
    await sink.close();
    await gate.close();
  });
  return sink;
}

export async function objectOf(size: number, key = 'image/a/v1/metal-amd64.iso'): Promise<NewObject> {
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

export const ignore = (): void => {};

export function flipped(bytes: Buffer): Buffer {
  const copy = Buffer.from(bytes);
  copy[0] = (copy[0] ?? 0) ^ 1;
  return copy;
}

/** Other bytes under the same metadata, as an upload over a bad line leaves them. */
export function damage(double: S3Double, key: string): void {
  const at = `talos/site/${key}`;
  const object = double.objects.get(at);
  if (object === undefined) throw new Error(`no object ${at}`);
  const bytes = flipped(object.bytes);
  const etag = createHash('md5').update(bytes).digest('hex');
  double.objects.set(at, { ...object, bytes, etag });
}

/** Reads of objects, as `METHOD key`, since a moment. */
export function readsOf(double: S3Double, from = 0): readonly string[] {
  return double.requests
    .slice(from)
    .filter(({ method, query }) => method === 'GET' && query.get('x-id') === 'GetObject')
    .map(({ path }) => path);
}

/** An upload of two parts that the store has taken one of. */
export async function brokenOff() {
  const double = await startS3Double();
  const object = await objectOf(6 * mib);
  double.fault = ({ query }) => (query.get('partNumber') === '2' ? problem(403, 'AccessDenied') : undefined);
  const sink = await openSink(double, await temporary());
  await expect(sink.put(object, ignore)).rejects.toThrow();
  return { double, object, sink };
}

/** What nginx answers, with a page of its own. */
export function page(status: number, reason: string, headers: Record<string, string> = {}) {
  const body = `<html>\r\n<head><title>${status} ${reason}</title></head>\r\n<body>\r\n<hr><center>nginx</center></body></html>`;
  return { status, body, headers: { 'content-type': 'text/html', ...headers } };
}
