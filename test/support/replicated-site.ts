/**
 * A site that scales out: Distribution, which keeps its blobs in a bucket of Ceph's gateway, and a bucket of boot assets, both
 * filled by `load`; replicas of `serve` over them, behind haproxy as docs/scaling.md configures it.
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { buildManifest, generatedBytes, startRegistryDouble } from '../../packages/oci/src/testing/index.ts';
import { schematicFrom } from '../../packages/talos/src/index.ts';
import { startSampleUpstream } from '../../scripts/sample-upstream/sample-upstream.ts';
import { kubernetesVersion, talosVersion } from '../../scripts/sample-upstream/versions.ts';
import { read } from '../repository.ts';
import { type CephGateway, cephCommands, startCeph } from '../services/ceph.ts';
import { command } from '../services/command.ts';
import { type Registry, startRegistry } from '../services/docker-registry.ts';
import { type Haproxy, startHaproxy } from '../services/haproxy.ts';
import { freePorts } from '../services/server-process.ts';
import { temporaryFolder } from '../services/temporary.ts';
import { makeCertificates } from '../services/tls.ts';
import { cliJson, type Ended, type RunningCli, startCli } from './cli.ts';
import { upstreamFlags, workspace } from './workspace.ts';

export const replicatedSiteCommands: readonly string[] = [
  ...cephCommands,
  'docker-registry',
  'haproxy',
  'openssl',
  'tar',
];

interface Asset {
  /** Below the URL of a replica or of the balancer. */
  readonly path: string;
  readonly digest: string;
  /** Bytes. */
  readonly size: number;
}

export interface Replica {
  /** `http://127.0.0.1:PORT`, the same after a restart. */
  readonly url: string;
  readonly pid: () => number;
  log(): string;
  start(): Promise<void>;
  kill(signal: NodeJS.Signals): void;
  readonly ended: () => Promise<Ended>;
}

export interface Balancer extends Pick<Haproxy, 'ask' | 'pid' | 'stop'> {
  readonly url: string;
  /** The same with TLS, by an authority of its own. */
  readonly secureUrl: string;
  /** Resolves when the health checks have found so many replicas up. */
  up(count: number): Promise<void>;
  /** Requests that a server of the backend has now. */
  sessions(server: string): Promise<number>;
}

export interface ReplicatedSite {
  readonly registry: Registry;
  readonly gateway: CephGateway;
  /** Where images are below the registry's host. */
  readonly prefix: string;
  /** The one blob of `acme/large:v1` that has a size, which is a real layer; and the ISO. */
  readonly largeBytes: number;
  readonly iso: Asset;
  /** What `serve` is told of its stores. */
  readonly storeFlags: readonly string[];
  replica(...more: readonly string[]): Promise<Replica>;
  balance(replicas: readonly Replica[]): Promise<Balancer>;
  /** What lies in a bucket and is no larger than a mebibyte. */
  objects(bucket: string): Promise<readonly { readonly key: string; readonly text: string }[]>;
  stop(): Promise<void>;
}

const mebibyte = 1024 * 1024;
const iso = 'metal-amd64.iso';
const prefix = 'site';

