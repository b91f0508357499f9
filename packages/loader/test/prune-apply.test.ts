/** prune --apply: exactly the plan is deleted, nothing when the site changed, and an interrupted run is finished. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseReceiptDocument } from '@omni-airgap/format';
import type { Layout } from '@omni-airgap/oci/layout';
import { type Descriptor, MediaType } from '@omni-airgap/oci/model';
import { describe, expect, test } from 'vitest';
import { all, image, PruneSite } from './prune-support.ts';
import { addManifest, app, signed, tool } from './support.ts';

const appV2 = 'ghcr.io/acme/app:v2';
const deletions = ({ registry }: PruneSite) =>
  registry.requests.filter(({ method, path }) => method === 'DELETE' && path.includes('sha256:'));

/** Stops a run at an answer that is about to come. */
const stopped = (stop: AbortController) => (): boolean => {
  stop.abort();
  return true;
};

/** Two images with signatures and platforms, of which the last bundle names neither. */
async function pruned(referrersApi = true): Promise<PruneSite> {
  const site = await PruneSite.start({ referrersApi });
  const index = async (layout: Layout) => {
    const manifests: Descriptor[] = [];
    for (const platform of ['amd64', 'arm64']) manifests.push(await image(undefined, platform)(layout));
    await addManifest(layout, 'ghcr.io/acme/multi:v1', MediaType.ociIndex, { manifests });
  };
  await site.load(all(signed, index, image(tool)));
  await site.load(all(image(appV2), image(tool)));
  return site;
}

test.each([true, false])('deletes what the plan lists, and nothing else (API: %s)', async (referrersApi) => {
  const site = await pruned(referrersApi);
  const { plan } = await site.prune();
  const report = await site.apply();
  expect(site.tags('acme/app')).toEqual(['v2']);
  expect(site.manifests('acme/app')).toBe(1);
  expect(site.manifests('acme/multi')).toBe(0);
  expect(site.tags('acme/tool')).toEqual(['v1']);
  expect(report.deleted).toEqual({ manifests: plan.manifests.length, objects: 0 });
  expect(report.refused).toEqual([]);
  expect(report.record.manifests).toEqual(plan.manifests);
  expect(report.reclaiming.map(({ kind }) => kind)).toEqual([
    'Distribution',
    'zot',
    'olareg',
    'omni-airgap serve',
  ]);
  // There is nothing more to do, and the same again does nothing.
  const before = deletions(site).length;
  expect((await site.apply()).deleted).toEqual({ manifests: 0, objects: 0 });
  expect((await site.prune()).plan.manifests).toEqual([]);
  expect(deletions(site)).toHaveLength(before);
});

