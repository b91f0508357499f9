/** A site after `load`: a registry and a bucket with what was carried, and replicas over them. */
import { createHash } from 'node:crypto';
import { type S3Double, startS3Double } from '@omni-airgap/objects/testing';
import { walk } from '@omni-airgap/oci';
import type { Layout } from '@omni-airgap/oci/layout';
import { Annotation, collect, parseReference } from '@omni-airgap/oci/model';
import {
  type RegistryDouble,
  type RegistryDoubleOptions,
  startRegistryDouble,
} from '@omni-airgap/oci/testing';
import { artifactPath, parseArtifact } from '@omni-airgap/talos';
import { onTestFinished } from 'vitest';
import { openReplica, type ReplicaOptions, type ServerOptions } from '../src/index.ts';
import { carried } from './carried.ts';
import { type Running, start } from './support.ts';

export interface ReplicaSite {
  readonly layout: Layout;
  /** Of the schematic that was carried. */
  readonly id: string;
  readonly registry: RegistryDouble;
  readonly bucket: S3Double;
  /** Path of a repository in the registry, as `load` names it. */
  at(name: string): string;
  /** Another server over the same registry and bucket. */
  replica(options?: Partial<ReplicaOptions>, server?: ServerOptions): Promise<Running>;
  /** What an operator was told, by all replicas. */
  readonly problems: readonly string[];
}

export interface SiteOptions {
  readonly prefix?: string;
  readonly keepHost?: boolean;
  /** False: registry only. */
  readonly hasBucket?: boolean;
  readonly registry?: RegistryDoubleOptions;
}

const maxBytes = 1024 ** 3;

export async function replicaSite({
  prefix = '',
  keepHost = false,
  hasBucket = true,
  registry: behavior,
}: SiteOptions = {}): Promise<ReplicaSite> {
  const { layout, id } = await carried();
  const registry = await startRegistryDouble(behavior);
  onTestFinished(() => registry.close());
  const bucket = await startS3Double();
  const problems: string[] = [];
  const at = (name: string): string => {
    const { registry: host, repository } = parseReference(name);
    return [prefix, keepHost ? host : '', repository].filter((part) => part !== '').join('/');
  };
  for await (const [name, root] of layout.names())
    await loadName({ layout, registry, bucket, at }, name, root);
  return {
    ...{ layout, id, registry, bucket, at, problems },
    async replica(options = {}, server = {}) {
      const objectStore = {
        kind: 's3',
        settings: {
          ...{ bucket: 'talos', prefix: 'site', region: 'us-east-1' },
          ...{ accessKeyId: 'key', secretAccessKey: 'secret', endpoint: new URL(bucket.url) },
        },
      } as const;
      const replica = await openReplica({
        registry: { host: registry.host, prefix, keepHost },
        objectStore: hasBucket ? objectStore : undefined,
        network: { upstreams: [], allowHosts: [], plainHttp: [registry.host], env: {} },
        onProblem: (message) => problems.push(message),
        ...options,
      });
      return start({ replica, ...server });
    },
  };
}

async function loadName(
  { layout, registry, bucket, at }: Pick<ReplicaSite, 'layout' | 'registry' | 'bucket' | 'at'>,
  name: string,
  root: Parameters<Layout['fetch']>[0],
): Promise<void> {
  const { tag } = parseReference(name);
  const repository = registry.repository(at(name));
  for await (const { descriptor, kind } of walk(layout, [root])) {
    const bytes = await collect(layout.fetch(descriptor), maxBytes, name);
    const isRoot = descriptor.digest === root.digest && tag !== undefined;
    if (kind === 'manifest') repository.addManifest(bytes, descriptor.mediaType, ...(isRoot ? [tag] : []));
    else repository.addBlob(bytes);
  }
  const artifact = parseArtifact(parseReference(name));
  if (artifact === undefined) return;
  const { layers } = JSON.parse(
    Buffer.from(await collect(layout.fetch(root), maxBytes, name)).toString('utf8'),
  ) as { layers: Parameters<Layout['fetch']>[0][] };
  for (const layer of layers) {
    const key = artifactPath(artifact, layer.annotations?.[Annotation.title] ?? '');
    if (key !== undefined)
      putObject(bucket, key, Buffer.from(await collect(layout.fetch(layer), maxBytes, name)));
  }
}

/** As `load` stores one. */
export function putObject(bucket: S3Double, key: string, bytes: Buffer): void {
  const md5 = createHash('md5').update(bytes).digest('hex');
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  bucket.objects.set(`talos/site/${key}`, { bytes, etag: md5, headers: { 'x-amz-meta-sha256': sha256 } });
}

/** Requests of a method to paths that match, of a registry or bucket. */
export function asked(
  double: { readonly requests: readonly { readonly method: string; readonly path: string }[] },
  method: string,
  path: RegExp,
): number {
  return double.requests.filter((one) => one.method === method && path.test(one.path)).length;
}
