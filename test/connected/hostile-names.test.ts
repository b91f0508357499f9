/**
 * F9, F12, F14, T51: what a bundle claims about itself (names, versions, schematics, keys) is judged alike by verify and
 * load: what load would refuse, verify refuses outside, with exit code 3 and the name. An artifact of the operator's own
 * that looks like one of fetch is carried like any other.
 */
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { BundleDocument } from '../../packages/format/src/index.ts';
import { type TestBundleOptions, writeTestBundle } from '../../packages/format/src/testing/index.ts';
import { Layout } from '../../packages/oci/src/layout/index.ts';
import { descriptorOf, digestFromHex, MediaType, openerOf } from '../../packages/oci/src/model/index.ts';
import { type RegistryDouble, startRegistryDouble } from '../../packages/oci/src/testing/index.ts';
import { temporaryFolder } from '../services/temporary.ts';
import { runHere } from '../support/cli.ts';

const text = 'customization: {}\n';
const id = createHash('sha256').update(text).digest('hex');
const factory = 'factory.talos.dev';
const media = `${factory}/talos-media/${id}:v1.13.2`;

interface Layer {
  /** The name that its file gets; undefined for none. */
  readonly title?: string;
  readonly bytes?: string;
}

let double: RegistryDouble;
/** Each load has a prefix of its own: the bundles all say that they are number 1 of one store. */
let sites = 0;
beforeAll(async () => {
  double = await startRegistryDouble();
});
afterAll(() => double?.close());

/** A bundle of one artifact under each name. */
async function bundleOf(
  artifacts: Readonly<Record<string, readonly Layer[]>>,
  options: TestBundleOptions = {},
): Promise<string> {
  const root = temporaryFolder('hostile-names');
  const layout = await Layout.open(join(root, 'store'), { create: true });
  const blob = async (mediaType: string, content: string) => {
    const bytes = Buffer.from(content);
    const descriptor = descriptorOf(mediaType, bytes);
    await layout.push(descriptor, openerOf(bytes));
    return descriptor;
  };
  const config = await blob(MediaType.empty, '{}');
  for (const [name, files] of Object.entries(artifacts)) {
    const layers: object[] = [];
    for (const { title, bytes = 'content' } of files) {
      const annotations =
        title === undefined ? {} : { annotations: { 'org.opencontainers.image.title': title } };
      layers.push({ ...(await blob(MediaType.octetStream, bytes)), ...annotations });
    }
    const members = { schemaVersion: 2, mediaType: MediaType.ociManifest, config, layers };
    await layout.tag(await blob(MediaType.ociManifest, JSON.stringify(members)), name);
  }
  const folder = join(root, 'bundle');
  await writeTestBundle(layout, folder, options);
  return folder;
}

function change(folder: string, members: Partial<BundleDocument>): void {
  const path = join(folder, 'bundle.json');
  writeFileSync(path, JSON.stringify({ ...JSON.parse(readFileSync(path, 'utf8')), ...members }));
}

interface Ended {
  readonly code: number;
  /** Everything that it printed. */
  readonly said: string;
}

async function command(...args: readonly string[]): Promise<Ended> {
  const { code, stdout, stderr } = await runHere(args);
  return { code, said: stdout + stderr };
}

interface Judged {
  readonly verify: Ended;
  readonly quick: Ended;
  readonly toObjects: Ended;
  readonly toRegistry: Ended;
  /** Keys of the objects that are there in the end. */
  readonly keys: readonly string[];
}

async function judge(folder: string): Promise<Judged> {
  const root = temporaryFolder('hostile-names-site');
  const objects = join(root, 'objects');
  const load = (...target: readonly string[]): Promise<Ended> =>
    command(
      ...['load', '--bundle', folder, '--allow-unsigned', '--state', join(root, 'state')],
      ...['--handoff', join(root, 'handoff'), ...target],
    );
  const judged = {
    verify: await command('verify', '--bundle', folder),
    quick: await command('verify', '--quick', '--bundle', folder),
    toObjects: await load('--object-store', `file://${objects}`),
    toRegistry: await load('--registry', `${double.host}/site${sites++}`, '--plain-http', double.host),
  };
  const found = existsSync(objects) ? readdirSync(objects, { recursive: true, withFileTypes: true }) : [];
  const keys = found.flatMap((entry) =>
    entry.isFile() ? [join(entry.parentPath, entry.name).slice(objects.length + 1)] : [],
  );
  return { ...judged, keys: keys.sort() };
}

