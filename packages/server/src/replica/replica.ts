/**
 * A server without a state of its own, over the registry and the bucket that `load` filled: any number of them answer the same.
 * It connects to these two and to nobody else. What clients make and ask for lies there too.
 */
import { hostsOf, type ObjectStoreTarget, openBucket, plainHttpHostsOf } from '@omni-airgap/objects';
import { CodedError } from '@omni-airgap/oci/base';
import { type NetworkSettings, openNetwork } from '@omni-airgap/oci/registry';
import { publicFactoryHost, schematicRepository } from '@omni-airgap/talos';
import type { Backend } from '../backend.ts';
import type { Assets } from './assets.ts';
import { BucketAssets } from './bucket-assets.ts';
import { type Target, TargetsCondition } from './condition.ts';
import { artifactShape, BucketDocuments, type Documents, RegistryDocuments } from './documents.ts';
import { LoadedHoldings } from './loaded-holdings.ts';
import { LoadedImages } from './loaded-images.ts';
import { LoadedIndex } from './loaded-index.ts';
import { Redirects } from './redirects.ts';
import { RegistryAssets } from './registry-assets.ts';
import { RegistryNames, type RegistryPlace } from './registry-names.ts';
import { Sealing } from './sealing.ts';
import { SharedSchematics, schematicShape } from './shared-schematics.ts';
import { SharedWishes } from './shared-wishes.ts';
import { UpstreamCounts } from './upstream-counts.ts';

export interface ReplicaOptions {
  readonly registry: RegistryPlace;
  /** Left out: boot assets come from the registry too. */
  readonly objectStore?: ObjectStoreTarget | undefined;
  readonly network: NetworkSettings;
  /** 32 bytes, the same for all replicas; left out: schematics with a secret are refused. */
  readonly stateKey?: Uint8Array | undefined;
  /** Sends clients to registry and object store where they can read content themselves; left out, all passes through here. */
  readonly redirect?:
    | {
        /** How clients reach the object store; left out: objects pass through here. */
        readonly publicEndpoint?: URL | undefined;
      }
    | undefined;
  /** Told what an operator should know: a target that stops answering, wrong bytes, what could not be stored. */
  readonly onProblem?: ((message: string) => void) | undefined;
}

/** A client waits: long pauses between attempts help nobody. */
const tries = 3;
/** Longer, and the client that waits has given up. */
const headersTimeoutMs = 20_000;
/** To the registry, and to the object store: each client that reads slowly holds one. As many as clients are let in. */
const connections = 4096;
/** Below the prefix of registry and bucket, what replicas keep for each other. */
const folders = { wishes: 'omni-airgap/wishes', sealed: 'omni-airgap/schematics' } as const;
const types = {
  wish: 'application/vnd.omni-airgap.wish.v1',
  sealed: 'application/vnd.omni-airgap.sealed-schematic.v1',
} as const;

/**
 * Asks nobody anything yet: a replica starts while the registry is down, and says so when it is asked for its health.
 * @throws USAGE, CONFIG, NO_INPUT for settings that cannot be used
 */
export async function openReplica(options: ReplicaOptions): Promise<Backend> {
  const { registry, objectStore, stateKey, onProblem = () => {} } = options;
  if (objectStore?.kind === 'directory') {
    throw new CodedError(
      'USAGE',
      '--object-store: serve reads boot assets from s3://BUCKET[/PREFIX], not from a folder',
    );
  }
  const sealing = stateKey === undefined ? undefined : new Sealing(stateKey);
  const hosts = [registry.host, ...hostsOf(objectStore)];
  const upstream = new UpstreamCounts(registry.host, hostsOf(objectStore));
  const plainHttp = [...options.network.plainHttp, ...plainHttpHostsOf(objectStore)];
  const network = await openNetwork(
    { ...options.network, plainHttp },
    {
      ...{
        hosts,
        identifyTo: hosts,
        allowPrivate: true,
        connections,
        tries,
        headersTimeoutMs,
        lean: true,
        egressLog: upstream,
      },
      onNote: onProblem,
    },
  );
  const closing = new AbortController();
  const { signal } = closing;
  const names = new RegistryNames(registry);
  const client = network.registry(registry.host);
  const bucket = objectStore && (await openBucket(objectStore.settings, network, tries));
  const place = registry.prefix === '' ? registry.host : `${registry.host}/${registry.prefix}`;
  const targets: Target[] = [
    { name: 'registry', place, ping: (stop) => client.ping(names.below(schematicRepository), stop) },
  ];
  if (bucket !== undefined) {
    const ping = async (stop: AbortSignal): Promise<void> => void (await bucket.look('versions', stop));
    targets.push({ name: 'object store', place: bucket.url, ping });
  }
  const condition = new TargetsCondition(targets, signal, onProblem);
  const redirects =
    options.redirect &&
    new Redirects({
      gate: network.gate,
      registry: client.origin,
      publicEndpoint: options.redirect.publicEndpoint,
      closing: signal,
    });
  const images = new LoadedImages(client, names, condition, redirects, signal);
  const inBucket = bucket && new BucketDocuments(bucket, 'schematics', 'application/yaml');
  const inRegistry = new RegistryDocuments(
    client.repository(names.loaded(publicFactoryHost, schematicRepository)),
    schematicShape,
  );
  /** What only replicas read. */
  const own = (folder: string, type: string): Documents =>
    bucket === undefined
      ? new RegistryDocuments(client.repository(names.below(folder)), artifactShape(type))
      : new BucketDocuments(bucket, folder, type);
  const assets: Assets[] =
    bucket === undefined ? [] : [new BucketAssets(bucket, condition, redirects, signal)];
  assets.push(new RegistryAssets(images, names, (stop) => holdings.schematics(stop), signal));
  const holdings = new LoadedHoldings({ images, names, assets, schematics: inBucket, closing: signal });
  return {
    images,
    index: new LoadedIndex(images, names, signal),
    holdings,
    made: new SharedSchematics({
      plain: inBucket === undefined ? [inRegistry] : [inBucket, inRegistry],
      sealed: own(folders.sealed, types.sealed),
      ...{ sealing, onProblem },
    }),
    wishes: new SharedWishes(own(folders.wishes, types.wish), signal, onProblem),
    condition,
    upstream,
    isRedirecting: redirects !== undefined,
    readOnly: `push to ${place}, the registry behind this server`,
    unreachable: () => [],
    close: async () => {
      closing.abort();
      bucket?.close();
      await network.close();
    },
  };
}
