/**
 * fetch and load of many images of which nothing has changed: the cost of making sure. The floors send the same requests, which
 * are taken from the access log of the first measured run.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Registry } from '../../test/services/docker-registry.ts';
import { equalImages, makeContent, writeRegistry, writeStore } from './harness/content.ts';
import { measure, measureCli, withServerTime } from './harness/measure.ts';
import { alternate, type BenchmarkContext, type Side } from './harness/rounds.ts';
import { bundleArguments, fetchArguments, floor, loadArguments, withRegistry } from './harness/stage.ts';

export default async function benchmark(context: BenchmarkContext): Promise<readonly string[]> {
  const { folder, limits, program } = context;
  const [store, media] = [join(folder, 'store'), join(folder, 'media')];
  const content = await makeContent(equalImages(limits.unchanged, 8, 2000));
  await withRegistry((upstream) =>
    withRegistry(async (site) => {
      await writeStore(store, content);
      for (const registry of [upstream, site]) await writeRegistry(registry.data, content);
      await measureCli(program, [...bundleArguments(store, media), '--no-readback']);
      const fetch = sidesOf(context, upstream, await fetchArguments(folder, store, content, upstream.url));
      const load = sidesOf(context, site, loadArguments(folder, media, site.host));
      // The first load writes its record of the bundle.
      await measureCli(program, loadArguments(folder, media, site.host));
      await alternate(
        context,
        {
          comparison: 'unchanged',
          title: `fetch and load of ${limits.unchanged.toLocaleString('en')} unchanged images of 8 layers`,
          bytes: content.bytes,
        },
        { fetch: fetch.ours, load: load.ours },
        { 'floor of fetch': fetch.floor, 'floor of load': load.floor },
      );
    }),
  );
  return [];
}

/** A command that must find nothing to do at the registry, and its floor, which runs after it. */
function sidesOf(
  { folder, program }: BenchmarkContext,
  registry: Registry,
  command: readonly string[],
): Readonly<Record<'ours' | 'floor', Side>> {
  const list = join(folder, `${command[0]}.txt`);
  return {
    ours: async () => {
      const before = registry.log().length;
      const measured = await withServerTime(registry.pid, () => measureCli(program, command));
      const requests = requestsIn(registry.log().slice(before));
      requireUnchanged(requests);
      writeFileSync(list, requests.map((words) => `${words.join(' ')}\n`).join(''));
      return measured;
    },
    floor: () =>
      withServerTime(registry.pid, () => measure(process.execPath, [floor, 'ask', registry.host, list])),
  };
}

/** Method, path and status of each request in the registry's log, in the common log format. */
export function requestsIn(log: string): readonly (readonly string[])[] {
  return [...log.matchAll(/^\S+ - \S+ \[[^\]]*\] "([A-Z]+) (\S+) HTTP\/1\.1" (\d{3}) /gm)].map((match) =>
    match.slice(1),
  );
}

/** @throws Error for a request that writes, reads content, or for none at all */
export function requireUnchanged(requests: readonly (readonly string[])[]): void {
  if (requests.length === 0) throw new Error('no request in the log of the registry');
  const moving = requests.find(
    ([method = '', path = '']) =>
      !['GET', 'HEAD'].includes(method) || (method === 'GET' && /\/(blobs|manifests)\//.test(path)),
  );
  if (moving !== undefined) throw new Error(`not unchanged: ${moving.join(' ')}`);
}
