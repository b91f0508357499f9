/**
 * The registry's content from the registry behind. Manifests are verified before they are sent, blobs while they pass.
 * Source: distribution-spec v1.1.1 spec.md#pull, #content-discovery.
 */
import type { Bytes } from '@omni-airgap/oci';
import { byText, isCoded } from '@omni-airgap/oci/base';
import {
  childrenOf,
  type Descriptor,
  type Digest,
  isDigest,
  isManifestType,
  MediaType,
  parseManifest,
} from '@omni-airgap/oci/model';
import type { RegistryClient } from '@omni-airgap/oci/registry';
import type { Body } from '../http/message.ts';
import type { Asked, FoundManifest, Images } from '../registry/images.ts';
import { newestRelease, parseInstallerPath } from '../registry/installers.ts';
import { Coalesced, whenFound } from './coalesced.ts';
import type { TargetsCondition } from './condition.ts';
import type { Redirects } from './redirects.ts';
import type { RegistryNames } from './registry-names.ts';

/** A manifest and its bytes, verified. */
export interface ReadManifest {
  readonly descriptor: Descriptor;
  readonly bytes: Uint8Array;
}

const mebibyte = 1024 * 1024;
/** What a tag stands for, and lists: so long may an answer be older than the registry's. */
const tagMs = 1000;
/** What a digest stands for never changes; only that it was deleted is noticed later. */
const digestMs = 60_000;
const catalogMs = 10_000;
const maxRemembered = 20_000;

export class LoadedImages implements Images {
  readonly #client: RegistryClient;
  readonly #names: RegistryNames;
  readonly #condition: TargetsCondition;
  readonly #redirects: Redirects | undefined;
  readonly #manifests: Coalesced<ReadManifest | undefined>;
  readonly #tagged: Coalesced<ReadManifest | undefined>;
  readonly #sizes: Coalesced<number | undefined>;
  readonly #tags: Coalesced<readonly string[] | undefined>;
  readonly #referrers: Coalesced<readonly Descriptor[]>;
  readonly #repositories: Coalesced<readonly string[] | 'not offered'>;
  /** In which repository content of a client's name was found last. */
  readonly #homes = new Map<string, string>();
  /** Bytes of blobs that manifests name, by repository and digest. */
  readonly #recorded = new Map<string, number>();

