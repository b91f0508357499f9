/** One load into one registry: what all its steps share. */

import type { Bytes, Fetcher, Presence, Progress, RangeFetcher } from '@omni-airgap/oci';
import { type Descriptor, type Digest, parseReference } from '@omni-airgap/oci/model';
import type { RegistryClient, RepositoryClient } from '@omni-airgap/oci/registry';
import type { LoadSource } from '../../source.ts';
import { placeRepository, type RegistryTarget, type Replacement } from '../names.ts';

export interface RegistryContext {
  readonly bundles: LoadSource;
  /** The bundles, and what they rely on that lies in this registry. */
  readonly source: SiteSource;
  readonly client: RegistryClient;
  readonly target: RegistryTarget;
  readonly progress: Progress;
  readonly signal?: AbortSignal | undefined;
  /** The same client for the same path: it remembers manifests for the tags that follow. */
  repository(path: string): RepositoryClient;
}

export function registryContext(
  parts: Omit<RegistryContext, 'repository' | 'source'> & { readonly keepHost: boolean },
): RegistryContext {
  const { keepHost, ...rest } = parts;
  const repositories = new Map<string, RepositoryClient>();
  const repository = (path: string): RepositoryClient => {
    const known = repositories.get(path) ?? parts.client.repository(path);
    repositories.set(path, known);
    return known;
  };
  const source = new SiteSource(parts.bundles, parts.target.prefix, keepHost, repository);
  return { ...rest, source, repository };
}

interface Relied {
  readonly digest: Digest;
  /** Bytes. */
  readonly size: number;
  /** Below the host of the registry. */
  readonly repository: string;
}

/**
 * The bundles as a source for a registry, completed by what they rely on: content that an earlier bundle brought
 * is read, or mounted, inside the site from the repository where it lies; and by indexes that load trims for this site.
 */
export class SiteSource implements Fetcher, RangeFetcher, Presence {
  readonly #bundles: LoadSource;
  readonly #relied: ReadonlyMap<Digest, Relied>;
  readonly #repository: (path: string) => RepositoryClient;
  /** By the digest of the index. */
  readonly #replacements = new Map<Digest, Replacement>();
  /** Bytes of manifests that were made for this site. */
  readonly #made = new Map<Digest, Uint8Array>();

  constructor(
    bundles: LoadSource,
    prefix: string,
    keepHost: boolean,
    repository: (path: string) => RepositoryClient,
  ) {
    this.#bundles = bundles;
    this.#repository = repository;
    const relied = new Map<Digest, Relied>();
    for (const document of bundles.documents) {
      for (const entry of document.relies?.repositories ?? []) {
        // Named as in the roots, without a tag.
        const path = placeRepository(parseReference(`${entry.repository}:any`), prefix, keepHost);
        for (const { digest, size } of entry.blobs) {
          if (!bundles.carries({ digest, size })) relied.set(digest, { digest, size, repository: path });
        }
      }
    }
    this.#relied = relied;
  }

  /** Content that no bundle given carries. */
  get relied(): Iterable<Relied> {
    return this.#relied.values();
  }

  /** @param bytes of what takes the place of the index, unless the bundles carry that */
  replace(replacement: Replacement, bytes?: Uint8Array): void {
    this.#replacements.set(replacement.index.digest, replacement);
    if (bytes !== undefined) this.#made.set(replacement.descriptor.digest, bytes);
  }

  /** What takes the place of an index under its tag; undefined when nothing does. */
  replacement({ digest }: Pick<Descriptor, 'digest'>): Replacement | undefined {
    return this.#replacements.get(digest);
  }

  async has(descriptor: Descriptor): Promise<boolean> {
    if (this.#made.get(descriptor.digest)?.byteLength === descriptor.size) return true;
    return (
      (await this.#bundles.has(descriptor)) || this.#relied.get(descriptor.digest)?.size === descriptor.size
    );
  }

  fetch(descriptor: Descriptor, signal?: AbortSignal): Bytes {
    return this.fetchFrom(descriptor, 0, signal);
  }

  async *fetchFrom(descriptor: Descriptor, offset: number, signal?: AbortSignal): Bytes {
    const made = this.#made.get(descriptor.digest);
    if (made !== undefined) {
      yield made.subarray(offset);
      return;
    }
    const relied = this.#relied.get(descriptor.digest);
    yield* relied === undefined
      ? this.#bundles.fetchFrom(descriptor, offset, signal)
      : this.#repository(relied.repository).fetchFrom(descriptor, offset, signal);
  }
}
