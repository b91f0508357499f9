/** A repository with hundreds of tags: what a name costs in memory stays small, and so does what many cost at once. */
import { expect, onTestFinished, test } from 'vitest';
import { MediaType } from '../../packages/oci/src/model/index.ts';
import { buildManifest, startRegistryDouble } from '../../packages/oci/src/testing/index.ts';
import { cli } from '../support/cli.ts';
import { workspace } from '../support/workspace.ts';

const mebibyte = 1024 * 1024;
const names = Array.from({ length: 600 }, (_, i) => `v${i}`);
const layerType = 'application/vnd.oci.image.layer.v1.tar+gzip';

/** Names of the first, small fetch: enough that as much is under way at once as with many. */
const few = names.slice(0, 150);

// Without a bound for garbage it takes 265 MiB. 3,000 images of one platform were measured by hand:
// 182 MiB.
test('F12 fetch of 600 names of two platforms stays under 200 MiB, and so does the next one', async () => {
  const registry = await startRegistryDouble();
  onTestFinished(() => registry.close());
  const repository = registry.repository('acme/app');
  const base = repository.addBlob(Buffer.from('a layer that all share'), layerType);
  for (const name of names) {
    const manifests = ['amd64', 'arm64'].map((architecture) => {
      const config = repository.addBlob(
        Buffer.from(JSON.stringify({ os: 'linux', architecture, name })),
        MediaType.ociConfig,
      );
      const layer = repository.addBlob(Buffer.from(`${name} ${architecture}`), layerType);
      const { bytes } = buildManifest(MediaType.ociManifest, { config, layers: [base, layer] });
      return {
        ...repository.addManifest(bytes, MediaType.ociManifest),
        platform: { os: 'linux', architecture },
      };
    });
    const { bytes } = buildManifest(MediaType.ociIndex, { manifests });
    repository.addManifest(bytes, MediaType.ociIndex, name);
  }
  const mirror = (wanted: readonly string[]): string =>
    `images:\n${wanted.map((name) => `  - ghcr.io/acme/app:${name}\n`).join('')}`;
  const peaks: number[] = [];
  const [small, large] = [await workspace(mirror(few)), await workspace(mirror(names))];
  for (const [site, what] of [
    [small, `${few.length} names`],
    [large, `${names.length} names`],
    [large, `${names.length} names again`],
  ] as const) {
    const fetch = ['fetch', ...site.store, '--upstream', `ghcr.io=${registry.url}`, '--json'];
    const { code, stderr, usage } = await cli(fetch, { timeoutMs: 600_000 });
    expect(code, stderr.slice(-2000)).toBe(0);
    const peak = Math.round((usage?.peakBytes ?? 0) / mebibyte);
    console.log(`fetch of ${what}: peak ${peak} MiB`);
    expect(peak, what).toBeLessThan(200);
    peaks.push(peak);
  }
  // What is under way at once is the larger part of a peak. Garbage that is not collected yet moves it
  // by some 20 MiB from run to run, so the lower of the two large runs counts.
  const [first = 0, ...later] = peaks;
  const growth = Math.min(...later) - first;
  expect(growth).toBeLessThan(((names.length - few.length) * 64) / 1024);
}, 1_200_000);
