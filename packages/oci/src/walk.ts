/**
 * The graph below a descriptor: an index points at manifests, a manifest at its config and its layers. One walk, and
 * one set of bounds, for everything that reads such a graph; the copy engine has its own order and shares the bounds.
 *
 * Depth first, parents before children, in the order of the documents; one manifest at a time is read, and only those
 * on the way down are held in memory. Content cannot contain its own digest, so a cycle cannot be built; what several
 * parents point at is visited once.
 * Source: image-spec v1.1.1 manifest.md, image-index.md; `subject` points up and is not followed.
 */
import { CodedError, isCoded, messageOf } from './base/errors.ts';
import type { Descriptor } from './model/descriptor.ts';
import type { Digest } from './model/digest.ts';
import { childrenOf, fetchManifest, type Manifest } from './model/manifest.ts';
import { isIndexType, isManifestType } from './model/media-type.ts';
import type { Fetcher, Presence } from './storage.ts';

/** Levels of indexes below a root; real ones have one. */
const maxNesting = 4;
/** Descriptors below one root; an index of every platform has some hundred. */
const maxDescriptors = 10_000;

/**
 * Which children of an index belong to the graph, such as those of some platforms. Config and layers of an image
 * always do. The index itself is never changed.
 */
export type SelectChild = (child: Descriptor, index: Descriptor) => boolean | Promise<boolean>;

export interface WalkOptions {
  /** Default: all. Not asked again for a child that was visited. */
  readonly select?: SelectChild | undefined;
  /**
   * Where a manifest is absent: `throw` (default) the error of the source, or `skip` what is below it and report it as
   * `missing`. The source is asked for presence only in order to skip. Blobs are never looked up.
   */
  readonly missing?: 'throw' | 'skip' | undefined;
  /**
   * Where a manifest cannot be read or is malformed: `throw` (default), or `report` it as `unusable` and go on beside
   * it. A root outside of the bounds is reported likewise, and what is left of it is not visited. An abort is always
   * thrown.
   */
  readonly unusable?: 'throw' | 'report' | undefined;
  /** False leaves out what is no manifest. Default true. */
  readonly blobs?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** One step of a walk. */
export type Visited = {
  readonly descriptor: Descriptor;
  /** The way to it: the root first, its own parent last; empty for a root. */
  readonly parents: readonly Descriptor[];
} & (
  | { readonly kind: 'manifest'; readonly manifest: Manifest }
  /** Anything else; whether it is there was not looked up. */
  | { readonly kind: 'blob' }
  | { readonly kind: 'missing' }
  | { readonly kind: 'unusable'; readonly error: unknown }
);

/**
 * What is below the roots, and they themselves, each once for all roots together.
 * @throws BAD_DOCUMENT outside of the bounds (indexes nested deeper than 4, more than 10,000 descriptors below a
 * root, manifests above 4 MiB); MISSING_CONTENT with the descriptor, and the path that leads to it in the message;
 * DIGEST_MISMATCH and the errors of the source
 */
export function walk(
  source: Fetcher & Presence,
  roots: Iterable<Descriptor>,
  options?: WalkOptions,
): AsyncGenerator<Visited, void, void>;
export function walk(
  source: Fetcher,
  roots: Iterable<Descriptor>,
  options?: WalkOptions & { readonly missing?: 'throw' | undefined },
): AsyncGenerator<Visited, void, void>;
export async function* walk(
  source: Fetcher & Partial<Presence>,
  roots: Iterable<Descriptor>,
  options: WalkOptions = {},
): AsyncGenerator<Visited, void, void> {
  const { select, missing = 'throw', unusable = 'throw', blobs = true, signal } = options;
  /** What was visited, and how many levels of indexes it has: its own and those below. */
  const seen = new Map<string, number>();
  for (const root of roots) {
    const bounds = new GraphBounds(root);
    const levels: Level[] = [new Level('', [], [root])];
    for (let level = levels.at(-1); level !== undefined; level = levels.at(-1)) {
      signal?.throwIfAborted();
      const { parents } = level;
      const { value: descriptor } = level.children.next();
      if (descriptor === undefined) {
        levels.pop();
        seen.set(level.key, level.indexes);
        levels.at(-1)?.contain(level.indexes);
        continue;
      }
      const isManifest = isManifestType(descriptor.mediaType);
      if (!isManifest && !blobs) continue;
      const key = contentKey(descriptor);
      const known = seen.get(key);
      const parent = parents.at(-1);
      if (known === undefined && parent !== undefined && isIndexType(parent.mediaType)) {
        if (!((await select?.(descriptor, parent)) ?? true)) continue;
      }
      const indexes = known ?? (isIndexType(descriptor.mediaType) ? 1 : 0);
      try {
        bounds.checkNesting(parents.length, indexes);
        if (known === undefined) bounds.countOne();
      } catch (error) {
        if (unusable === 'throw') throw error;
        // Only in part visited, and whole for another root.
        for (const { key } of levels) seen.delete(key);
        yield { kind: 'unusable', descriptor: root, parents: [], error };
        break;
      }
      if (known !== undefined) {
        level.contain(known);
        continue;
      }
      seen.set(key, indexes);
      if (!isManifest) {
        yield { kind: 'blob', descriptor, parents };
        continue;
      }
      if (missing === 'skip' && (await source.has?.(descriptor, signal)) === false) {
        yield { kind: 'missing', descriptor, parents };
        continue;
      }
      let manifest: Manifest;
      try {
        ({ manifest } = await fetchManifest(source, descriptor, signal));
      } catch (error) {
        signal?.throwIfAborted();
        if (unusable === 'throw') throw withPath(error, descriptor, parents);
        yield { kind: 'unusable', descriptor, parents, error };
        continue;
      }
      yield { kind: 'manifest', descriptor, parents, manifest };
      levels.push(new Level(key, [...parents, descriptor], childrenOf(manifest), indexes));
    }
  }
}

/** The children of one manifest on the way down. */
class Level {
  readonly key: string;
  /** Down to the manifest itself. */
  readonly parents: readonly Descriptor[];
  /** Those that are left. */
  readonly children: Iterator<Descriptor, undefined>;
  #indexes: number;

