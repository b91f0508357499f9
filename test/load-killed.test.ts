/** load into a bucket, killed by SIGKILL at each kind of request that it makes; the same command finishes it. */
import { expect, onTestFinished, test } from 'vitest';
import { type S3Double, startS3Double } from '../packages/objects/src/testing/index.ts';
import { digestOf } from '../packages/oci/src/model/index.ts';
import { cliJson, startCli } from './support/cli.ts';
import { makeBundle } from './support/made-bundle.ts';
import { workspace } from './support/workspace.ts';

const mebibyte = 1024 * 1024;
const folder = `talos/image/${'3'.repeat(64)}/v1.13.9`;
const iso = `${folder}/metal-amd64.iso`;
const env = { AWS_ACCESS_KEY_ID: 'key', AWS_SECRET_ACCESS_KEY: 'secret' };

type Request = Parameters<S3Double['fault']>[0];

/** Where the command dies: before the store has taken the request, or after it has. */
const moments: readonly (readonly [
  what: string,
  moment: 'before' | 'after',
  is: (request: Request) => boolean,
])[] = [
  [
    'the first object is put',
    'after',
    ({ method, path, query }) => method === 'PUT' && path.startsWith(folder) && !query.has('partNumber'),
  ],
  [
    'an upload in parts is begun',
    'after',
    ({ method, path, query }) => method === 'POST' && path === iso && query.has('uploads'),
  ],
  ['a part is sent', 'after', ({ query }) => query.get('partNumber') === '2'],
  [
    'the parts are joined',
    'before',
    ({ method, path, query }) => method === 'POST' && path === iso && query.has('uploadId'),
  ],
  [
    'the parts are joined',
    'after',
    ({ method, path, query }) => method === 'POST' && path === iso && query.has('uploadId'),
  ],
  ['the object is read back', 'before', ({ method, path }) => method === 'GET' && path === iso],
];

test.each(moments)('F42 SIGKILL when %s (%s the store has done it)', async (_, moment, is) => {
  const double = await startS3Double();
  const site = await workspace();
  const bundle = await makeBundle({}, { 'metal-amd64.iso': 34 * mebibyte, 'kernel-amd64': 5000 });
  const load = [
    ...['load', ...bundle.flags, '--object-store', 's3://talos', '--s3-endpoint', double.url],
    ...['--state', site.at('state'), '--handoff', site.at('handoff')],
  ];
  const running = startCli(load, { env });
  onTestFinished(() => running.kill('SIGKILL'));
  let isKilled = false;
  double.fault = (request) => {
    if (isKilled) return 'drop';
    if (!is(request)) return undefined;
    isKilled = true;
    running.kill('SIGKILL');
    return moment === 'after' ? 'lose' : 'drop';
  };
  const killed = await running.ended;
  expect(killed.code, killed.stderr).toBe(137);
  expect(isKilled).toBe(true);

  double.fault = () => undefined;
  const before = double.requests.length;
  const { receipt } = await cliJson<{
    readonly receipt: { readonly objects: readonly { readonly key: string; readonly digest: string }[] };
  }>(load, { env });
  expect(receipt.objects).toHaveLength(2);
  const reads = double.requests.slice(before).filter(({ method, path }) => method === 'GET' && path === iso);
  expect(reads.filter(({ query }) => query.get('x-id') === 'GetObject')).toHaveLength(1);
  for (const [key, { bytes }] of double.objects) {
    const { digest } = receipt.objects.find((one) => `talos/${one.key}` === key) ?? {};
    expect(digestOf(bytes)).toBe(digest);
  }
});
