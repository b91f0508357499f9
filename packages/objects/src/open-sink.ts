/** The object store that a user names: a bucket or a folder. */
import { isAbsolute } from 'node:path';
import { fileURLToPath } from 'node:url';
import { CodedError, printable } from '@omni-airgap/oci/base';
import type { Network } from '@omni-airgap/oci/registry';
import { DirectorySink } from './directory-sink.ts';
import type { ObjectSink } from './object-sink.ts';
import type { S3Bucket } from './s3-bucket.ts';
import { type Addressing, parseS3Location, readS3Settings, type S3Settings } from './s3-settings.ts';
import type { SinkOptions } from './s3-sink.ts';

export type ObjectStoreTarget =
  | { readonly kind: 'directory'; readonly root: string }
  | { readonly kind: 's3'; readonly settings: S3Settings };

/**
 * @param text `s3://BUCKET[/PREFIX]` or `file:///DIR`
 * @throws USAGE, CONFIG
 */
export async function parseObjectStore(
  text: string,
  endpoint: string | undefined,
  env: Readonly<Record<string, string | undefined>>,
  addressing?: Addressing,
): Promise<ObjectStoreTarget> {
  if (!text.startsWith('file:')) {
    return { kind: 's3', settings: await readS3Settings(parseS3Location(text), endpoint, env, addressing) };
  }
  const url = URL.parse(text);
  const root = url !== null && url.host === '' && url.search === '' ? fileURLToPath(url) : '';
  if (!isAbsolute(root) || root === '/') {
    throw new CodedError(
      'USAGE',
      `--object-store ${printable(text)}: write file:///DIR with an absolute folder`,
    );
  }
  return { kind: 'directory', root: root.replace(/\/+$/, '') };
}

/** Hosts that requests of an object store go to, with their ports; none for a folder. */
export function hostsOf(target: ObjectStoreTarget | undefined): readonly string[] {
  if (target?.kind !== 's3') return [];
  const { endpoint, bucket, addressing } = target.settings;
  return addressing === 'virtual' ? [endpoint.host, `${bucket}.${endpoint.host}`] : [endpoint.host];
}

/** Those of hostsOf that are reached by plain HTTP: naming an http endpoint is permission to use it. */
export function plainHttpHostsOf(target: ObjectStoreTarget | undefined): readonly string[] {
  return target?.kind === 's3' && target.settings.endpoint.protocol === 'http:' ? hostsOf(target) : [];
}

/**
 * The SDK is loaded only by those who have a bucket: it doubles the start-up time.
 * @param state folder for what this host knows of a bucket: uploads under way, objects that were read back
 */
export async function openSink(
  target: ObjectStoreTarget,
  network: Network,
  state: string,
  options: SinkOptions = {},
): Promise<ObjectSink> {
  if (target.kind === 'directory') return new DirectorySink(target.root);
  const { S3Sink } = await import('./s3-sink.ts');
  return new S3Sink(network.gate, target.settings, state, options);
}

/** A bucket to serve from. @param tries attempts for what may pass by itself */
export async function openBucket(settings: S3Settings, network: Network, tries?: number): Promise<S3Bucket> {
  const { S3Bucket } = await import('./s3-bucket.ts');
  return new S3Bucket(network.gate, settings, tries);
}
