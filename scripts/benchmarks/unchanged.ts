/** fetch and load of many images of which nothing has changed: the cost of making sure. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { equalImages, makeContent, tag, writeRegistry } from './harness/content.ts';
import { measure, measureCli } from './harness/measure.ts';
import { alternate, type BenchmarkContext } from './harness/rounds.ts';
import { bundleArguments, fetchArguments, floor, loadArguments, withRegistry } from './harness/stage.ts';

export default async function benchmark(context: BenchmarkContext): Promise<readonly string[]> {
  const { folder, limits } = context;
  const [store, media, list] = [join(folder, 'store'), join(folder, 'media'), join(folder, 'list.txt')];
  const content = await makeContent(equalImages(limits.unchanged, 8, 2000));
  await withRegistry((upstream) =>
    withRegistry(async (site) => {
      await writeRegistry(upstream.data, content);
      const fetch = await fetchArguments(folder, store, content, upstream.url);
      const load = loadArguments(folder, media, site.host);
      for (const first of [fetch, [...bundleArguments(store, media), '--no-readback'], load])
        await measureCli(first);
      writeFileSync(list, content.images.map(({ name }) => `/v2/${name}/manifests/${tag} x\n`).join(''));
      await alternate(
        context,
        {
          comparison: 'unchanged',
          title: `fetch and load of ${limits.unchanged.toLocaleString('en')} unchanged images of 8 layers`,
          bytes: content.bytes,
        },
        {
          fetch: () => measureCli(fetch),
          load: () => measureCli(load),
        },
        {
          // One manifest for each name, without a look at what is on the disk.
          floor: () => measure(process.execPath, [floor, 'get', upstream.host, list]),
        },
      );
    }),
  );
  return [];
}