test('the record and the receipt: what is inside now, and which bundles are no longer complete', async () => {
  const site = await pruned();
  await site.prune();
  const receipt = join(site.folder, 'receipt.json');
  const { record, recordFile, receipts } = await site.apply({ receipt });
  expect(JSON.parse(readFileSync(recordFile, 'utf8'))).toEqual(JSON.parse(JSON.stringify(record)));
  const text = readFileSync(receipt, 'utf8');
  const document = parseReceiptDocument(Buffer.from(text));
  expect(text).toMatch(/^\{ "bundle"/);
  expect(document.sequence).toBe(2);
  expect(document.images.map(({ name }) => name)).toEqual([appV2, tool]);
  expect(document.pruned?.bundles).toEqual(record.bundles);
  expect(record.bundles).toHaveLength(1);
  expect(record.bundles).not.toContain(document.bundle);
  expect(receipts.map((one) => JSON.stringify(one))).toEqual([JSON.stringify(document)]);
});

test('a plan that lists nothing is applied too, and leaves no receipt', async () => {
  const site = await PruneSite.start();
  await site.load(image(app));
  await site.prune();
  const receipt = join(site.folder, 'receipt.json');
  const report = await site.apply({ receipt });
  expect(report).toMatchObject({ receipts: [], deleted: { manifests: 0, objects: 0 }, refused: [] });
  expect(existsSync(receipt)).toBe(false);
});

test('an increment that relies on what was pruned is refused by name, until that is loaded again', async () => {
  const site = await PruneSite.start();
  const base = await site.load(image(app));
  await site.load(image(tool));
  const repository = site.registry.repository('acme/app');
  const [digest = ''] = [...repository.blobs].find(([, blob]) => blob.byteLength === 5000) ?? [];
  await site.prune();
  await site.apply();
  // The registry has not reclaimed its space yet, and would still take a manifest of this layer.
  expect(repository.blobs.has(digest)).toBe(true);
  const blob = { digest: digest as Descriptor['digest'], size: 5000 };
  const increment = {
    relies: { repositories: [{ repository: 'ghcr.io/acme/app', blobs: [blob] }], objects: [] },
    base: [{ id: base.document.id, origin: base.document.origin, sequence: 1 }],
  };
  await expect(site.load(image(appV2), increment)).rejects.toMatchObject({
    code: 'MISSING_CONTENT',
    message: expect.stringMatching(/acme\/app.*pruned.*bundle --since .*receipt-/),
  });
  await site.loadAgain(base, { allowRollback: true });
  await site.load(image(appV2), increment);
});

describe('a site that changed since the plan', () => {
  const changes: readonly (readonly [string, (site: PruneSite) => unknown, RegExp])[] = [
    [
      'somebody set a tag',
      ({ registry }) => {
        const { tags } = registry.repository('acme/multi');
        tags.set('stable', tags.get('v1') ?? '');
      },
      /acme\/multi:v1 would stay now: the tag stable/,
    ],
    ['a bundle names it again', (site) => site.load(all(signed, image(tool))), /acme\/app:v1 would stay now/],
    [
      'a tag of ours was moved',
      ({ registry }) => {
        const bytes = Buffer.from(
          JSON.stringify({ schemaVersion: 2, mediaType: MediaType.ociIndex, manifests: [] }),
        );
        registry.repository('acme/multi').addManifest(bytes, MediaType.ociIndex, 'v1');
      },
      /acme\/multi@sha256:\w+ has the tags \(none\) instead of v1/,
    ],
  ];
  test.each(changes)('%s: nothing is deleted', async (_, change, message) => {
    const site = await pruned();
    await site.prune();
    await change(site);
    const before = deletions(site).length;
    await expect(site.apply()).rejects.toMatchObject({
      code: 'CONFLICT',
      message: expect.stringMatching(message),
    });
    expect(deletions(site)).toHaveLength(before);
  });

  test('something of it runs now', async () => {
    const site = await pruned();
    await site.prune();
    const inUse = { files: [], talos: [], kubernetes: [], images: ['ghcr.io/acme/multi:v1'] };
    await expect(site.apply({ inputs: { inUse, keepVersions: [] } })).rejects.toMatchObject({
      code: 'CONFLICT',
      message: expect.stringMatching(/acme\/multi:v1 would stay now: it runs/),
    });
  });

  test('somebody deleted it: that is as it should be', async () => {
    const site = await pruned();
    await site.prune();
    const repository = site.registry.repository('acme/multi');
    repository.removeManifest(repository.tags.get('v1') ?? '');
    await site.apply();
    expect(site.manifests('acme/multi')).toBe(0);
  });

  test('a tag that somebody sets while prune runs keeps its manifest', async () => {
    const site = await pruned();
    await site.prune();
    const { tags } = site.registry.repository('acme/multi');
    const digest = tags.get('v1') ?? '';
    // acme/app comes first.
    site.registry.fault({
      match: { method: 'DELETE', path: /acme\/app/, nth: 2 },
      do: { until: () => tags.set('stable', digest) !== undefined },
    });
    await expect(site.apply()).rejects.toMatchObject({
      code: 'CONFLICT',
      message: expect.stringContaining('stable'),
    });
    expect(site.registry.repository('acme/multi').manifests.has(digest)).toBe(true);
  });
});

test.each([true, false])(
  'a run that is interrupted at every step is finished by the same command (API: %s)',
  async (referrersApi) => {
    const site = await pruned(referrersApi);
    const { plan } = await site.prune();
    let stop = new AbortController();
    // Each deletion is done, and its answer comes too late.
    const until = (): boolean => {
      stop.abort();
      return true;
    };
    site.registry.fault({
      match: { method: 'DELETE', path: new RegExp(plan.manifests.map(({ digest }) => digest).join('|')) },
      do: { until },
    });
    let runs = 1;
    for (; ; runs++) {
      stop = new AbortController();
      const ended = await site.apply({ signal: stop.signal }).catch(() => undefined);
      if (ended !== undefined) break;
      expect(existsSync(join(site.state, 'prunes')), `after run ${runs}`).toBe(false);
    }
    expect(runs).toBe(plan.manifests.length + 1);
    const { record } = await site.apply();
    expect(record.manifests).toEqual(plan.manifests);
    expect(site.tags('acme/app')).toEqual(['v2']);
    expect(site.manifests('acme/app')).toBe(1);
    expect(site.manifests('acme/multi')).toBe(0);
  },
);

test('what the registry refuses to delete is listed, and the rest is deleted', async () => {
  const site = await pruned();
  const { plan } = await site.prune();
  const digest = site.registry.repository('acme/multi').tags.get('v1') ?? '';
  site.registry.fault({ match: { method: 'DELETE', path: new RegExp(digest) }, do: { status: 412 } });
  const report = await site.apply();
  expect(report.refused).toEqual([
    { target: `${site.registry.host}/acme/multi@${digest}`, message: expect.stringContaining('412') },
  ]);
  expect(report.record.manifests).toHaveLength(plan.manifests.length - 1);
  expect(site.tags('acme/app')).toEqual(['v2']);
});

test('a registry that says it deleted and did not is caught, and nothing is recorded', async () => {
  const site = await pruned();
  await site.prune();
  site.registry.fault({ match: { method: 'DELETE', path: /acme\/app/ }, do: { status: 202 } });
  await expect(site.apply()).rejects.toMatchObject({
    code: 'UPSTREAM',
    message: expect.stringContaining('still has it'),
  });
  expect(existsSync(join(site.state, 'prunes'))).toBe(false);
});

test('a plan that is no plan, of a newer program, or of another place is refused', async () => {
  const site = await pruned();
  await site.prune();
  const text = readFileSync(site.plan, 'utf8');
  for (const [from, to] of [
    ['"schema": 1', '"schema": 2'],
    ['"manifests"', '"manifest"'],
    ['"acme/app"', '"../app"'],
  ] as const) {
    writeFileSync(site.plan, text.replace(from, to));
    await expect(site.apply()).rejects.toMatchObject({ code: 'BAD_DOCUMENT' });
  }
  writeFileSync(site.plan, text.replace(`"registry": "${site.registry.host}"`, '"registry": "other.site"'));
  await expect(site.apply()).rejects.toMatchObject({
    code: 'USAGE',
    message: expect.stringContaining('other.site'),
  });
  expect(site.tags('acme/app')).toContain('v1');
});

test('with an own list of referrers of the site: rewritten, its entry stays', async () => {
  const site = await pruned(false);
  const repository = site.registry.repository('acme/app');
  const image = repository.tags.get('v1') ?? '';
  const tag = image.replace(':', '-');
  const list = JSON.parse(String(repository.manifest(tag)?.bytes)) as { manifests: object[] };
  const subject = {
    mediaType: MediaType.ociManifest,
    digest: image,
    size: repository.manifest('v1')?.bytes.byteLength,
  };
  const put = (members: object, ...tags: string[]) => {
    const bytes = Buffer.from(
      JSON.stringify({ schemaVersion: 2, mediaType: MediaType.ociIndex, ...members }),
    );
    return repository.addManifest(bytes, MediaType.ociIndex, ...tags);
  };
  const own = put({ manifests: [], subject });
  put({ ...list, manifests: [...list.manifests, { ...own, annotations: { by: 'site' } }] }, tag);
  await site.prune();
  // Interrupted before the list is rewritten, and after it.
  for (const nth of [1, 2]) {
    const stop = new AbortController();
    const match = { method: nth === 1 ? 'PUT' : 'DELETE', path: nth === 1 ? /sha256-/ : /sha256:/ };
    site.registry.fault({
      match: { ...match, nth: 1 },
      do: { until: stopped(stop) },
    });
    await expect(site.apply({ signal: stop.signal })).rejects.toThrow();
  }
  await site.apply();
  const now = JSON.parse(String(repository.manifest(tag)?.bytes)) as {
    manifests: readonly { digest: string }[];
  };
  expect(now.manifests).toEqual([{ ...own, annotations: { by: 'site' } }]);
  expect(repository.manifests.has(own.digest)).toBe(true);
  expect(site.tags('acme/app')).toEqual([tag, 'v2']);
  await site.apply();
});
