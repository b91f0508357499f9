/** The plan of prune for a registry: what it lists, what it keeps and why, and when there is none. */
import { generateKeyPairSync } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { acquireLock } from '@omni-airgap/oci/fs';
import type { Layout } from '@omni-airgap/oci/layout';
import { type Descriptor, type Digest, descriptorOf, hexOf, MediaType } from '@omni-airgap/oci/model';
import { describe, expect, test } from 'vitest';
import { all, deletionsIn, image, PruneSite } from './prune-support.ts';
import { addBlob, addImage, addManifest, app, bytesFor, signed, tool } from './support.ts';

const appV2 = 'ghcr.io/acme/app:v2';
const why = ({ kept }: { readonly kept: readonly { target: string; why: string }[] }) =>
  kept.map((one) => `${one.target.slice(one.target.indexOf('/') + 1)}: ${one.why}`);

test('what the last bundle no longer names goes; the plan says so, and changes nothing', async () => {
  const site = await PruneSite.start();
  await site.load(all(image(app), image(tool)));
  await site.load(all(image(appV2), image(tool)));
  const before = site.registry.requests.length;
  const { plan, warnings } = await site.prune();
  expect(deletionsIn(plan)).toEqual(['acme/app:v1']);
  expect(plan.kept).toEqual([]);
  expect(warnings).toEqual([]);
  expect(plan.bytes).toBeGreaterThan(5000);
  expect(plan.bytes).toBeLessThan(7000);
  const [origin] = plan.origins;
  expect(origin?.kept.map(({ sequence }) => sequence)).toEqual([2]);
  expect(origin?.older.map(({ sequence }) => sequence)).toEqual([1]);
  const methods = new Set(site.registry.requests.slice(before).map(({ method }) => method));
  expect([...methods].filter((method) => !['GET', 'HEAD', 'DELETE'].includes(method))).toEqual([]);
  expect(site.tags('acme/app')).toEqual(['v1', 'v2']);
  expect(JSON.parse(readFileSync(site.plan, 'utf8'))).toEqual(plan);
});

test('with --keep 2 the last two keep what they name', async () => {
  const site = await PruneSite.start();
  await site.load(image(app));
  await site.load(image(appV2));
  await site.load(image('ghcr.io/acme/app:v3'));
  expect(deletionsIn((await site.prune({ keep: 2 })).plan)).toEqual(['acme/app:v1']);
  expect(deletionsIn((await site.prune({ keep: 3 })).plan)).toEqual([]);
});

test('after a load with --allow-rollback both the newest bundle and the one gone back to keep what they name', async () => {
  const site = await PruneSite.start();
  const old = await site.load(image(app));
  await site.load(image(appV2));
  await site.load(image('ghcr.io/acme/app:v3'));
  await site.loadAgain(old, { allowRollback: true });
  expect(deletionsIn((await site.prune()).plan)).toEqual(['acme/app:v2']);
});

test('stores count on their own', async () => {
  const site = await PruneSite.start();
  const other = { origin: 'b'.repeat(32), sequence: 1 };
  await site.load(image(app));
  await site.load(image(tool), other);
  await site.load(image(appV2), { sequence: 2 });
  const { plan } = await site.prune();
  expect(deletionsIn(plan)).toEqual(['acme/app:v1']);
  expect(plan.origins.map(({ kept }) => kept.map(({ sequence }) => sequence))).toEqual([[2], [1]]);
});

