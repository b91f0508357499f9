/** Versions that mirror.yaml leaves to upstream: chosen once, pinned in lock.json, moved by fetch --update alone. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { noProgress } from '@omni-airgap/oci';
import { Store } from '@omni-airgap/store';
import { knownTalosVersions } from '@omni-airgap/talos';
import { describe, expect, test } from 'vitest';
import { egressRules } from '../src/egress/rules.ts';
import { parseMirror } from '../src/mirror/mirror.ts';
import { fits, isRange, newestOf } from '../src/mirror/version-range.ts';
import { outdated, outdatedFailure } from '../src/outdated.ts';
import { plan, planFailure } from '../src/plan.ts';
import { factoryHost } from './factory-double.ts';
import { publishImage, type Site, startSite } from './site.ts';

describe('ranges', () => {
  const offered = ['v1.12.4', 'v1.13.10', 'v1.13.9', '1.13.10', 'v1.14.0-rc.1', 'latest', 'sha256-abc.sig'];

  test.each([
    ['v1.13.x', ['v1.13.10']],
    ['~1.13', ['v1.13.10']],
    ['latest', ['v1.13.10']],
    ['*', ['v1.13.10']],
    ['>=1.12 <1.13', ['v1.12.4']],
    ['1.11.x || 1.12.x', ['v1.12.4']],
    ['1.12.0 - 1.13.9', ['v1.13.9']],
    // A pre-release is taken where it is named, and nowhere else.
    ['>=1.14.0-rc.0 <1.15', ['v1.14.0-rc.1']],
    ['~1.14', []],
  ])('%s stands for %j', (range, expected) => {
    expect(isRange(range)).toBe(true);
    expect(newestOf(offered, { range, newest: 1 })).toEqual(expected);
  });

  test('the newest first, as many as are wanted, each version once', () => {
    expect(newestOf(offered, { range: '*', newest: 2 })).toEqual(['v1.13.10', 'v1.13.9']);
    expect(newestOf(offered, { range: '*', newest: 9 })).toEqual(['v1.13.10', 'v1.13.9', 'v1.12.4']);
    expect(fits('sha256-abc', { range: '*' })).toBe(false);
  });

  test.each([
    '1.13',
    'v1',
    '',
    ' ',
    'newest',
    '~',
    '~v',
    '>2 <1',
    'x.y',
    '=<1',
    '1.13.9+build',
    `~${'1'.repeat(99)}`,
  ])('%j is none', (text) => {
    expect(isRange(text)).toBe(false);
  });

  test.each([
    [
      'talos: {versions: [v1.13]}\nimages: [a/b:1]',
      /:2:20: talos\.versions\[0\] v1\.13 is neither a version nor a range/,
    ],
    ['talos: {versions: [~1.13, ">2 <1"]}\nimages: [a/b:1]', /:2:27: talos\.versions\[1\] >2 <1 is neither/],
    ['talos: {versions: [1.13]}\nimages: [a/b:1]', /:2:20: talos\.versions\[0\] is a number, not a version/],
    ['omni: {version: newest}\nimages: [a/b:1]', /:2:17: omni\.version newest is neither/],
    ['images: [{image: a/b, tags: {semver: latest}}]', /:2:38: images\[0\]\.tags\.semver latest is no range/],
    [
      'images: [{image: a/b, tags: {semver: ~1, newest: 0}}]',
      /:2:50: images\[0\]\.tags\.newest must be a number from 1/,
    ],
    ['images: [{image: "a/b:1", tags: {semver: ~1}}]', /:2:10: .*without a tag or digest/],
    ['images: [{file: list.txt, tags: {semver: ~1}}]', /:2:33: images\[0\]\.tags belongs to an image/],
    ['images: [{image: a/b, tags: {}}]', /:2:29: images\[0\]\.tags\.semver is missing/],
    [
      'omni: {version: v1.10.4, versions: [v1.9.0]}\nimages: [a/b:1]',
      /:2:17: omni has both version and versions/,
    ],
    [
      'talos: {versions: [v1.13.x]}\nkubernetes: {versions: [~1.36], images: {v1.14.0: list.txt}}',
      /:3:51: v1\.14\.0 is not in talos\.versions/,
    ],
  ])('%s is refused at its place', async (text, message) => {
    await expect(parseMirror(`apiVersion: omni-airgap/v1\n${text}\n`, 'mirror.yaml')).rejects.toMatchObject({
      code: 'CONFIG',
      message: expect.stringMatching(message),
    });
  });
});

/** Omni, the kubelet and dex by range, from a registry that lists its tags in pages. */
const ranged = `omni: {version: v1.10.x}
images:
  - {image: ghcr.io/siderolabs/kubelet, tags: {semver: ~1.36}}
  - {image: ghcr.io/dexidp/dex, tags: {semver: "2.x", newest: 2}}`;