  constructor(key: string, parents: readonly Descriptor[], children: readonly Descriptor[], indexes = 0) {
    this.key = key;
    this.parents = parents;
    this.children = children.values();
    this.#indexes = indexes;
  }

  /** Levels of indexes, this manifest among them. */
  get indexes(): number {
    return this.#indexes;
  }

  /** Takes a child with so many levels of indexes into account. */
  contain(indexes: number): void {
    if (indexes > 0) this.#indexes = Math.max(this.#indexes, indexes + 1);
  }
}

/** All that a walk finds there, by digest; roots come before what is below them. @throws as the walk */
export async function graphOf(visits: AsyncIterable<Visited>): Promise<ReadonlyMap<Digest, Descriptor>> {
  const found = new Map<Digest, Descriptor>();
  for await (const { kind, descriptor } of visits) {
    if (kind === 'missing' || kind === 'unusable') continue;
    // Under the digest of a manifest something may also call it a blob; what says more stays.
    if (kind === 'manifest' || !found.has(descriptor.digest)) found.set(descriptor.digest, descriptor);
  }
  return found;
}

/** What a descriptor claims: one that lies about size or type must not pass because a true one has. */
export function contentKey({ digest, size, mediaType }: Descriptor): string {
  const kind = isIndexType(mediaType) ? 'index' : isManifestType(mediaType) ? 'image' : 'blob';
  return `${digest} ${size} ${kind}`;
}

/** Holds what is below one root to what a real one can have. */
export class GraphBounds {
  readonly #root: Descriptor;
  #count = 0;

  constructor(root: Descriptor) {
    this.#root = root;
  }

  /** Counts one more descriptor, the root among them. @throws BAD_DOCUMENT */
  countOne(): void {
    if (this.#count > maxDescriptors) throw this.#refusal(`more than ${maxDescriptors} descriptors below it`);
    this.#count++;
  }

  /**
   * @param above indexes on the way to a descriptor
   * @param indexes levels of indexes that begin with it; 0 when it is none
   * @throws BAD_DOCUMENT
   */
  checkNesting(above: number, indexes: number): void {
    if (indexes > 0 && above + indexes > maxNesting + 1) {
      throw this.#refusal(`indexes nested deeper than ${maxNesting}`);
    }
  }

  #refusal(what: string): CodedError {
    return new CodedError('BAD_DOCUMENT', `${this.#root.digest}: ${what}`, { descriptor: this.#root });
  }
}

/** Names the parents, so that the reader sees which image lacks content. */
function withPath(error: unknown, descriptor: Descriptor, parents: readonly Descriptor[]): unknown {
  if (!isCoded(error, 'MISSING_CONTENT', 'NOT_FOUND') || parents.length === 0) return error;
  const path = parents.toReversed().map(({ digest }) => `referenced by ${digest}`);
  return new CodedError(error.code, `${messageOf(error)} (${path.join(', ')})`, {
    cause: error,
    descriptor,
    status: error.status,
  });
}
