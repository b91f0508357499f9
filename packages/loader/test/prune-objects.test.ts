/** prune of an object store: what goes, what is no longer what a load stored, and lists of versions. */
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ObjectStoreTarget } from '@omni-airgap/objects';
import { startS3Double } from '@omni-airgap/objects/testing';
import type { Layout } from '@omni-airgap/oci/layout';
import { type Descriptor, hexOf, MediaType } from '@omni-airgap/oci/model';
import { describe, expect, test } from 'vitest';
import type { PruneReport } from '../src/prune/apply.ts';
import type { PlannedPrune } from '../src/prune/plan.ts';
import { all, PruneSite } from './prune-support.ts';
import { addBlob, addManifest, bytesFor } from './support.ts';

const schematic = '3'.repeat(64);
const keyOf = (version: string): string => `image/${schematic}/${version}/kernel-amd64`;

const artifact =
  (name: string, mediaType: string, file: string, bytes: Buffer) =>
  async (layout: Layout): Promise<Descriptor> => {
    const config = await addBlob(layout, MediaType.empty, Buffer.from('{}'));
    const layer = await addBlob(layout, mediaType, bytes);
    await addManifest(layout, `factory.talos.dev/${name}`, MediaType.ociManifest, {
      artifactType: 'application/vnd.test.media',
      config,
      layers: [{ ...layer, annotations: { 'org.opencontainers.image.title': file } }],
    });
    return layer;
  };
const media = (version: string, content = version) =>
  artifact(
    `talos-media/${schematic}:${version}`,
    MediaType.octetStream,
    'kernel-amd64',
    bytesFor(content, 9000),
  );
const list = (...versions: string[]) =>
  artifact(
    'talos-catalog/versions:latest',
    'application/json',
    'versions',
    Buffer.from(`${JSON.stringify(versions)}\n`),
  );

/** A site with an object store alone. */
class ObjectSite {
  readonly site: PruneSite;
  readonly objectStore: ObjectStoreTarget;

  constructor(site: PruneSite, objectStore: ObjectStoreTarget = { kind: 'directory', root: site.objects }) {
    this.site = site;
    this.objectStore = objectStore;
  }

