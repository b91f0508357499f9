/**
 * Doubles of the public hosts that a mirror is fetched from, on loopback, with sample content: for the demo, the
 * tests, the bench, and for trying things by hand.
 */
import { Layout } from '../../packages/oci/src/layout/index.ts';
import { createServer } from '../../packages/server/src/index.ts';
import { sampleContent } from './content.ts';
import { factory, storageHost } from './factory.ts';
import { blobHost, ghcr, ghcrHost } from './ghcr.ts';
import { Host, type SeenRequest } from './host.ts';
import { currentVersions, factoryHost, fullSize, type SampleVersions } from './versions.ts';

const kubernetesHost = 'registry.k8s.io';

export interface SampleUpstreamOptions {
  /** Where the content is made, or was made before. */
  readonly dir: string;
  /** About how much there is to fetch; default 300. */
  readonly sizeMiB?: number;
  /** What there is; default the current versions alone. */
  readonly versions?: SampleVersions;
  /** Another seed gives other digests; default 1. */
  readonly seed?: number;
  /** Milliseconds the factory takes when it is first asked for a file or installer; default 200. */
  readonly buildMs?: number;
  /** Milliseconds a registry token is good for; default 5 minutes. */
  readonly tokenMs?: number;
  /** Milliseconds a signed URL is good for; default 5 minutes. */
  readonly urlMs?: number;
  /** Paths by file name: media that are served as they are, for every schematic, instead of generated ones. */
  readonly mediaFiles?: Readonly<Record<string, string>>;
  readonly onRequest?: (seen: SeenRequest) => void;
}

export interface SampleUpstream {
  /** Base URL by host. */
  readonly urls: Readonly<Record<string, string>>;
  /** `HOST=URL`, for one `--upstream` each. */
  readonly upstreamFlags: readonly string[];
  /** PEM: checks the signatures of all images but the factory's installers. */
  readonly publisherKey: string;
  stop(): Promise<void>;
}

/** Makes the content when it is not there, and starts all hosts. */
export async function startSampleUpstream(options: SampleUpstreamOptions): Promise<SampleUpstream> {
  const {
    dir,
    sizeMiB = fullSize,
    seed = 1,
    versions = currentVersions,
    buildMs = 200,
    tokenMs = 300_000,
    urlMs = 300_000,
    mediaFiles,
    onRequest,
  } = options;
  const content = await sampleContent(dir, seed, sizeMiB, versions, mediaFiles);
  const registryOf = async (host: string) =>
    createServer({ source: await Layout.open(content.layoutOf(host)) });
  const github = ghcr({
    registry: await registryOf(ghcrHost),
    layout: content.layoutOf(ghcrHost),
    tokenMs,
    urlMs,
  });
  const talos = await factory({ content, buildMs, urlMs });
  const kubernetes = await registryOf(kubernetesHost);
  const hosts = [
    new Host(ghcrHost, github.ghcr, onRequest),
    new Host(blobHost, github.blobs, onRequest),
    new Host(factoryHost, talos.factory, onRequest),
    new Host(storageHost, talos.storage, onRequest),
    new Host(kubernetesHost, (request, response) => kubernetes.listener(request, response), onRequest),
  ];
  await Promise.all(hosts.map((host) => host.listen()));
  return {
    urls: Object.fromEntries(hosts.map(({ name, url }) => [name, url])),
    upstreamFlags: hosts.map(({ name, url }) => `${name}=${url}`),
    publisherKey: content.publisherKey.publicKey,
    stop: async () => {
      await Promise.all(hosts.map((host) => host.stop()));
    },
  };
}
