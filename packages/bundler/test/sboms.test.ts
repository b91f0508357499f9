/** SBOMs that travel with images are written out: of every form, under safe names, and never over other files. */
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Descriptor, descriptorOf, digestFromHex, MediaType, openerOf } from '@omni-airgap/oci/model';
import { buildManifest } from '@omni-airgap/oci/testing';
import { expect, test } from 'vitest';
import { bundle, extractSboms, inspectStore, type SbomReport } from '../src/index.ts';
import { optionsFor, TestStore, temporaryFolder } from './store.ts';

const repository = 'ghcr.io/acme/app';
const spdxType = 'https://spdx.dev/Document';
const cyclonedxType = 'https://cyclonedx.org/bom';
const dsseType = 'application/vnd.dsse.envelope.v1+json';
const inTotoType = 'application/vnd.in-toto+json';
const sigstoreType = 'application/vnd.dev.sigstore.bundle.v0.3+json';
const spdx = (name: string) => ({ spdxVersion: 'SPDX-2.3', '@context': 'x', name });
const plainText = ' {"spdxVersion" : "SPDX-2.3"}';
const cyclonedx = { bomFormat: 'CycloneDX', specVersion: '1.6', components: [{ name: 'a' }] };

const statement = (predicateType: string, predicate: unknown) => ({
  _type: 'https://in-toto.io/Statement/v0.1',
  predicateType,
  subject: [],
  predicate,
});
const envelope = (content: object) => ({
  payloadType: inTotoType,
  payload: Buffer.from(JSON.stringify(content)).toString('base64'),
  signatures: [{ sig: 'AA==' }],
});

interface Layer {
  readonly mediaType: string;
  readonly content: unknown;
  readonly annotations?: Readonly<Record<string, string>>;
}

/** A name, perhaps by the manifest that it is for. */
type NameOf = string | ((manifest: Descriptor) => string);

interface Made {
  readonly store: TestStore;
  readonly at: (name: string) => string;
  /** Pushes a manifest with these layers and locks it under the name, when there is one. */
  push(layers: readonly Layer[], members?: object, name?: NameOf): Promise<Descriptor>;
  /** An image of linux/amd64 and an attestation of BuildKit that is about it. */
  image(tag: string, attestation?: readonly Layer[], members?: object): Promise<[Descriptor, Descriptor]>;
  /** The name of what cosign stores for a manifest. */
  tagged(of: Descriptor, suffix: string): string;
  fromStore(): Promise<SbomReport>;
}

async function made(): Promise<Made> {
  const folder = await temporaryFolder();
  const at = (name: string): string => join(folder, name);
  const store = await TestStore.create(at('store'));
  const put = async (mediaType: string, bytes: Uint8Array): Promise<Descriptor> => {
    const descriptor = descriptorOf(mediaType, bytes);
    await store.layout.push(descriptor, openerOf(bytes));
    return descriptor;
  };
  const push: Made['push'] = async (layers, members = {}, name) => {
    const config = await put(MediaType.empty, Buffer.from('{}'));
    const described: object[] = [];
    for (const { content, ...layer } of layers) {
      const bytes = typeof content === 'string' ? content : JSON.stringify(content);
      described.push({ ...layer, ...(await put(layer.mediaType, Buffer.from(bytes))) });
    }
    const { descriptor, bytes } = buildManifest(MediaType.ociManifest, {
      config,
      layers: described,
      ...members,
    });
    await store.layout.push(descriptor, openerOf(bytes));
    if (name !== undefined)
      await store.locked(typeof name === 'string' ? name : name(descriptor), 'signature', descriptor);
    return descriptor;
  };
  return {
    store,
    at,
    push,
    image: async (tag, attestation = [], members = {}) => {
      const child = await push([{ mediaType: 'application/vnd.oci.image.layer.v1.tar', content: tag }]);
      const built = await push(attestation, members);
      const index = buildManifest(MediaType.ociIndex, {
        manifests: [
          { ...child, platform: { os: 'linux', architecture: 'amd64' } },
          {
            ...built,
            platform: { os: 'unknown', architecture: 'unknown' },
            annotations: {
              'vnd.docker.reference.type': 'attestation-manifest',
              'vnd.docker.reference.digest': child.digest,
            },
          },
        ],
      });
      await store.layout.push(index.descriptor, openerOf(index.bytes));
      await store.locked(`${repository}:${tag}`, 'image', index.descriptor);
      return [index.descriptor, child];
    },
    tagged: ({ digest }, suffix) => `${repository}:sha256-${digest.slice(7)}${suffix}`,
    fromStore: () => extractSboms({ store: store.root }, at('sboms')),
  };
}

