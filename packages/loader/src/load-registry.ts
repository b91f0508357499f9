/**
 * A bundle into a registry: all content first, then the names. Conflicts of names are found before anything is
 * moved.
 */
import {
  type BundleStore,
  bytesOf,
  CodedError,
  Copier,
  type CopyTally,
  childrenOf,
  collectGraph,
  type Descriptor,
  fetchManifest,
  messageOf,
  type Network,
  type Progress,
  type RepositoryClient,
  tallying,
} from '@omni-airgap/content';
import pLimit from 'p-limit';
import { isGrowOnly, unite } from './grow-only.ts';
import { type PlacedName, placeNames, type RegistryTarget } from './target-names.ts';

export interface RegistryLoad {
  readonly bundle: BundleStore;
  readonly network: Network;
  readonly target: RegistryTarget;
  readonly keepHost: boolean;
  readonly overwriteTags: boolean;
  readonly concurrency?: number;
  readonly progress: Progress;
  readonly signal?: AbortSignal;
}

export interface LoadedImage {
  readonly name: string;
  /** Where it is now. */
  readonly target: string;
  readonly digest: Descriptor['digest'];
}

/** Names worked on at once; each waits mostly for its blobs, which have a bound of their own. */
const namesAtOnce = 16;

/** @throws CONFLICT before anything is moved; DENIED, UPSTREAM, NETWORK, DIGEST_MISMATCH */
export async function loadRegistry(
  load: RegistryLoad,
): Promise<{ readonly images: readonly LoadedImage[]; readonly tally: CopyTally }> {
  const { bundle, network, target, progress, signal } = load;
  const names = placeNames(
    bundle.document.roots.map(({ name, descriptor }) => [name, descriptor] as const),
    target.prefix,
    load.keepHost,
  );
  const registry = network.registry(target.host);
  await registry.ping(signal);
  const repositories = new Map<string, RepositoryClient>();
  const repositoryOf = (path: string): RepositoryClient => {
    const known = repositories.get(path) ?? registry.repository(path);
    repositories.set(path, known);
    return known;
  };
  const limit = pLimit(namesAtOnce);
  const each = <T>(run: (name: PlacedName) => Promise<T>): Promise<T[]> =>
    allOrFirst(names.map((name) => limit(() => run(name))));
  const there = new Map<PlacedName, Descriptor | undefined>();
  await each(async (place) => {
    if (place.tag === undefined) return;
    const now = await repositoryOf(place.repository).resolve(place.tag, signal);
    there.set(place, now);
    if (now === undefined || now.digest === place.descriptor.digest || load.overwriteTags) return;
    if (isGrowOnly(place.repository, place.tag)) return;
    throw new CodedError(
      'CONFLICT',
      `${target.host}/${place.repository}:${place.tag} is ${now.digest} there and ${place.descriptor.digest} in the bundle; nothing was changed; use --overwrite-tags to replace it`,
    );
  });
  const { tally, onEvent } = tallying(progress);
  const copier = new Copier({
    onEvent,
    ...(load.concurrency === undefined ? {} : { blobs: load.concurrency }),
    ...(signal === undefined ? {} : { signal }),
  });
  const sparse = new Set(bundle.document.sparse?.map((d) => d.digest));
  const select = async (child: Descriptor): Promise<boolean> => bundle.has(child);
  await each(async ({ descriptor, repository, name }) => {
    try {
      if (!sparse.has(descriptor.digest))
        return await copier.copy(bundle, repositoryOf(repository), descriptor);
      const carried = await carriedChildren(bundle, descriptor, select);
      await copier.copy(bundle, repositoryOf(repository), descriptor, {
        select: (child) => carried.has(child.digest),
      });
    } catch (error) {
      throw about(error, name);
    }
  });
  const images = await each(async (place): Promise<LoadedImage> => {
    const repository = repositoryOf(place.repository);
    const at = `${target.host}/${place.repository}`;
    if (place.tag === undefined) {
      return {
        name: place.name,
        target: `${at}@${place.descriptor.digest}`,
        digest: place.descriptor.digest,
      };
    }
    const digest = await tag(bundle, repository, place, place.tag, there.get(place), signal);
    return { name: place.name, target: `${at}:${place.tag}`, digest };
  });
  return { images, tally };
}

/** Gives the content its tag, united with what is there where tags grow. Answers the digest under the tag. */
async function tag(
  bundle: BundleStore,
  repository: RepositoryClient,
  place: PlacedName,
  tagName: string,
  there: Descriptor | undefined,
  signal?: AbortSignal,
): Promise<Descriptor['digest']> {
  const { descriptor } = place;
  if (there?.digest === descriptor.digest) return descriptor.digest;
  if (there !== undefined && isGrowOnly(place.repository, tagName)) {
    const united = await unite(descriptor, bundle, there, repository, signal);
    if (united === 'contained') return there.digest;
    if (united !== 'different') {
      await repository.push(united.descriptor, () => bytesOf(united.bytes), signal);
      await repository.tag(united.descriptor, tagName, signal);
      return united.descriptor.digest;
    }
  }
  await repository.tag(descriptor, tagName, signal);
  return descriptor.digest;
}

async function carriedChildren(
  bundle: BundleStore,
  index: Descriptor,
  select: (child: Descriptor) => Promise<boolean>,
): Promise<ReadonlySet<string>> {
  const { manifest } = await fetchManifest(bundle, index);
  const carried = new Set<string>();
  for (const child of childrenOf(manifest)) {
    if (!(await select(child))) continue;
    for (const digest of (await collectGraph(bundle, child)).keys()) carried.add(digest);
  }
  return carried;
}

function about(error: unknown, name: string): unknown {
  if (!(error instanceof CodedError)) return error;
  const { code, descriptor, status } = error;
  return new CodedError(code, `${name}: ${messageOf(error)}`, {
    cause: error,
    ...(descriptor === undefined ? {} : { descriptor }),
    ...(status === undefined ? {} : { status }),
  });
}

async function allOrFirst<T>(tasks: readonly Promise<T>[]): Promise<T[]> {
  const settled = await Promise.allSettled(tasks);
  const failed = settled.find((r) => r.status === 'rejected');
  if (failed !== undefined) throw failed.reason;
  return settled.filter((r) => r.status === 'fulfilled').map((r) => r.value);
}
