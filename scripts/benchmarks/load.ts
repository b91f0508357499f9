/**
 * load against oras, regctl and crane from an OCI layout into an empty local Distribution registry; with --baseline, also
 * against an older version of this program.
 */
import { join } from 'node:path';
import { equalImages, makeContent, requireInRegistry, tag, writeStore } from './harness/content.ts';
import { type Measured, measure, measureCli, withServerTime } from './harness/measure.ts';
import { alternate, type BenchmarkContext, type Side } from './harness/rounds.ts';
import { bundleArguments, clear, floor, loadArguments, withRegistry } from './harness/stage.ts';
import { ours } from './harness/statistics.ts';

const layers = 64;

export default async function benchmark(context: BenchmarkContext): Promise<readonly string[]> {
  const { folder, sizeMiB, peers, program, baseline } = context;
  const [store, media] = [join(folder, 'store'), join(folder, 'media')];
  const content = await makeContent(equalImages(1, layers, (sizeMiB / layers) * 1024 ** 2));
  await writeStore(store, content);
  await measureCli(program, [...bundleArguments(store, media), '--no-readback']);
  const [image] = content.images;
  if (image === undefined) throw new Error('no image was made');
  const source = `${store}@${image.manifest.digest}`;
  const env = { HOME: folder, DOCKER_CONFIG: folder };
  const side =
    (run: (registry: string) => Promise<Measured>): Side =>
    () =>
      withRegistry(async (registry) => {
        await clear(folder, join(folder, 'state'), join(folder, 'handoff'));
        const measured = await withServerTime(registry.pid, () => run(registry.host));
        requireInRegistry(registry.data, content);
        return measured;
      });
  const peer = (
    program: string | undefined,
    args: (target: string, registry: string) => readonly string[],
  ): Side | undefined =>
    program === undefined
      ? undefined
      : side((registry) => measure(program, args(`${registry}/${image.name}:${tag}`, registry), env));
  await alternate(
    context,
    {
      comparison: 'load',
      title: `load of one image of ${layers} layers, ${Math.round(content.bytes / 1e6)} MB, into an empty registry`,
      bytes: content.bytes,
    },
    {
      [ours]: side((registry) => measureCli(program, loadArguments(folder, media, registry))),
      oras: peer(peers.oras, (target) => [
        'cp',
        '--no-tty',
        '--from-oci-layout',
        source,
        '--to-plain-http',
        target,
      ]),
      baseline:
        baseline === undefined
          ? undefined
          : side((registry) => measureCli(baseline, loadArguments(folder, media, registry))),
    },
    {
      regctl: peer(peers.regctl, (target, registry) => [
        ...['--host', `reg=${registry},tls=disabled`, 'image', 'copy'],
        ...[`ocidir://${source}`, target],
      ]),
      crane: peer(peers.crane, (target) => ['push', '--insecure', store, target]),
      floor: side((registry) => {
        const files = [...content.blobs.keys()].map((hex) => join(store, 'blobs', 'sha256', hex));
        return measure(process.execPath, [floor, 'push', registry, image.name, ...files]);
      }),
    },
  );
  return [];
}