async function rangedSite(): Promise<Site> {
  const site = await startSite({ 'ghcr.io': { pageSize: 2 } });
  const registry = site.registry('ghcr.io');
  await publishImage(registry, 'siderolabs/omni', 'v1.10.4');
  await publishImage(registry, 'siderolabs/omni', 'v1.9.7', { seed: 2 });
  await publishImage(registry, 'siderolabs/kubelet', 'v1.36.1', { seed: 3 });
  await publishImage(registry, 'siderolabs/kubelet', 'v1.36.2-rc.0', { seed: 4 });
  for (const [seed, tag] of ['v2.39.0', 'v2.40.0', 'v2.41.1', 'latest'].entries())
    await publishImage(registry, 'dexidp/dex', tag, { seed: 5 + seed });
  await site.mirror(ranged);
  return site;
}

const listed = (site: Site): number =>
  site.asked('ghcr.io').filter((line) => line.includes('/tags/list')).length;

async function move(site: Site): Promise<void> {
  const registry = site.registry('ghcr.io');
  await publishImage(registry, 'siderolabs/omni', 'v1.10.5', { seed: 21 });
  await publishImage(registry, 'siderolabs/omni', 'v1.11.0', { seed: 22 });
  await publishImage(registry, 'dexidp/dex', 'v3.0.0', { seed: 23 });
}

test('the newest that fit are fetched and pinned; another fetch asks for no list and moves nothing', async () => {
  const site = await rangedSite();
  const report = await site.fetch();
  expect(report.ranges.map(({ list, range, versions, pinned }) => [list, range, versions, pinned])).toEqual([
    ['ghcr.io/siderolabs/omni', 'v1.10.x', ['v1.10.4'], false],
    ['ghcr.io/siderolabs/kubelet', '~1.36', ['v1.36.1'], false],
    ['ghcr.io/dexidp/dex', '2.x', ['v2.41.1', 'v2.40.0'], false],
  ]);
  expect((await site.lock()).items.map(({ name }) => name)).toEqual([
    'ghcr.io/dexidp/dex:v2.40.0',
    'ghcr.io/dexidp/dex:v2.41.1',
    'ghcr.io/siderolabs/kubelet:v1.36.1',
    'ghcr.io/siderolabs/omni:v1.10.4',
  ]);
  const lock = await readFile(join(site.store, 'lock.json'), 'utf8');
  expect((await site.lock()).ranges?.[0]).toEqual({
    list: 'ghcr.io/siderolabs/omni',
    range: 'v1.10.x',
    newest: 1,
    versions: ['v1.10.4'],
    chosenAt: report.ranges[0]?.chosenAt,
  });
  // In pages of two, and each request is in the record.
  expect((await site.egress()).filter(({ path }) => path.endsWith('/tags/list')).length).toBe(listed(site));

  await move(site);
  expect((await site.fetch()).ranges.every(({ pinned }) => pinned)).toBe(true);
  expect(await readFile(join(site.store, 'lock.json'), 'utf8')).toBe(lock);
  // Whatever else looks for signatures in lists of tags: no more of them than without ranges.
  const asked = async (): Promise<number> => {
    const before = listed(site);
    await site.fetch();
    return listed(site) - before;
  };
  const pinned = await asked();
  await site.mirror(`omni: {version: v1.10.4}
images: ['ghcr.io/siderolabs/kubelet:v1.36.1', 'ghcr.io/dexidp/dex:v2.40.0', 'ghcr.io/dexidp/dex:v2.41.1']`);
  expect(pinned).toBe(await asked());
});

test('fetch --update moves pins, and says from what; what did not move keeps its time', async () => {
  const site = await rangedSite();
  const first = await site.fetch();
  await move(site);
  const { ranges } = await site.fetch({ update: true });
  expect(ranges.map(({ versions, pinned, replaced }) => [versions, pinned, replaced])).toEqual([
    [['v1.10.5'], false, ['v1.10.4']],
    [['v1.36.1'], true, undefined],
    [['v2.41.1', 'v2.40.0'], true, undefined],
  ]);
  expect(ranges[1]?.chosenAt).toBe(first.ranges[1]?.chosenAt);
  const names = (await site.lock()).items.map(({ name }) => name);
  expect(names).toContain('ghcr.io/siderolabs/omni:v1.10.5');
  expect(names).not.toContain('ghcr.io/siderolabs/omni:v1.10.4');
});

