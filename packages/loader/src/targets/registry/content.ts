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
import { CodedError, giveBack, isCoded, messageOf, settleAll } from '@omni-airgap/oci/base';
import { type Descriptor, type Digest, verified } from '@omni-airgap/oci/model';
import type { RepositoryClient } from '@omni-airgap/oci/registry';
import pLimit from 'p-limit';
import { explainDamage, type LoadSource, MissingVolumes, throwWorst } from '../../source.ts';
import { shapesOf } from './capability-probe.ts';
import type { RegistryContext } from './context.ts';
import { preflight } from './preflight.ts';
import { pushOrder } from './push-order.ts';
import type { TargetState } from './target-state.ts';

/** Finds out whether the registry will take what is missing there. @throws as preflight */
export async function checkRegistry(context: RegistryContext, names: readonly TargetState[]): Promise<void> {
  const { source, client, target, signal } = context;
  const missing = names.filter(({ there, descriptor }) => there?.digest !== descriptor.digest);
  if (missing.length === 0) return;
  const roots = missing.map(({ descriptor }) => descriptor);
  await preflight({
    registry: client,
    prefix: target.prefix,
    repositories: [...new Set(missing.map(({ repository }) => repository))],
    shapes: await shapesOf(source, roots, signal),
    signal,
  });
}

/**
 * All content of these names, tags left alone.
 * @param concurrency blobs on their way at once
 * @throws BAD_VOLUME naming the medium that is damaged; DENIED, UPSTREAM, NETWORK, DIGEST_MISMATCH
 */
export async function copyContent(
  context: RegistryContext,
  names: readonly TargetState[],
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
  const giveUp = (error: unknown): void => {
    const isGone =
      isCoded(error, 'NETWORK', 'DENIED', 'EGRESS_DENIED') || (isCoded(error) && (error.status ?? 0) >= 500);
    if (!isGone || stop.signal.aborted) return;
    errors.push(error);
    stop.abort();
  };
  const targets = new Map<string, MountedOnly>();
  const targetOf = (path: string): MountedOnly => {
    const target = targets.get(path) ?? new MountedOnly(context.repository(path), bundles, giveUp);
    targets.set(path, target);
    return target;
  };
  for (const wave of await pushOrder(names, source, signal)) {
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

function about(error: unknown, name: string): unknown {
  if (!(error instanceof CodedError) || error instanceof MissingVolumes) return error;
  const { code, descriptor, status } = error;
  return new CodedError(code, `${name}: ${messageOf(error)}`, {
    cause: error,
    descriptor,
    status,
  });
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
  readonly #onError: (error: unknown) => void;

  /** @param onError told at once of what fails, before all else that is under way has ended */
  constructor(repository: RepositoryClient, bundles: LoadSource, onError: (error: unknown) => void) {
    this.#onError = onError;
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
      if (wanted.length === 0) return await this.#repository.push(descriptor, open, signal);
      if (await this.#repository.has(descriptor, signal)) return 'present';
    } catch (error) {
      this.#onError(error);
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
