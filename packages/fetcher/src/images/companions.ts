/**
 * Everything that speaks about an image: cosign's signature, attestation and SBOM tags, tags of the same form that other
 * tools write, the referrers fallback tag and the referrers API, for the index and for every manifest below it. Only a
 * definite "not found" counts as absent; whatever else goes wrong fails the image, so that no signature is ever lost
 * silently.
 * Sources: sigstore/cosign specs/SIGNATURE_SPEC.md; distribution-spec v1.1.1 spec.md#listing-referrers, #listing-tags.
 */

import { CodedError, isCoded, printable } from '@omni-airgap/oci/base';
import {
  companionSuffixes,
  companionTag,
  type Descriptor,
  type Digest,
  isManifestType,
  isSignatureTag,
  type Reference,
  subjectOfTag,
} from '@omni-airgap/oci/model';
import type { RepositoryClient } from '@omni-airgap/oci/registry';
import pLimit from 'p-limit';

/** What hangs on an image under a tag of its own, or under its digest when it has none. */
export interface Companion {
  /** Tag, or `@sha256:…`. */
  readonly name: string;
  readonly descriptor: Descriptor;
}

/** Name under which the store knows it. @param image the one it hangs on */
export function companionName(
  image: Pick<Reference, 'registry' | 'repository'>,
  { name }: Companion,
): string {
  return `${image.registry}/${image.repository}${name.startsWith('@') ? name : `:${name}`}`;
}

function skippedNote({ registry, path }: RepositoryClient, { digest, mediaType }: Descriptor): string {
  return `referrer ${registry}/${path}@${digest} is not carried: ${printable(mediaType)} is not a manifest type that registries accept`;
}

/** A signature of a signature of a signature is the most that makes sense; a registry can make up chains without end. */
const maxDepth = 4;
/** An index of twenty platforms, each with all there is, has some hundred. */
const maxCompanions = 2000;
/** Manifests that are asked about at once, six requests each: more than there are connections, and no memory for thousands. */
const askedAtOnce = 32;
/** Repositories with a tag for every build have some ten thousand. */
const maxTags = 100_000;
const unlistable = ['DENIED', 'NOT_FOUND', 'UPSTREAM', 'NETWORK', 'BAD_DOCUMENT', 'EGRESS_DENIED'] as const;
/** Registries that list no tags, or not for everyone, say so like this: nothing to report. */
const quiet: ReadonlySet<number> = new Set([400, 401, 403, 404, 405, 501]);

export interface CompanionOptions {
  /** Told where tags of other tools than cosign cannot be looked for. */
  readonly onNote: (text: string) => void;
  readonly signal?: AbortSignal | undefined;
}

/** Finds companions for one command, which lists the tags of each repository once. */
export class Companions {
  readonly #onNote: (text: string) => void;
  readonly #signal: AbortSignal | undefined;
  readonly #limit = pLimit(askedAtOnce);
  readonly #listed = new Map<string, Promise<ReadonlyMap<Digest, readonly string[]>>>();
  /** By registry: the first web page in place of a list of referrers. */
  readonly #pages = new Map<string, CodedError>();

  constructor({ onNote, signal }: CompanionOptions) {
    this.#onNote = onNote;
    this.#signal = signal;
  }

  /**
   * @param manifests the index and its children
   * @throws DENIED, UPSTREAM, NETWORK when the registry does not give a definite answer; BAD_DOCUMENT when there are more
   * than anything real has
   */
  async find(repository: RepositoryClient, manifests: Iterable<Descriptor>): Promise<readonly Companion[]> {
    const found = new Map<string, Companion>();
    const visited = new Set<Digest>();
    let waiting = [...manifests].filter((d) => isManifestType(d.mediaType));
    for (let depth = 1; waiting.length > 0; depth++) {
      if (depth > maxDepth || found.size > maxCompanions) {
        throw new CodedError(
          'BAD_DOCUMENT',
          `what refers to it is without end: ${found.size} manifests, ${depth - 1} levels deep`,
        );
      }
      const batch = waiting.filter((d) => !visited.has(d.digest));
      for (const d of batch) visited.add(d.digest);
      const companions = await Promise.all(
        batch.map((d) => this.#limit(() => this.#companionsOf(repository, d.digest))),
      );
      waiting = [];
      for (const companion of companions.flat()) {
        if (!isManifestType(companion.descriptor.mediaType)) {
          this.#onNote(skippedNote(repository, companion.descriptor));
          continue;
        }
        found.set(companion.name, companion);
        // A signature may itself be signed.
        waiting.push(companion.descriptor);
      }
    }
    return [...found.values()];
  }

  /**
   * Why referrers of a registry's images may be unknown: it answered with a web page where they are listed. A registry
   * whose web site takes unknown paths does that and still gives images, with signatures at tags; so the fetch goes on,
   * a note says it, and the error is for an image that needs a signature and has none.
   */
  unlistedAt(registry: string): CodedError | undefined {
    return this.#pages.get(registry);
  }

  #onPage(registry: string, error: CodedError): void {
    if (this.#pages.has(registry)) return;
    this.#pages.set(registry, error);
    this.#onNote(
      `signatures that ${registry} lists only at /referrers/ are not carried: ${error.message}; a registry without this list can be ignored`,
    );
  }

  async #companionsOf(repository: RepositoryClient, digest: Digest): Promise<readonly Companion[]> {
    const signal = this.#signal;
    const ask = async (name: string): Promise<readonly Companion[]> => {
      const descriptor = await repository.resolve(name, signal);
      return descriptor === undefined ? [] : [{ name, descriptor }];
    };
    // Asked for whatever the list says: a mirror may list only the tags that it was asked for before.
    const tagged = companionSuffixes.map((suffix) => ask(companionTag(digest, suffix)));
    const others = this.#otherTags(repository).then(async (tags) =>
      (await Promise.all((tags.get(digest) ?? []).map(ask))).flat(),
    );
    const referrers = repository
      .referrers(digest, signal, (error) => this.#onPage(repository.registry, error))
      .then((list) => list.map((descriptor): Companion => ({ name: `@${descriptor.digest}`, descriptor })));
    return (await Promise.all([...tagged, others, referrers])).flat();
  }

  /** Tags `sha256-<hex>.*` that are not cosign's, by what they speak about. */
  #otherTags(repository: RepositoryClient): Promise<ReadonlyMap<Digest, readonly string[]>> {
    const key = `${repository.registry}/${repository.path}`;
    const listed = this.#listed.get(key) ?? this.#listOtherTags(repository, key);
    this.#listed.set(key, listed);
    return listed;
  }

  async #listOtherTags(
    repository: RepositoryClient,
    name: string,
  ): Promise<ReadonlyMap<Digest, readonly string[]>> {
    const found = new Map<Digest, string[]>();
    let tags = 0;
    try {
      for await (const tag of repository.tags(this.#signal)) {
        if (++tags > maxTags) throw new CodedError('UPSTREAM', `more than ${maxTags} tags`);
        const subject = isSignatureTag(tag) ? undefined : subjectOfTag(tag);
        if (subject !== undefined) found.set(subject, [...(found.get(subject) ?? []), tag]);
      }
    } catch (error) {
      // The list only adds to what is asked for by name: a registry without one still gives images.
      if (!isCoded(error, ...unlistable)) throw error;
      if (error.status === undefined || !quiet.has(error.status)) {
        this.#onNote(
          `cannot list the tags of ${name}: of what hangs on its images, only referrers and cosign's tags come along (${error.message})`,
        );
      }
    }
    return found;
  }
}
