/**
 * bundle --since a receipt that load wrote: what is inside is left out, what is not is carried, whatever the load went
 * into and whoever issued the bundle. Each increment is loaded into the same places, with all content read back.
 */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { bundle } from '../../packages/bundler/src/index.ts';
import {
  mediaSchematic,
  optionsFor,
  sampleStore,
  type TestStore,
  temporaryFolder,
} from '../../packages/bundler/test/store.ts';
import {
  type BundleDocument,
  parseBundleDocument,
  parseReceiptDocument,
} from '../../packages/format/src/index.ts';
import { load } from '../../packages/loader/src/load.ts';
import type { LoadOptions } from '../../packages/loader/src/options.ts';
import { openBundles } from '../../packages/loader/src/source.ts';
import type { Digest } from '../../packages/oci/src/model/index.ts';
import { type RegistryDouble, startRegistryDouble } from '../../packages/oci/src/testing/index.ts';

/** Content of an increment that is small is not looked at: it may come once more. */
const small = 64 * 1024;

class Site {
  readonly folder: string;
  readonly registry: RegistryDouble;
  readonly #receipts: string[] = [];

  constructor(folder: string, registry: RegistryDouble) {
    this.folder = folder;
    this.registry = registry;
  }

  at(name: string): string {
    return join(this.folder, name);
  }

  get objects(): string {
    return this.at('objects');
  }

  /** Loads with all that is pulled back and hashed. @returns path of the receipt */
  async load(media: readonly string[], targets: string, options: Partial<LoadOptions> = {}): Promise<string> {
    const receipt = this.at(`receipt-${this.#receipts.length}.json`);
    this.#receipts.push(receipt);
    const { host } = this.registry;
    const folders = media.map((name) => this.at(name));
    const source = await openBundles(folders, { mode: 'any' }, undefined);
    await load({
      source,
      newOrigin: source.document.origin,
      ...(targets.includes('registry') ? { registry: { host, prefix: '' } } : {}),
      ...(targets.includes('objects') ? { objectStore: { kind: 'directory', root: this.objects } } : {}),
      state: this.at('state'),
      network: { upstreams: [], allowHosts: [], plainHttp: [host], env: {} },
      verify: 'full',
      receipt,
      tool: 'test',
      ...options,
    });
    return receipt;
  }

  async bundle(store: TestStore, out: string, since: readonly string[]): Promise<BundleDocument> {
    await bundle(optionsFor(store, this.at(out), { since }));
    return parseBundleDocument(readFileSync(this.at(`${out}/bundle.json`)));
  }

  /** A blob of the sample. */
  inRegistry(digest: string): boolean {
    const paths = ['siderolabs/omni', 'dexidp/dex', 'pause', `talos-media/${mediaSchematic}`];
    return paths.some((path) => this.registry.repository(path).blobs.has(digest));
  }

  /** Digests by key. */
  inObjectStore(): ReadonlyMap<string, string> {
    const found = new Map<string, string>();
    for (const key of readdirSync(this.objects, { recursive: true }) as string[]) {
      const path = join(this.objects, key);
      if (!statSync(path).isFile()) continue;
      found.set(key, `sha256:${createHash('sha256').update(readFileSync(path)).digest('hex')}`);
    }
    return found;
  }
}

/**
 * A store, its bundle in `base`, and another store of the same content that has issued nothing.
 * @param checkChildren whether the registry refuses an index of which some platforms are left out
 */
async function site(checkChildren = true): Promise<{ site: Site; issuer: TestStore; other: TestStore }> {
  const folder = await temporaryFolder();
  const made = new Site(folder, await startRegistryDouble({ checkChildren }));
  onTestFinished(() => made.registry.close());
  const issuer = await sampleStore(made.at('issuer'));
  await made.bundle(issuer, 'base', []);
  return { site: made, issuer, other: await sampleStore(made.at('other')) };
}

const newMedia = `factory.talos.dev/talos-media/${mediaSchematic}:v1.14.0`;

/** What is new outside: a layer; and media that share the large file and the command line with the old ones. */
async function addNews(store: TestStore): Promise<void> {
  await store.image('ghcr.io/siderolabs/omni:v2', [1, 2, 9]);
  await store.artifact(newMedia, 'media', {
    'cmdline-metal-amd64': 300,
    'initramfs-amd64.xz': 500,
    'kernel-amd64': 210_000,
    'metal-amd64.iso': 400_000,
  });
}

