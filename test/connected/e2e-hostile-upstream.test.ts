/**
 * Upstreams that lie, point elsewhere or refuse: the exit code, one line that says why, no connection where none may
 * be made, no name for what is not whole; and the same command finishes when the upstream is right again.
 */
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { MediaType } from '../../packages/oci/src/model/index.ts';
import {
  buildManifest,
  type Fault,
  type LoopbackServer,
  type RegistryDouble,
  type RegistryDoubleOptions,
  startHttpServer,
  startRegistryDouble,
} from '../../packages/oci/src/testing/index.ts';
import { cli, cliJson, expectFailure } from '../support/cli.ts';
import { addImage, type DoubleImage } from '../support/double-image.ts';
import { digestOfFile, listing, records } from '../support/files.ts';
import { type Workspace, workspace } from '../support/workspace.ts';

const reference = 'ghcr.io/acme/app:v1';
const password = 'canary-password';

/** Nobody may ever connect to it. */
let elsewhere: LoopbackServer;
beforeAll(async () => {
  elsewhere = await startHttpServer((_request, response) => response.end());
});
afterAll(() => elsewhere.close());

interface Story {
  readonly site: Workspace;
  readonly upstream: RegistryDouble;
  readonly image: DoubleImage;
  readonly fetch: readonly string[];
}

/** A mirror.yaml that wants one image of an upstream with these manners. */
async function story(
  options: RegistryDoubleOptions = {},
  bad: (image: DoubleImage) => readonly Fault[] = () => [],
): Promise<Story> {
  const upstream = await startRegistryDouble(options);
  onTestFinished(() => upstream.close());
  const image = await addImage(upstream.repository('acme/app'), 'v1', 1, [300_000, 2_000]);
  for (const fault of bad(image)) upstream.fault(fault);
  const site = await workspace();
  site.write('mirror.yaml', `apiVersion: omni-airgap/v1\nimages: [${reference}]\n`);
  const auth = Buffer.from(`robot:${password}`).toString('base64');
  site.write('auth.json', JSON.stringify({ auths: { 'ghcr.io': { auth } } }));
  const flags = ['--upstream', `ghcr.io=${upstream.url}`, '--registry-config', site.at('auth.json')];
  return { site, upstream, image, fetch: ['fetch', ...site.store, ...flags] };
}

/** Blobs that are there are right; nothing has a name; the next command is told to fetch first. */
async function expectNothingVisible({ site }: Story): Promise<void> {
  const store = site.at('store');
  const index = JSON.parse(readFileSync(`${store}/index.json`, 'utf8')) as { manifests: object[] };
  expect(index.manifests).toEqual([]);
  for (const path of listing(store).filter((name) => /^blobs\/sha256\/./.test(name))) {
    expect(await digestOfFile(`${store}/${path}`)).toBe(`sha256:${path.slice('blobs/sha256/'.length)}`);
  }
  expect(listing(store).filter((path) => path.endsWith('.part'))).toEqual([]);
  const lock = JSON.parse(readFileSync(`${store}/lock.json`, 'utf8')) as {
    items: object[];
    missing: string[];
  };
  expect(lock).toMatchObject({ items: [], missing: [reference] });
  const bundling = await cli(['bundle', '--store', store, '--out', site.at('media'), '--unsigned']);
  expectFailure(bundling, 5, /fetch.*run it again first \[INCOMPLETE\]/);
  expect(listing(site.at('media'))).toEqual([]);
}

const layer = (image: DoubleImage): RegExp => new RegExp(`/blobs/${image.layers[0]?.digest}`);
const redirect =
  (to: () => string) =>
  (image: DoubleImage): readonly Fault[] => [
    {
      match: { path: layer(image), method: 'GET' },
      do: { status: 307, headers: { location: to() } },
      times: 1,
    },
  ];

test.each<[title: string, bad: (image: DoubleImage) => readonly Fault[], code: number, message: RegExp]>([
  [
    'T01 bytes with another digest',
    (image) => [{ match: { path: layer(image), method: 'GET' }, do: { flipByteAt: 100 }, times: 2 }],
    3,
    /acme\/app:v1.*sha256:[a-f0-9]{64}.*\[DIGEST_MISMATCH\]/,
  ],
  [
    'a blob that is larger than announced',
    (image) => [
      { match: { path: layer(image), method: 'GET' }, do: { body: Buffer.alloc(400_000) }, times: 2 },
    ],
    3,
    /\[DIGEST_MISMATCH\]/,
  ],
  [
    'a manifest that is not JSON',
    () => [
      {
        match: { path: /manifests/, method: 'GET' },
        do: { body: 'gotcha', headers: { 'docker-content-digest': '' } },
        times: 2,
      },
    ],
    3,
    /\[(?:BAD_DOCUMENT|DIGEST_MISMATCH)\]/,
  ],
  [
    'T29 F10 a redirect to a host that is not on the list',
    redirect(() => elsewhere.url.replace('http:', 'https:')),
    4,
    /refused 127\.0\.0\.1:\d+, where a redirect \(307\) of ghcr\.io points: .*--allow-host.*\[EGRESS_DENIED\]/,
  ],
  [
    'T33 a redirect from https to http',
    redirect(() => 'http://pkg-containers.githubusercontent.com/blob'),
    4,
    /http.*\[EGRESS_DENIED\]/,
  ],
  [
    'T34 a redirect to a metadata service',
    redirect(() => 'https://169.254.169.254/latest'),
    4,
    /169\.254\.169\.254.*\[EGRESS_DENIED\]/,
  ],
  [
    'an image that does not exist',
    () => [{ match: { path: /manifests\/v1$/ }, do: { status: 404 }, times: 1 }],
    5,
    /ghcr\.io\/acme\/app:v1: does not exist upstream; .*\[NOT_FOUND\]/,
  ],
  ['a redirect without an end', redirect(() => '/v2/acme/app/blobs/again'), 5, /\[(?:UPSTREAM|NOT_FOUND)\]/],
])('%s', async (_title, bad, code, message) => {
  const told = await story({}, bad);
  const ended = await cli(told.fetch);
  expectFailure(ended, code, message);
  await expectNothingVisible(told);
  expect(elsewhere.connections).toBe(0);
  expect(await cliJson(told.fetch)).toMatchObject({ changed: [reference] });
});

