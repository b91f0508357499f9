/**
 * The content of a bundle into a registry, and all of it pulled back: blobs, manifests, indexes, signatures and
 * referrers, in waves so that subjects come before what speaks about them. Tags are left alone. Faults F34, F40, F48.
 */

import {
  type Bytes,
  Copier,
  type CopyTally,
  type Mounter,
  type OpenBytes,
  type PushResult,
  type Storage,
  tallying,
  walk,
} from '@omni-airgap/oci';
import { CodedError, giveBack, isCoded, settleAll } from '@omni-airgap/oci/base';
import { type Descriptor, type Digest, verified } from '@omni-airgap/oci/model';
import type { RepositoryClient } from '@omni-airgap/oci/registry';
import pLimit from 'p-limit';
import { aboutName, isRefusal, type Missing } from '../../missing.ts';
import { explainDamage, type LoadSource, MissingVolumes, throwWorst } from '../../source.ts';
import { type Shape, shapesOf } from './capability-probe.ts';
import type { RegistryContext } from './context.ts';
import { readPartialIndexes, wayOutOf } from './partial-index.ts';
import { preflight, shapeRefusal } from './preflight.ts';
import { imagesOf, pushOrder } from './push-order.ts';
import type { TargetState } from './target-state.ts';

/**
 * Finds out whether the registry will take what is missing there.
 * @returns the names that it takes, as far as this shows
 * @throws as preflight, when it takes none
 */
export async function checkRegistry(
  context: RegistryContext,
  names: readonly TargetState[],
  missing: Missing,
): Promise<readonly TargetState[]> {
  const { source, client, target, signal } = context;
  const absent = names.filter(({ there, descriptor }) => there?.digest !== descriptor.digest);
  if (absent.length === 0) return names;
  const roots = absent.map(({ descriptor }) => descriptor);
  const refused = await preflight({
    registry: client,
    prefix: target.prefix,
    repositories: [...new Set(absent.map(({ repository }) => repository))],
    shapes: await shapesOf(source, roots, signal),
    signal,
  });
  for (const [path, error] of refused.repositories) {
    missing.refuse(namesIn(absent.filter(({ repository }) => repository === path)), error);
  }
  if (refused.shapes.size === 0) return missing.left(names);
  const shapes = new Map<string, ReadonlySet<Shape>>();
  for (const { name, descriptor } of absent) shapes.set(name, await shapesOf(source, [descriptor], signal));
  const partial = await readPartialIndexes(context);
  for (const [shape, error] of refused.shapes) {
    const own = absent.filter((one) => !missing.has(one) && shapes.get(one.name)?.has(shape) === true);
    // Advice depends on what is carried of each.
    const byWayOut = new Map<string | undefined, TargetState[]>();
    for (const one of own) {
      const wayOut = wayOutOf(shape, partial.get(one.descriptor.digest));
      byWayOut.set(wayOut, [...(byWayOut.get(wayOut) ?? []), one]);
    }
    for (const [wayOut, group] of byWayOut) {
      missing.refuse(namesIn(group), shapeRefusal(client, shape, error, wayOut));
    }
  }
  return missing.left(names);
}

function namesIn(states: readonly TargetState[]): readonly string[] {
  return states.map(({ name }) => name);
}

/** Repositories that fail one after another before the registry itself counts as failing: a full disk, for example. */
const failingRepositories = 3;

/**
 * All content of these names, tags left alone. What the registry refuses is noted; the others go on.
 * @param concurrency blobs on their way at once
 * @throws BAD_VOLUME naming the medium that is damaged; DENIED, UPSTREAM, NETWORK, DIGEST_MISMATCH
 */
export async function copyContent(
  context: RegistryContext,
  names: readonly TargetState[],
  missing: Missing,
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
    blobs: concurrency,
    signal,
  });
  for (const { digest, repository } of source.relied) copier.offer(context.client.host, repository, digest);
  const sparse = new Set(bundles.document.sparse?.map((d) => d.digest));
  const isCarried = (child: Descriptor): Promise<boolean> => source.has(child);
  const errors: unknown[] = [];
  // A registry that is gone, or lets nobody in, is not asked a thousand times more.
  const failing = new Set<string>();
  const giveUp = (error: unknown, repository: string): void => {
    if (!isCoded(error)) return;
    const status = error.status ?? 0;
    if (status === 403 || status >= 500) failing.add(repository);
    const isGone = isCoded(error, 'NETWORK', 'EGRESS_DENIED') || status === 401;
    if (stop.signal.aborted || (!isGone && failing.size < failingRepositories)) return;
    errors.push(error);
    stop.abort();
  };
  const refused = (error: unknown): error is CodedError => isRefusal(error) && !stop.signal.aborted;
  const targets = new Map<string, MountedOnly>();
  const targetOf = (path: string): MountedOnly => {
    const target =
      targets.get(path) ??
      new MountedOnly(context.repository(path), bundles, {
        failed: (error) => giveUp(error, path),
        stored: () => failing.clear(),
      });
    targets.set(path, target);
    return target;
  };
  const waves = await pushOrder(names, source, signal);
  for (const wave of waves.flatMap(inGroups)) {
    await holdCompanions(context, names, missing);
    await Promise.all(
      wave.map(async (place) => {
        const { descriptor, repository, name } = place;
        if (missing.has(place)) return;
        try {
          const options = sparse.has(descriptor.digest) ? { select: isCarried } : {};
          await copier.copy(source, targetOf(repository), descriptor, options);
        } catch (error) {
          const isOwn = error instanceof CodedError && !(error instanceof MissingVolumes);
          if (refused(error)) missing.refuse([name], error);
          else if (stop.signal.aborted || !isOwn) errors.push(error);
          else {
            const explained = await explainDamage(bundles, error, signal);
            errors.push(explained instanceof CodedError ? aboutName(explained, name) : explained);
          }
        }
      }),
    );
    throwWorst(errors);
    missing.left(names);
  }
  return tally;
}

