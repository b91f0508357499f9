/** gc, verify and inspect of a folder that takes pushes: what they know of it, and what they never remove. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, onTestFinished, test } from 'vitest';
import { graphOf, walk } from '../../packages/oci/src/index.ts';
import { formatPushedName, Layout } from '../../packages/oci/src/layout/index.ts';
import { type Descriptor, descriptorOf, hexOf, MediaType } from '../../packages/oci/src/model/index.ts';
import { buildManifest, startRegistryDouble } from '../../packages/oci/src/testing/index.ts';
import { Store } from '../../packages/store/src/index.ts';
import { temporaryFolder } from '../services/temporary.ts';
import { cli, cliJson, expectFailure, startServe } from '../support/cli.ts';
import { addImage } from '../support/double-image.ts';
import { upstreamFlags, workspace } from '../support/workspace.ts';

const day = 86_400_000;

interface Collected {
  readonly blobs: number;
  readonly names: readonly string[];
  readonly untagged: readonly string[];
  readonly waiting: { readonly blobs: number };
}

const blobsIn = (folder: string): readonly string[] => readdirSync(join(folder, 'blobs', 'sha256'));

/** As if nothing in it had been pushed or asked for since. */
function grow(folder: string, ms = 2 * day): void {
  const then = (Date.now() - ms) / 1000;
  for (const name of blobsIn(folder)) utimesSync(join(folder, 'blobs', 'sha256', name), then, then);
}

/** A folder of serve --writable, written straight: thousands of pushes take long. */
class Folder {
  readonly root = join(temporaryFolder('writable'), 'registry');
  readonly #names = new Map<string, Descriptor>();

  constructor() {
    for (const name of ['blobs/sha256', 'ingest']) mkdirSync(join(this.root, name), { recursive: true });
    writeFileSync(join(this.root, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
    this.close();
  }

  put(bytes: Uint8Array, mediaType: string): Descriptor {
    const descriptor = descriptorOf(mediaType, bytes);
    writeFileSync(join(this.root, 'blobs', 'sha256', hexOf(descriptor.digest)), bytes);
    return descriptor;
  }

  image(name: string, layers: number): Descriptor {
    const config = this.put(Buffer.from(`{"name":"${name}"}`), MediaType.ociConfig);
    const all = Array.from({ length: layers }, (_, i) =>
      this.put(Buffer.from(`layer ${i} of ${name}`), MediaType.octetStream),
    );
    const { bytes } = buildManifest(MediaType.ociManifest, { config, layers: all });
    return this.put(bytes, MediaType.ociManifest);
  }

  name(repository: string, descriptor: Descriptor, tag?: string): void {
    this.#names.set(formatPushedName({ repository, digest: descriptor.digest }), descriptor);
    if (tag !== undefined) this.#names.set(formatPushedName({ repository, tag }), descriptor);
  }

  /** Writes the names. */
  close(): void {
    const manifests = [...this.#names]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, descriptor]) => ({
        ...descriptor,
        annotations: { 'org.opencontainers.image.ref.name': name },
      }));
    writeFileSync(join(this.root, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests }));
  }
}

/** Every name stands for whole content. @returns how many there are */
async function expectWhole(root: string): Promise<number> {
  const layout = await Layout.open(root);
  let count = 0;
  for await (const [name, descriptor] of layout.names()) {
    count++;
    for (const { digest, size } of (await graphOf(walk(layout, [descriptor]))).values())
      expect(await layout.stat(digest), name).toBe(size);
  }
  return count;
}

test('A11 P9 the commands know such a folder, before and after a deletion; a running server has it for itself', async () => {
  const root = join(temporaryFolder('writable'), 'registry');
  const { host, stop } = await startServe(['--writable', root]);
  const repo = `http://${host}/v2/team/app`;
  const pushed: Descriptor[] = [];
  for (const tag of ['v1', 'v2']) {
    const layer = Buffer.from(`layer of ${tag}`);
    const config = Buffer.from('{}');
    for (const bytes of [layer, config]) {
      const { digest } = descriptorOf(MediaType.octetStream, bytes);
      await fetch(`${repo}/blobs/uploads/?digest=${digest}`, { method: 'POST', body: bytes });
    }
    const manifest = buildManifest(MediaType.ociManifest, {
      config: descriptorOf(MediaType.ociConfig, config),
      layers: [descriptorOf(MediaType.octetStream, layer)],
    });
    const headers = { 'Content-Type': MediaType.ociManifest };
    const body = Buffer.from(manifest.bytes);
    expect((await fetch(`${repo}/manifests/${tag}`, { method: 'PUT', body, headers })).status).toBe(201);
    pushed.push(manifest.descriptor);
  }
  expect((await fetch(`${repo}/manifests/${pushed[0]?.digest}`, { method: 'DELETE' })).status).toBe(202);
  expectFailure(await cli(['gc', '--store', root]), 5, /in use by omni-airgap serve .*\[BUSY\]$/);
  expect((await stop()).code).toBe(0);

  const { items, blobs } = await cliJson<{ items: readonly { name: string }[]; blobs: number }>([
    ...['inspect', '--store', root],
  ]);
  expect(items).toMatchObject([{ name: 'registry.local/team/app:v2', kind: 'image', attachments: [] }]);
  expect(blobs).toBe(3);
  expect((await cli(['inspect', '--store', root])).stdout).toMatch(/team\/app:v2 +image .* pushed/);
  expect(await cliJson(['verify', '--store', root])).toMatchObject({ blobs: 3, damages: [] });
  const waits = await cliJson<Collected>(['gc', '--store', root]);
  expect(waits).toMatchObject({ blobs: 0, waiting: { blobs: 2 } });
  const said = await cli(['gc', '--store', root, '--dry-run', '--grace-period', '0s']);
  expect(said.stdout).toMatch(/^Would remove 0 names, 2 blobs and 0 partial files/m);
  expect(await cliJson(['gc', '--store', root, '--grace-period', '0s'])).toMatchObject({
    blobs: 2,
    names: [],
  });
  expect(await expectWhole(root)).toBe(2);

  const layer = join(root, 'blobs', 'sha256', hexOf(descriptorOf('a/b', Buffer.from('layer of v2')).digest));
  rmSync(layer);
  writeFileSync(layer, 'layer of v3');
  const damaged = await cli(['verify', '--store', root]);
  expect(damaged.stdout).toContain('Not usable: registry.local/team/app:v2');
  expectFailure(damaged, 3, /push it again where it was pushed \[DIGEST_MISMATCH\]$/);
});