const buildkit = (predicateType: string, predicate: unknown): Layer => ({
  mediaType: inTotoType,
  content: statement(predicateType, predicate),
  annotations: { 'in-toto.io/predicate-type': predicateType },
});

async function written(folder: string): Promise<Record<string, unknown>> {
  const files: Record<string, unknown> = {};
  for (const name of (await readdir(folder)).sort()) {
    const text = await readFile(join(folder, name), 'utf8');
    files[name] = name.endsWith('.json') ? JSON.parse(text) : text;
  }
  return files;
}

/** One image with SBOMs of all forms. */
async function allForms(): Promise<Made> {
  const one = await made();
  const { push, image, tagged } = one;
  const [index, child] = await image('v1', [
    buildkit(spdxType, spdx('buildkit')),
    buildkit('https://slsa.dev/provenance/v0.2', {}),
  ]);
  const cosign = (predicateType: string, content: object): Layer => ({
    mediaType: dsseType,
    content: envelope(content),
    annotations: { predicateType },
  });
  await push(
    [
      cosign(cyclonedxType, statement(cyclonedxType, cyclonedx)),
      cosign('https://acme.example/scan', statement('https://acme.example/scan', {})),
      // As older versions write them: no annotation, the document as text.
      { mediaType: dsseType, content: envelope(statement('https://slsa.dev/provenance/v1', {})) },
      {
        mediaType: dsseType,
        content: envelope(statement(spdxType, { Data: 'SPDXVersion: SPDX-2.2\n', Timestamp: '' })),
      },
    ],
    {},
    tagged(child, '.att'),
  );
  await push([{ mediaType: 'text/spdx+json', content: plainText }], {}, tagged(index, '.sbom'));
  const referrer = { artifactType: sigstoreType, subject: index };
  await push(
    [{ mediaType: sigstoreType, content: { dsseEnvelope: envelope(statement(spdxType, spdx('bundle'))) } }],
    { ...referrer, annotations: { 'dev.sigstore.bundle.predicateType': spdxType } },
    tagged(index, ''),
  );
  await push(
    [
      {
        mediaType: 'application/vnd.cyclonedx+xml',
        content: '<?xml version="1.0"?><bom xmlns="http://cyclonedx.org/schema/bom/1.6"/>',
      },
    ],
    { artifactType: 'application/vnd.cyclonedx+xml', subject: index },
    ({ digest }) => `${repository}@${digest}`,
  );
  return one;
}

const formsOf = (files: Record<string, unknown>): Record<string, unknown> =>
  Object.fromEntries(
    Object.entries(files).map(([name, value]) => [name.replace(/@[a-f0-9]{12}/, '@'), value]),
  );

const forms = {
  'ghcr.io_acme_app_v1_linux_amd64.cdx.json': cyclonedx,
  'ghcr.io_acme_app_v1_linux_amd64.spdx.json': spdx('buildkit'),
  'ghcr.io_acme_app_v1_linux_amd64@.spdx': 'SPDXVersion: SPDX-2.2\n',
  'ghcr.io_acme_app_v1.cdx.xml': expect.stringContaining('<bom'),
};

