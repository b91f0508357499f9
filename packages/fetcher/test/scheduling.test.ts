/** The order of a fetch: one queue over all images and files, the largest first, everything once, within bounds. */
import type { EgressRecord } from '@omni-airgap/oci/http';
import { expect, test } from 'vitest';
import { factoryHost, storageHost } from './factory-double.ts';
import { iso, mediaSite } from './media-site.ts';
import { assetBytes, publishImage, type Site, startSite, talosVersion } from './site.ts';

const isBlob = ({ method, path }: EgressRecord): boolean => method === 'GET' && path.includes('/blobs/');

/** Images that all have one layer in common. */
async function publishMany(site: Site, count: number): Promise<readonly string[]> {
  const names = Array.from({ length: count }, (_, i) => `acme/tool-${i}`);
  for (const [i, name] of names.entries()) {
    await publishImage(site.registry('ghcr.io'), name, 'v1', { seed: i + 1, layerBytes: 1000 + 1700 * i });
  }
  return names.map((name) => `ghcr.io/${name}:v1`);
}

test('the largest goes first, whether of an image or a file; all manifests are read while one blob is on its way', async () => {
  const site = await mediaSite({ 'ghcr.io': {} });
  site.factory.files.set(iso, await assetBytes('metal-amd64.iso', 1, 40_000));
  const images = await publishMany(site, 30);
  const registry = site.registry('ghcr.io');
  const isManifest = (method: string, path: string): boolean =>
    method === 'GET' && path.includes('/manifests/');
  // An index and two images of each. Were they not all asked for by then, the first blob would never come.
  const areRead = (): boolean =>
    registry.requests.filter(({ method, path }) => isManifest(method, path)).length >= 3 * images.length &&
    site.asked(factoryHost).includes(`HEAD /${iso}`);
  registry.fault({ match: { path: /blobs/, nth: 1 }, do: { until: areRead, delayMs: 200 } });
  await site.mirror(`talos: {versions: [${talosVersion}], talosctl: []}
media: [{schematic: {customization: {}}, files: [metal-amd64.iso]}]
images: ${JSON.stringify(images)}`);
  await site.fetch({ concurrency: 1 });
  const records = await site.egress();
  const moved = records.filter((record) => isBlob(record) || record.host === storageHost);
  const [first, ...rest] = moved;
  expect(first?.host).toBe('ghcr.io');
  const sizes = rest.map(({ bytes }) => bytes);
  expect(sizes).toEqual(sizes.toSorted((a, b) => b - a));
  expect(sizes).toContain(40_000);
});

test('what several images share is fetched once', async () => {
  const site = await startSite();
  const images = await publishMany(site, 8);
  await site.mirror(`images: ${JSON.stringify(images)}`);
  await site.fetch();
  const digests = (await site.egress()).filter(isBlob).map(({ digest }) => digest);
  // Eight images of two platforms, each with layer and configuration of its own, and one layer of all.
  expect(digests).toHaveLength(8 * 4 + 1);
  expect(new Set(digests).size).toBe(digests.length);
});

test.each([
  [2, 2 + 16],
  [undefined, 32],
])(
  'connections to a host are bounded, however many images there are (--concurrency %s)',
  async (concurrency, most) => {
    const site = await startSite();
    const images = await publishMany(site, 40);
    await site.mirror(`images: ${JSON.stringify(images)}`);
    await site.fetch({ concurrency });
    expect(site.registry('ghcr.io').mostConnections).toBeLessThanOrEqual(most);
  },
);