test('a choice outlives a fetch that failed: the same command goes on with it', async () => {
  const site = await rangedSite();
  site.registry('ghcr.io').fault({ match: { path: /omni\/manifests\/v1/ }, do: { status: 403 }, times: 2 });
  await expect(site.fetch()).rejects.toMatchObject({ code: 'DENIED' });
  await move(site);
  expect((await site.fetch()).ranges[0]).toMatchObject({ versions: ['v1.10.4'], pinned: true });
});

/** Dies before the first content, as a killed process does: nothing is written after that. */
const killed = {
  progress: {
    ...noProgress,
    expectItems: (): void => {
      throw new Error('killed');
    },
  },
};

test('a choice outlives a first fetch that was killed; until it is finished, the store counts as incomplete', async () => {
  const site = await rangedSite();
  await expect(site.fetch(killed)).rejects.toThrow('killed');
  const lock = await site.lock();
  expect(lock.ranges?.map(({ versions }) => versions[0])).toEqual(['v1.10.4', 'v1.36.1', 'v2.41.1']);
  expect(lock).toMatchObject({ items: [], missing: expect.arrayContaining(['ghcr.io/dexidp/dex:v2.40.0']) });
  const open = { access: 'read', purpose: 'test' } as const;
  await expect(Store.use(site.store, open, (store) => store.completeLockDocument())).rejects.toMatchObject({
    code: 'INCOMPLETE',
  });
  await move(site);
  const { ranges } = await site.fetch();
  expect(ranges[0]).toMatchObject({
    versions: ['v1.10.4'],
    pinned: true,
    chosenAt: lock.ranges?.[0]?.chosenAt,
  });
  expect((await site.lock()).missing).toEqual([]);
});

test('so does one of fetch --update, and of a new range; until it is finished, the store stays what it was', async () => {
  const site = await rangedSite();
  await site.fetch();
  const before = await site.lock();
  await move(site);
  await expect(site.fetch({ ...killed, update: true })).rejects.toThrow('killed');
  const { ranges, ...rest } = await site.lock();
  expect(rest).toEqual({
    kind: before.kind,
    schema: before.schema,
    items: before.items,
    missing: [],
    inside: before.inside,
  });
  expect(ranges?.map(({ versions }) => versions[0])).toEqual(['v1.10.5', 'v1.36.1', 'v2.41.1']);

  // Pins of ranges that this mirror.yaml lacks stay, too: it may be put back.
  await site.mirror('images: [{image: ghcr.io/dexidp/dex, tags: {semver: "3.x"}}]');
  await expect(site.fetch(killed)).rejects.toThrow('killed');
  await publishImage(site.registry('ghcr.io'), 'siderolabs/omni', 'v1.10.6', { seed: 24 });
  await publishImage(site.registry('ghcr.io'), 'dexidp/dex', 'v3.0.1', { seed: 25 });
  await site.mirror(`${ranged}\n  - {image: ghcr.io/dexidp/dex, tags: {semver: "3.x"}}`);
  expect((await site.fetch()).ranges.map(({ versions }) => versions[0])).toEqual([
    'v1.10.5',
    'v1.36.1',
    'v2.41.1',
    'v3.0.0',
  ]);
});

test('a refused set pins nothing', async () => {
  const site = await rangedSite();
  await site.mirror(`${ranged}\ninside: {tls: false}`);
  await expect(site.fetch({ strict: true })).rejects.toMatchObject({ code: 'CONFIG' });
  await expect(site.lock()).rejects.toMatchObject({ code: 'ENOENT' });
});

test('a list that cannot be read ends a fetch that needs it, with the place of the range; a pin needs none', async () => {
  const site = await rangedSite();
  const down = { match: { path: /dex\/tags\/list/ }, do: { status: 403 } } as const;
  site.registry('ghcr.io').fault(down);
  await expect(site.fetch()).rejects.toMatchObject({
    code: 'DENIED',
    message: expect.stringMatching(/mirror\.yaml:5:39: 2\.x: .*403/),
  });
  const other = await rangedSite();
  await other.fetch();
  other.registry('ghcr.io').fault(down);
  await other.fetch();
  const planned = await plan({ ...other });
  expect(planned.warnings.join()).toMatch(/what fetch --update would choose is unknown: .*dex/);
  expect(planFailure(planned)).toBeUndefined();
});

