/**
 * Lists of Talos versions, in a registry and in an object store: a version that goes is offered no more; those of the site's
 * own stay. The list itself is never deleted.
 */
import type { PrunePlan } from '@omni-airgap/format';
import type { ObjectSink } from '@omni-airgap/objects';
import { parseStrictObject } from '@omni-airgap/oci/base';
import {
  Annotation,
  collect,
  collectVerified,
  type Descriptor,
  descriptorOf,
  digestOf,
  fetchManifest,
} from '@omni-airgap/oci/model';
import type { RepositoryClient } from '@omni-airgap/oci/registry';
import { versionsPath } from '@omni-airgap/talos';
import { maxVersionListBytes, parseVersionList } from '../targets/version-list.ts';
import type { TagRewrite } from './repository.ts';

/** A list as it is to be. */
export interface ObjectRewrite {
  readonly plan: PrunePlan['objectRewrites'][number];
  readonly bytes: Uint8Array;
}

/**
 * @param versions that go
 * @returns undefined where the tag has no list, or one without them
 * @throws BAD_DOCUMENT, DIGEST_MISMATCH, DENIED, UPSTREAM, NETWORK
 */
export async function rewriteTaggedList(
  repository: RepositoryClient,
  tag: string,
  versions: ReadonlySet<string>,
  signal?: AbortSignal,
): Promise<TagRewrite | undefined> {
  const there = await repository.resolve(tag, signal);
  if (there === undefined) return undefined;
  const { bytes, manifest } = await fetchManifest(repository, there, signal);
  if (manifest.kind !== 'image') return undefined;
  const at = manifest.layers.findIndex((layer) => layer.annotations?.[Annotation.title] === versionsPath);
  const layer = manifest.layers[at];
  if (layer === undefined) return undefined;
  const what = `${repository.path}:${tag}`;
  const list = await collectVerified(repository.fetch(layer, signal), layer, maxVersionListBytes, what);
  const without = withoutVersions(list, versions, what);
  if (without === undefined) return undefined;
  const blob = { descriptor: descriptorOf(layer.mediaType, without.bytes), bytes: without.bytes };
  const document = parseStrictObject(bytes, { what });
  const layers = (document['layers'] as readonly object[]).map((one, i) =>
    i === at ? { ...one, digest: blob.descriptor.digest, size: blob.descriptor.size } : one,
  );
  const rewritten = Buffer.from(JSON.stringify({ ...document, layers }));
  const descriptor: Descriptor = descriptorOf(there.mediaType, rewritten);
  const { removed, kept } = without;
  const places = { from: there.digest, to: descriptor.digest };
  return {
    plan: { repository: repository.path, tag, ...places, removed, kept },
    manifest: { descriptor, bytes: rewritten },
    blob,
  };
}

/** As rewriteTaggedList, for the list of an object store. @throws BAD_DOCUMENT, DISK, DENIED, UPSTREAM, NETWORK */
export async function rewriteObjectList(
  sink: ObjectSink,
  versions: ReadonlySet<string>,
  signal?: AbortSignal,
): Promise<ObjectRewrite | undefined> {
  if (versions.size === 0 || (await sink.head(versionsPath, signal)) === undefined) return undefined;
  const what = `${sink.url}/${versionsPath}`;
  const list = await collect(sink.get(versionsPath, signal), maxVersionListBytes, what);
  const without = withoutVersions(list, versions, what);
  if (without === undefined) return undefined;
  const { bytes, removed, kept } = without;
  const places = { from: digestOf(list), to: digestOf(bytes) };
  return { plan: { key: versionsPath, ...places, removed, kept }, bytes };
}

function withoutVersions(
  list: Uint8Array,
  versions: ReadonlySet<string>,
  what: string,
): { readonly bytes: Uint8Array; removed: string[]; readonly kept: number } | undefined {
  const all = parseVersionList(list, what);
  const removed = all.filter((version) => versions.has(version));
  if (removed.length === 0) return undefined;
  const kept = all.filter((version) => !versions.has(version));
  return { bytes: Buffer.from(`${JSON.stringify(kept)}\n`), removed, kept: kept.length };
}