describe('tags', () => {
  test('one that somebody else set keeps the manifest, and the plan names it', async () => {
    const site = await PruneSite.start();
    await site.load(image(app));
    await site.load(image(appV2));
    const repository = site.registry.repository('acme/app');
    repository.tags.set('stable', repository.tags.get('v1') ?? '');
    const { plan } = await site.prune();
    expect(deletionsIn(plan)).toEqual([]);
    expect(why(plan)).toEqual(['acme/app:v1: the tag stable, which no load set, stands for it']);
  });

  test('one of ours that was moved at the site stays; what it stood for goes', async () => {
    const site = await PruneSite.start();
    await site.load(image(app));
    await site.load(image(appV2));
    writeManifest(site, 'acme/app', 'v1', { manifests: [] });
    const { plan } = await site.prune();
    expect(deletionsIn(plan)).toEqual(['acme/app@']);
    expect(why(plan)).toEqual(['acme/app:v1: it stands for something else here']);
  });

  test('one of ours that a later bundle moved stays; the image before it goes', async () => {
    const site = await PruneSite.start();
    await site.load(image(app, 'one'));
    await site.load(image(app, 'two'), {}, { overwriteTags: true });
    expect(deletionsIn((await site.prune()).plan)).toEqual(['acme/app@']);
  });

  test('two of ours for one manifest go together, and stay together', async () => {
    const site = await PruneSite.start();
    const latest = 'ghcr.io/acme/app:latest';
    await site.load(all(image(app, 'one'), image(latest, 'one')));
    await site.load(image(tool));
    expect(deletionsIn((await site.prune()).plan)).toEqual(['acme/app:latest,v1']);
    await site.load(image(latest, 'one'));
    expect(deletionsIn((await site.prune()).plan)).toEqual(['acme/tool:v1']);
  });

  test('a repository with a manifest that nobody can read is left as it is, and the plan says so', async () => {
    const site = await PruneSite.start();
    await site.load(image(app));
    await site.load(image(tool));
    const type = 'application/vnd.docker.distribution.manifest.v1+prettyjws';
    site.registry.repository('acme/app').addManifest(Buffer.from('{}'), type, 'ancient');
    const { plan } = await site.prune();
    expect(deletionsIn(plan)).toEqual([]);
    expect(why(plan)).toEqual([
      expect.stringMatching(/^acme\/app: the repository cannot be read: .*ancient/),
    ]);
  });
});