test('SBOMs of all forms, from a store and from a bundle, the same files', async () => {
  const { store, at, fromStore } = await allForms();
  const first = await fromStore();
  expect(first.failed).toEqual([]);
  expect(first.elsewhere).toEqual([]);
  const files = await written(at('sboms'));
  expect(Object.keys(files)).toHaveLength(6);
  expect(formsOf(files)).toMatchObject(forms);
  // Two are SPDX and about the whole image: each has a part of its digest. A document by itself keeps its bytes.
  const both = Object.keys(files).filter((name) => /app_v1@[a-f0-9]{12}\.spdx\.json$/.test(name));
  const texts = await Promise.all(both.map((name) => readFile(join(at('sboms'), name), 'utf8')));
  expect(texts.sort()).toEqual([plainText, `${JSON.stringify(spdx('bundle'), undefined, 2)}\n`]);
  expect(first.files.map(({ file }) => file).sort()).toEqual(Object.keys(files));
  expect(first.files.find(({ file }) => file.endsWith('amd64.spdx.json'))).toMatchObject({
    image: `${repository}:v1`,
    platform: 'linux/amd64',
    format: 'SPDX',
    state: 'written',
  });

  expect((await fromStore()).files.map(({ state }) => state)).toEqual(Array(6).fill('present'));

  await bundle(optionsFor(store, at('usb')));
  const from = { bundle: [at('usb')], trust: { mode: 'any' } } as const;
  const report = await extractSboms(from, at('again'));
  expect(report.files.map((one) => ({ ...one, state: '' }))).toEqual(
    first.files.map((one) => ({ ...one, state: '' })),
  );
  expect(await written(at('again'))).toEqual(files);
});

test('inspect --store lists attestations of BuildKit, too', async () => {
  const { store } = await allForms();
  const { items } = await inspectStore(store.root);
  const listed = items[0]?.attachments.map(({ type, platform }) => `${type} ${platform}`);
  expect(listed).toContain(`${spdxType} linux/amd64`);
  expect(listed).toContain('https://slsa.dev/provenance/v0.2 linux/amd64');
});

test('an increment: what it carries; the rest is with its base', async () => {
  const { store, at, image, push, tagged } = await made();
  const [index, child] = await image('v1', [buildkit(spdxType, spdx('old'))]);
  await push([{ mediaType: 'text/spdx+json', content: plainText }], {}, tagged(index, '.sbom'));
  const base = await bundle(optionsFor(store, at('base')));
  await image('v2', [buildkit(spdxType, spdx('new'))]);
  // Its image came with the base, and so did the index that says whose it is.
  await push(
    [
      {
        mediaType: dsseType,
        content: envelope(statement(cyclonedxType, cyclonedx)),
        annotations: { predicateType: cyclonedxType },
      },
    ],
    {},
    tagged(child, '.att'),
  );
  await bundle(optionsFor(store, at('next'), { since: [base.id] }));
  const report = await extractSboms({ bundle: [at('next')], trust: { mode: 'any' } }, at('sboms'));
  expect(report.failed).toEqual([]);
  const files = await written(at('sboms'));
  expect(Object.values(files)).toEqual(expect.arrayContaining([spdx('new'), cyclonedx]));
  expect(Object.keys(files)).toHaveLength(2);
  expect(report.elsewhere).toEqual([expect.objectContaining({ image: `${repository}:v1` })]);
});

test('an SBOM that has left the store with a bundle is counted, not missed', async () => {
  const { store, at, image, fromStore } = await made();
  await image('v1', [buildkit(spdxType, spdx('large'.repeat(20_000)))]);
  await bundle(optionsFor(store, at('usb'), { consume: true }));
  expect(await fromStore()).toMatchObject({
    files: [],
    failed: [],
    elsewhere: [{ platform: 'linux/amd64' }],
  });
});

test('a malformed attestation is named, and the others are written', async () => {
  const { image, push, tagged, fromStore, at } = await made();
  const [index] = await image('v1', [buildkit(spdxType, spdx('good'))]);
  const bad: readonly (readonly [content: unknown, problem: RegExp])[] = [
    ['{', /a key was expected/],
    [{ payload: '!!!' }, /not base64/],
    [{ payload: Buffer.from('[]').toString('base64') }, /payload: the document must be an object/],
    [{ predicateType: spdxType }, /not an in-toto statement/],
    [statement('https://acme.example/scan', {}), /holds https:\/\/acme\.example\/scan/],
    [statement(spdxType, { name: 'no SPDX' }), /neither SPDX nor CycloneDX/],
    [statement(spdxType, 'no SPDX'), /neither SPDX nor CycloneDX/],
  ];
  const annotations = { predicateType: spdxType };
  await push(
    bad.map(([content]) => ({ mediaType: dsseType, content, annotations })),
    {},
    tagged(index, '.att'),
  );
  const { files, failed } = await fromStore();
  expect(files.map(({ file }) => file)).toEqual(['ghcr.io_acme_app_v1_linux_amd64.spdx.json']);
  expect(failed).toHaveLength(bad.length);
  for (const [, problem] of bad)
    expect(
      failed.filter((one) => problem.test(one.problem) && one.code === 'BAD_DOCUMENT').length,
    ).toBeGreaterThan(0);
  for (const { problem } of failed) expect(problem).toMatch(/^ghcr\.io\/acme\/app:v1: SBOM sha256:/);
  expect(Object.keys(await written(at('sboms')))).toHaveLength(1);
});

