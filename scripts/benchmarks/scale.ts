/** How the commands grow: with the number of images, the size of a blob, the number of blobs, and connections. */
import { join } from 'node:path';
import {
  equalImages,
  type ImageSizes,
  makeContent,
  requireInLayouts,
  requireInRegistry,
  writeRegistry,
} from './harness/content.ts';
import { measureCli } from './harness/measure.ts';
import { type BenchmarkContext, begin, rounded } from './harness/rounds.ts';
import { bundleArguments, clear, fetchArguments, loadArguments, withRegistry } from './harness/stage.ts';
import { showComparison } from './harness/tables.ts';

const layersPerImage = 98;
const commands = ['fetch', 'bundle', 'verify', 'load'];
/** The same command once more. */
const unchanged = ', unchanged';

export function scaleImages(context: BenchmarkContext): Promise<readonly string[]> {
  const images = (size: number): ImageSizes => equalImages(size, 2, 4096);
  return curve(context, 'images', 'images', upTo(context.limits.images, 10), images, {
    sides: [...commands, `fetch${unchanged}`, `load${unchanged}`],
  });
}

export function scaleSize(context: BenchmarkContext): Promise<readonly string[]> {
  const images = (size: number): ImageSizes => equalImages(1, 1, size * 1024 ** 2);
  return curve(context, 'size', 'MiB', upTo(context.limits.blobMiB, 8), images);
}

export function scaleBlobs(context: BenchmarkContext): Promise<readonly string[]> {
  // With config and manifest, a hundred blobs for each image.
  const images = (size: number): ImageSizes =>
    equalImages(Math.ceil(size / (layersPerImage + 2)), layersPerImage, 4096);
  return curve(context, 'blobs', 'blobs', upTo(context.limits.blobs, 10, 100), images);
}

export function scaleConnections(context: BenchmarkContext): Promise<readonly string[]> {
  const images = (): ImageSizes => equalImages(8, 8, (Math.min(context.sizeMiB, 256) / 64) * 1024 ** 2);
  return curve(context, 'connections', 'connections', upTo(context.limits.connections, 2), images, {
    sides: ['fetch', 'load'],
    flags: (size) => ['--concurrency', `${size}`],
  });
}

interface CurveOptions {
  /** What is recorded; by default what every curve has. */
  readonly sides?: readonly string[];
  readonly flags?: (size: number) => readonly string[];
}

/** fetch, bundle, verify and load of the same content, from nothing each time. */
async function curve(
  { folder, limits, program, recorder, waitSeconds }: BenchmarkContext,
  name: string,
  unit: string,
  sizes: readonly number[],
  images: (size: number) => ImageSizes,
  { sides = commands, flags = () => [] }: CurveOptions = {},
): Promise<readonly string[]> {
  const comparison = { comparison: `scale-${name}`, title: `growth by ${unit}`, bytes: 0, unit };
  await begin({ recorder, waitSeconds }, comparison);
  const [store, media] = [join(folder, 'store'), join(folder, 'media')];
  const [state, handoff] = [join(folder, 'state'), join(folder, 'handoff')];
  for (const size of sizes) {
    const content = await makeContent(images(size));
    const add = async (round: number, side: string, args: readonly string[]): Promise<void> => {
      if (side.endsWith(unchanged) && !sides.includes(side)) return;
      const measured = await measureCli(program, [...args, ...flags(size)]);
      if (sides.includes(side))
        recorder.add({ comparison: comparison.comparison, side, round, size, ...rounded(measured) });
    };
    await withRegistry(async (upstream) => {
      await writeRegistry(upstream.data, content);
      for (let round = 1; round <= limits.curveRuns; round++) {
        await clear(folder, store, media, state, handoff);
        const fetch = await fetchArguments(folder, store, content, upstream.url);
        await add(round, 'fetch', fetch);
        requireInLayouts(store, content);
        await add(round, `fetch${unchanged}`, fetch);
        await add(round, 'bundle', bundleArguments(store, media));
        await add(round, 'verify', ['verify', '--bundle', media]);
        // A large blob would lie on the disk four times.
        await clear(folder, store);
        await withRegistry(async (site) => {
          const load = loadArguments(folder, media, site.host);
          await add(round, 'load', load);
          requireInRegistry(site.data, content);
          await add(round, `load${unchanged}`, load);
        });
      }
    });
  }
  showComparison(recorder, comparison);
  return [];
}

/** Powers of `step` from `first`, and the limit itself; none that is close to it, as large ones take most of the time. */
function upTo(limit: number, step: number, first = 1): readonly number[] {
  const sizes: number[] = [];
  for (let size = first; size * Math.min(step, 3) <= limit; size *= step) sizes.push(size);
  return [...sizes, limit];
}