test('no version that fits is a configuration error, which names the newest there is', async () => {
  const site = await rangedSite();
  await site.mirror('images: [{image: ghcr.io/dexidp/dex, tags: {semver: 4.x}}]');
  await expect(site.fetch()).rejects.toMatchObject({
    code: 'CONFIG',
    message: expect.stringMatching(
      /mirror\.yaml:2:44: 4\.x: no version of ghcr\.io\/dexidp\/dex fits it; the newest release is v2\.41\.1/,
    ),
  });
});

test('plan shows what is pinned and what an update would take; with --update it plans that', async () => {
  const site = await rangedSite();
  expect((await plan({ ...site })).ranges.map(({ pinned }) => pinned)).toEqual([false, false, false]);
  await site.fetch();
  await move(site);
  const planned = await plan({ ...site });
  expect(planned.ranges[0]).toMatchObject({ versions: ['v1.10.4'], pinned: true, update: ['v1.10.5'] });
  expect(planned.ranges[1]?.update).toBeUndefined();
  expect(planned.bytesToFetch).toBe(0);
  const updated = await plan({ ...site, update: true });
  expect(updated.items.map(({ name }) => name)).toContain('ghcr.io/siderolabs/omni:v1.10.5');
  expect(updated.bytesToFetch).toBeGreaterThan(0);
  expect(updated.ranges[0]).toMatchObject({ versions: ['v1.10.5'], replaced: ['v1.10.4'] });
});

test('hosts of lists are among those of the firewall', async () => {
  const site = await startSite();
  await site.mirror('talos: {versions: [v1.13.x]}\nkubernetes: {versions: [~1.36]}');
  const planned = (await egressRules(site.config)).map(({ pattern }) => pattern);
  expect(planned).toContain(factoryHost);
  await site.mirror('talos: {versions: [v1.13.9]}\nkubernetes: {versions: [~1.36]}');
  expect((await egressRules(site.config)).map(({ pattern }) => pattern)).not.toContain(factoryHost);
});

describe('Talos', () => {
  const newest =
    knownTalosVersions()
      .filter((version) => version.startsWith('v1.13.'))
      .at(-1) ?? '';
  const next = newest.replace(/[0-9]+$/, (patch) => String(Number(patch) + 1));

  async function talosSite(text: string): Promise<Site> {
    const site = await startSite({ 'ghcr.io': {}, 'registry.k8s.io': {} });
    site.factory.files.set(
      'versions',
      Buffer.from(JSON.stringify(['v1.12.4', newest, next, 'v1.14.0-rc.1'])),
    );
    await site.mirror(text);
    return site;
  }
  const planned = async (site: Site) => plan({ ...site });

  test('the factory says which versions there are', async () => {
    const site = await talosSite('talos: {versions: [v1.13.x], imageFactory: {version: v1.5.0}}');
    const { ranges, items } = await planned(site);
    expect(ranges).toMatchObject([{ list: 'factory.talos.dev/versions', versions: [next] }]);
    expect(items.map(({ name }) => name)).toContain(`ghcr.io/siderolabs/imager:${next}`);
  });

  test('one whose Kubernetes images are not known is passed over, with a warning; with its list it is taken', async () => {
    const site = await talosSite('talos: {versions: [v1.13.x]}\nkubernetes: {versions: [v1.36.1]}');
    const { ranges, warnings } = await planned(site);
    expect(ranges).toMatchObject([{ versions: [newest], passedOver: next }]);
    expect(warnings.join()).toContain(
      `${newest} is chosen, not the newer ${next}: Talos ${next} is not in the table`,
    );
    await writeFile(
      join(site.folder, 'images.txt'),
      ['etcd', 'coredns', 'pause'].map((name) => `registry.k8s.io/${name}:v9\n`).join(''),
    );
    await site.mirror(
      `talos: {versions: [v1.13.x]}\nkubernetes: {versions: [v1.36.1], images: {${next}: images.txt}}`,
    );
    const listed = await planned(site);
    expect(listed.ranges).toMatchObject([{ versions: [next] }]);
    expect(listed.warnings.join()).not.toContain('is chosen, not');
    expect(listed.items.map(({ name }) => name)).toContain('registry.k8s.io/etcd:v9');
  });

  test('media have ranges of their own', async () => {
    const site = await talosSite(
      'media: [{schematic: {customization: {}}, versions: [1.12.x, latest], files: [metal-amd64.iso]}]\ntalos: {versions: [v1.12.4], talosctl: []}',
    );
    const media = (await planned(site)).items.filter(({ kind }) => kind === 'media');
    expect(media.map(({ name }) => name.split(':').at(-1))).toEqual([
      'v1.12.4 metal-amd64.iso',
      `${next} metal-amd64.iso`,
    ]);
  });
});

