/** One repository of the registry as prune sees it: its tags, and what its manifests point at. Each is read once. */
import { CodedError, isCoded, settleAll } from '@omni-airgap/oci/base';
import {
  childrenOf,
  type Descriptor,
  type Digest,
  fetchManifest,
  isManifestType,
} from '@omni-airgap/oci/model';
import type { RepositoryClient } from '@omni-airgap/oci/registry';
import pLimit from 'p-limit';

/** A manifest by what it points at. */
export interface Surveyed {
  readonly descriptor: Descriptor;
  readonly subject: Digest | undefined;
  /** Of an index. */
  readonly manifests: readonly Descriptor[];
  /** Config and layers. */
  readonly blobs: readonly Descriptor[];
}

/** Lookups of one repository at once. */
const lookupsAtOnce = 8;
/** Manifests that one repository may have. Far above any real one. */
const maxManifests = 200_000;

export class RepositorySurvey {
  readonly client: RepositoryClient;
  /** As they are when the survey begins, sorted. */
  readonly tags: ReadonlyMap<string, Descriptor>;
  readonly #signal: AbortSignal | undefined;
  readonly #limit = pLimit(lookupsAtOnce);
  readonly #manifests = new Map<Digest, Promise<Surveyed | undefined>>();

  private constructor(
    client: RepositoryClient,
    tags: ReadonlyMap<string, Descriptor>,
    signal: AbortSignal | undefined,
  ) {
    this.client = client;
    this.tags = tags;
    this.#signal = signal;
  }

  /** @throws DENIED, UPSTREAM, NETWORK */
  static async open(client: RepositoryClient, signal?: AbortSignal): Promise<RepositorySurvey> {
    return new RepositorySurvey(client, await tagsOf(client, signal), signal);
  }

  /** Tags that stand for a manifest, sorted. */
  tagsOf(digest: Digest): readonly string[] {
    return [...this.tags].filter(([, descriptor]) => descriptor.digest === digest).map(([tag]) => tag);
  }

  /**
   * @param manifest by its digest, or by the descriptor that an index has of it
   * @returns undefined where the registry does not have it
   * @throws BAD_DOCUMENT, DIGEST_MISMATCH; DENIED, UPSTREAM, NETWORK
   */
  read(manifest: Digest | Descriptor): Promise<Surveyed | undefined> {
    const digest = typeof manifest === 'string' ? manifest : manifest.digest;
    const known = this.#manifests.get(digest) ?? this.#limit(() => this.#read(manifest));
    this.#manifests.set(digest, known);
    return known;
  }

  async #read(manifest: Digest | Descriptor): Promise<Surveyed | undefined> {
    if (this.#manifests.size > maxManifests) {
      throw new CodedError('UPSTREAM', `${this.client.path}: more than ${maxManifests} manifests`);
    }
    this.#signal?.throwIfAborted();
    const descriptor =
      typeof manifest === 'string' ? await this.client.resolve(manifest, this.#signal) : manifest;
    if (descriptor === undefined) return undefined;
    try {
      const { bytes, manifest: view } = await fetchManifest(this.client, descriptor, this.#signal);
      const children = childrenOf(view);
      return {
        descriptor: { mediaType: descriptor.mediaType, digest: descriptor.digest, size: bytes.byteLength },
        subject: view.subject?.digest,
        manifests: view.kind === 'index' ? children.filter(({ mediaType }) => isManifestType(mediaType)) : [],
        blobs:
          view.kind === 'image' ? children : children.filter(({ mediaType }) => !isManifestType(mediaType)),
      };
    } catch (error) {
      // An index of which some platforms were left out, or one whose children were deleted.
      if (isCoded(error, 'NOT_FOUND')) return undefined;
      throw error;
    }
  }

  /** What is below these manifests, and they themselves, parents before children; what the registry lacks is left out. @throws as read */
  async below(roots: Iterable<Digest | Descriptor>): Promise<ReadonlyMap<Digest, Surveyed>> {
    const found = new Map<Digest, Surveyed>();
    let level: readonly (Digest | Descriptor)[] = [...roots];
    while (level.length > 0) {
      const read = await settleAll(level.map((one) => this.read(one)));
      const next: Descriptor[] = [];
      for (const manifest of read) {
        if (manifest === undefined || found.has(manifest.descriptor.digest)) continue;
        found.set(manifest.descriptor.digest, manifest);
        next.push(...manifest.manifests.filter(({ digest }) => !found.has(digest)));
      }
      level = next;
    }
    return found;
  }
}

/** All tags and what they stand for, sorted; none of a repository that does not exist. @throws DENIED, UPSTREAM, NETWORK */
export async function tagsOf(
  client: RepositoryClient,
  signal?: AbortSignal,
): Promise<ReadonlyMap<string, Descriptor>> {
  const names: string[] = [];
  try {
    for await (const tag of client.tags(signal)) names.push(tag);
  } catch (error) {
    if (!isCoded(error, 'NOT_FOUND')) throw error;
  }
  const limit = pLimit(lookupsAtOnce);
  const found = await settleAll(
    names.sort().map((tag) => limit(async () => [tag, await client.resolve(tag, signal)] as const)),
  );
  return new Map(found.flatMap(([tag, descriptor]) => (descriptor === undefined ? [] : [[tag, descriptor]])));
}
