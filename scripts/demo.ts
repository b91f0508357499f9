/**
 * The whole main job on one machine, without privileges: a sample upstream on loopback, then the real command from
 * init to load, into a registry and an object store that begin empty, and a comparison of what arrived.
 */

import { createHash } from 'node:crypto';
import { createReadStream, existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join, normalize, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { messageOf, systemCodeOf } from '../packages/oci/src/base/index.ts';
import { Copier } from '../packages/oci/src/index.ts';
import { Layout } from '../packages/oci/src/layout/index.ts';
import { openNetwork } from '../packages/oci/src/registry/index.ts';
import { parseLockDocument } from '../packages/store/src/index.ts';
import { CliProcesses, CommandFailed, shownProgram, title } from './lib/cli-process.ts';
import { secondMonthDemo } from './lib/second-month.ts';
import { startSampleUpstream } from './sample-upstream/sample-upstream.ts';

const marker = '.omni-airgap-demo';

type DemoKind = 'sample' | 'online' | 'second-month';

/** A folder that the demo must not use. The message says why and what to do. */
class FolderRefused extends Error {}

/**
 * @returns whether an earlier demo of this kind has been here
 * @throws FolderRefused for a folder with other things in it, or of the other kind
 */
async function claimFolder(folder: string, kind: DemoKind): Promise<boolean> {
  await mkdir(folder, { recursive: true });
  const entries = await readdir(folder);
  if (entries.length === 0) {
    await writeFile(join(folder, marker), `${kind}\n`);
    return false;
  }
  const other = `name another folder with --dir`;
  if (!entries.includes(marker)) throw new FolderRefused(`${folder} was not made by the demo; ${other}`);
  const made = (await readFile(join(folder, marker), 'utf8')).trim();
  if (made !== kind) throw new FolderRefused(`${folder} belongs to a demo of the kind "${made}"; ${other}`);
  return true;
}

const help = `Usage: ./scripts/demo [--dir DIR] [--online | --second-month]

Runs init, plan, fetch, keygen, bundle, verify and load on this machine, and shows every command.

  --dir DIR       where everything is put (default: demo, or demo-second-month); needs 1.5 GB
  --online        fetch from ghcr.io, factory.talos.dev and registry.k8s.io, not from the sample on
                  loopback: some GB, and the factory takes minutes for a first build
  --second-month  show an upgrade instead: upstream has newer versions, and outdated, plan with the
                  upgrade path, fetch --update, an increment, load and prune bring the site there
  --help          this text

Exit codes: those of the command that failed; 2 for a folder that is not the demo's own; 130 interrupted.`;

/** What is pulled back out of the site's registry, and what is looked at in its object store. */
const image = 'ghcr.io/siderolabs/omni:v1.10.4';
const imageInside = { repository: 'siderolabs/omni', tag: 'v1.10.4' };
const mediaFile = 'metal-amd64.iso';

const cli = new CliProcesses();

async function demo(dir: string, online: boolean): Promise<void> {
  const at = (name: string): string => join(dir, name);
  if (await claimFolder(dir, online ? 'online' : 'sample')) {
    console.log(`${dir} has what an earlier demo made: each step reuses it.`);
  }
  const upstream = online ? [] : await sampleUpstream(at('upstream'));
  const config = ['--config', at('mirror.yaml')];
  const store = ['--store', at('store')];

  title('Outside: what to carry, and what that means');
  if (existsSync(at('mirror.yaml'))) console.log(`\n${at('mirror.yaml')} already exists: init is skipped.`);
  else await cli.run('init', ...config);
  await cli.run('plan', ...config, ...store, ...upstream);

  title('Outside: fetch it, then pack and sign it');
  await cli.run('fetch', ...config, ...store, ...upstream);
  if (existsSync(at('site.key'))) console.log(`\n${at('site.key')} already exists: keygen is skipped.`);
  else await cli.run('keygen', '--out', at('site'));
  await cli.run('bundle', ...store, '--out', at('media'), '--sign-key', at('site.key'));

  title('Inside: check the media, then load them');
  const media = ['--bundle', at('media'), '--verify-key', at('site.pub')];
  await cli.run('verify', ...media);
  const started = await cli.serve(
    ...['serve', '--writable', at('registry'), '--listen', '127.0.0.1:0', '--quiet', '--json'],
  );
  const registry = new URL((JSON.parse(started) as { url: string }).url).host;
  await cli.run(
    ...['load', ...media, '--registry', registry, '--plain-http', registry],
    ...['--object-store', `file://${resolve(at('objects'))}`, '--receipt', at('receipt.json')],
    ...['--handoff', at('handoff'), '--state', at('state')],
  );

  title('Inside: is it what was outside?');
  const lock = parseLockDocument(await readFile(at('store/lock.json')));
  const outside = lock.items.find((item) => item.name === image)?.descriptor.digest;
  const pulled = await pull(registry, at('pulled'));
  compare(`${registry}/${imageInside.repository}:${imageInside.tag}, pulled`, outside, pulled);
  const set = lock.items.find((item) => item.files?.some((file) => file.name === mediaFile));
  const [, schematic = '', version = ''] = /([a-f0-9]{64}):(v[^:]+)$/.exec(set?.name ?? '') ?? [];
  const object = at(join('objects/image', schematic, version, mediaFile));
  compare(object, set?.files?.find((file) => file.name === mediaFile)?.digest, await digestOfFile(object));

  await cli.stop();
  console.log(closing(dir, online));
}

async function secondMonth(dir: string): Promise<void> {
  if (await claimFolder(dir, 'second-month'))
    console.log(`${dir} has what an earlier demo made: each step reuses it.`);
  await secondMonthDemo(dir, cli);
  await cli.stop();
  console.log(`\n== Done. Nothing of it runs any more. Everything is in ${dir}. Clean up: rm -r ${dir}`);
}

async function sampleUpstream(folder: string): Promise<readonly string[]> {
  console.log(`Sample upstream on loopback, content in ${folder} (seeded: the same every time).`);
  const { upstreamFlags } = await startSampleUpstream({ dir: folder });
  return upstreamFlags.flatMap((flag) => ['--upstream', flag]);
}

/** Pulls the image with all its platforms into an empty layout. @returns the digest it has there */
async function pull(registry: string, folder: string): Promise<string | undefined> {
  await rm(folder, { recursive: true, force: true });
  const layout = await Layout.open(folder, { create: true });
  const network = await openNetwork(
    { upstreams: [], allowHosts: [], plainHttp: [registry], env: {} },
    { hosts: [registry], allowPrivate: true },
  );
  try {
    const repository = network.registry(registry).repository(imageInside.repository);
    const root = await repository.resolve(imageInside.tag);
    if (root === undefined) return undefined;
    await new Copier().copy(repository, layout, root);
    await layout.tag(root, `${registry}/${imageInside.repository}:${imageInside.tag}`);
    return root.digest;
  } finally {
    await network.close();
  }
}

async function digestOfFile(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path, { highWaterMark: 1024 * 1024 })) hash.update(chunk);
  return `sha256:${hash.digest('hex')}`;
}

