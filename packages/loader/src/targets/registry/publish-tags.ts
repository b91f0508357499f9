/**
 * Names for content that is in place: a tag is united with what is there where it grows, and read back. Faults F42, F48.
 */

import { CodedError, isCoded, messageOf, settleAll } from '@omni-airgap/oci/base';
import { type Descriptor, type Digest, openerOf } from '@omni-airgap/oci/model';
import { TagRefused } from '@omni-airgap/oci/registry';
import pLimit from 'p-limit';
import { isRefusal, type Missing } from '../../missing.ts';
import { placeNames } from '../names.ts';
import type { RegistryContext } from './context.ts';
import { isGrowOnly, unite } from './grow-only.ts';
import { imagesOf, isCompanion, subjectsOf } from './push-order.ts';
import { advertisedSets } from './sets.ts';
import { conflictError, isConflict, type TargetState } from './target-state.ts';

export interface LoadedImage {
  readonly name: string;
  /** Where it is now. */
  readonly target: string;
  readonly digest: Descriptor['digest'];
}

/** Names tagged at once; each is two or three small requests. */
const tagsAtOnce = 16;
/** Times that a tag is united anew because somebody else wrote it in between. */
const maxRounds = 5;

/**
 * Gives content its names.
 * @param missing whose names are left out, and which is told of those that the registry refuses
 * @throws CONFLICT, DIGEST_MISMATCH, and as pushes
 */
export async function publishNames(
  context: RegistryContext,
  names: readonly TargetState[],
  missing: Missing,
  overwriteTags: boolean,
): Promise<readonly LoadedImage[]> {
  const limit = pLimit(tagsAtOnce);
  const published = await settleAll(
    names.map((name) =>
      limit(async (): Promise<readonly LoadedImage[]> => {
        context.signal?.throwIfAborted();
        if (missing.has(name)) return [];
        try {
          return [await publish(context, name, overwriteTags)];
        } catch (error) {
          if (!isRefusal(error)) throw error;
          missing.refuse([name.name], error);
          return [];
        }
      }),
    ),
  );
  return published.flat();
}

/**
 * Names that advertise others, in order, each when all that it advertises is there: from this load or an earlier one.
 * @param names of this load
 * @param all names of the bundle, by what they are there for
 */
export async function publishAdvertisers(
  context: RegistryContext,
  names: readonly TargetState[],
  loaded: readonly LoadedImage[],
  missing: Missing,
  options: { readonly overwriteTags: boolean; readonly keepHost: boolean },
): Promise<readonly LoadedImage[]> {
  const { roots } = context.bundles.document;
  const wanted = new Map(roots.map(({ name, descriptor }) => [name, descriptor]));
  const byName = new Map(names.map((state) => [state.name, state]));
  const done = new Set(loaded.map((image) => image.name));
  const incomplete = await withoutSignatures(context, names, missing);
  const earlier = new Map<string, Promise<boolean>>();
  const isThere = async (name: string): Promise<boolean> => {
    if (incomplete.has(name)) return false;
    if (done.has(name)) return true;
    const known = earlier.get(name) ?? isFromEarlier(name);
    earlier.set(name, known);
    return known;
  };
  const isFromEarlier = async (name: string): Promise<boolean> => {
    const descriptor = wanted.get(name);
    // In this load, and not done.
    if (byName.has(name) || descriptor === undefined) return false;
    const [place] = placeNames([[name, descriptor]], context.target.prefix, options.keepHost);
    if (place?.tag === undefined) return false;
    const there = await context.repository(place.repository).resolve(place.tag, context.signal);
    if (there === undefined) return false;
    const instead = context.source.replacement(descriptor)?.descriptor;
    return [descriptor.digest, instead?.digest].includes(there.digest) || isGrowOnly(place);
  };
  const images: LoadedImage[] = [];
  for (const { name, what, members } of advertisedSets([...wanted.keys()])) {
    const state = byName.get(name);
    if (state === undefined || missing.has(state)) continue;
    const absent: string[] = [];
    for (const member of members) if (!(await isThere(member))) absent.push(member);
    const [first] = absent;
    if (first !== undefined) {
      const more = absent.length > 1 ? ` and ${absent.length - 1} more` : '';
      missing.hold(name, `${what} is held back as a whole: ${first}${more} is missing`);
      continue;
    }
    for (const image of await publishNames(context, [state], missing, options.overwriteTags)) {
      images.push(image);
      done.add(name);
    }
  }
  return images;
}

