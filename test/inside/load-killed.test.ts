/**
 * load into a bucket, a registry and a folder, of a bundle, a part of one and a store, killed by SIGKILL at each kind of
 * request that it makes, or change to files; the same command finishes it.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { expect, onTestFinished, test } from 'vitest';
import { type S3Double, startS3Double } from '../../packages/objects/src/testing/index.ts';
import { digestOf } from '../../packages/oci/src/model/index.ts';
import { startRegistryDouble } from '../../packages/oci/src/testing/index.ts';
import { cli, cliJson, startCli } from '../support/cli.ts';
import { makeBundle } from '../support/made-bundle.ts';
import { pullAll } from '../support/site-reader.ts';
import { workspace } from '../support/workspace.ts';

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

const app = '/v2/acme/app';

/** `nth`: which request of that kind, where the preflight makes some. */
const registryMoments: readonly (readonly [
  what: string,
  moment: 'before' | 'after',
  match: { readonly method: string; readonly path: RegExp; readonly nth: number },
])[] = [
  ['a push is tried', 'after', { method: 'POST', path: new RegExp(`^${app}/blobs/uploads`), nth: 1 }],
  ['an upload is begun', 'after', { method: 'POST', path: new RegExp(`^${app}/blobs/uploads`), nth: 2 }],
  ['a blob is sent', 'before', { method: 'PUT', path: new RegExp(`^${app}/blobs/uploads`), nth: 2 }],
  ['a blob is sent', 'after', { method: 'PUT', path: new RegExp(`^${app}/blobs/uploads`), nth: 2 }],
  ['a manifest is put', 'before', { method: 'PUT', path: new RegExp(`^${app}/manifests/sha256:`), nth: 1 }],
  ['a manifest is put', 'after', { method: 'PUT', path: new RegExp(`^${app}/manifests/sha256:`), nth: 1 }],
  [
    'the bundle is recorded',
    'before',
    { method: 'PUT', path: /^\/v2\/omni-airgap\/state\/manifests/, nth: 1 },
  ],
  [
    'the bundle is recorded',
    'after',
    { method: 'PUT', path: /^\/v2\/omni-airgap\/state\/manifests/, nth: 1 },
  ],
  ['a tag is put', 'before', { method: 'PUT', path: new RegExp(`^${app}/manifests/v1$`), nth: 1 }],
  ['a tag is put', 'after', { method: 'PUT', path: new RegExp(`^${app}/manifests/v1$`), nth: 1 }],
];

test.each(registryMoments)('F34 SIGKILL when %s (%s the registry has done it)', async (_, moment, match) => {
  const site = await workspace();
  const bundle = await makeBundle({ 'ghcr.io/acme/app:v1': [100_000, 5000, 20] });
  const images = [...bundle.roots].map(([name, { digest }]) => ({ name, digest }));
  let kill = (): boolean => true;
  const killed = { until: () => kill() };
  const double = await startRegistryDouble({
    script: [{ match, do: moment === 'after' ? { ...killed, loseAnswer: true } : { ...killed, drop: true } }],
  });
  onTestFinished(() => double.close());
  const load = [
    ...['load', ...bundle.flags, '--registry', double.host, '--plain-http', double.host],
    ...['--state', site.at('state'), '--handoff', site.at('handoff'), '--concurrency', '1'],
  ];
  const running = startCli(load);
  kill = () => {
    running.kill('SIGKILL');
    return true;
  };
  const ended = await running.ended;
  expect(ended.code, ended.stderr).toBe(137);
  const tagged = await fetch(`${double.url}${app}/manifests/v1`);
  // The name comes last, so whoever sees it finds all of the image.
  if (tagged.ok) expect((await pullAll(`${double.url}/v2`, images)).wrong).toEqual([]);

  await cliJson(load);
  expect((await pullAll(`${double.url}/v2`, images)).wrong).toEqual([]);
  const sent = double.requests.filter(
    ({ method, path }) => method === 'PUT' && path.startsWith(`${app}/blobs/uploads`),
  );
  // Four blobs, and the one whose answer was lost or that never arrived.
  expect(sent.length).toBeLessThanOrEqual(5);
});

/** Of a load that is refused an image, of one straight from a store, and of one that trims an index. */
const kinds = ['a part of a bundle', 'a store', 'a trimmed index'] as const;
const kindMoments = registryMoments.filter(([what]) => !what.startsWith('a push'));