test('a receipt of prune: the bundle that was pruned is refused beside it, and counts for nothing without it', async () => {
  const { site: at, issuer } = await site();
  await at.load(['base'], 'registry');
  await addNews(issuer);
  await at.bundle(
    issuer,
    'next',
    ['base'].map((name) => at.at(name)),
  );
  const receipt = await at.load(['next'], 'registry');
  const base = parseBundleDocument(readFileSync(at.at('base/bundle.json')));
  const document = parseReceiptDocument(readFileSync(receipt));
  const pruned = { at: '2026-11-29T12:00:00.000Z', bundles: [base.id] };
  writeFileSync(receipt, JSON.stringify({ ...document, pruned }));
  for (const since of [at.at('base'), base.id]) {
    await expect(at.bundle(issuer, 'refused', [since, receipt])).rejects.toMatchObject({
      code: 'CONFLICT',
      message: expect.stringContaining(
        `bundle ${base.id.slice(0, 12)} was pruned at the site at 2026-11-29 12:00 UTC`,
      ),
    });
  }
  const after = await at.bundle(issuer, 'after', [receipt]);
  expect(after.base?.map(({ id }) => id)).toEqual([document.bundle]);
  await at.load(['after'], 'registry');
});

const sizesOf = ({ blobs }: BundleDocument): readonly number[] =>
  blobs
    .filter(({ size }) => size > small)
    .map(({ size }) => size)
    .sort((a, b) => a - b);

describe.each([['the store that issued it'], ['a store that did not']])('for %s', (who) => {
  const pick = (made: { issuer: TestStore; other: TestStore }): TestStore =>
    who.endsWith('not') ? made.other : made.issuer;

  test.each([
    ['registry', [90_000, 210_000]],
    // Nothing of an image is inside.
    ['objects', [90_000, 90_000, 90_000, 90_000, 90_000, 90_000, 210_000]],
    ['registry and objects', [90_000, 210_000]],
  ])('a load into %s: no more, and no less', async (targets, sizes) => {
    const made = await site();
    const store = pick(made);
    const receipt = await made.site.load(['base'], targets);
    await addNews(store);
    const document = await made.site.bundle(store, 'increment', [receipt]);
    expect(sizesOf(document)).toEqual(sizes);
    for (const { digest, size } of document.blobs)
      if (targets !== 'objects' && size > small) expect(made.site.inRegistry(digest), digest).toBe(false);
    await made.site.load(['increment'], targets, { site: { pxe: 'http://pxe.site' } });
    if (targets !== 'registry') {
      const objects = made.site.inObjectStore();
      expect(objects.get(`image/${mediaSchematic}/v1.14.0/metal-amd64.iso`)).toBe(
        objects.get(`image/${mediaSchematic}/v1.13.9/metal-amd64.iso`),
      );
      expect(objects.has(`pxe/${mediaSchematic}/v1.14.0/metal-amd64`)).toBe(true);
    }
    // Once more, on the receipt of the increment: nothing is new.
    const last = await made.site.load(['increment'], targets);
    const empty = sizesOf(await made.site.bundle(store, 'empty', [receipt, last]));
    expect(empty).toEqual(targets === 'objects' ? sizes.filter((size) => size === 90_000) : []);
    await made.site.load(['empty'], targets);
  });

  test('two receipts of one bundle, each of one place, are as one of both', async () => {
    const made = await site();
    const store = pick(made);
    const receipts = [await made.site.load(['base'], 'registry'), await made.site.load(['base'], 'objects')];
    await addNews(store);
    expect(sizesOf(await made.site.bundle(store, 'increment', receipts))).toEqual([90_000, 210_000]);
    await made.site.load(['increment'], 'registry and objects');
  });

  test.each([
    ['registry', 'objects'],
    ['objects', 'registry'],
  ])(
    'a load into %s only, and the increment into both: refused before anything moves, until the base is there',
    async (first, later) => {
      const made = await site();
      const store = pick(made);
      const receipt = await made.site.load(['base'], first);
      await addNews(store);
      await made.site.bundle(store, 'increment', [receipt]);
      const before = made.site.registry.requests.length;
      const both = (): Promise<string> => made.site.load(['increment'], 'registry and objects');
      await expect(both()).rejects.toMatchObject({
        code: 'MISSING_CONTENT',
        message: expect.stringMatching(/^load bundle number 1 \([a-f0-9]{12}\) first/),
      });
      const methods = made.site.registry.requests.slice(before).map(({ method }) => method);
      expect(new Set(methods)).toEqual(new Set(methods.filter((one) => one === 'GET' || one === 'HEAD')));
      await made.site.load(['base'], later);
      await both();
    },
  );
});