describe('what refers to what', () => {
  test('signatures and referrers of an image that stays, stay with it, though no bundle names them', async () => {
    const site = await PruneSite.start();
    await site.load(signed);
    await site.load(all(image(app, 'app', 1000), image(tool)));
    const { plan } = await site.prune();
    expect(deletionsIn(plan)).toEqual([]);
    expect(new Set(plan.kept.map((one) => one.why))).toEqual(new Set(['it is about an image that stays']));
    expect(plan.kept).toHaveLength(3);
  });

  test.each([true, false])(
    'an image goes with its signatures and referrers, itself first (API: %s)',
    async (referrersApi) => {
      const site = await PruneSite.start({ referrersApi });
      await site.load(signed);
      await site.load(image(tool));
      const { plan } = await site.prune();
      const [first, ...others] = deletionsIn(plan);
      expect(first).toBe('acme/app:v1');
      // A signature, an SBOM, the signature of that; without the API the lists of the last two as well.
      expect(others).toHaveLength(referrersApi ? 3 : 5);
      expect(plan.rewrites).toEqual([]);
    },
  );

  test('a list of referrers to which the site added is rewritten, never deleted', async () => {
    const site = await PruneSite.start({ referrersApi: false });
    await site.load(signed);
    const list = [...site.registry.repository('acme/app').tags].find(
      ([tag, digest]) => /^sha256-[a-f0-9]{64}$/.test(tag) && entriesOf(site, digest).length > 0,
    );
    const [tag = '', before = ''] = list ?? [];
    const own = writeManifest(site, 'acme/app', undefined, { manifests: [], subject: subjectOf(tag) });
    const entries = [...entriesOf(site, before), { ...own, annotations: { by: 'the site' } }];
    writeManifest(site, 'acme/app', tag, { manifests: entries });
    await site.load(image(tool));
    const { plan } = await site.prune();
    expect(plan.rewrites.map((one) => [one.tag, one.kept, one.removed.length])).toEqual([
      [tag, 1, entries.length - 1],
    ]);
    expect(deletionsIn(plan)).toContain('acme/app:v1');
    expect(deletionsIn(plan)).not.toContain(`acme/app:${tag}`);
  });

  test('a signature tag to which the site added stays, and the plan says so; one that --resign-key changed goes', async () => {
    const resignKey = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
    const site = await PruneSite.start();
    const omni = 'ghcr.io/siderolabs/app:v1';
    await site.load(image(omni), {}, { resignKey });
    await site.load(image(tool), {}, { resignKey });
    const [sig = ''] = site.tags('siderolabs/app').filter((tag) => tag.endsWith('.sig'));
    expect(deletionsIn((await site.prune()).plan)).toEqual(['siderolabs/app:v1', `siderolabs/app:${sig}`]);
    writeManifest(site, 'siderolabs/app', sig, { manifests: [] });
    const { plan } = await site.prune();
    expect(deletionsIn(plan)).toEqual(['siderolabs/app:v1', 'siderolabs/app@']);
    expect(why(plan)).toEqual([`siderolabs/app:${sig}: it stands for something else here`]);
  });

  test('the image of one platform stays while another index has it', async () => {
    const site = await PruneSite.start();
    const index =
      (name: string, ...platforms: string[]) =>
      async (layout: Layout) => {
        const manifests: Descriptor[] = [];
        for (const platform of platforms) manifests.push(await image(undefined, platform)(layout));
        await addManifest(layout, name, MediaType.ociIndex, { manifests });
      };
    await site.load(all(index(app, 'amd64', 'arm64'), index(appV2, 'arm64', 's390x')));
    await site.load(index(appV2, 'arm64', 's390x'));
    const { plan } = await site.prune();
    // The index before its child.
    expect(deletionsIn(plan)).toEqual(['acme/app:v1', 'acme/app@']);
    expect(plan.manifests[1]?.mediaType).toBe(MediaType.ociManifest);
    expect(site.manifests('acme/app')).toBe(5);
  });

  test('a base stays while an increment that stays relies on its content', async () => {
    const site = await PruneSite.start();
    const layer = bytesFor('shared', 200_000);
    let shared: Descriptor | undefined;
    const base = await site.load(async (layout) => {
      await addImage(layout, 'ghcr.io/acme/base:v1', layer);
      shared = await addBlob(layout, 'application/vnd.oci.image.layer.v1.tar', layer);
    });
    const { digest, size } = shared ?? descriptorOf('', layer);
    const relies = {
      repositories: [{ repository: 'ghcr.io/acme/base', blobs: [{ digest, size }] }],
      objects: [],
    };
    await site.load(
      async (layout) => {
        await addImage(layout, tool, layer);
        rmSync(join(layout.root, 'blobs', 'sha256', hexOf(digest)));
      },
      { relies, base: [{ id: base.document.id, origin: base.document.origin, sequence: 1 }] },
    );
    const { plan } = await site.prune();
    expect(deletionsIn(plan)).toEqual([]);
    expect(why(plan)).toEqual(['acme/base:v1: an increment that stays relies on its content']);
  });

  test('a base goes once the increment has the content in the same repository', async () => {
    const site = await PruneSite.start();
    const layer = bytesFor('shared', 200_000);
    const { digest, size } = descriptorOf('', layer);
    const base = await site.load((layout) => addImage(layout, app, layer));
    const relies = {
      repositories: [{ repository: 'ghcr.io/acme/app', blobs: [{ digest, size }] }],
      objects: [],
    };
    await site.load(
      async (layout) => {
        const members = { config: await addBlob(layout, MediaType.ociConfig, Buffer.from('{"of":2}')) };
        const layers = [await addBlob(layout, 'application/vnd.oci.image.layer.v1.tar', layer)];
        await addManifest(layout, appV2, MediaType.ociManifest, { ...members, layers });
        rmSync(join(layout.root, 'blobs', 'sha256', hexOf(digest)));
      },
      { relies, base: [{ id: base.document.id, origin: base.document.origin, sequence: 1 }] },
    );
    const { plan } = await site.prune();
    expect(deletionsIn(plan)).toEqual(['acme/app:v1']);
    // What both need is not what goes.
    expect(plan.manifests[0]?.content).not.toContain(digest);
    expect(plan.bytes).toBeLessThan(size);
  });

  test('what a manifest that stays has as its subject stays', async () => {
    const site = await PruneSite.start();
    await site.load(image(app));
    await site.load(image(tool));
    const digest = (site.registry.repository('acme/app').tags.get('v1') ?? '') as Digest;
    const size = site.registry.repository('acme/app').manifest('v1')?.bytes.byteLength ?? 0;
    writeManifest(site, 'acme/app', 'audit', {
      manifests: [],
      subject: { mediaType: MediaType.ociManifest, digest, size },
    });
    const { plan } = await site.prune();
    expect(deletionsIn(plan)).toEqual([]);
    expect(why(plan)).toEqual(['acme/app:v1: something that stays refers to it']);
  });
});

