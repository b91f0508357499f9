/** P2, P3: a wanted platform comes, or it is named. */
import { noProgress } from '@omni-airgap/oci';
import { type Descriptor, MediaType } from '@omni-airgap/oci/model';
import { buildManifest, type RegistryDouble } from '@omni-airgap/oci/testing';
import { expect, test } from 'vitest';
import { plan } from '../src/plan.ts';
import { someBytes, startSite } from './site.ts';

type Named = object | null | undefined;

interface Child {
  /** In the index. */
  readonly platform?: Named;
  /** In the configuration. */
  readonly config?: object;
}

const app = 'ghcr.io/acme/app:v1';
const linux = (architecture: string, variant?: string): object => ({ os: 'linux', architecture, variant });
const path = 'acme/app';

async function publishChild(
  registry: RegistryDouble,
  { config }: Child,
  type: string,
  seed: number,
): Promise<Descriptor> {
  const repository = registry.repository(path);
  const layer = repository.addBlob(await someBytes(seed, 1000), 'application/vnd.oci.image.layer.v1.tar');
  const blob = repository.addBlob(Buffer.from(JSON.stringify({ ...config, seed })), type);
  const { bytes } = buildManifest(MediaType.ociManifest, { config: blob, layers: [layer] });
  return repository.addManifest(bytes, MediaType.ociManifest, ...(seed === 0 ? ['v1'] : []));
}

/** @returns the children's digests in order */
async function publishIndex(
  registry: RegistryDouble,
  children: readonly Child[],
  tag = 'v1',
): Promise<readonly Descriptor[]> {
  const entries: Descriptor[] = [];
  const raw: object[] = [];
  for (const [i, child] of children.entries()) {
    const descriptor = await publishChild(registry, child, MediaType.ociConfig, i + 1);
    entries.push(descriptor);
    raw.push('platform' in child ? { ...descriptor, platform: child.platform } : descriptor);
  }
  const bytes = Buffer.from(
    JSON.stringify({ schemaVersion: 2, mediaType: MediaType.ociIndex, manifests: raw }),
  );
  const index = registry.repository(path).addManifest(bytes, MediaType.ociIndex, tag);
  return [...entries, index];
}

interface Row {
  readonly what: string;
  readonly children: readonly Child[];
  readonly wanted: string;
  /** Which children come. */
  readonly comes: readonly number[];
  readonly platforms: readonly string[];
  readonly missing: readonly string[];
}

const common: readonly Child[] = [{ platform: linux('amd64') }, { platform: linux('arm64') }];
const rows: readonly Row[] = [
  {
    what: 'a variant that goes without saying, and a platform that is not there',
    children: common,
    wanted: 'linux/amd64, linux/arm64/v8, linux/s390x',
    comes: [0, 1],
    platforms: ['linux/amd64', 'linux/arm64'],
    missing: ['linux/s390x'],
  },
  {
    what: 'the other way round',
    children: [{ platform: linux('arm64', 'v8') }, { platform: linux('amd64', 'v1') }],
    wanted: 'linux/arm64',
    comes: [0],
    platforms: ['linux/arm64'],
    missing: [],
  },
  {
    what: 'other names of architectures',
    children: [{ platform: linux('x86_64') }, { platform: linux('aarch64') }, { platform: linux('arm') }],
    wanted: 'linux/amd64, linux/arm64, linux/arm/v7, linux/arm/v6',
    comes: [0, 1, 2],
    platforms: ['linux/amd64', 'linux/arm64', 'linux/arm/v7'],
    missing: ['linux/arm/v6'],
  },
  {
    what: 'empty strings, nothing, null and unknown are no platform of their own',
    children: [
      { platform: linux('amd64') },
      { platform: { os: '', architecture: '' } },
      { platform: {} },
      { platform: null },
      {},
      { platform: { os: 'unknown', architecture: 'unknown' } },
      { platform: linux('arm64') },
    ],
    wanted: 'linux/amd64',
    comes: [0, 1, 2, 3, 4, 5],
    platforms: ['linux/amd64'],
    missing: [],
  },
  {
    what: 'an index that names none is judged by the configurations',
    children: [{ config: linux('amd64') }, { config: linux('arm64') }],
    wanted: 'linux/amd64, linux/s390x',
    comes: [0, 1],
    platforms: ['linux/amd64'],
    missing: ['linux/s390x'],
  },
  {
    what: 'an index of artifacts lacks nothing',
    children: [{ config: {} }, { platform: null }],
    wanted: 'linux/s390x',
    comes: [0, 1],
    platforms: ['linux/s390x'],
    missing: [],
  },
];