test('P9 a folder that is a store too keeps its pushes in every gc, and what the store fetched', async () => {
  const upstream = await startRegistryDouble();
  onTestFinished(() => upstream.close());
  await addImage(upstream.repository('acme/old'), 'v1', 1, [1000]);
  await addImage(upstream.repository('acme/new'), 'v1', 2, [1000]);
  const site = await workspace('images: [ghcr.io/acme/old:v1]\n');
  const fetch = ['fetch', ...site.store, ...upstreamFlags({ 'ghcr.io': upstream.url })];
  await cliJson(fetch);
  const gc = ['gc', '--store', site.at('store')];
  expectFailure(await cli([...gc, '--grace-period', '1h']), 2, /a store without pushes: .*\[USAGE\]$/);

  const pushes = new Folder();
  pushes.name('team/app', pushes.image('app', 2), 'v1');
  pushes.close();
  const store = await Layout.open(site.at('store'));
  const from = await Layout.open(pushes.root);
  for await (const [name, descriptor] of from.names()) {
    for (const one of (await graphOf(walk(from, [descriptor]))).values())
      await store.push(one, () => from.fetch(one));
    await store.tag(descriptor, name);
  }
  site.write('mirror.yaml', 'apiVersion: omni-airgap/v1\nimages: [ghcr.io/acme/new:v1]\n');
  await cliJson(fetch);
  grow(site.at('store'));
  const { names, blobs } = await cliJson<Collected>(gc);
  expect(names).toEqual(['ghcr.io/acme/old:v1']);
  expect(blobs).toBeGreaterThan(0);
  expect(await expectWhole(site.at('store'))).toBe(3);
  const inspected = await cliJson<{ items: readonly { name: string }[] }>(['inspect', ...gc.slice(1)]);
  expect(inspected.items.map(({ name }) => name)).toEqual([
    'ghcr.io/acme/new:v1',
    'registry.local/team/app:v1',
  ]);
  await cliJson(['verify', ...gc.slice(1)]);
  const { process, stop } = await startServe(['--writable', site.at('store')]);
  expect(process.stderr()).toContain('is also a store, so serve removes nothing from it');
  await stop();
});

// The first change is that of the names; each later one removes a blob.
test.each([1, 2, 5, 9])(
  'killed after change %i, a sweep leaves names that stand for whole content',
  async (n) => {
    const folder = new Folder();
    folder.name('team/app', folder.image('v1', 1), 'v1');
    for (const old of ['a', 'b']) folder.name('team/app', folder.image(`untagged ${old}`, 1));
    folder.image('deleted', 1);
    folder.close();
    grow(folder.root);
    const script = fileURLToPath(new URL('../support/killed-gc.ts', import.meta.url));
    const { signal } = spawnSync(process.execPath, [script, folder.root, String(n), String(day)]);
    expect(signal).toBe('SIGKILL');
    expect(blobsIn(folder.root)).toHaveLength(4 * 3 - (n - 1));
    expect(await expectWhole(folder.root)).toBe(2);
    await Store.use(folder.root, { access: 'exclusive', purpose: 'gc' }, (store) => store.collectGarbage());
    expect(await expectWhole(folder.root)).toBe(2);
    expect(blobsIn(folder.root)).toHaveLength(3);
  },
);

test('F12 a sweep of 20,000 blobs takes no more memory than one of 200 takes, but for 48 MiB', async () => {
  const peaks: number[] = [];
  for (const images of [10, 1000]) {
    const folder = new Folder();
    for (let i = 0; i < images; i++) folder.name(`team/app${i % 50}`, folder.image(`app ${i}`, 8), `v${i}`);
    for (let i = 0; i < images; i++) folder.image(`garbage ${i}`, 8);
    folder.close();
    grow(folder.root);
    expect(blobsIn(folder.root)).toHaveLength(images * 20);
    const { code, stdout, stderr, usage } = await cli([
      ...['gc', '--store', folder.root, '--delete-untagged-after', '1h', '--json'],
    ]);
    expect(code, stderr).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ blobs: images * 10, untagged: [] });
    const peak = Math.round((usage?.peakBytes ?? 0) / (1024 * 1024));
    console.log(`gc of ${images * 20} blobs: peak ${peak} MiB`);
    peaks.push(peak);
  }
  const [small = 0, large = 0] = peaks;
  expect(large - small).toBeLessThan(48);
}, 200_000);