describe('what is in use', () => {
  const talos = (version: string) =>
    all(
      image(`ghcr.io/siderolabs/imager:${version}`),
      image(`ghcr.io/siderolabs/installer-base:${version}`),
      image(`factory.talos.dev/metal-installer/${'3'.repeat(64)}:${version}`),
    );
  const kubernetes = (version: string) =>
    all(image(`ghcr.io/siderolabs/kubelet:${version}`), image(`registry.k8s.io/kube-proxy:${version}`));

  test('a version of Talos or Kubernetes keeps its whole set, with extensions, etcd and the like', async () => {
    const site = await PruneSite.start();
    const extension = 'ghcr.io/siderolabs/iscsi-tools:v0.2.0';
    const etcd = 'registry.k8s.io/etcd:v3.6.8';
    await site.load(all(talos('v1.12.5'), kubernetes('v1.35.0'), image(extension), image(etcd), image(app)));
    await site.load(all(talos('v1.13.0'), kubernetes('v1.36.0'), image(tool)));
    const { plan: none } = await site.prune();
    expect(deletionsIn(none)).toHaveLength(8);
    // What advertises others goes first.
    expect(deletionsIn(none).slice(0, 2).sort()).toEqual([
      'siderolabs/imager:v1.12.5',
      'siderolabs/kubelet:v1.35.0',
    ]);
    const { plan } = await site.prune({ inUse: { talos: ['v1.12.5'], kubernetes: ['v1.35.0'] } });
    expect(deletionsIn(plan).filter((name) => !name.includes('etcd'))).toEqual(['acme/app:v1']);
    expect(why(plan)).toContain('siderolabs/imager:v1.12.5: Talos v1.12.5 is in use');
    expect(why(plan)).toContain(
      'siderolabs/iscsi-tools:v0.2.0: Talos v1.12.5 is in use, and it came with that',
    );
    expect(why(plan)).toContain('kube-proxy:v1.35.0: Kubernetes v1.35.0 is in use');
    const { plan: kept } = await site.prune({ keepVersions: ['v1.12.5'] });
    expect(deletionsIn(kept)).toContain('siderolabs/kubelet:v1.35.0');
    expect(deletionsIn(kept)).not.toContain('siderolabs/imager:v1.12.5');
  });

  test('a version of Talos that no table knows keeps everything that came with it', async () => {
    const site = await PruneSite.start();
    await site.load(all(talos('v1.99.0'), image('registry.k8s.io/etcd:v9.9.9'), image(app)));
    await site.load(image(tool));
    expect(deletionsIn((await site.prune({ inUse: { talos: ['v1.99.0'] } })).plan)).toEqual([]);
  });

  test.each([
    ['by name, from any mirror', () => ['mirror.site/proxy/ghcr.io/acme/app:v1']],
    ['by its name at the site', (host: string) => [`${host}/acme/app:v1`]],
    ['by digest', (_: string, digest: string) => [`acme/app@${digest}`]],
    ['by digest alone', (_: string, digest: string) => [digest]],
  ])('an image that runs stays: %s', async (_, images) => {
    const site = await PruneSite.start();
    await site.load(image(app));
    await site.load(image(tool));
    const digest = site.registry.repository('acme/app').tags.get('v1') ?? '';
    const { plan } = await site.prune({ inUse: { images: images(site.registry.host, digest) } });
    expect(deletionsIn(plan)).toEqual([]);
    expect(why(plan)).toEqual(['acme/app:v1: it runs']);
  });

  test('an index stays while one of its platforms, or the configuration of one, runs', async () => {
    const site = await PruneSite.start();
    let child: Descriptor | undefined;
    await site.load(async (layout) => {
      child = await image(undefined, 'amd64')(layout);
      await addManifest(layout, app, MediaType.ociIndex, { manifests: [child] });
    });
    await site.load(image(tool));
    const { digest } = child ?? descriptorOf('', Buffer.of());
    const manifest = site.registry.repository('acme/app').manifest(digest);
    const { config } = JSON.parse(String(manifest?.bytes)) as {
      readonly config: { readonly digest: string };
    };
    expect(deletionsIn((await site.prune()).plan)).toHaveLength(2);
    expect(deletionsIn((await site.prune({ inUse: { images: [digest] } })).plan)).toEqual([]);
    expect(deletionsIn((await site.prune({ inUse: { images: [config.digest] } })).plan)).toEqual([]);
  });

  test('a service that no file of --in-use can name is pointed out', async () => {
    const site = await PruneSite.start();
    await site.load(image('ghcr.io/siderolabs/omni:v1.9.0'));
    await site.load(image('ghcr.io/siderolabs/omni:v1.10.4'));
    const { plan, warnings } = await site.prune();
    expect(deletionsIn(plan)).toEqual(['siderolabs/omni:v1.9.0']);
    expect(warnings).toEqual([expect.stringContaining('add --keep-versions v1.9.0')]);
    expect(deletionsIn((await site.prune({ keepVersions: ['v1.9.0'] })).plan)).toEqual([]);
  });

  test('schematics are never pruned', async () => {
    const site = await PruneSite.start();
    const id = hexOf(descriptorOf('', Buffer.from('customization: {}\n')).digest);
    await site.load(async (layout) => {
      const config = await addBlob(layout, MediaType.empty, Buffer.from('{}'));
      const text = await addBlob(
        layout,
        'application/vnd.sidero.dev-image.schematic',
        Buffer.from('customization: {}\n'),
      );
      const name = `factory.talos.dev/siderolabs/image-factory/schematics:${id}`;
      await addManifest(layout, name, MediaType.ociManifest, { config, layers: [text] });
    });
    await site.load(image(tool));
    const { plan } = await site.prune();
    expect(deletionsIn(plan)).toEqual([]);
    expect(site.tags('siderolabs/image-factory/schematics')).toEqual([id]);
  });
});