/** Images of which a signature, or whatever else speaks about them, is refused. */
async function withoutSignatures(
  { source, signal }: RegistryContext,
  names: readonly TargetState[],
  missing: Missing,
): Promise<ReadonlySet<string>> {
  const found = new Set<string>();
  if (!names.some((name) => isCompanion(name) && missing.isRefused(name))) return found;
  for (const [companion, images] of await imagesOf(names, source, signal)) {
    if (missing.isRefused(companion)) for (const { name } of images) found.add(name);
  }
  return found;
}

async function publish(
  context: RegistryContext,
  name: TargetState,
  overwriteTags: boolean,
): Promise<LoadedImage> {
  const { descriptor, repository, tag } = name;
  const at = `${context.target.host}/${repository}`;
  if (tag === undefined) {
    const found = await context.repository(repository).resolve(descriptor.digest, context.signal);
    if (found === undefined) {
      throw new CodedError(
        'UPSTREAM',
        `${at}@${descriptor.digest}: pushed, but the registry does not have it`,
      );
    }
    return { name: name.name, target: `${at}@${descriptor.digest}`, digest: descriptor.digest };
  }
  try {
    return {
      name: name.name,
      target: `${at}:${tag}`,
      digest: await setTag(context, name, tag, overwriteTags),
    };
  } catch (error) {
    throw explainTag(context, error, `${at}:${tag}`);
  }
}

/** Lets the tag stand for the content, united with what is there where tags grow. Answers what it stands for. */
async function setTag(
  context: RegistryContext,
  name: TargetState,
  tag: string,
  overwriteTags: boolean,
): Promise<Descriptor['digest']> {
  const { source, signal } = context;
  const { descriptor } = name;
  if (name.there?.digest === descriptor.digest) return descriptor.digest;
  const repository = context.repository(name.repository);
  for (let round = 1; ; round++) {
    // Somebody else may have written it since the survey.
    const there = await repository.resolve(tag, signal);
    if (there?.digest === descriptor.digest) return descriptor.digest;
    if (isConflict({ ...name, there }) && !overwriteTags) throw conflictError(context, [{ ...name, there }]);
    let wanted = descriptor;
    if (there !== undefined && isGrowOnly(name)) {
      const united = await unite(descriptor, source, there, repository, signal);
      if (united === 'contained') return there.digest;
      if (united !== 'different') {
        for (const blob of united.blobs) {
          await repository.push(blob.descriptor, openerOf(blob.bytes), signal);
        }
        await repository.push(united.descriptor, openerOf(united.bytes), signal);
        wanted = united.descriptor;
      }
    }
    try {
      await repository.tag(wanted, tag, signal);
      return wanted.digest;
    } catch (error) {
      // Read back, the tag was another one's: with what that one wrote, it is united again.
      const raced = isCoded(error, 'DIGEST_MISMATCH') && isGrowOnly(name);
      if (!raced || round >= maxRounds) throw error;
    }
  }
}

/** Only of the tag itself: what reading back it says is about something else. */
function explainTag({ client }: RegistryContext, error: unknown, at: string): unknown {
  if (!(error instanceof TagRefused)) return error;
  const remedy = client.remedyFor('tag', error);
  return new CodedError(
    error.code,
    `${at}: the content is there, but the registry does not take the tag; ${remedy === undefined ? '' : `${remedy} `}(${messageOf(error)})`,
    { cause: error, status: error.status },
  );
}

/** An index that was trimmed here. */
export interface TrimmedImage {
  readonly name: string;
  /** Digest of the index outside. It is not in this registry. */
  readonly index: Digest;
  /** What the tag stands for here. */
  readonly digest: Digest;
  /** Names of signatures and the like that were loaded: they are about the index outside, and do not cover this one. */
  readonly signatures: readonly string[];
}

/** @param names that were loaded @throws BAD_DOCUMENT, DIGEST_MISMATCH, MISSING_CONTENT */
export async function trimmedOf(
  { source, signal }: RegistryContext,
  names: readonly TargetState[],
): Promise<readonly TrimmedImage[]> {
  const trimmed = names.filter(({ replaces }) => replaces?.how === 'trimmed');
  if (trimmed.length === 0) return [];
  const subjects = [...(await subjectsOf(names, source, signal))];
  return trimmed.flatMap(({ name, repository, descriptor, replaces }) => {
    if (replaces === undefined) return [];
    const index = replaces.index.digest;
    const signatures = subjects
      .filter(([companion, subject]) => companion.repository === repository && subject === index)
      .map(([companion]) => companion.name);
    return [{ name, index, digest: descriptor.digest, signatures }];
  });
}
