/**
 * What a registry has under the names of a bundle, looked up before anything is moved. A name that stands for
 * something else is a conflict, unless its kind of tag only ever grows. Fault F42.
 */

import { CodedError, settleAll } from '@omni-airgap/oci/base';
import { type Descriptor, fetchManifest, isIndexType, isManifestType } from '@omni-airgap/oci/model';
import pLimit from 'p-limit';
import { isRefusal, type Missing } from '../../missing.ts';
import type { Choice } from '../../selection.ts';
import { type PlacedName, placeNames } from '../names.ts';
import type { RegistryContext, SiteSource } from './context.ts';
import { isGrowOnly } from './grow-only.ts';

export interface TargetState extends PlacedName {
  /** What the tag stands for in the registry now. */
  readonly there: Descriptor | undefined;
  /** True when the name stands for the one platform that is carried instead of its index. */
  readonly flattened: boolean;
}

/** A registry that is loaded into, and what the names of the bundles stand for there. */
export interface OpenRegistry {
  readonly context: RegistryContext;
  readonly names: readonly TargetState[];
}

export interface TargetStateOptions {
  readonly keepHost: boolean;
  readonly overwriteTags: boolean;
  /** Indexes of which one platform is carried become that platform's image. */
  readonly flatten: boolean;
}

/** Lookups at once: each is one small request. */
const lookupsAtOnce = 16;
/** Conflicts that a message names. */
const namedConflicts = 5;

/**
 * @param roots names of the bundle that are loaded
 * @param missing told which of them the registry refuses to look up
 * @throws CONFLICT naming what differs; DENIED, UPSTREAM, NETWORK
 */
export async function readTargetStates(
  context: RegistryContext,
  roots: Choice['chosen'],
  missing: Missing,
  options: TargetStateOptions,
): Promise<readonly TargetState[]> {
  const { source, bundles, target, signal } = context;
  const flattened = new Map<string, Descriptor>();
  if (options.flatten) {
    for (const index of bundles.document.sparse ?? []) {
      const image = await onlyPlatform(source, index, signal);
      if (image !== undefined) flattened.set(index.digest, image);
    }
  }
  const names = roots.map(
    ({ name, descriptor }) => [name, flattened.get(descriptor.digest) ?? descriptor] as const,
  );
  const flat = new Set([...flattened.values()].map((image) => image.digest));
  const limit = pLimit(lookupsAtOnce);
  const surveyed = await settleAll(
    placeNames(names, target.prefix, options.keepHost).map((place) =>
      limit(async (): Promise<TargetState> => {
        signal?.throwIfAborted();
        const { name, tag, repository, descriptor } = place;
        const state = { ...place, there: undefined, flattened: flat.has(descriptor.digest) };
        if (tag === undefined) return state;
        try {
          return { ...state, there: await context.repository(repository).resolve(tag, signal) };
        } catch (error) {
          if (!isRefusal(error) || (error.status ?? 0) >= 500) throw error;
          missing.refuse([name], error);
          return state;
        }
      }),
    ),
  );
  const conflicts = options.overwriteTags ? [] : surveyed.filter(isConflict);
  if (conflicts.length > 0) throw conflictError(context, conflicts);
  return missing.left(surveyed);
}

/** True when a name stands for something else and may not be changed silently. */
export function isConflict(name: TargetState): boolean {
  const { there, tag, descriptor } = name;
  if (there === undefined || tag === undefined || there.digest === descriptor.digest) return false;
  return !isGrowOnly(name);
}

export function conflictError(context: RegistryContext, conflicts: readonly TargetState[]): CodedError {
  const lines = conflicts
    .slice(0, namedConflicts)
    .map(
      ({ repository, tag, there, descriptor }) =>
        `${context.target.host}/${repository}:${tag} is ${there?.digest} there and ${descriptor.digest} in the bundle`,
    );
  const more = conflicts.length - lines.length;
  return new CodedError(
    'CONFLICT',
    `${lines.join('; ')}${more > 0 ? `; and ${more} more` : ''}; nothing was changed; use --overwrite-tags to replace existing tags, or --except to leave these names alone`,
  );
}

/** The image of the one platform that is carried; undefined when several or none are. */
async function onlyPlatform(
  source: SiteSource,
  index: Descriptor,
  signal?: AbortSignal,
): Promise<Descriptor | undefined> {
  if (!isIndexType(index.mediaType)) return undefined;
  const { manifest } = await fetchManifest(source, index, signal);
  const carried: Descriptor[] = [];
  for (const child of manifest.kind === 'index' ? manifest.manifests : []) {
    if (child.platform === undefined || !isManifestType(child.mediaType)) continue;
    if (await source.has(child)) carried.push(child);
  }
  const [image, ...others] = carried;
  if (image === undefined || others.length > 0) return undefined;
  const { mediaType, digest, size } = image;
  return { mediaType, digest, size };
}