test('the image of a name skipped by the last load is kept', async () => {
  const site = await PruneSite.start();
  await site.load(all(image(app, 'one'), image(tool)));
  const last = await site.load(all(image(app, 'two'), image(tool)), {}, { except: [app] });
  const { plan } = await site.prune();
  expect(deletionsIn(plan)).toEqual([]);
  expect(why(plan)).toEqual([
    `acme/app:v1: bundle ${last.document.id.slice(0, 12)} has it, and its load left it out`,
  ]);
});

test('a load below another prefix keeps what it names, and nothing of it goes', async () => {
  const site = await PruneSite.start();
  const registry = { host: site.registry.host, prefix: 'lab' };
  await site.load(image('ghcr.io/app:v1'), {}, { registry });
  await site.load(image('ghcr.io/app:v2'), {}, { registry });
  await site.load(image('ghcr.io/lab/app:v1', 'ghcr.io/app:v1'));
  await site.load(image(tool));
  expect(deletionsIn((await site.prune()).plan)).toEqual([]);
});

describe('the talos-catalog', () => {
  const list = (versions: readonly string[]) => async (layout: Layout) => {
    const config = await addBlob(layout, MediaType.empty, Buffer.from('{}'));
    const layer = await addBlob(layout, 'application/json', Buffer.from(`${JSON.stringify(versions)}\n`));
    const annotations = { 'org.opencontainers.image.title': 'versions' };
    const members = {
      artifactType: 'application/vnd.test.list',
      config,
      layers: [{ ...layer, annotations }],
    };
    await addManifest(
      layout,
      'factory.talos.dev/talos-catalog/versions:latest',
      MediaType.ociManifest,
      members,
    );
  };

  test('loses the versions of which nothing is left, and keeps those of the site', async () => {
    const site = await PruneSite.start();
    await site.load(all(list(['v1.11.0', 'v1.12.5']), image('ghcr.io/siderolabs/imager:v1.12.5')));
    await site.load(all(list(['v1.13.0']), image('ghcr.io/siderolabs/imager:v1.13.0')));
    const { plan } = await site.prune();
    expect(plan.rewrites.map(({ tag, removed, kept }) => [tag, removed, kept])).toEqual([
      ['latest', ['v1.12.5'], 2],
    ]);
    expect(deletionsIn(plan)).toEqual(['siderolabs/imager:v1.12.5']);
    const { plan: used } = await site.prune({ keepVersions: ['v1.12.5'] });
    expect(used.rewrites).toEqual([]);
  });
});

