/** A registry behind a captive portal or web filter: its pages are no images, and a store that has some is repaired. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { noProgress } from '@omni-airgap/oci';
import { Layout } from '@omni-airgap/oci/layout';
import { type Descriptor, descriptorOf, MediaType } from '@omni-airgap/oci/model';
import { buildManifest, type RegistryDouble } from '@omni-airgap/oci/testing';
import { type LockDocument, Store } from '@omni-airgap/store';
import { expect, test } from 'vitest';
import { plan } from '../src/plan.ts';
import { attach, publishImage, refer, type Site, someBytes, startSite } from './site.ts';

const dex = 'ghcr.io/dexidp/dex:v1';
const page = '<!doctype html><title>Please log in</title>';
const portal = {
  status: 200,
  headers: { 'content-type': 'text/html', 'docker-content-digest': '' },
  body: page,
};

async function dexSite(): Promise<{ site: Site; registry: RegistryDouble; root: Descriptor }> {
  const site = await startSite();
  const registry = site.registry('ghcr.io');
  const { root } = await publishImage(registry, 'dexidp/dex', 'v1');
  await site.mirror(`images: ['${dex}']`);
  return { site, registry, root };
}

const noting = () => {
  const notes: string[] = [];
  return { notes, progress: { ...noProgress, note: (text: string) => void notes.push(text) } };
};

test.each([
  ['everything', /./],
  ['the manifest', /manifests\/v1/],
  ['the manifests by digest', /manifests\/sha256:/],
  ['the blobs', /blobs/],
  ['one tag of cosign', /manifests\/sha256-[a-f0-9]{64}\.sbom/],
  ['the referrers', /referrers|manifests\/sha256-[a-f0-9]{64}$/],
])(
  'a page in place of %s: refused, nothing has a name, and the next fetch finishes (F5, C1)',
  async (_what, path) => {
    const { site, registry, root } = await dexSite();
    registry.fault({ match: { path }, do: portal });
    await expect(site.fetch()).rejects.toMatchObject({
      code: 'UPSTREAM',
      message: expect.stringMatching(/ghcr\.io answers with a web page \(text\/html\).*captive portal/),
    });
    expect(await site.lock()).toMatchObject({ items: [], missing: [dex] });
    expect(await (await Layout.open(site.store)).resolve(dex)).toBeUndefined();
    const healthy = await startSite();
    await publishImage(healthy.registry('ghcr.io'), 'dexidp/dex', 'v1');
    await site.fetch({ network: healthy.network });
    expect((await (await Layout.open(site.store)).resolve(dex))?.digest).toBe(root.digest);
    expect((await site.lock()).missing).toEqual([]);
  },
);

test.each(['application/json', 'text/plain', 'application/octet-stream', ''])(
  'an image whose manifests are labeled %j comes with all its layers, and a note (F5)',
  async (type) => {
    const { site, registry } = await dexSite();
    registry.fault({ match: { path: /manifests/ }, do: { headers: { 'content-type': type } } });
    const { notes, progress } = noting();
    expect(await site.fetch({ progress })).toMatchObject({ items: 1, storedBlobs: 8 });
    expect(notes.filter((note) => note.includes('labels manifests'))).toHaveLength(1);
  },
);

const labels: readonly [what: string, path: RegExp, label: string, says: RegExp][] = [
  ['an index as an image', /manifests\/v1$/, MediaType.ociManifest, /says that it is application.*index/],
  ['an OCI index as a list of Docker', /manifests\/v1$/, MediaType.dockerList, /says that it is application/],
  ['a tag of cosign as an index', /manifests\/sha256-.*\.sig$/, MediaType.ociIndex, /says that it is appl/],
];
test.each(labels)(
  '%s: a label that contradicts the document is refused, nothing is kept (item 1)',
  async (_what, path, type, says) => {
    const { site, registry, root } = await dexSite();
    attach(registry, 'dexidp/dex', root, '.sig');
    const script = { match: { path }, do: { headers: { 'content-type': type } } };
    registry.fault(script);
    const message = expect.stringMatching(says);
    const refused = { code: 'UPSTREAM', message };
    await expect(site.fetch()).rejects.toMatchObject({
      ...refused,
      message: expect.stringMatching(new RegExp(`ghcr\\.io answers with type ${type.replace('+', '.')}`)),
    });
    expect(await site.lock()).toMatchObject({ items: [], missing: [dex] });
    expect(await (await Layout.open(site.store)).resolve(dex)).toBeUndefined();
    const { config, store, network } = site;
    const [problem] = (await plan({ config, store, network })).items.flatMap((item) => item.problem ?? []);
    expect(problem).toMatch(says);
    // A store that has the right image is told the same, and keeps it.
    const healthy = await startSite();
    await publishImage(healthy.registry('ghcr.io'), 'dexidp/dex', 'v1');
    attach(healthy.registry('ghcr.io'), 'dexidp/dex', root, '.sig');
    await site.fetch({ network: healthy.network });
    await expect(site.fetch()).rejects.toMatchObject(refused);
    expect((await site.lock()).items.map(({ name }) => name)).toContain(dex);
    expect((await (await Layout.open(site.store)).resolve(dex))?.digest).toBe(root.digest);
  },
);

test('a web site that takes the path of the referrers API: the image comes with its other signatures, and one note', async () => {
  const { site, registry, root } = await dexSite();
  attach(registry, 'dexidp/dex', root, '.sig');
  registry.fault({ match: { path: /referrers/ }, do: portal });
  const { notes, progress } = noting();
  await site.fetch({ progress });
  expect((await site.lock()).items.map(({ kind }) => kind).sort()).toEqual(['image', 'signature']);
  expect(notes.filter((note) => note.includes('/referrers/'))).toEqual([
    expect.stringMatching(/ghcr\.io answers with a web page \(text\/html\).*captive portal/),
  ]);
});

test('an index of layers, as BuildKit exports its cache, is carried with them', async () => {
  const site = await startSite();
  const repository = site.registry('ghcr.io').repository('acme/cache');
  const layers = [1, 2].map(async (seed) =>
    repository.addBlob(await someBytes(seed, 2000), 'application/vnd.oci.image.layer.v1.tar+gzip'),
  );
  const config = repository.addBlob(Buffer.from('{"layers":[]}'), 'application/vnd.buildkit.cacheconfig.v0');
  const children = [...(await Promise.all(layers)), config];
  const { bytes } = buildManifest(MediaType.ociIndex, { manifests: children });
  repository.addManifest(bytes, MediaType.ociIndex, 'v1');
  await site.mirror("images: ['ghcr.io/acme/cache:v1']");
  await site.fetch();
  const layout = await Layout.open(site.store);
  expect(await Promise.all(children.map((child) => layout.has(child)))).toEqual([true, true, true]);
});

test('a referrer of a type that registries refuse is left out by name; the image and its signatures come (P12)', async () => {
  const { site, registry, root } = await dexSite();
  const signature = refer(registry, 'dexidp/dex', root);
  attach(registry, 'dexidp/dex', root, '.sig');
  const old = { ...descriptorOf('application/vnd.oci.artifact.manifest.v1+json', Buffer.from('{}')) };
  registry.fault({
    match: { path: new RegExp(`referrers/${root.digest}`) },
    do: {
      status: 200,
      headers: { 'content-type': MediaType.ociIndex },
      body: JSON.stringify({ schemaVersion: 2, manifests: [signature, old] }),
    },
  });
  const { notes, progress } = noting();
  await site.fetch({ progress });
  expect((await site.lock()).items.map(({ kind }) => kind).sort()).toEqual([
    'image',
    'signature',
    'signature',
  ]);
  expect(notes).toContainEqual(
    expect.stringMatching(new RegExp(`ghcr.io/dexidp/dex@${old.digest} is not carried: .*artifact`)),
  );
});

/** As earlier versions left it: the page under the name of the image. */
async function spoil(site: Site, name: string): Promise<void> {
  const { digest, size } = descriptorOf('text/html', Buffer.from(page));
  const descriptor = { mediaType: 'text/html', digest, size };
  await writeFile(join(site.store, 'blobs/sha256', digest.slice(7)), page);
  const edit = async (file: string, change: (document: never) => void): Promise<void> => {
    const path = join(site.store, file);
    const document = JSON.parse(await readFile(path, 'utf8'));
    change(document as never);
    await writeFile(path, JSON.stringify(document));
  };
  await edit('index.json', ({ manifests }: { manifests: object[] }) => {
    const at = manifests.findIndex((one) => JSON.stringify(one).includes(`"${name}"`));
    const entry = { ...descriptor, annotations: { 'org.opencontainers.image.ref.name': name } };
    manifests.splice(at < 0 ? manifests.length : at, at < 0 ? 0 : 1, entry);
  });
  await edit('lock.json', ({ items }: { items: object[] }) => {
    const [first] = items as LockDocument['items'];
    const at = items.findIndex((one) => JSON.stringify(one).includes(`"name":"${name}"`));
    items.splice(at < 0 ? items.length : at, at < 0 ? 0 : 1, { ...first, name, descriptor });
  });
}

