/**
 * What a registry has under the names of a bundle, looked up before anything is moved. A name that stands for
 * something else is a conflict, unless its kind of tag only ever grows. Fault F42.
 */

import { CodedError, settleAll } from '@omni-airgap/oci/base';
import type { Descriptor, Digest } from '@omni-airgap/oci/model';
import pLimit from 'p-limit';
import { isRefusal, type Missing } from '../../missing.ts';
import type { Choice } from '../../selection.ts';
import { type PlacedName, placeNames, type Replacement } from '../names.ts';
import type { RegistryContext } from './context.ts';
import { isGrowOnly } from './grow-only.ts';
import { type PartialIndex, readPartialIndexes, replacementOf } from './partial-index.ts';

export interface TargetState extends PlacedName {
  /** What the tag stands for in the registry now. */
  readonly there: Descriptor | undefined;
  /** What the name stands for outside, when it stands for something else here. */
  readonly replaces: Replacement | undefined;
  /** Why --trim-indexes leaves the index as it is. */
  readonly untrimmed?: string | undefined;
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
  /** Other indexes of which some platforms are carried become indexes of these. */
  readonly trimIndexes: boolean;
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
  const { source, target, signal } = context;
  const partial =
    options.flatten || options.trimIndexes
      ? await readPartialIndexes(context)
      : new Map<Digest, PartialIndex>();
  for (const index of partial.values()) {
    const replacement = replacementOf(index, options);
    if (replacement !== undefined) {
      source.replace(replacement, replacement.how === 'trimmed' ? index.trimmed.bytes : undefined);
    }
  }
  const replaced = new Map(roots.map(({ name, descriptor }) => [name, source.replacement(descriptor)]));
  const names = roots.map(
    ({ name, descriptor }) => [name, replaced.get(name)?.descriptor ?? descriptor] as const,
  );
  const limit = pLimit(lookupsAtOnce);
  const surveyed = await settleAll(
    placeNames(names, target.prefix, options.keepHost).map((place) =>
      limit(async (): Promise<TargetState> => {
        signal?.throwIfAborted();
        const { name, tag, repository, descriptor } = place;
        const replaces = replaced.get(name);
        const pinned = options.trimIndexes ? partial.get(descriptor.digest)?.pinned : undefined;
        const untrimmed = pinned === undefined ? {} : { untrimmed: pinned };
        const state = { ...place, there: undefined, replaces, ...untrimmed };
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