function compare(what: string, outside: string | undefined, inside: string | undefined): void {
  console.log(`\n${what}\n  outside  ${outside ?? 'missing'}\n  inside   ${inside ?? 'missing'}`);
  if (outside === undefined || outside !== inside) throw new CommandFailed(`comparing ${what}`, 3);
  console.log('  the same');
}

function closing(dir: string, online: boolean): string {
  const at = (name: string): string => join(dir, name);
  const run = shownProgram();
  const media = `--bundle ${at('media')} --verify-key ${at('site.pub')}`;
  const places = [
    ...(online ? [] : [['upstream', 'content of the sample upstream']]),
    ['mirror.yaml', 'what was asked for'],
    ['store', 'what was fetched: an OCI image layout, with lock.json and egress.jsonl'],
    ['media', 'the bundle, as it lies on a disk that is carried across'],
    ['site.key', 'signs bundles; site.pub checks them'],
    ['registry', "content of the site's registry (an OCI image layout again)"],
    ['objects', "the site's object store: Talos media and schematics"],
    ['receipt.json', 'what was placed where'],
    ['handoff', 'configuration for Omni, the Image Factory and Talos; its README.txt lists the next steps'],
    ['state', 'what load remembers, so that an older bundle is noticed'],
    ['pulled', 'the image that was pulled back'],
  ].map(([name = '', what = '']) => `  ${at(name).padEnd(dir.length + 15)}${what}`);
  return `
== Done. Nothing of it runs any more. Where everything is:
${places.join('\n')}

Try next (all of it works without the upstream and without a network):
  ${run} verify ${media}
  (cd ${at('media')} && sha256sum -c SHA256SUMS)
  ${run} bundle --store ${at('store')} --out ${at('media-small')} --volume-size 100MB --sign-key ${at('site.key')}
  ${run} serve ${media} --listen 127.0.0.1:5000
  and in another terminal:
  curl http://127.0.0.1:5000/v2/siderolabs/omni/tags/list
  skopeo inspect --tls-verify=false docker://127.0.0.1:5000/siderolabs/omni:v1.10.4
Once more, to see that nothing is done twice: ./scripts/demo${dir === 'demo' ? '' : ` --dir ${dir}`}
Clean up: rm -r ${dir}`;
}

/** @returns the exit code */
async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      dir: { type: 'string' },
      online: { type: 'boolean', default: false },
      'second-month': { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    console.log(help);
    return 0;
  }
  const { online, 'second-month': isSecondMonth } = values;
  if (online && isSecondMonth) {
    console.error('demo: --second-month needs the sample: it moves upstream; leave out --online');
    return 2;
  }
  try {
    if (isSecondMonth) await secondMonth(normalize(values.dir ?? 'demo-second-month'));
    else await demo(normalize(values.dir ?? 'demo'), online);
    return 0;
  } finally {
    await cli.stop();
  }
}

let interrupted = false;
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(signal, () => {
    interrupted = true;
    void cli.stop().then(() => {
      console.error('demo: stopped; the same command resumes where it left off');
      process.exit(130);
    });
  });
}
try {
  process.exit(await main());
} catch (error) {
  if (!interrupted) {
    console.error(`demo: ${messageOf(error)}`);
    const usage = error instanceof FolderRefused || systemCodeOf(error)?.startsWith('ERR_PARSE_ARGS');
    process.exit(error instanceof CommandFailed ? error.exitCode : usage ? 2 : 1);
  }
}