/** @param largeMiB of the layer of `quay.io/acme/large:v1`, and of the ISO */
export async function startReplicatedSite(largeMiB: number): Promise<ReplicatedSite> {
  const stops: (() => Promise<unknown>)[] = [];
  const stop = async (): Promise<void> => {
    for (const one of stops.splice(0).toReversed()) await one();
  };
  try {
    const gateway = await startCeph();
    stops.push(gateway.stop);
    const bucket = 'boot';
    await gateway.createBucket('registry');
    await gateway.createBucket(bucket);
    const registry = await startRegistry({ storage: { gateway, bucket: 'registry' } });
    stops.push(registry.stop);
    const media = await makeMedia(largeMiB);
    const storeFlags = [
      ...['--registry', `${registry.host}/${prefix}`, '--plain-http', registry.host],
      ...['--object-store', `s3://${bucket}/talos`, '--s3-endpoint', gateway.url],
    ];
    const env = {
      AWS_ACCESS_KEY_ID: gateway.accessKeyId,
      AWS_SECRET_ACCESS_KEY: gateway.secretAccessKey,
      AWS_REGION: gateway.region,
    };
    const outputs = ['--state', join(media.root, 'state'), '--handoff', join(media.root, 'handoff')];
    await cliJson(['load', ...media.flags, ...storeFlags, ...outputs], { env });
    return {
      registry,
      gateway,
      prefix,
      largeBytes: media.largeBytes,
      iso: media.iso,
      storeFlags,
      replica: (...more) => startReplica([...storeFlags, ...more], env, stops),
      balance: (replicas) => balance(replicas, stops),
      objects: (name) => smallObjects(gateway, name),
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function smallObjects(gateway: CephGateway, bucket: string) {
  const objects: { readonly key: string; readonly text: string }[] = [];
  for (let after = ''; ; ) {
    const list = await (
      await gateway.request(`${bucket}?list-type=2&start-after=${encodeURIComponent(after)}`)
    ).text();
    const entries = [...list.matchAll(/<Key>([^<]+)<\/Key>.*?<Size>(\d+)<\/Size>/gs)];
    for (const [, key = '', size] of entries) {
      after = key;
      if (Number(size) > mebibyte) continue;
      objects.push({ key, text: await (await gateway.request(`${bucket}/${key}`)).text() });
    }
    if (entries.length === 0 || !list.includes('<IsTruncated>true')) return objects;
  }
}

/** Signed media with a cluster's images, an image with a large layer, and boot assets. */
async function makeMedia(largeMiB: number) {
  const folder = temporaryFolder('replicated-site');
  const isoFile = join(folder, iso);
  await writeFile(isoFile, generatedBytes(23, largeMiB * mebibyte)());
  const upstream = await startSampleUpstream({
    dir: join(folder, 'upstream'),
    sizeMiB: 6,
    buildMs: 0,
    mediaFiles: { [iso]: isoFile },
  });
  const quay = await startRegistryDouble();
  const repository = quay.repository('acme/large');
  // A layer that can be unpacked, and that nothing makes smaller.
  await writeFile(join(folder, 'file'), generatedBytes(24, largeMiB * mebibyte)());
  await command('tar', ['--create', '--file', join(folder, 'layer.tar'), '--directory', folder, 'file']);
  const layerBytes = readFileSync(join(folder, 'layer.tar'));
  const layer = repository.addBlob(layerBytes, 'application/vnd.oci.image.layer.v1.tar');
  const configText = JSON.stringify({
    os: 'linux',
    architecture: 'amd64',
    config: {},
    rootfs: { type: 'layers', diff_ids: [layer.digest] },
  });
  const config = repository.addBlob(Buffer.from(configText), 'application/vnd.oci.image.config.v1+json');
  const manifestType = 'application/vnd.oci.image.manifest.v1+json';
  const { bytes } = buildManifest(manifestType, { config, layers: [layer] });
  repository.addManifest(bytes, manifestType, 'v1');
  try {
    const site = await workspace(
      `
images:
  - quay.io/acme/large:v1
  - ghcr.io/siderolabs/kubelet:${kubernetesVersion}
  - registry.k8s.io/kube-proxy:${kubernetesVersion}
  - registry.k8s.io/pause:3.10.1
media:
  - schematic: {customization: {}}
    versions: [${talosVersion}]
    files: [${iso}, kernel-amd64, initramfs-amd64.xz, cmdline-metal-amd64]
    installers: [metal]
`,
      join(folder, 'site'),
    );
    const flags = [...site.store, ...upstreamFlags({ ...upstream.urls, 'quay.io': quay.url })];
    await cliJson(['fetch', ...flags]);
    await cliJson(['bundle', ...site.bundle]);
    const digest = `sha256:${createHash('sha256').update(readFileSync(isoFile)).digest('hex')}`;
    const { id } = schematicFrom('customization: {}\n');
    return {
      root: folder,
      flags: site.media,
      largeBytes: layer.size,
      iso: { path: `/image/${id}/${talosVersion}/${iso}`, digest, size: largeMiB * mebibyte },
    };
  } finally {
    await upstream.stop();
    await quay.close();
  }
}

async function startReplica(
  flags: readonly string[],
  env: Readonly<Record<string, string>>,
  stops: (() => Promise<unknown>)[],
): Promise<Replica> {
  const [port = 0] = await freePorts(1);
  let running: RunningCli | undefined;
  const started = (): RunningCli => {
    if (running === undefined) throw new Error('the replica was not started');
    return running;
  };
  const replica: Replica = {
    url: `http://127.0.0.1:${port}`,
    pid: () => started().pid,
    log: () => started().stderr(),
    async start() {
      running = startCli(['serve', ...flags, '--listen', `127.0.0.1:${port}`, '--json'], {
        env,
        timeoutMs: 900_000,
      });
      const { until, stdout } = running;
      await until(() => stdout().includes('\n'));
    },
    kill: (signal) => started().kill(signal),
    ended: () => started().ended,
  };
  await replica.start();
  stops.push(async () => {
    replica.kill('SIGKILL');
    await replica.ended();
  });
  return replica;
}

async function balance(replicas: readonly Replica[], stops: (() => Promise<unknown>)[]): Promise<Balancer> {
  const [port = 0, securePort = 0] = await freePorts(2);
  const certificates = await makeCertificates('127.0.0.1');
  const pem = join(temporaryFolder('balancer'), 'factory.pem');
  await writeFile(pem, certificates.cert + certificates.ca + certificates.key);
  const url = `http://127.0.0.1:${port}`;
  const haproxy = await startHaproxy(
    (socket) => balancerConfiguration({ socket, port, securePort, pem, replicas }),
    async () => (await fetch(`${url}/readyz`).catch(() => undefined))?.status === 200,
  );
  stops.push(haproxy.stop);
  /** Lines of the backend's servers, fields as in the management guide of haproxy 2.6, section 9.1. */
  const servers = async (): Promise<readonly (readonly string[])[]> =>
    (await haproxy.ask('show stat -1 4 -1'))
      .split('\n')
      .filter((line) => line.startsWith('replicas,'))
      .map((line) => line.split(','));
  const up = async (count: number): Promise<void> => {
    const isUp = (fields: readonly string[]): boolean => fields[17]?.startsWith('UP') === true;
    while ((await servers()).filter(isUp).length !== count) await sleep(50);
  };
  const sessions = async (server: string): Promise<number> =>
    Number((await servers()).find(([, name]) => name === server)?.[4]);
  await up(replicas.length);
  return { ...haproxy, url, secureUrl: `https://127.0.0.1:${securePort}`, up, sessions };
}

/** The configuration in the page, with the addresses of this machine. @throws when the page has another form */
function balancerConfiguration(at: {
  readonly socket: string;
  readonly port: number;
  readonly securePort: number;
  readonly pem: string;
  readonly replicas: readonly Replica[];
}): string {
  const [, page = ''] = /^```haproxy\n(.*?)^```/ms.exec(read('docs/scaling.md')) ?? [];
  const servers = at.replicas.map(({ url }, i) => `    server replica-${i + 1} ${new URL(url).host}\n`);
  const replacements: readonly (readonly [RegExp, string])[] = [
    [/\/run\/haproxy\/admin\.sock/, at.socket],
    // More needs more open files than a test may ask for.
    [/maxconn 20000$/m, 'maxconn 2000'],
    [/bind :80$/m, `bind 127.0.0.1:${at.port}`],
    [/bind :443 ssl crt \S+/, `bind 127.0.0.1:${at.securePort} ssl crt ${at.pem}`],
    [/(?: {4}server replica-\d \S+\n)+/, servers.join('')],
  ];
  return replacements.reduce((text, [pattern, by]) => {
    if (!pattern.test(text))
      throw new Error(`docs/scaling.md: no ${pattern} in its configuration of haproxy`);
    return text.replace(pattern, by);
  }, page);
}
