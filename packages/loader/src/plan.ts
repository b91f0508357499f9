/** What a load would do: each name and key, whether it is there, and how many bytes would move. */

import type { ObjectSink } from '@omni-airgap/objects';
import { childrenOf, type Descriptor, fetchManifest, isManifestType } from '@omni-airgap/oci';
import pLimit from 'p-limit';
import type { PlannedObject } from './objects/object-plan.ts';
import { allOrFirst, type RegistryContext } from './registry/context.ts';
import { isGrowOnly } from './registry/grow-only.ts';
import type { Surveyed } from './registry/survey.ts';
import type { LoadSource } from './source.ts';

interface PlannedItem {
  /** Name in the bundle, or the key. */
  readonly name: string;
  readonly target: string;
  /** `unite`: what is there stays and what comes is added. */
  readonly action: 'store' | 'present' | 'unite' | 'replace';
  /** Bytes of its content that are not there yet; content that several share counts once. */
  readonly bytes: number;
}

export interface PlannedLoad {
  readonly bundle: string;
  readonly images: readonly PlannedItem[];
  readonly objects: readonly PlannedItem[];
  /** Bytes that would be sent. */
  readonly bytes: number;
}

export interface PlanInput {
  readonly bundles: LoadSource;
  readonly registry: RegistryContext | undefined;
  readonly names: readonly Surveyed[];
  readonly sink: ObjectSink | undefined;
  readonly objects: readonly PlannedObject[];
}

const lookupsAtOnce = 16;

/** @throws BAD_DOCUMENT, DIGEST_MISMATCH; DENIED, UPSTREAM, NETWORK */
export async function planLoad(input: PlanInput, signal?: AbortSignal): Promise<PlannedLoad> {
  const { bundles, registry, names, sink, objects } = input;
  const images = registry === undefined ? [] : await planImages(registry, names);
  const files = sink === undefined ? [] : await planFiles(sink, objects, signal);
  const bytes = [...images, ...files].reduce((sum, item) => sum + item.bytes, 0);
  return { bundle: bundles.document.id, images, objects: files, bytes };
}

async function planImages(
  context: RegistryContext,
  names: readonly Surveyed[],
): Promise<readonly PlannedItem[]> {
  const { source, signal } = context;
  const limit = pLimit(lookupsAtOnce);
  /** A blob that one repository has, or gets, is not sent again for another one. */
  const known = new Set<string>();
  const missingBelow = async (repository: string, descriptor: Descriptor): Promise<number> => {
    if (known.has(descriptor.digest)) return 0;
    known.add(descriptor.digest);
    const there = await limit(() => context.repository(repository).has(descriptor, signal));
    const own = there ? 0 : descriptor.size;
    if (!isManifestType(descriptor.mediaType)) return own;
    const { manifest } = await fetchManifest(source, descriptor, signal);
    const children: Descriptor[] = [];
    for (const child of childrenOf(manifest)) if (await source.has(child)) children.push(child);
    const below = await allOrFirst(children.map((child) => missingBelow(repository, child)));
    return below.reduce((sum, bytes) => sum + bytes, own);
  };
  return allOrFirst(
    names.map(async (name): Promise<PlannedItem> => {
      const { repository, tag, descriptor } = name;
      const at = `${context.target.host}/${repository}`;
      return {
        name: name.name,
        target: tag === undefined ? `${at}@${descriptor.digest}` : `${at}:${tag}`,
        action: await actionOf(context, name),
        bytes: await missingBelow(repository, descriptor),
      };
    }),
  );
}

async function actionOf(context: RegistryContext, name: Surveyed): Promise<PlannedItem['action']> {
  const { there, tag, repository, descriptor } = name;
  if (tag === undefined) {
    return (await context.repository(repository).has(descriptor, context.signal)) ? 'present' : 'store';
  }
  if (there === undefined) return 'store';
  if (there.digest === descriptor.digest) return 'present';
  return isGrowOnly(repository, tag) ? 'unite' : 'replace';
}

async function planFiles(
  sink: ObjectSink,
  objects: readonly PlannedObject[],
  signal?: AbortSignal,
): Promise<readonly PlannedItem[]> {
  const limit = pLimit(lookupsAtOnce);
  return allOrFirst(
    objects.map(({ key, descriptor, isVersionList, from }) =>
      limit(async (): Promise<PlannedItem> => {
        const target = `${sink.url}/${key}`;
        if (from === key) return { name: key, target, action: 'present', bytes: 0 };
        const there = await sink.head(key, signal);
        const isSame = there?.size === descriptor.size && there.digest === descriptor.digest;
        const replaces = isVersionList ? 'unite' : 'replace';
        return {
          name: key,
          target,
          action: there === undefined ? 'store' : isSame ? 'present' : replaces,
          bytes: isSame ? 0 : descriptor.size,
        };
      }),
    ),
  );
}
