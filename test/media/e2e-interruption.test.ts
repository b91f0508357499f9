/** Commands that are killed or interrupted in the middle: the same command finishes, and does only what was left. */
import { existsSync, readFileSync } from 'node:fs';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type RegistryDouble, startRegistryDouble } from '../../packages/oci/src/testing/index.ts';
import { cli, cliJson, expectFailure, startCli } from '../support/cli.ts';
import { addImage, type DoubleImage } from '../support/double-image.ts';
import { listing } from '../support/files.ts';
import { type Workspace, workspace } from '../support/workspace.ts';

const mebibyte = 1024 * 1024;
const reference = 'ghcr.io/acme/app:v1';

let upstream: RegistryDouble;
let inside: RegistryDouble;
let image: DoubleImage;
let site: Workspace;
let fetch: readonly string[];
let load: readonly string[];

beforeEach(async () => {
  upstream = await startRegistryDouble();
  inside = await startRegistryDouble();
  image = await addImage(upstream.repository('acme/app'), 'v1', 1, [12 * mebibyte, 3 * mebibyte]);
  site = await workspace(`images: [${reference}]\n`);
  fetch = ['fetch', ...site.store, '--concurrency', '1', '--upstream', `ghcr.io=${upstream.url}`];
  load = [
    ...['load', ...site.media, '--concurrency', '1', '--registry', inside.host],
    ...['--plain-http', inside.host, '--receipt', site.at('receipt.json')],
  ];
});
afterEach(async () => {
  await upstream.close();
  await inside.close();
});

const large = (): string => image.layers[0]?.digest ?? '';
const inUpload = (digest: string): RegExp => new RegExp(`/blobs/uploads/.*${encodeURIComponent(digest)}`);
const getsOf = (digest: string) =>
  upstream.requests.filter(({ method, path }) => method === 'GET' && path.includes(`/blobs/${digest}`));

/** Starts a fetch that gets no further than 8 MiB into the large layer. */
async function stalledFetch() {
  upstream.fault({
    match: { method: 'GET', path: new RegExp(large()), nth: 1 },
    do: { stallAfter: 8 * mebibyte },
  });
  const running = startCli(fetch);
  await running.until(() => getsOf(large()).length > 0);
  const part = () => listing(site.at('store/ingest')).filter((name) => name.includes(large().slice(7)));
  await running.until(() => part().length > 0);
  // What has come must reach the file before it can be taken up.
  await new Promise((resolve) => setTimeout(resolve, 500));
  return running;
}

async function expectRestFetched(): Promise<void> {
  expect(await cliJson(fetch)).toMatchObject({ changed: [reference] });
  const [, second] = getsOf(large());
  expect(getsOf(large())).toHaveLength(2);
  const from = Number(/^bytes=([0-9]+)-/.exec(String(second?.headers['range']))?.[1]);
  expect(from).toBeGreaterThan(4 * mebibyte);
  expect(from).toBeLessThanOrEqual(8 * mebibyte);
  expect(listing(site.at('store/ingest'))).toEqual([]);
  await cliJson(['verify', '--store', site.at('store')]);
  expect(await cliJson(fetch)).toMatchObject({ changed: [], storedBlobs: 0 });
}

test('SIGKILL in the middle of a fetch: only the rest of the layer is asked for', async () => {
  const running = await stalledFetch();
  running.kill('SIGKILL');
  expect((await running.ended).code).toBe(137);
  expect(existsSync(site.at('store/lock.json'))).toBe(false);
  expect(readFileSync(site.at('store/index.json'), 'utf8')).not.toContain(reference);
  await expectRestFetched();
});

test.each(['SIGINT', 'SIGTERM'] as const)(
  '%s in the middle of a fetch: exit code 130, and how to go on',
  // Below the minute after which a stalled transfer ends by itself.
  { timeout: 55_000 },
  async (signal) => {
    const running = await stalledFetch();
    const before = upstream.requests.length;
    running.kill(signal);
    const ended = await running.ended;
    expect(upstream.requests.length).toBe(before);
    expect(ended.code).toBe(130);
    expect(ended.stderr).toContain('omni-airgap: stopping; press Ctrl-C again to stop at once');
    expect(ended.stderr.trimEnd().split('\n').at(-1)).toBe(
      'omni-airgap: stopped; the same command resumes where it left off [ABORTED]',
    );
    await expectRestFetched();
  },
);