/** After its child. */
const trimmedPut = { method: 'PUT', path: new RegExp(`^${app}/manifests/sha256:`), nth: 2 };
const cases = [
  ...kinds.flatMap((kind) => kindMoments.map((moment) => [kind, ...moment] as const)),
  ['a trimmed index', 'the index is put', 'before', trimmedPut] as const,
  ['a trimmed index', 'the index is put', 'after', trimmedPut] as const,
];
// Of a store nothing is recorded.
const killedKinds = cases.filter(([kind, what]) => kind !== 'a store' || !what.endsWith('recorded'));

test.each(killedKinds)(
  'P1 SIGKILL of a load of %s when %s (%s the registry has done it)',
  async (kind, _, moment, match) => {
    const site = await workspace();
    const odd = 'ghcr.io/acme/odd:v1';
    const isPart = kind === 'a part of a bundle';
    const partial = kind === 'a trimmed index' ? ['ghcr.io/acme/app:v1'] : [];
    const bundle = await makeBundle({ 'ghcr.io/acme/app:v1': [100_000, 20], [odd]: [30] }, {}, [], partial);
    const whole = [...bundle.roots.keys()].filter((name) => !isPart || name !== odd);
    let kill = (): boolean => true;
    const killed = { until: () => kill() };
    const refusal = { match: { method: 'PUT', path: /acme\/odd\/manifests/ }, do: { status: 400 } };
    const double = await startRegistryDouble({
      script: [
        { match, do: moment === 'after' ? { ...killed, loseAnswer: true } : { ...killed, drop: true } },
        ...(isPart ? [refusal] : []),
      ],
    });
    onTestFinished(() => double.close());
    const source = kind === 'a store' ? ['--store', bundle.store, '--allow-unsigned'] : bundle.flags;
    const load = [
      ...['load', ...source, '--registry', double.host, '--plain-http', double.host, '--concurrency', '1'],
      ...['--state', site.at('state'), '--handoff', site.at('handoff'), '--receipt', site.at('receipt.json')],
      ...(kind === 'a trimmed index' ? ['--trim-indexes'] : []),
    ];
    const running = startCli(load);
    kill = () => {
      running.kill('SIGKILL');
      return true;
    };
    expect((await running.ended).code).toBe(137);
    expect(existsSync(site.at('receipt.json'))).toBe(false);

    const { code, stderr } = await cli(load);
    expect(code, stderr).toBe(isPart ? 5 : 0);
    const receipt = JSON.parse(readFileSync(site.at('receipt.json'), 'utf8'));
    const images = receipt.images as { readonly name: string; readonly digest: string }[];
    expect((await pullAll(`${double.url}/v2`, images)).wrong).toEqual([]);
    expect(images.map(({ name }) => name).sort()).toEqual(whole.sort());
    for (const { name, digest } of images)
      expect(digest === bundle.roots.get(name)?.digest, name).toBe(!partial.includes(name));
    expect(receipt.missing ?? []).toEqual(isPart ? [{ name: odd, why: 'refused' }] : []);
    expect((receipt.trimmed ?? []).map(({ name }: { name: string }) => name)).toEqual(partial);
    expect(double.repository('omni-airgap/state').tags.size).toBe(kind === 'a store' ? 0 : 1);
    expect(double.repository('acme/odd').tags.size).toBe(isPart ? 0 : 1);
  },
);

test('F42 SIGKILL at changes to files of a load into a folder', { timeout: 300_000 }, async () => {
  const bundle = await makeBundle({}, { 'metal-amd64.iso': 200_000, 'kernel-amd64': 5000 });
  for (let at = 1, isKilled = true; isKilled; at += 6) {
    const site = await workspace();
    const load = [
      ...['load', ...bundle.flags, '--object-store', `file://${site.at('objects')}`],
      ...['--state', site.at('state'), '--receipt', site.at('receipt.json')],
    ];
    const killing = {
      NODE_OPTIONS: `--import=${new URL('../support/kill-at.ts', import.meta.url).href}`,
      TEST_KILL_BELOW: site.root,
      TEST_KILL_AT: String(at),
    };
    const ended = await cli(load, { env: killing });
    isKilled = ended.code === 137;
    expect(isKilled || ended.code === 0, ended.stderr).toBe(true);
    expect(isKilled || at > 20, 'enough changes to files').toBe(true);
    await cliJson(load);
    const { objects } = JSON.parse(readFileSync(site.at('receipt.json'), 'utf8')) as {
      objects: readonly { readonly key: string; readonly digest: string }[];
    };
    expect(objects).toHaveLength(2);
    for (const { key, digest } of objects)
      expect(digestOf(readFileSync(site.at('objects', key)))).toBe(digest);
    const stray = (readdirSync(site.root, { recursive: true }) as string[]).filter((name) =>
      /\.(tmp|run)$/.test(name),
    );
    expect(stray, `${at}`).toEqual([]);
  }
});