/** All refuse it, with the same words. */
async function expectRefused(folder: string, message: string | RegExp): Promise<void> {
  const requests = double.requests.length;
  const { keys, ...ended } = await judge(folder);
  for (const [what, { code, said }] of Object.entries(ended)) {
    expect(said, what).toMatch(message);
    expect(said, what).toMatch(/\[BAD_DOCUMENT\]\n/);
    expect(code, what).toBe(3);
  }
  expect(keys).toEqual([]);
  expect(double.requests.length).toBe(requests);
}

async function expectLoaded(folder: string, keys: readonly string[]): Promise<void> {
  const { keys: found, ...ended } = await judge(folder);
  for (const [what, { code, said }] of Object.entries(ended)) expect(code, `${what}: ${said}`).toBe(0);
  expect(found).toEqual(keys);
}

const long = 'a'.repeat(5000);

describe('F9 what only fetch may name', () => {
  test.each<readonly [name: string, layers: readonly Layer[], message: string | RegExp]>([
    [media, [{ title: '../../../../tmp/pwn' }], `${media}: not the name of a media file`],
    [media, [{ title: 'a/b' }], `${media}: not the name of a media file`],
    [media, [{ title: '' }], `${media}: not the name of a media file`],
    [media, [{ title: long }], `${media}: not the name of a media file`],
    [media, [{ title: 'CON' }], `${media}: not the name of a media file`],
    [media, [{ title: 'kernel-amd64' }, { title: 'kernel-amd64', bytes: 'other' }], /two files kernel-amd64/],
    [
      media,
      [{ title: 'cmdline-metal-amd64', bytes: 'x'.repeat(65_537) }],
      /cmdline-metal-amd64: 65537 bytes/,
    ],
    [
      `${factory}/talos-media/notanid:v1.13.2`,
      [{ title: 'kernel-amd64' }],
      /notanid:v1\.13\.2: not a schematic ID/,
    ],
    [`${factory}/talos-media/${id}:latest`, [{ title: 'kernel-amd64' }], /:latest: not a version/],
    [
      `${factory}/talos-catalog/talosctl:latest`,
      [{ title: 'talosctl-linux-amd64' }],
      /:latest: not a version/,
    ],
    [`${factory}/talos-catalog/talosctl:v1.13.2`, [{ title: '../x' }], /not the name of a talosctl binary/],
    [`${factory}/talos-catalog/extensions:latest`, [{ title: 'extensions.json' }], /:latest: not a version/],
    [
      `${factory}/talos-catalog/versions:latest`,
      [{ title: 'versions', bytes: '["x"]' }],
      /not a JSON array of versions/,
    ],
    [
      `${factory}/siderolabs/image-factory/schematics:x`,
      [{ bytes: text }],
      /schematics:x: not a schematic ID/,
    ],
  ])('%s, case %#', async (name, layers, message) => {
    await expectRefused(await bundleOf({ [name]: layers }), message);
  });

  test('one version in two spellings', async () => {
    const layers = (bytes: string): readonly Layer[] => [{ title: 'kernel-amd64', bytes }];
    const other = media.replace(':v', ':');
    await expectRefused(
      await bundleOf({ [media]: layers('one'), [other]: layers('two') }),
      `image/${id}/v1.13.2/kernel-amd64: two different contents`,
    );
  });
});