test.each(rows)('$what', async ({ children, wanted, comes, platforms, missing }) => {
  const site = await startSite();
  const digests = (await publishIndex(site.registry('ghcr.io'), children)).map(({ digest }) => digest);
  await site.mirror(`images: ['${app}']\nplatforms: [${wanted}]`);
  const planned = await plan(site);
  expect(planned.items.map((item) => item.missingPlatforms ?? [])).toEqual([missing]);
  const said: string[] = [];
  const report = await site.fetch({ progress: { ...noProgress, note: (text) => said.push(text) } });
  expect(report.missingPlatforms).toEqual(missing.length === 0 ? [] : [{ name: app, platforms: missing }]);
  expect(said.filter((text) => text.includes('upstream'))).toEqual(
    missing.length === 0
      ? []
      : [`${app} has no ${missing.join(', ')} upstream; its other platforms are carried`],
  );
  const [item] = (await site.lock()).items;
  expect(item?.platforms).toEqual(platforms);
  expect(item?.missingPlatforms).toEqual(missing.length === 0 ? undefined : missing);
  const asked = site.asked('ghcr.io').join('\n');
  const carried = children.flatMap((_, i) =>
    asked.includes(`GET /v2/${path}/manifests/${digests[i]}`) ? [i] : [],
  );
  expect(carried).toEqual(comes);
  // Again, from the store.
  expect((await plan(site)).items.map((one) => [one.missing, one.missingPlatforms ?? []])).toEqual([
    [0, missing],
  ]);
});

test('an index within an index counts', async () => {
  const site = await startSite();
  const registry = site.registry('ghcr.io');
  const inner = (await publishIndex(registry, common, 'inner')).at(-1);
  const bytes = Buffer.from(
    JSON.stringify({ schemaVersion: 2, mediaType: MediaType.ociIndex, manifests: [inner] }),
  );
  registry.repository(path).addManifest(bytes, MediaType.ociIndex, 'v1');
  await site.mirror(`images: ['${app}']\nplatforms: [linux/amd64, linux/s390x]`);
  await site.fetch();
  expect((await site.lock()).items[0]).toMatchObject({
    platforms: ['linux/amd64'],
    missingPlatforms: ['linux/s390x'],
  });
});

test.each([
  ['the one that is wanted', MediaType.ociConfig, linux('arm64'), 'linux/arm64/v8', []],
  [
    'one of those that are wanted',
    MediaType.dockerConfig,
    linux('amd64'),
    'linux/arm64, linux/amd64',
    ['linux/arm64'],
  ],
  ['none that is wanted', MediaType.ociConfig, linux('amd64'), 'linux/arm64', undefined],
  ['none at all, as of an artifact', MediaType.empty, {}, 'linux/arm64', []],
  [
    'of a chart, which does not count',
    'application/vnd.cncf.helm.config.v1+json',
    linux('amd64'),
    'linux/arm64',
    [],
  ],
])(
  'an image in no index is judged by its configuration: %s',
  async (_what, type, config, wanted, missing) => {
    const site = await startSite();
    await publishChild(site.registry('ghcr.io'), { config }, type, 0);
    await site.mirror(`images: ['${app}']\nplatforms: [${wanted}]`);
    const [planned] = (await plan(site)).items;
    if (missing === undefined) {
      const code = 'CONFIG';
      expect(planned?.problem).toContain('there is no linux/arm64 of it, only linux/amd64; change platforms');
      await expect(site.fetch()).rejects.toMatchObject({
        code,
        message: expect.stringContaining('there is no linux/arm64'),
      });
      return;
    }
    expect(planned?.missingPlatforms ?? []).toEqual(missing);
    await site.fetch();
    const [item] = (await site.lock()).items;
    expect(item?.missingPlatforms ?? []).toEqual(missing);
    // It is there whole.
    expect(item?.platforms).toBeUndefined();
  },
);

test('--require-platforms: a gap fails its image after all others are done; one of its own is no gap', async () => {
  const site = await startSite();
  const registry = site.registry('ghcr.io');
  await publishIndex(registry, common);
  const { bytes } = buildManifest(MediaType.ociIndex, {
    manifests: [
      {
        ...(await publishChild(registry, {}, MediaType.ociConfig, 9)),
        platform: { os: 'linux', architecture: 's390x' },
      },
    ],
  });
  registry.repository(path).addManifest(bytes, MediaType.ociIndex, 'z');
  const other = 'ghcr.io/acme/app:z';
  const images = `platforms: [linux/amd64, linux/s390x]\nimages: ['${app}', {image: '${other}', platforms: [linux/s390x]}`;
  await site.mirror(`${images}]`);
  const requirePlatforms = true;
  await expect(site.fetch({ requirePlatforms })).rejects.toMatchObject({
    code: 'CONFIG',
    message: expect.stringMatching(
      /app:v1: there is no linux\/s390x of it, only linux\/amd64, linux\/arm64; .*--require-platforms/,
    ),
  });
  const lock = await site.lock();
  expect([lock.items.map(({ name }) => name), lock.missing]).toEqual([[other], [app]]);
  const planned = await plan({ ...site, requirePlatforms });
  expect(planned.items.map(({ problem }) => problem !== undefined)).toEqual([true, false]);
  // The same store without the flag.
  await site.fetch();
  expect((await site.lock()).items.map(({ missingPlatforms }) => missingPlatforms)).toEqual([
    ['linux/s390x'],
    undefined,
  ]);
});
