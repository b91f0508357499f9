/**
 * The second month of a site: upstream has moved on, and the same few commands bring the site there. What is newer, the way
 * from what the site has, an increment of that size only, and a site without what nothing runs any more.
 */
import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { parseBundleDocument } from '../../packages/format/src/index.ts';
import { formatBytes } from '../../packages/oci/src/base/index.ts';
import { startSampleUpstream } from '../sample-upstream/sample-upstream.ts';
import { firstMonth, type SampleVersions, secondMonth } from '../sample-upstream/versions.ts';
import { type CliProcesses, CommandFailed, title } from './cli-process.ts';

/** About how much there is to fetch in the first month. */
const sizeMiB = 60;

const mirror = `# What the site runs: always the newest, until "omni-airgap fetch --update" moves it.
apiVersion: omni-airgap/v1
omni:
  version: latest
talos:
  versions: [latest]                         # that machines run
  imageFactory: {version: v1.5.0, extensions: [siderolabs/iscsi-tools], overlays: []}
media:
  - schematic: {customization: {}}
    files: [metal-amd64.iso, kernel-amd64, initramfs-amd64.xz, cmdline-metal-amd64]
    installers: [metal]
kubernetes:
  versions:
    # that clusters run
    - latest
images:
  - image: ghcr.io/dexidp/dex                # log-in for Omni
    tags: {semver: ~2.41}
`;

/** Runs both months in a folder of the demo's own, and the second again where the first is done. @throws CommandFailed */
export async function secondMonthDemo(dir: string, cli: CliProcesses): Promise<void> {
  const at = (name: string): string => join(dir, name);
  const times: (readonly [step: string, seconds: number])[] = [];
  const run = async (step: string, ...args: readonly string[]): Promise<void> => {
    const began = performance.now();
    await cli.run(...args);
    times.push([step, (performance.now() - began) / 1000]);
  };
  const source = ['--config', at('mirror.yaml'), '--store', at('store')];
  const signed = ['--sign-key', at('site.key')];
  const carry = (media: string): readonly string[] => ['--bundle', at(media), '--verify-key', at('site.pub')];

  const isSetUp = existsSync(at('receipt-1.json'));
  if (!isSetUp) {
    title('First month: the site is set up');
    if (!existsSync(at('mirror.yaml'))) await writeFile(at('mirror.yaml'), mirror);
    const first = await upstreamOf(at('upstream-1'), firstMonth);
    await run('fetch', 'fetch', ...source, ...first.flags);
    await first.stop();
    if (!existsSync(at('site.key'))) await cli.run('keygen', '--out', at('site'));
    await run('bundle', 'bundle', '--store', at('store'), '--out', at('media-1'), ...signed);
  }
  const started = await cli.serve(
    ...['serve', '--writable', at('registry'), '--listen', '127.0.0.1:0', '--quiet', '--json'],
  );
  const registry = new URL((JSON.parse(started) as { url: string }).url).host;
  const site = ['--registry', registry, '--plain-http', registry];
  const state = ['--object-store', `file://${resolve(at('objects'))}`, '--state', at('state')];
  const load = (media: string, receipt: string): readonly string[] => [
    ...['load', ...carry(media), ...site, ...state, '--receipt', at(receipt), '--handoff', at('handoff')],
  ];
  if (!isSetUp) await run('load', ...load('media-1', 'receipt-1.json'));

  title('Second month, outside: upstream has moved on');
  const second = await upstreamOf(at('upstream-2'), secondMonth);
  await run('outdated', 'outdated', ...source, ...second.flags);
  const since = ['--since', at('receipt-1.json')];
  await run('plan', 'plan', '--update', ...since, '--write', ...source, ...second.flags);
  await run('fetch --update', 'fetch', '--update', ...source, ...second.flags);
  await second.stop();
  await run('bundle --since', 'bundle', '--store', at('store'), '--out', at('media-2'), ...signed, ...since);
  await compareSizes(at('media-1'), at('media-2'));

  if (existsSync(at('receipt-pruned.json'))) {
    console.log(`\nThe increment is loaded and the site is pruned, as ${at('receipt-pruned.json')} states.`);
  } else {
    title('Second month, inside: load the increment');
    await run('load the increment', ...load('media-2', 'receipt-2.json'));

    title('Second month, inside: clusters are upgraded; remove what nothing runs any more');
    await writeFile(at('pods.json'), runningAfter(registry));
    console.log(`\nWhat runs now, as "kubectl get pods,nodes -A -o json" prints it: ${at('pods.json')}`);
    const plan = ['--keep', '1', '--in-use', at('pods.json'), '--plan', at('prune.json')];
    await run('prune --plan', 'prune', ...site, ...state, ...plan);
    const apply = ['--apply', at('prune.json'), '--receipt', at('receipt-pruned.json')];
    await run('prune --apply', 'prune', ...site, ...state, ...apply);
  }
  await expectTags(registry, 'siderolabs/omni', secondMonth.omni.slice(1), firstMonth.omni);
  await expectTags(registry, 'siderolabs/kubelet', secondMonth.kubernetes.slice(1), firstMonth.kubernetes);

  title('What each step took');
  for (const [step, seconds] of times)
    console.log(`  ${step.padEnd(20)} ${seconds.toFixed(1).padStart(6)} s`);
}