describe('outdated', () => {
  test('within ranges, beyond them, by minor release; nothing is fetched or changed', async () => {
    const site = await rangedSite();
    const registry = site.registry('ghcr.io');
    await publishImage(registry, 'acme/app', '1.0.0', { seed: 31 });
    await publishImage(registry, 'acme/rolling', 'stable', { seed: 32 });
    await site.mirror(`${ranged}\n  - ghcr.io/acme/app:1.0.0\n  - ghcr.io/acme/rolling:stable`);
    await site.fetch();
    const ask = () => outdated({ ...site });
    expect(await ask()).toMatchObject({ outdated: 0, problems: 0, moved: [], pinned: [] });
    await move(site);
    for (const [seed, tag] of ['1.0.1', '1.0.2', '1.1.0', '1.2.0-rc.1'].entries())
      await publishImage(registry, 'acme/app', tag, { seed: 40 + seed });
    const lock = await readFile(join(site.store, 'lock.json'), 'utf8');
    const log = (await site.egress()).length;
    const result = await ask();
    expect(
      result.products.map(({ name, wanted, current, within, beyond }) => [
        name,
        wanted,
        current,
        within,
        beyond,
      ]),
    ).toEqual([
      ['Omni', ['v1.10.x'], ['v1.10.4'], ['v1.10.5'], ['v1.11.0']],
      ['ghcr.io/acme/app', ['1.0.0'], ['1.0.0'], [], ['1.0.2', '1.1.0']],
      ['ghcr.io/dexidp/dex', ['2.x'], ['v2.40.0', 'v2.41.1'], [], ['v3.0.0']],
      ['Kubernetes', ['~1.36'], ['v1.36.1'], [], []],
    ]);
    expect(result.outdated).toBe(3);
    expect(await readFile(join(site.store, 'lock.json'), 'utf8')).toBe(lock);
    expect((await site.egress()).length).toBe(log);
  });

  test('a list that cannot be read is a problem of its product, and ends it as incomplete', async () => {
    const site = await rangedSite();
    await site.fetch();
    site.registry('ghcr.io').fault({ match: { path: /dex\/tags\/list/ }, do: { status: 403 } });
    const result = await outdated({ ...site });
    expect(result).toMatchObject({ problems: 1 });
    expect(outdatedFailure(result)).toMatchObject({ code: 'INCOMPLETE' });
  });

  test('a tag that is no version is compared by its digest; a digest is not compared', async () => {
    const site = await rangedSite();
    const registry = site.registry('ghcr.io');
    const first = await publishImage(registry, 'acme/rolling', 'stable', { seed: 50 });
    await publishImage(registry, 'acme/rolling', 'edge', { seed: 51 });
    const byDigest = `ghcr.io/acme/rolling@${first.root.digest}`;
    await site.mirror(
      `${ranged}\n  - ghcr.io/acme/rolling:stable\n  - ghcr.io/acme/rolling:edge\n  - ${byDigest}`,
    );
    await site.fetch();
    expect(await outdated({ ...site })).toMatchObject({ moved: [], pinned: [byDigest], problems: 0 });
    const second = await publishImage(registry, 'acme/rolling', 'stable', { seed: 52 });
    registry.fault({ match: { path: /rolling\/manifests\/edge/ }, do: { status: 404 } });
    expect(await outdated({ ...site })).toMatchObject({
      moved: [
        { name: 'ghcr.io/acme/rolling:edge', locked: expect.stringMatching(/^sha256:/) },
        {
          name: 'ghcr.io/acme/rolling:stable',
          locked: first.root.digest,
          upstream: second.root.digest,
        },
      ],
      problems: 0,
    });
    registry.fault({ match: { path: /rolling\/manifests\/stable/ }, do: { status: 403 } });
    const failed = await outdated({ ...site });
    expect(failed).toMatchObject({ problems: 1 });
    expect(outdatedFailure(failed)).toMatchObject({
      code: 'INCOMPLETE',
      message: expect.stringContaining('ghcr.io/acme/rolling:stable'),
    });
  });

  test('needs something to compare', async () => {
    const site = await rangedSite();
    await expect(outdated({ ...site })).rejects.toMatchObject({ code: 'NO_INPUT' });
  });
});
