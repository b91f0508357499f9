/**
 * A bundle into a registry, in steps that the caller puts between those of other targets: content first, in
 * waves so that subjects come before what speaks about them; names when all content is in place.
 * Order: blobs, manifests, indexes, signatures and referrers, fallback tags, tags. Faults F34, F40, F42, F48.
 */
import { bytesOf, Copier, type CopyTally, type Descriptor, tallying } from '@omni-airgap/oci';
import { CodedError, isCoded, messageOf, settleAll } from '@omni-airgap/oci/base';
import pLimit from 'p-limit';
import { explainDamage } from '../damage.ts';
import { MissingVolumes, throwWorst } from '../source.ts';
import { AtHand } from './at-hand.ts';
import type { RegistryContext } from './context.ts';
import { isGrowOnly, unite } from './grow-only.ts';
import { preflight } from './preflight.ts';
import { shapesOf } from './shapes.ts';
import { conflictError, isConflict, type Surveyed } from './survey.ts';
import { wavesOf } from './waves.ts';

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

/** Finds out whether the registry will take what is missing there. @throws as preflight */
export async function checkRegistry(context: RegistryContext, names: readonly Surveyed[]): Promise<void> {
  const { source, client, target, signal } = context;
  const missing = names.filter(({ there, descriptor }) => there?.digest !== descriptor.digest);
  if (missing.length === 0) return;
  const roots = missing.map(({ descriptor }) => descriptor);
  await preflight({
    registry: client,
    prefix: target.prefix,
    repositories: [...new Set(missing.map(({ repository }) => repository))],
    shapes: await shapesOf(source, roots, signal),
    ...(signal === undefined ? {} : { signal }),
  });
}

/**
 * All content of these names, tags left alone.
 * @param concurrency blobs on their way at once
 * @throws BAD_VOLUME naming the medium that is damaged; DENIED, UPSTREAM, NETWORK, DIGEST_MISMATCH
 */
export async function copyContent(
  context: RegistryContext,
  names: readonly Surveyed[],
  concurrency: number | undefined,
): Promise<CopyTally> {
  const { source, bundles, progress } = context;
  const stop = new AbortController();
  const signal = AbortSignal.any([stop.signal, ...(context.signal === undefined ? [] : [context.signal])]);
  const { tally, onEvent } = tallying(progress);
  const copier = new Copier({
    onEvent,
    // Along the media: a disc that has to jump is ten times slower.
    weight: (blob) => -bundles.position(blob.digest),
    ...(concurrency === undefined ? {} : { blobs: concurrency }),
    signal,
  });
  for (const { digest, repository } of source.relied) copier.offer(context.client.host, repository, digest);
  const sparse = new Set(bundles.document.sparse?.map((d) => d.digest));
  const isCarried = (child: Descriptor): Promise<boolean> => source.has(child);
  const errors: unknown[] = [];
  // A registry that is gone, or lets nobody in, is not asked a thousand times more.
  const giveUp = (error: unknown): void => {
    const isGone =
      isCoded(error, 'NETWORK', 'DENIED', 'EGRESS_DENIED') || (isCoded(error) && (error.status ?? 0) >= 500);
    if (!isGone || stop.signal.aborted) return;
    errors.push(error);
    stop.abort();
  };
  const targets = new Map<string, AtHand>();
  const targetOf = (path: string): AtHand => {
    const target = targets.get(path) ?? new AtHand(context.repository(path), bundles, giveUp);
    targets.set(path, target);
    return target;
  };
  for (const wave of await wavesOf(names, source, signal)) {
    await Promise.all(
      wave.map(async ({ descriptor, repository, name }) => {
        try {
          const options = sparse.has(descriptor.digest) ? { select: isCarried } : {};
          await copier.copy(source, targetOf(repository), descriptor, options);
        } catch (error) {
          errors.push(about(stop.signal.aborted ? error : await explainDamage(bundles, error, signal), name));
        }
      }),
    );
    throwWorst(errors);
  }
  return tally;
}

/** Gives content its names. @throws CONFLICT, DIGEST_MISMATCH, and as pushes */
export function publishNames(
  context: RegistryContext,
  names: readonly Surveyed[],
  overwriteTags: boolean,
): Promise<readonly LoadedImage[]> {
  const limit = pLimit(tagsAtOnce);
  return settleAll(
    names.map((name) =>
      limit(() => {
        context.signal?.throwIfAborted();
        return publish(context, name, overwriteTags);
      }),
    ),
  );
}

async function publish(
  context: RegistryContext,
  name: Surveyed,
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
    throw explainTag(error, `${at}:${tag}`);
  }
}

/** Lets the tag stand for the content, united with what is there where tags grow. Answers what it stands for. */
async function setTag(
  context: RegistryContext,
  name: Surveyed,
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
    if (there !== undefined && isGrowOnly(name.repository, tag)) {
      const united = await unite(descriptor, source, there, repository, signal);
      if (united === 'contained') return there.digest;
      if (united !== 'different') {
        for (const blob of united.blobs) {
          await repository.push(blob.descriptor, () => bytesOf(blob.bytes), signal);
        }
        await repository.push(united.descriptor, () => bytesOf(united.bytes), signal);
        wanted = united.descriptor;
      }
    }
    try {
      await repository.tag(wanted, tag, signal);
      return wanted.digest;
    } catch (error) {
      // Read back, the tag was another one's: with what that one wrote, it is united again.
      const raced = isCoded(error, 'DIGEST_MISMATCH') && isGrowOnly(name.repository, tag);
      if (!raced || round >= maxRounds) throw error;
    }
  }
}

/** Registries with immutable tags answer in many ways; none of them is worth a retry. */
function explainTag(error: unknown, at: string): unknown {
  if (!isCoded(error, 'UPSTREAM', 'DENIED') || ![400, 403, 405, 409, 412, 422].includes(error.status ?? 0)) {
    return error;
  }
  return new CodedError(
    error.code,
    `${at}: the content is there, but the registry does not take the tag; if tags are immutable there, allow this one to change (${messageOf(error)})`,
    { cause: error, ...(error.status === undefined ? {} : { status: error.status }) },
  );
}

function about(error: unknown, name: string): unknown {
  if (!(error instanceof CodedError) || error instanceof MissingVolumes) return error;
  const { code, descriptor, status } = error;
  return new CodedError(code, `${name}: ${messageOf(error)}`, {
    cause: error,
    ...(descriptor === undefined ? {} : { descriptor }),
    ...(status === undefined ? {} : { status }),
  });
}