test('platforms that were left out of the load are not inside, for whoever has them', async () => {
  const { site: inside, issuer, other } = await site(false);
  const name = 'registry.k8s.io/pause:3.10';
  const arm64 = await leaveOut(issuer, name, 'arm64');
  await inside.bundle(issuer, 'sparse', []);
  const receipt = await inside.load(['sparse'], 'registry');
  for (const [i, store] of [other, issuer].entries()) {
    const { blobs, sparse } = await inside.bundle(store, `next${i}`, [receipt]);
    expect(
      blobs.some(({ digest }) => digest === arm64),
      `${i}`,
    ).toBe(store === other);
    expect(sparse?.length ?? 0).toBe(store === other ? 0 : 1);
    await inside.load([`next${i}`], 'registry', { allowRollback: true });
  }
});

test('an index that was flattened inside is carried again, and only that', async () => {
  const { site: inside, issuer, other } = await site();
  const name = 'registry.k8s.io/pause:3.10';
  await leaveOut(issuer, name, 'arm64');
  await inside.bundle(issuer, 'sparse', []);
  const receipt = await inside.load(['sparse'], 'registry', { flatten: true });
  const { blobs } = await inside.bundle(issuer, 'next', [receipt]);
  expect(blobs.map(({ digest }) => digest)).toContain(issuer.digestOf(name));
  expect(blobs.every(({ size }) => size <= small)).toBe(true);
  await inside.load(['next'], 'registry', { flatten: true });
  const all = await inside.bundle(other, 'all', [receipt]);
  expect(sizesOf(all)).toEqual([]);
});

test('P8 an index that was trimmed inside is carried again, and only that, for whoever has it', async () => {
  const { site: inside, issuer, other } = await site();
  const name = 'registry.k8s.io/pause:3.10';
  const arm64 = await leaveOut(issuer, name, 'arm64');
  await inside.bundle(issuer, 'sparse', []);
  const receipt = await inside.load(['sparse'], 'registry', { trimIndexes: true });
  const index = issuer.digestOf(name);
  const { trimmed, sparse = [] } = parseReceiptDocument(readFileSync(receipt));
  expect(trimmed).toMatchObject([{ name, index }]);
  const [amd64] = sparse.find(({ digest }) => digest === index)?.manifests ?? [];
  const repository = inside.registry.repository('pause');
  expect(repository.manifests.has(index)).toBe(false);
  const tagged = repository.tags.get('3.10');
  for (const [i, store] of [issuer, other].entries()) {
    const { blobs, changes } = await inside.bundle(store, `next${i}`, [receipt]);
    const digests = blobs.map(({ digest }) => digest);
    expect(digests, `${i}`).toContain(index);
    expect(digests).not.toContain(amd64);
    expect(digests.includes(arm64)).toBe(store === other);
    expect(sizesOf({ blobs } as BundleDocument)).toEqual([]);
    // Neither store has another image under this name.
    expect(changes?.moved).toEqual([]);
  }
  const again = await inside.load(['next0'], 'registry', { trimIndexes: true });
  expect(repository.tags.get('3.10')).toBe(tagged);
  expect(parseReceiptDocument(readFileSync(again)).trimmed).toEqual(trimmed);
  // By its id alone, the bundle counts as loaded whole.
  await inside.bundle(issuer, 'byId', [inside.at('sparse')]);
  await expect(inside.load(['byId'], 'registry', { trimIndexes: true })).rejects.toMatchObject({
    code: 'MISSING_CONTENT',
    message: expect.stringMatching(/bundle --since RECEIPT/),
  });
});

test('media that a registry united with its own: their files count, their manifest does not', async () => {
  const { site: inside, issuer } = await site();
  await inside.load(['base'], 'registry');
  const name = `factory.talos.dev/talos-media/${mediaSchematic}:v1.13.9`;
  await issuer.artifact(name, 'media', { 'metal-arm64.iso': 300_000 });
  await inside.bundle(issuer, 'second', []);
  const receipt = await inside.load(['second'], 'registry');
  const { blobs } = await inside.bundle(issuer, 'third', [receipt]);
  expect(blobs.map(({ digest }) => digest)).toContain(issuer.digestOf(name));
  expect(blobs.every(({ size }) => size <= small)).toBe(true);
  await inside.load(['third'], 'registry');
});