/** A cluster after its upgrade, as kubectl prints it: a node, and pods whose images come from the site's registry. */
function runningAfter(registry: string): string {
  const [talos, kubernetes] = [secondMonth.talos.at(-1), secondMonth.kubernetes.at(-1)];
  const pod = (namespace: string, name: string, image: string): object => ({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace },
    spec: { nodeName: 'machine-1', containers: [{ name, image: `${registry}/${image}` }] },
    status: { phase: 'Running', containerStatuses: [{ name, image: `${registry}/${image}`, ready: true }] },
  });
  const node = {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name: 'machine-1' },
    status: { nodeInfo: { kubeletVersion: kubernetes, osImage: `Talos (${talos})`, architecture: 'amd64' } },
  };
  const items = [
    pod('kube-system', 'kube-apiserver-machine-1', `kube-apiserver:${kubernetes}`),
    pod('kube-system', 'kube-scheduler-machine-1', `kube-scheduler:${kubernetes}`),
    pod('omni', 'dex-5f7d9c9b8-x2x7k', 'dexidp/dex:v2.41.1'),
    node,
  ];
  return `${JSON.stringify({ apiVersion: 'v1', items, kind: 'List', metadata: { resourceVersion: '' } }, undefined, 4)}\n`;
}

/** @throws CommandFailed unless the repository has the first tags, and none of the others */
async function expectTags(
  registry: string,
  repository: string,
  there: readonly string[],
  gone: readonly string[],
): Promise<void> {
  const answer = await fetch(`http://${registry}/v2/${repository}/tags/list`);
  const { tags } = (await answer.json()) as { readonly tags: readonly string[] };
  console.log(`\n${registry}/${repository} has ${there.join(', ')}, and no ${gone.join(', ')} any more.`);
  if (there.every((tag) => tags.includes(tag)) && !gone.some((tag) => tags.includes(tag))) return;
  throw new CommandFailed(`looking at the tags of ${repository} (${tags.join(', ')})`, 3);
}

/** Loopback hosts with these versions, and the flags that name them. */
async function upstreamOf(
  dir: string,
  versions: SampleVersions,
): Promise<{ readonly flags: readonly string[]; stop(): Promise<void> }> {
  const list = ([name, all]: readonly [string, readonly string[]]): string => `${name} ${all.join(', ')}`;
  console.log(`\nSample upstream on loopback: ${Object.entries(versions).map(list).join('; ')}.`);
  const upstream = await startSampleUpstream({ dir, sizeMiB, versions });
  return {
    flags: upstream.upstreamFlags.flatMap((flag) => ['--upstream', flag]),
    stop: () => upstream.stop(),
  };
}

/** More than this of an increment that the site has is a fault: places in the object store have small files of their own. */
const mostAgain = 64 * 1024;

/** @throws CommandFailed when the increment carries what the first bundle brought */
async function compareSizes(full: string, increment: string): Promise<void> {
  const blobsOf = async (folder: string) =>
    parseBundleDocument(await readFile(join(folder, 'bundle.json')), folder).blobs;
  const [before, after] = [await blobsOf(full), await blobsOf(increment)];
  const sum = (blobs: typeof before): number => blobs.reduce((bytes, { size }) => bytes + size, 0);
  const known = new Set(before.map(({ digest }) => digest));
  const again = sum(after.filter(({ digest }) => known.has(digest)));
  console.log(
    `\nThe first bundle carries ${formatBytes(sum(before))}, the increment ${formatBytes(sum(after))}, of which the site has ${formatBytes(again)}.`,
  );
  if (again > mostAgain) throw new CommandFailed('comparing the bundles', 3);
}