test('Ctrl-C twice ends at once', async () => {
  const running = await stalledFetch();
  running.kill('SIGINT');
  running.kill('SIGINT');
  expect((await running.ended).code).toBe(130);
  await expectRestFetched();
});

test('SIGKILL in the middle of bundling: no bundle.json, and the next run makes the same volumes', async () => {
  await cliJson(fetch);
  const other = await cliJson<{ id: string }>([
    'bundle',
    '--store',
    site.at('store'),
    '--out',
    site.at('whole'),
    '--unsigned',
  ]);
  const running = startCli(['bundle', ...site.bundle]);
  await running.until(() => listing(site.at('media')).some((name) => name.startsWith('content.tar.')));
  running.kill('SIGKILL');
  await running.ended;
  expect(listing(site.at('media'))).not.toContain('bundle.json');
  expect(await cliJson<{ id: string }>(['bundle', ...site.bundle])).toMatchObject({
    id: other.id,
    written: true,
  });
  expect(listing(site.at('media')).filter((name) => /partial|tmp/.test(name))).toEqual([]);
  await cliJson(['verify', ...site.media]);
});

test.each([
  ['SIGKILL', 137],
  ['SIGINT', 130],
] as const)('%s in the middle of a load: what is there is not sent again', async (signal, code) => {
  await cliJson(fetch);
  await cliJson(['bundle', ...site.bundle]);
  // One at a time, the large layer before the other, which is taken in and never answered.
  const small = inUpload(image.layers[1]?.digest ?? '');
  inside.fault({ match: { method: 'PUT', path: small, nth: 1 }, do: { delayMs: 60_000 } });
  const running = startCli(load);
  const puts = () =>
    inside.requests.filter(({ method, path }) => method === 'PUT' && /blobs\/uploads/.test(path));
  await running.until(() => puts().some(({ path }) => small.test(path)));
  expect(puts().some(({ path }) => inUpload(large()).test(path))).toBe(true);
  running.kill(signal);
  const ended = await running.ended;
  expect(ended.code).toBe(code);
  if (signal === 'SIGINT')
    expectFailure({ ...ended, stderr: ended.stderr.split('\n').slice(-2).join('\n') }, 130, /resumes/);
  expect(inside.repository('acme/app').tags.size).toBe(0);
  expect(existsSync(site.at('receipt.json'))).toBe(false);
  const before = puts().length;
  await cliJson(load);
  expect(inside.repository('acme/app').tags.get('v1')).toBe(image.manifest.digest);
  const sent = puts().slice(before);
  expect(sent.filter(({ path }) => inUpload(large()).test(path))).toEqual([]);
  expect(sent.reduce((sum, { bytes }) => sum + bytes, 0)).toBeLessThan(4 * mebibyte);
  expect(await cliJson(load)).toMatchObject({ registry: { storedBlobs: 0 } });
});

test('two fetches at once share the work, and two loads at once do not disturb each other', async () => {
  const fetches = await Promise.all([cli(fetch), cli(fetch)]);
  expect(fetches.map(({ code, stderr }) => [code, stderr])).toEqual(
    [0, 0].map((code) => [code, expect.any(String)]),
  );
  await cliJson(['verify', '--store', site.at('store')]);
  expect(listing(site.at('store/ingest'))).toEqual([]);
  const bundles = await Promise.all([
    cli(['bundle', ...site.bundle]),
    cli(['bundle', '--store', site.at('store'), '--out', site.at('second'), '--unsigned']),
  ]);
  expect(
    bundles.map(({ code }) => code),
    bundles.map(({ stderr }) => stderr).join(),
  ).toEqual([0, 0]);
  const loads = await Promise.all([cli(load), cli(load)]);
  expect(
    loads.map(({ code }) => code),
    loads.map(({ stderr }) => stderr).join(),
  ).toEqual([0, 0]);
  expect(inside.repository('acme/app').tags.get('v1')).toBe(image.manifest.digest);
  await cliJson(['verify', ...site.media]);
});