test('one that is too large is named with its size, unread', async () => {
  const { store, image, fromStore } = await made();
  const size = 64 * 1024 * 1024 + 1;
  const digest = digestFromHex('d'.repeat(64));
  await image('v1', [], {
    layers: [{ mediaType: inTotoType, digest, size, annotations: { 'in-toto.io/predicate-type': spdxType } }],
  });
  await writeFile(store.layout.pathOf(digest), '');
  await truncate(store.layout.pathOf(digest), size);
  const { failed } = await fromStore();
  expect(failed.map(({ problem }) => problem)).toEqual([
    expect.stringMatching(/67108865 bytes, more than the 67108864/),
  ]);
});

test('an existing file of other content is not replaced, nor what a link leads to', async () => {
  const { at, image, fromStore } = await made();
  await image('v1', [buildkit(spdxType, spdx('a'))]);
  await image('v2', [buildkit(spdxType, spdx('b'))]);
  await mkdir(at('sboms'));
  await writeFile(at('sboms/ghcr.io_acme_app_v1_linux_amd64.spdx.json'), 'mine');
  await symlink(at('elsewhere'), at('sboms/ghcr.io_acme_app_v2_linux_amd64.spdx.json'));
  const { failed, files } = await fromStore();
  expect(failed.map(({ code }) => code)).toEqual(['CONFLICT', 'CONFLICT']);
  expect(failed[0]?.problem).toContain('_v1_linux_amd64.spdx.json: already exists with other content');
  expect(files).toEqual([]);
  expect(await readFile(at('sboms/ghcr.io_acme_app_v1_linux_amd64.spdx.json'), 'utf8')).toBe('mine');
  expect(existsSync(at('elsewhere'))).toBe(false);
});

test('names: no separators, hidden files or collisions, and bounded', async () => {
  const { store, at, image, fromStore } = await made();
  const [index] = await image('V1', [buildkit(spdxType, spdx('upper'))]);
  await image('v1', [buildkit(spdxType, spdx('lower'))]);
  const names = ['../../etc/passwd', '.hidden', 'ghcr.io/acme_app:V1', `ghcr.io/${'long/'.repeat(60)}a:v1`];
  for (const name of names) await store.locked(name, 'image', index);
  const { failed, files } = await fromStore();
  expect(failed).toEqual([]);
  expect(files.map(({ image }) => image).sort()).toEqual(
    [...names, `${repository}:V1`, `${repository}:v1`].sort(),
  );
  const found = await readdir(at('sboms'));
  for (const name of found) {
    expect(name).toMatch(/^[A-Za-z0-9_][A-Za-z0-9._@-]*\.spdx\.json$/);
    expect(name.length).toBeLessThan(200);
  }
  // Upper and lower case would be one file on many file systems.
  const contents = new Set(found.map((name) => name.toLowerCase().replace(/^.*@/, '')));
  expect(contents.size).toBeGreaterThanOrEqual(3);
  expect(
    found.filter((name) => name.startsWith('ghcr.io_acme_app_')).every((name) => name.includes('@')),
  ).toBe(true);
});

test('a lost blob is named; without SBOMs no folder is made; a file in its place is refused first', async () => {
  const { store, at, image, fromStore } = await made();
  await image('v1');
  expect(await fromStore()).toEqual({ folder: at('sboms'), files: [], failed: [], elsewhere: [] });
  expect(existsSync(at('sboms'))).toBe(false);

  const layer = buildkit(spdxType, spdx('lost'));
  await image('v2', [layer]);
  const { digest } = descriptorOf(inTotoType, Buffer.from(JSON.stringify(layer.content)));
  await rm(store.layout.pathOf(digest));
  expect((await fromStore()).failed).toEqual([expect.objectContaining({ code: 'MISSING_CONTENT' })]);

  await writeFile(at('sboms'), '');
  await expect(extractSboms({ store: at('nowhere') }, at('sboms'))).rejects.toMatchObject({ code: 'USAGE' });
});