  constructor(
    client: RegistryClient,
    names: RegistryNames,
    condition: TargetsCondition,
    redirects: Redirects | undefined,
    closing: AbortSignal,
  ) {
    this.#redirects = redirects;
    this.#client = client;
    this.#names = names;
    this.#condition = condition;
    const weigh = (found: ReadManifest | undefined): number => found?.bytes.byteLength ?? 0;
    this.#manifests = new Coalesced(closing, {
      keepMs: whenFound(digestMs),
      maxBytes: 32 * mebibyte,
      weigh,
    });
    this.#tagged = new Coalesced(closing, { keepMs: whenFound(tagMs), maxBytes: 16 * mebibyte, weigh });
    this.#sizes = new Coalesced<number | undefined>(closing, {
      keepMs: whenFound(tagMs),
      maxBytes: 4 * mebibyte,
    });
    this.#tags = new Coalesced<readonly string[] | undefined>(closing, {
      keepMs: whenFound(tagMs),
      maxBytes: 16 * mebibyte,
      weigh: (tags) => 150 * (tags?.length ?? 0),
    });
    this.#referrers = new Coalesced(closing, {
      keepMs: (list) => (list.length === 0 ? 0 : tagMs),
      maxBytes: 8 * mebibyte,
      weigh: (list) => 1000 * list.length,
    });
    this.#repositories = new Coalesced(closing, { keepMs: () => catalogMs, maxBytes: 64 * mebibyte });
  }

  async manifest(asked: Asked, reference: string): Promise<FoundManifest | 'absent'> {
    const found = await this.#first(asked, async (repository) => {
      const direct = await this.read(repository, reference, asked.signal);
      if (direct !== undefined || reference !== 'latest') return direct;
      // As at the Image Factory: the newest release of an installer.
      if (parseInstallerPath(asked.repository.replace(/^[^/]*[.][^/]*\//, '')) === undefined)
        return undefined;
      const newest = newestRelease((await this.tagsOf(repository, asked.signal)) ?? []);
      return newest === undefined ? undefined : this.read(repository, newest, asked.signal);
    });
    if (found === undefined) return 'absent';
    return { descriptor: found.descriptor, bytes: async () => found.bytes };
  }

  async blob(asked: Asked, digest: Digest): Promise<Body | 'absent'> {
    const body = await this.#first(asked, async (repository) => {
      // A manifest says how large it is, and the answer of the registry whether it is there.
      const recorded = asked.isHead ? undefined : this.#recorded.get(`${repository} ${digest}`);
      const size = recorded ?? (await this.sizeOf(repository, digest, asked.signal));
      return size === undefined ? undefined : this.body(repository, { digest, size });
    });
    return body ?? 'absent';
  }

  async tags(asked: Asked): Promise<readonly string[] | 'no repository'> {
    const tags = await this.#first(asked, (repository) => this.tagsOf(repository, asked.signal));
    return tags ?? 'no repository';
  }

  async referrers(asked: Asked, subject: Digest): Promise<readonly Descriptor[]> {
    const found = await this.#first(asked, async (repository) => {
      const list = await this.#referrers.get(
        `${repository} ${subject}`,
        (signal) => this.#client.repository(repository).referrers(subject, signal, () => {}),
        asked.signal,
      );
      return list.length === 0 ? undefined : list;
    });
    return found ?? [];
  }

  repositories(signal: AbortSignal): Promise<readonly string[] | 'not offered'> {
    return this.#repositories.get('', (closing) => this.#listRepositories(closing), signal);
  }

  /** What a tag or digest of a repository stands for; undefined when there is none. */
  async read(
    repository: string,
    reference: string,
    signal: AbortSignal | undefined,
  ): Promise<ReadManifest | undefined> {
    const ask = async (closing: AbortSignal): Promise<ReadManifest | undefined> => {
      const found = await this.#client.repository(repository).read(reference, closing);
      if (found !== undefined) this.#record(repository, found);
      return found;
    };
    if (isDigest(reference)) return this.#manifests.get(`${repository}@${reference}`, ask, signal);
    return this.#tagged.get(`${repository}:${reference}`, ask, signal);
  }

  /** In byte order; undefined for a repository that does not exist. */
  tagsOf(repository: string, signal: AbortSignal | undefined): Promise<readonly string[] | undefined> {
    const ask = async (closing: AbortSignal): Promise<readonly string[] | undefined> => {
      const tags: string[] = [];
      try {
        for await (const tag of this.#client.repository(repository).tags(closing)) tags.push(tag);
      } catch (error) {
        if (isCoded(error, 'NOT_FOUND')) return undefined;
        throw error;
      }
      return tags.sort(byText);
    };
    return this.#tags.get(repository, ask, signal);
  }

  /** A small blob, not verified. */
  fetch(repository: string, descriptor: Descriptor, signal: AbortSignal | undefined): Bytes {
    return this.#client.repository(repository).fetch(descriptor, signal);
  }

  /** A blob of a repository, as it comes. */
  body(repository: string, content: Pick<Descriptor, 'digest' | 'size'>): Body {
    const { digest, size } = content;
    const descriptor = { mediaType: MediaType.octetStream, digest, size };
    return {
      ...{ digest, size },
      open: (start, end, signal) =>
        this.#client.repository(repository).fetchRange(descriptor, start, end, signal),
      checked: (isRight) => this.#condition.checked(digest, isRight),
      elsewhere: (client) =>
        this.#redirects?.ofBlob(repository, digest, client) ?? Promise.resolve(undefined),
    };
  }

  /** Bytes of a blob; undefined when it is not there. */
  sizeOf(repository: string, digest: Digest, signal: AbortSignal | undefined): Promise<number | undefined> {
    const ask = (closing: AbortSignal): Promise<number | undefined> =>
      this.#client.repository(repository).blobSize(digest, closing);
    return this.#sizes.get(`${repository} ${digest}`, ask, signal);
  }

  /**
   * Asks the repositories that a name may mean in turn.
   * @throws what went wrong with one of them, when none has it: a registry may deny what does not exist
   */
  async #first<T>(
    { repository, ns }: Asked,
    ask: (repository: string) => Promise<T | undefined>,
  ): Promise<T | undefined> {
    const name = `${repository} ${ns ?? ''}`;
    const home = this.#homes.get(name);
    const candidates = new Set([
      ...(home === undefined ? [] : [home]),
      ...this.#names.candidates(repository, ns),
    ]);
    let denied: unknown;
    for (const candidate of candidates) {
      try {
        const found = await ask(candidate);
        if (found === undefined) continue;
        remember(this.#homes, name, candidate);
        return found;
      } catch (error) {
        if (!isCoded(error, 'DENIED')) throw error;
        denied = error;
      }
    }
    if (denied !== undefined) throw denied;
    return undefined;
  }

  #record(repository: string, { descriptor, bytes }: ReadManifest): void {
    try {
      for (const { digest, size, mediaType } of childrenOf(parseManifest(bytes, descriptor.mediaType))) {
        if (!isManifestType(mediaType)) remember(this.#recorded, `${repository} ${digest}`, size);
      }
    } catch (error) {
      // Its bytes are what the digest says, and whoever pulls it judges it.
      if (!isCoded(error)) throw error;
    }
  }

  async #listRepositories(signal: AbortSignal): Promise<readonly string[] | 'not offered'> {
    const shown: string[] = [];
    try {
      for await (const repository of this.#client.repositories(signal)) {
        const path = this.#names.shown(repository);
        if (path !== undefined) shown.push(path);
      }
    } catch (error) {
      if (isCoded(error) && [401, 403, 404, 405].includes(error.status ?? 0)) return 'not offered';
      throw error;
    }
    return [...new Set(shown)].sort(byText);
  }
}

/** The oldest give way. */
function remember<V>(map: Map<string, V>, key: string, value: V): void {
  const [oldest] = map.keys();
  map.delete(key);
  if (map.size >= maxRemembered && oldest !== undefined) map.delete(oldest);
  map.set(key, value);
}