test.each([
  ['an image', dex],
  ['a signature', `ghcr.io/dexidp/dex:sha256-${'a'.repeat(64)}.sbom`],
])(
  'a store in which %s is a page is named with the remedy, and repaired by the next fetch (C1)',
  async (_what, name) => {
    const { site, root } = await dexSite();
    await site.fetch();
    await spoil(site, name);
    const remedy = {
      code: 'BAD_DOCUMENT',
      message: expect.stringContaining('run omni-airgap fetch --store'),
    };
    for (const access of ['shared', 'exclusive', 'read', 'look'] as const) {
      const store = await Store.open(site.store, { access, purpose: 'test' });
      await expect(store.openLayout()).rejects.toMatchObject(remedy);
      await expect(store.lockDocument()).rejects.toMatchObject(remedy);
      await store.close();
    }
    const { config, store, network } = site;
    await expect(plan({ config, store, network })).rejects.toMatchObject(remedy);
    const { notes, progress } = noting();
    await site.fetch({ progress });
    expect(notes).toContainEqual(expect.stringContaining(`repaired: ${name}`));
    expect((await (await Layout.open(store)).resolve(dex))?.digest).toBe(root.digest);
    expect((await site.lock()).items.map((item) => item.name)).toEqual([dex]);
    expect((await site.lock()).missing).toEqual([]);
    const quiet = noting();
    await site.fetch({ progress: quiet.progress });
    expect(quiet.notes).toEqual([]);
  },
);

test('a store is repaired also while the page is still there: the image is missing then, not a page', async () => {
  const { site, registry } = await dexSite();
  await site.fetch();
  await spoil(site, dex);
  registry.fault({ match: { path: /manifests/ }, do: portal });
  await expect(site.fetch()).rejects.toMatchObject({ code: 'UPSTREAM' });
  expect(await site.lock()).toMatchObject({ items: [], missing: [dex] });
  const store = await Store.open(site.store, { access: 'read', purpose: 'test' });
  await store.openLayout();
  await store.close();
});