test.each<[title: string, realm: () => string]>([
  ['on another host', () => `${elsewhere.url}/token`],
  ['on another host by https', () => 'https://tokens.example.net/token'],
  ['on its own host by http', () => 'http://ghcr.io/token'],
])('T32 F12 a token realm %s is not asked', async (_title, realm) => {
  const told = await story({ auth: { kind: 'token', username: 'robot', password, realm: realm() } });
  const ended = await cli(told.fetch);
  expectFailure(ended, 4, /refused.*\[EGRESS_DENIED\]/);
  await expectNothingVisible(told);
  expect(elsewhere.connections).toBe(0);
  expect(`${ended.stderr}${records(told.site.at('store'))}`).not.toContain(password);
});

test('a realm on a host that was allowed is asked', async () => {
  const tokens = await startHttpServer((_request, response) => {
    response.setHeader('content-type', 'application/json').end('{"token":"canary-token","expires_in":300}');
  });
  onTestFinished(() => tokens.close());
  const told = await story({
    auth: { kind: 'token', username: 'robot', password, realm: 'https://tokens.example.net/token' },
  });
  const allowed = ['--allow-host', 'tokens.example.net', '--upstream', `tokens.example.net=${tokens.url}`];
  const ended = await cli([...told.fetch, ...allowed]);
  // It gives a token that the registry does not know.
  expectFailure(ended, 5, /\[DENIED\]/);
  expect(tokens.requests[0]?.headers['authorization']).toBe(
    `Basic ${Buffer.from(`robot:${password}`).toString('base64')}`,
  );
  expect(`${ended.stderr}${records(told.site.at('store'))}`).not.toMatch(/canary/);
});

test('a wrong password is said to be one', async () => {
  const told = await story({ auth: { kind: 'token', username: 'robot', password: 'another' } });
  const ended = await cli(told.fetch);
  expectFailure(ended, 5, /ghcr\.io.*\[DENIED\]/);
  await expectNothingVisible(told);
  expect(ended.stderr).not.toContain(password);
});

test('connections that break in the middle of a blob are taken up where they broke', async () => {
  const told = await story({}, (image) => [
    { match: { path: layer(image), method: 'GET', nth: 1 }, do: { cutAfter: 200_000 } },
  ]);
  expect(await cliJson(told.fetch)).toMatchObject({ changed: [reference], storedBlobs: 4 });
  const asked = told.upstream.requests.filter(
    (request) => layer(told.image).test(request.path) && request.method === 'GET',
  );
  expect(asked).toHaveLength(2);
  expect(asked[1]?.headers['range']).toMatch(/^bytes=[1-9]\d*-/);
});

test('two images of which one is broken: the other is there, and the exit code is that of the failure', async () => {
  const told = await story({}, (image) => [
    { match: { path: layer(image), method: 'GET' }, do: { flipByteAt: 100 } },
  ]);
  await addImage(told.upstream.repository('acme/other'), 'v1', 2, [5_000]);
  told.site.write(
    'mirror.yaml',
    `apiVersion: omni-airgap/v1\nimages: [${reference}, ghcr.io/acme/other:v1]\n`,
  );
  expectFailure(await cli(told.fetch), 3, /acme\/app:v1/);
  const lock = JSON.parse(readFileSync(told.site.at('store/lock.json'), 'utf8')) as {
    items: { name: string }[];
    missing: string[];
  };
  expect(lock.items.map((item) => item.name)).toEqual(['ghcr.io/acme/other:v1']);
  expect(lock.missing).toEqual([reference]);
});

test('T34 an upstream at a private address is refused unless it was mapped', async () => {
  const told = await story();
  told.site.write('mirror.yaml', `apiVersion: omni-airgap/v1\nimages: [${told.upstream.host}/acme/app:v1]\n`);
  const ended = await cli([...told.fetch, '--plain-http', told.upstream.host]);
  expectFailure(ended, 4, /127\.0\.0\.1.*\[EGRESS_DENIED\]/);
  expect(told.upstream.mostConnections).toBe(0);
});

test('a platform that an image does not have is said to be missing', async () => {
  const told = await story();
  const manifests = [{ ...told.image.manifest, platform: { os: 'linux', architecture: 'amd64' } }];
  const index = buildManifest(MediaType.ociIndex, { manifests });
  told.upstream.repository('acme/app').addManifest(index.bytes, MediaType.ociIndex, 'v2');
  told.site.write(
    'mirror.yaml',
    'apiVersion: omni-airgap/v1\nimages: [ghcr.io/acme/app:v2]\nplatforms: [linux/riscv64]\n',
  );
  const ended = await cli(told.fetch);
  expectFailure(ended, 2, /acme\/app:v2: there is no linux\/riscv64 of it, only linux\/amd64; .*\[CONFIG\]/);
});
