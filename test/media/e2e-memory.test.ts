/**
 * A layer and a medium of a gibibyte each through every command: peak memory stays under 200 MiB and does not grow
 * with the content, and no command writes it anywhere but to its target.
 */
import { createWriteStream, rmSync } from 'node:fs';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { generatedBytes } from '../../packages/oci/src/testing/index.ts';
import { type SampleUpstream, startSampleUpstream } from '../../scripts/sample-upstream/sample-upstream.ts';
import { cephCommands, startCeph } from '../services/ceph.ts';
import { startRegistry } from '../services/docker-registry.ts';
import { testWith } from '../services/service-test.ts';
import { temporaryFolder } from '../services/temporary.ts';
import { cli, cliJson, startCli, startServe, type Usage } from '../support/cli.ts';
import { digestOfFile, listing } from '../support/files.ts';
import { startFront } from '../support/front.ts';
import { type LargeUpstream, startLargeUpstream } from '../support/large-upstream.ts';
import { upstreamFlags, type Workspace, workspace } from '../support/workspace.ts';

const mebibyte = 1024 * 1024;
const size = 1024 * mebibyte;
const schematic = '376567988ad370138ad8b2698212367b8edcb69b5fd68c80be1f2ec7d603b4ba';
const isoKey = `image/${schematic}/v1.13.9/metal-amd64.iso`;

let site: Workspace;
let large: LargeUpstream;
let sample: SampleUpstream;
let iso: string;

beforeAll(async () => {
  const folder = temporaryFolder('large');
  iso = `${folder}/metal-amd64.iso`;
  await pipeline(Readable.from(generatedBytes(8, size)()), createWriteStream(iso));
  large = await startLargeUpstream(size);
  sample = await startSampleUpstream({
    dir: `${folder}/sample`,
    sizeMiB: 1,
    buildMs: 1,
    mediaFiles: { 'metal-amd64.iso': iso },
  });
  site = await workspace(`
images: [quay.io/acme/large:v1]
media:
  - {schematic: {customization: {}}, versions: [v1.13.9], files: [metal-amd64.iso]}
`);
});
afterAll(async () => {
  await large?.stop();
  await sample?.stop();
  rmSync(site.root, { recursive: true, force: true });
  rmSync(iso, { force: true });
});

/** Runs a command to its good end, within the memory that it may have. */
async function within(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Usage> {
  const { code, stderr, usage } = await cli(args, { env });
  expect(code, stderr).toBe(0);
  return checked(args[0] ?? '', usage);
}

function checked(name: string, usage: Usage | undefined): Usage {
  if (usage === undefined) throw new Error(`${name} left no record of what it used`);
  console.log(
    `${name}: peak ${Math.round(usage.peakBytes / mebibyte)} MiB, ${Math.round(usage.diskBytesWritten / mebibyte)} MiB written`,
  );
  expect(usage.peakBytes, name).toBeLessThan(200 * mebibyte);
  return usage;
}

test('fetch, bundle and verify', async () => {
  const network = upstreamFlags({ ...sample.urls, 'quay.io': large.url });
  const fetched = await within(['fetch', ...site.store, ...network]);
  expect(fetched.diskBytesWritten).toBeLessThan(2.1 * size);
  // Both are larger than a volume: each is cut.
  const bundled = await within(['bundle', ...site.bundle, '--volume-size', '600MiB']);
  expect(bundled.diskBytesWritten).toBeLessThan(2.1 * size);
  expect((await within(['verify', ...site.media])).diskBytesWritten).toBeLessThan(mebibyte);
  expect((await within(['verify', '--store', site.at('store')])).diskBytesWritten).toBeLessThan(mebibyte);
  rmSync(site.at('store'), { recursive: true });
});

test('load into a folder; after a SIGKILL the next one leaves nothing behind', async () => {
  const objects = site.at('objects');
  const load = ['load', ...site.media, '--object-store', pathToFileURL(objects).href];
  const temporary = () => listing(objects).filter((path) => path.endsWith('.tmp'));
  const killed = startCli(load);
  await killed.until(() => temporary().length > 0);
  killed.kill('SIGKILL');
  expect((await killed.ended).code).toBe(137);
  expect(listing(objects)).not.toContain(isoKey);
  const used = await within(load);
  expect(used.diskBytesWritten).toBeGreaterThan(size * 0.9);
  expect(used.diskBytesWritten).toBeLessThan(size * 1.1);
  expect(temporary()).toEqual([]);
  expect(await digestOfFile(`${objects}/${isoKey}`)).toBe(await digestOfFile(iso));
  expect((await within(load)).diskBytesWritten).toBeLessThan(mebibyte);
  rmSync(objects, { recursive: true });
});

testWith(['docker-registry'], 'load into a registry writes nothing here', async () => {
  const registry = await startRegistry();
  try {
    const load = ['load', ...site.media, '--registry', registry.host, '--plain-http', registry.host];
    expect((await within(load)).diskBytesWritten).toBeLessThan(mebibyte);
    const again = await cliJson<{ registry: object }>(load);
    expect(again.registry).toMatchObject({ storedBlobs: 0 });
  } finally {
    await registry.stop();
  }
});

testWith(
  cephCommands,
  'load into a bucket writes nothing here; after a SIGKILL the next one sends only the rest',
  async () => {
    const gateway = await startCeph();
    const front = await startFront({ '/': gateway.url });
    try {
      await gateway.createBucket('site');
      const target = ['--object-store', 's3://site', '--s3-endpoint', front.url, '--state', site.at('state')];
      const env = {
        AWS_ACCESS_KEY_ID: gateway.accessKeyId,
        AWS_SECRET_ACCESS_KEY: gateway.secretAccessKey,
        AWS_REGION: gateway.region,
      };
      const load = ['load', ...site.media, ...target];
      const parts = () =>
        front.requests.filter(({ method, path }) => method === 'PUT' && /partNumber=/.test(path));
      const killed = startCli(load, { env });
      await killed.until(() => parts().length > 9);
      killed.kill('SIGKILL');
      expect((await killed.ended).code).toBe(137);
      expect((await gateway.request(`site/${isoKey}`, { method: 'HEAD' })).status).toBe(404);
      const before = parts().length;
      expect((await within(load, env)).diskBytesWritten).toBeLessThan(mebibyte);
      const numberOf = ({ path }: { readonly path: string }) => /partNumber=([0-9]+)/.exec(path)?.[1];
      expect(parts().length - before).toBeLessThan(new Set(parts().map(numberOf)).size);
      const head = await gateway.request(`site/${isoKey}`, { method: 'HEAD' });
      expect(Number(head.headers.get('content-length'))).toBe(size);
    } finally {
      await front.stop();
      await gateway.stop();
    }
  },
);

test('serve sends it from the volumes', async () => {
  const server = await startServe([...site.media, '--quiet']);
  const answer = await fetch(`http://${server.host}/v2/acme/large/blobs/${large.layer.digest}`);
  let bytes = 0;
  for await (const chunk of answer.body ?? []) bytes += chunk.byteLength;
  expect(bytes).toBe(size);
  const { code, usage } = await server.stop();
  expect(code).toBe(0);
  expect(checked('serve', usage).diskBytesWritten).toBeLessThan(mebibyte);
});

test('serve --writable takes it', async () => {
  const server = await startServe(['--writable', site.at('registry'), '--quiet']);
  await within(['load', ...site.media, '--registry', server.host, '--plain-http', server.host]);
  const { code, usage } = await server.stop();
  expect(code).toBe(0);
  expect(checked('serve --writable', usage).diskBytesWritten).toBeLessThan(2.1 * size);
});