describe('there is no plan', () => {
  const pruned = async () => {
    const site = await PruneSite.start();
    await site.load(image(app));
    await site.load(image(tool));
    return site;
  };

  test('where the registry deletes nothing: how to switch it on is said', async () => {
    const site = await pruned();
    const body = '{"errors":[{"code":"UNSUPPORTED","message":"The operation is unsupported."}]}';
    site.registry.fault({ match: { method: 'DELETE', path: /manifests/ }, do: { status: 405, body } });
    await expect(site.prune()).rejects.toMatchObject({
      code: 'UPSTREAM',
      status: 405,
      message: expect.stringMatching(/storage\.delete\.enabled: true.*nothing was deleted/),
    });
    expect(existsSync(site.plan)).toBe(false);
  });

  test('without the right to delete', async () => {
    const site = await pruned();
    site.registry.fault({ match: { method: 'DELETE', path: /manifests/ }, do: { status: 403 } });
    await expect(site.prune()).rejects.toMatchObject({ code: 'DENIED', status: 403 });
    site.registry.fault({ match: { path: /^\/v2\/$/ }, do: { status: 401 } });
    await expect(site.prune()).rejects.toMatchObject({ code: 'DENIED', status: 401 });
    expect(existsSync(site.plan)).toBe(false);
  });

  test('without a word about what runs', async () => {
    const site = await pruned();
    await expect(site.prune({ inUse: { files: [] } })).rejects.toMatchObject({
      code: 'USAGE',
      message: expect.stringContaining('--in-use'),
    });
  });

  test('while a load runs; and a load waits while prune runs', async () => {
    const site = await pruned();
    const load = await acquireLock(join(site.state, 'load.lock'), 'shared', { purpose: 'omni-airgap load' });
    await expect(site.prune()).rejects.toMatchObject({ code: 'BUSY' });
    await load.release();
    await site.prune();
    const prune = await acquireLock(join(site.state, 'load.lock'), 'exclusive', {
      purpose: 'omni-airgap prune',
    });
    const before = site.registry.requests.length;
    const waiting = site.load(image(appV2));
    await sleep(300);
    expect(site.registry.requests).toHaveLength(before);
    await prune.release();
    await waiting;
    expect(site.tags('acme/app')).toContain('v2');
  });

  test('without the receipt of a bundle that keeps what it names; --receipt gives it, and it is kept', async () => {
    const site = await pruned();
    const receipt = join(site.folder, 'receipt.json');
    const last = await site.load(image(appV2), {}, { receipt });
    const records = join(site.state, 'receipts');
    for (const name of readdirSync(records)) {
      if (name.includes(last.document.id.slice(0, 12))) rmSync(join(records, name));
    }
    await expect(site.prune()).rejects.toMatchObject({
      code: 'MISSING_CONTENT',
      message: expect.stringMatching(
        new RegExp(`no receipt of bundle ${last.document.id.slice(0, 12)} \\(number 3\\)`),
      ),
    });
    // With two bundles that keep, it is still one of them.
    await expect(site.prune({ keep: 2 })).rejects.toMatchObject({ code: 'MISSING_CONTENT' });
    const { plan } = await site.prune({}, { receipts: [receipt] });
    expect([...deletionsIn(plan)].sort()).toEqual(['acme/app:v1', 'acme/tool:v1']);
    await site.prune();
  });

  test('of an older bundle without a receipt: what it brought stays, and that is said', async () => {
    const site = await pruned();
    const records = join(site.state, 'receipts');
    const [first = ''] = readdirSync(records).filter((name) => name.split('.')[1] === '1');
    rmSync(join(records, first));
    const { plan, warnings } = await site.prune();
    expect(deletionsIn(plan)).toEqual([]);
    expect(warnings).toEqual([expect.stringMatching(/\(number 1\) has no receipt here/)]);
  });

  test('with records of other places, or damaged ones', async () => {
    const site = await pruned();
    const other = await PruneSite.start();
    await expect(site.prune({}, { state: other.state })).rejects.toMatchObject({ code: 'MISSING_CONTENT' });
    const receipt = join(site.folder, 'receipt.json');
    await other.load(image(app), {}, { receipt });
    await expect(site.prune({}, { receipts: [receipt] })).rejects.toMatchObject({ code: 'USAGE' });
    writeFileSync(join(site.state, 'receipts', 'x.json'), '{"kind":"omni-airgap/load-record"');
    await expect(site.prune()).rejects.toMatchObject({ code: 'BAD_DOCUMENT' });
  });
});

/** Puts a manifest there as somebody at the site would. */
function writeManifest(site: PruneSite, path: string, tag: string | undefined, members: object): Descriptor {
  const mediaType = MediaType.ociIndex;
  const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType, ...members }));
  return site.registry.repository(path).addManifest(bytes, mediaType, ...(tag === undefined ? [] : [tag]));
}

function entriesOf(site: PruneSite, digest: string): readonly object[] {
  const bytes = site.registry.repository('acme/app').manifest(digest)?.bytes ?? Buffer.of();
  return (JSON.parse(String(bytes)) as { readonly manifests?: readonly object[] }).manifests ?? [];
}

function subjectOf(tag: string): Descriptor {
  return { mediaType: MediaType.ociManifest, digest: tag.replace('-', ':') as Digest, size: 1 };
}