/** Some tens of KiB each; for each group the media are read forward once, so there should be few. */
const namesAtOnce = 1024;

function inGroups<T>(wave: readonly T[]): readonly (readonly T[])[] {
  const groups: (readonly T[])[] = [];
  for (let at = 0; at < wave.length; at += namesAtOnce) groups.push(wave.slice(at, at + namesAtOnce));
  return groups;
}

/** What speaks about an image only is held back where the image is missing. */
async function holdCompanions(
  { source, signal }: RegistryContext,
  names: readonly TargetState[],
  missing: Missing,
): Promise<void> {
  if (!names.some((name) => missing.has(name))) return;
  for (const [companion, images] of await imagesOf(names, source, signal)) {
    const [image] = images;
    if (image === undefined || missing.has(companion) || !images.every((one) => missing.has(one))) continue;
    missing.hold(companion.name, `${image.name}, which it is for, is not loaded`);
  }
}

/** Told at once of each push, before all else that is under way has ended. */
interface PushEvents {
  failed(error: unknown): void;
  stored(): void;
}

/**
 * A repository that is only pushed what is mounted: content whose volume is not mounted must be there already,
 * from a disc that was loaded before. Fault F28.
 */
class MountedOnly implements Storage, Mounter {
  readonly registry: string;
  readonly path: string;
  readonly #repository: RepositoryClient;
  readonly #bundles: LoadSource;
  readonly #on: PushEvents;

  constructor(repository: RepositoryClient, bundles: LoadSource, on: PushEvents) {
    this.#on = on;
    this.registry = repository.registry;
    this.path = repository.path;
    this.#repository = repository;
    this.#bundles = bundles;
  }

  fetch(descriptor: Descriptor, signal?: AbortSignal): Bytes {
    return this.#repository.fetch(descriptor, signal);
  }

  has(descriptor: Descriptor, signal?: AbortSignal): Promise<boolean> {
    return this.#repository.has(descriptor, signal);
  }

  mount(descriptor: Descriptor, fromRepository: string, signal?: AbortSignal): Promise<boolean> {
    return this.#repository.mount(descriptor, fromRepository, signal);
  }

  async push(descriptor: Descriptor, open: OpenBytes, signal?: AbortSignal): Promise<PushResult> {
    const wanted = this.#bundles.wantedFor(descriptor);
    try {
      if (wanted.length === 0) {
        const result = await this.#repository.push(descriptor, open, signal);
        this.#on.stored();
        return result;
      }
      if (await this.#repository.has(descriptor, signal)) return 'present';
    } catch (error) {
      this.#on.failed(error);
      throw error;
    }
    throw new MissingVolumes(wanted);
  }
}

const pullsAtOnce = 8;

/** `--verify full`: everything below the names of a bundle is pulled from the registry and hashed. @returns bytes pulled @throws DIGEST_MISMATCH naming what the registry gives instead; NOT_FOUND, … */
export async function verifyRegistry(
  context: RegistryContext,
  names: readonly TargetState[],
): Promise<number> {
  const { source, progress, signal } = context;
  const walks = pLimit(pullsAtOnce);
  const pulls = pLimit(pullsAtOnce);
  /** By repository. */
  const seen = new Map<string, Set<Digest>>();
  let bytes = 0;
  const pull = async (repository: RepositoryClient, descriptor: Descriptor): Promise<void> => {
    progress.expect(descriptor.size);
    for await (const chunk of verified(
      repository.fetch(descriptor, signal),
      descriptor,
      `${repository.registry}/${repository.path}`,
    )) {
      bytes += chunk.byteLength;
      progress.advance(chunk.byteLength);
      giveBack(chunk);
    }
  };
  const pullAll = async (repository: RepositoryClient, root: Descriptor): Promise<void> => {
    const known = seen.get(repository.path) ?? new Set<Digest>();
    seen.set(repository.path, known);
    if (known.has(root.digest)) return;
    const select = async (child: Descriptor): Promise<boolean> =>
      !known.has(child.digest) && (await source.has(child));
    const found: Descriptor[] = [];
    for await (const { descriptor } of walk(source, [root], { select, signal })) {
      if (known.has(descriptor.digest)) continue;
      known.add(descriptor.digest);
      found.push(descriptor);
    }
    await settleAll(found.map((descriptor) => pulls(() => pull(repository, descriptor))));
  };
  await settleAll(
    names.map(({ repository, descriptor }) =>
      walks(() => pullAll(context.repository(repository), descriptor)),
    ),
  );
  return bytes;
}