describe('F14 a schematic under the ID of another', () => {
  const evil = 'customization:\n    extraKernelArgs:\n        - evil=1\n';
  const name = (of: string): string => `${factory}/siderolabs/image-factory/schematics:${of}`;
  test.each<readonly [what: string, of: string, layers: readonly Layer[]]>([
    ['other text', 'a'.repeat(64), [{ bytes: evil }]],
    ['another text beside it', id, [{ bytes: text }, { bytes: evil }]],
    ['no text', id, []],
  ])('%s', async (_what, of, layers) => {
    await expectRefused(
      await bundleOf({ [name(of)]: layers }),
      `${name(of)}: its layer is not the text of that ID`,
    );
  });
  test('its own', async () => {
    await expectLoaded(await bundleOf({ [name(id)]: [{ bytes: text }] }), [`schematics/${id}`]);
  });
});

test('files that fetch may have found beside media have their keys', async () => {
  const folder = await bundleOf({
    [media]: [{ title: 'kernel-amd64' }, { title: 'kernel-amd64.sigstore.json' }],
  });
  const path = `image/${id}/v1.13.2/kernel-amd64`;
  await expectLoaded(folder, [path, `${path}.sigstore.json`]);
});

test.each([
  'ghcr.io/acme/talos-media/tool:v1',
  `ghcr.io/acme/talos-media/${id}:v1.13.2`,
  'registry.example.com/talos-catalog/talosctl:edge',
  'registry.example.com/talos-catalog/versions:latest',
  `ghcr.io/siderolabs/image-factory/schematics:${id}`,
  `${factory}/acme/talos-media/${id}:v1`,
  `${factory}/talos-catalog/constructor:latest`,
])('F9 an artifact of the operator: %s', async (name) => {
  await expectLoaded(await bundleOf({ [name]: [{ title: 'a file' }] }), []);
});

describe('F12 bundle.json', () => {
  test.each<readonly [what: string, members: Partial<BundleDocument>, message: RegExp]>([
    [
      'a file outside',
      { files: [{ name: '../../etc/passwd', size: 1, sha256: 'a'.repeat(64) }] },
      /files\.0\.name/,
    ],
    ['a file in a folder', { files: [{ name: 'a/b', size: 1, sha256: 'a'.repeat(64) }] }, /files\.0\.name/],
    [
      'a file twice',
      { files: ['A.txt', 'a.txt'].map((name) => ({ name, size: 1, sha256: 'a'.repeat(64) })) },
      /files/,
    ],
    [
      'a volume as a file',
      { files: [{ name: 'content.tar.007', size: 1, sha256: 'a'.repeat(64) }] },
      /files\.0\.name/,
    ],
    [
      'a repository that is none',
      {
        relies: { repositories: [{ repository: '../x', blobs: [] }], objects: [] },
      },
      /relies\.repositories\.0\.repository/,
    ],
    [
      'a key that is none',
      {
        relies: {
          repositories: [],
          objects: [{ key: '../x', digest: digestFromHex('a'.repeat(64)), size: 1 }],
        },
      },
      /not an object key: \.\.\/x/,
    ],
  ])('%s', async (_what, members, message) => {
    const base = [{ id: 'a'.repeat(64), origin: 'b', sequence: 1 }];
    const folder = await bundleOf({ 'ghcr.io/acme/app:v1': [{}] }, { base });
    change(folder, members);
    await expectRefused(folder, message);
  });
  test.each(['not a name', 'ghcr.io/acme/app', 'ghcr.io/../app:v1', `@sha256:${'0'.repeat(64)}`])(
    'the name %s',
    async (name) => {
      await expectRefused(await bundleOf({ [name]: [{}] }), /roots\.0/);
    },
  );
  test('content without a name is loaded with what needs it', async () => {
    const digest = descriptorOf(
      MediaType.ociManifest,
      Buffer.from(
        JSON.stringify({
          schemaVersion: 2,
          mediaType: MediaType.ociManifest,
          config: descriptorOf(MediaType.empty, Buffer.from('{}')),
          layers: [descriptorOf(MediaType.octetStream, Buffer.from('content'))],
        }),
      ),
    ).digest;
    await expectLoaded(await bundleOf({ [`@${digest}`]: [{}] }), []);
  });
});