  get #targets() {
    const { objectStore, site } = this;
    const hosts = objectStore.kind === 's3' ? [objectStore.settings.endpoint.host] : [];
    const network = { upstreams: [], allowHosts: [], plainHttp: [site.registry.host, ...hosts], env: {} };
    return { objectStore, registry: undefined, network };
  }

  load(fill: (layout: Layout) => Promise<unknown>, members = {}) {
    return this.site.load(fill, members, this.#targets);
  }

  prune(inputs: Parameters<PruneSite['prune']>[0] = {}): Promise<PlannedPrune> {
    return this.site.prune(inputs, this.#targets);
  }

  apply(): Promise<PruneReport> {
    return this.site.apply(this.#targets);
  }

  at(key: string): string {
    return join(this.site.objects, key);
  }
}

const keysIn = ({ plan }: PlannedPrune): readonly string[] => plan.objects.map(({ key }) => key);

async function loaded(): Promise<ObjectSite> {
  const site = new ObjectSite(await PruneSite.start());
  await site.load(all(media('v1.12.5'), list('v1.12.5')));
  await site.load(all(media('v1.13.0'), list('v1.13.0')));
  return site;
}

describe('a folder', () => {
  test('what only older bundles have goes; the list of versions loses it, and keeps what the site has added', async () => {
    const site = await loaded();
    writeFileSync(site.at('versions'), '["v1.11.0","v1.12.5","v1.13.0"]\n');
    const planned = await site.prune();
    expect(keysIn(planned)).toEqual([keyOf('v1.12.5')]);
    expect(planned.plan.bytes).toBe(9000);
    expect(planned.plan.objectRewrites.map(({ removed, kept }) => [removed, kept])).toEqual([
      [['v1.12.5'], 2],
    ]);
    expect(existsSync(site.at(keyOf('v1.12.5')))).toBe(true);
    const report = await site.apply();
    expect(report.deleted).toEqual({ manifests: 0, objects: 1 });
    expect(existsSync(site.at(keyOf('v1.12.5')))).toBe(false);
    expect(existsSync(site.at(keyOf('v1.13.0')))).toBe(true);
    expect(readFileSync(site.at('versions'), 'utf8')).toBe('["v1.11.0","v1.13.0"]\n');
    expect((await site.apply()).deleted.objects).toBe(0);
  });

  test('a version that is in use keeps its files, and stands in the list', async () => {
    const site = await loaded();
    const planned = await site.prune({ inUse: { talos: ['v1.12.5'] } });
    expect(keysIn(planned)).toEqual([]);
    expect(planned.plan.objectRewrites).toEqual([]);
    expect(planned.plan.kept.map(({ why }) => why)).toContain('Talos v1.12.5 is in use');
  });

  test('an object with other bytes than the load stored stays; one that changes after the plan stops the run', async () => {
    const site = await loaded();
    await site.prune();
    writeFileSync(site.at(keyOf('v1.12.5')), bytesFor('somebody', 9000));
    await expect(site.apply()).rejects.toMatchObject({
      code: 'CONFLICT',
      message: expect.stringMatching(/kernel-amd64 would stay now: it is not what the load stored/),
    });
    const planned = await site.prune();
    expect(keysIn(planned)).toEqual([]);
    expect(planned.plan.kept.map(({ why }) => why)).toEqual(['it is not what the load stored']);
    expect(planned.plan.objectRewrites).toEqual([]);
  });

  test('a list that changed after the plan stops the run; objects that are gone do not', async () => {
    const site = await loaded();
    await site.prune();
    rmSync(site.at(keyOf('v1.12.5')));
    const before = readFileSync(site.at('versions'));
    writeFileSync(site.at('versions'), '["v1.10.0"]\n');
    await expect(site.apply()).rejects.toMatchObject({ code: 'CONFLICT' });
    writeFileSync(site.at('versions'), before);
    await site.prune();
    expect((await site.apply()).deleted.objects).toBe(0);
  });

  test.each([
    ['other content', 'v1.13.0'],
    ['the same content at a key of its own', 'v1.12.5'],
  ])('what an increment with %s relies on stays, and so do schematics', async (_, content) => {
    const site = new ObjectSite(await PruneSite.start());
    const text = Buffer.from('customization: {}\n');
    let kernel: Descriptor | undefined;
    const base = await site.load(async (layout) => {
      kernel = await media('v1.12.5')(layout);
      const config = await addBlob(layout, MediaType.empty, Buffer.from('{}'));
      const layer = await addBlob(layout, 'application/vnd.sidero.dev-image.schematic', text);
      const name = `factory.talos.dev/siderolabs/image-factory/schematics:${hexOf(layer.digest)}`;
      await addManifest(layout, name, MediaType.ociManifest, { config, layers: [layer] });
    });
    const { digest, size } = kernel as Descriptor;
    await site.load(
      async (layout) => {
        await media('v1.13.0', content)(layout);
        rmSync(join(layout.root, 'blobs', 'sha256', hexOf(digest)), { force: true });
      },
      {
        base: [{ id: base.document.id, origin: base.document.origin, sequence: 1 }],
        relies: { repositories: [], objects: [{ key: keyOf('v1.12.5'), digest, size }] },
      },
    );
    const planned = await site.prune();
    expect(keysIn(planned)).toEqual([]);
    expect(planned.plan.kept.map(({ why }) => why)).toEqual(['an increment that stays relies on it']);
  });

  test('an increment that relies on an object that was pruned is refused by name', async () => {
    const site = await loaded();
    const { plan } = await site.prune();
    await site.apply();
    const [{ key = '', digest, size } = {}] = plan.objects;
    const relies = { repositories: [], objects: [{ key, digest, size }] };
    const base = [{ id: '1'.repeat(64), origin: '0'.repeat(32), sequence: 1 }];
    await expect(site.load(media('v1.13.1'), { base, relies })).rejects.toMatchObject({
      code: 'MISSING_CONTENT',
      message: expect.stringMatching(/kernel-amd64, which was pruned here at/),
    });
  });
});

test('a bucket: the same, by what was read back', async () => {
  const double = await startS3Double();
  const settings = {
    bucket: 'talos',
    prefix: 'media',
    endpoint: new URL(double.url),
    region: 'us-east-1',
    accessKeyId: 'key',
    secretAccessKey: 'secret',
  };
  const site = new ObjectSite(await PruneSite.start(), { kind: 's3', settings });
  await site.load(all(media('v1.12.5'), list('v1.12.5')));
  await site.load(all(media('v1.13.0'), list('v1.13.0')));
  const planned = await site.prune();
  expect(keysIn(planned)).toEqual([keyOf('v1.12.5')]);
  await site.apply();
  expect([...double.objects.keys()].filter((key) => key.includes('kernel'))).toEqual([
    expect.stringContaining(keyOf('v1.13.0')),
  ]);
});