test('a base and its increment loaded at once: content lies where the names of the increment put it', async () => {
  const { site: inside, issuer } = await site();
  // Layer 5 is known by pause alone, which goes; another image needs it now.
  await issuer.image('quay.io/acme/heir:v1', [5]);
  await issuer.remove('registry.k8s.io/pause:3.10');
  const { id } = await inside.bundle(issuer, 'second', [inside.at('base')]);
  const receipt = await inside.load(['base', 'second'], 'registry');
  await issuer.image('quay.io/acme/third:v1', [5]);
  await issuer.remove('quay.io/acme/heir:v1');
  for (const [i, since] of [receipt, id].entries()) {
    const { relies } = await inside.bundle(issuer, `third${i}`, [since]);
    const holders = relies?.repositories.map(({ repository }) => repository);
    expect(holders).toContain('quay.io/acme/heir');
    expect(holders).not.toContain('registry.k8s.io/pause');
    await inside.load([`third${i}`], 'registry', { allowRollback: true });
  }
});

test('P1 a part of a bundle is inside: the increment from its receipt carries the rest, and both make a whole', async () => {
  const { site: inside, issuer } = await site();
  const pause = 'registry.k8s.io/pause:3.10';
  const part = await inside.load(['base'], 'registry', { except: [pause] });
  const { blobs, changes } = await inside.bundle(issuer, 'rest', [part]);
  expect(blobs.map(({ digest }) => digest)).toContain(issuer.digestOf(pause));
  expect(blobs.filter(({ size }) => size > small).map(({ size }) => size)).toEqual([90_000]);
  expect(changes?.added).toEqual([pause]);
  const rest = await inside.load(['rest'], 'registry');
  expect(sizesOf(await inside.bundle(issuer, 'empty', [part, rest]))).toEqual([]);
  expect(inside.registry.repository('pause').tags.get('3.10')).toBe(issuer.digestOf(pause));
});

test('P1 a bundle loaded in two parts: their receipts together are that of the whole', async () => {
  const { site: inside, issuer } = await site();
  const name = '*/dexidp/*';
  const receipts = [
    await inside.load(['base'], 'registry', { only: [name] }),
    await inside.load(['base'], 'registry', { except: [name] }),
  ];
  const { blobs, changes } = await inside.bundle(issuer, 'empty', receipts);
  expect(blobs.filter(({ size }) => size > small)).toEqual([]);
  expect(changes).toEqual({ added: [], moved: [], removed: [] });
});

test('P1 a file left out of the object store is carried again', async () => {
  const { site: inside, issuer } = await site();
  const urls = { pxe: 'http://pxe.site' };
  const key = `image/${mediaSchematic}/v1.13.9/metal-amd64.iso`;
  const part = await inside.load(['base'], 'registry and objects', { except: [key], site: urls });
  expect([...inside.inObjectStore().keys()].filter((one) => one === key)).toEqual([]);
  const { missing } = JSON.parse(readFileSync(part, 'utf8')) as { missing: { name: string; why: string }[] };
  expect(missing[0]).toEqual({ name: key, why: 'excluded' });
  expect(sizesOf(await inside.bundle(issuer, 'rest', [part]))).toEqual([400_000]);
  await inside.load(['rest'], 'registry and objects', { site: urls });
  expect(inside.inObjectStore().has(key)).toBe(true);
});

/** Takes a platform out of the store, as `platforms` in mirror.yaml does. @returns the digest of its manifest */
async function leaveOut(store: TestStore, name: string, architecture: string): Promise<Digest> {
  const pathOf = (digest: string): string => store.layout.pathOf(digest as Digest);
  const { manifests } = JSON.parse(readFileSync(pathOf(store.digestOf(name)), 'utf8')) as {
    manifests: { digest: Digest; platform: { architecture: string } }[];
  };
  const child = manifests.find(({ platform }) => platform.architecture === architecture);
  if (child === undefined) throw new Error('no such platform');
  rmSync(pathOf(child.digest));
  const path = join(store.root, 'lock.json');
  const lock = JSON.parse(readFileSync(path, 'utf8')) as { items: { name: string; platforms?: string[] }[] };
  for (const item of lock.items) if (item.name === name) item.platforms = ['linux/amd64'];
  writeFileSync(path, JSON.stringify(lock));
  return child.digest;
}
