/**
 * What can be asked for, in memory: repositories with their tags, manifests and referrers. Requests are looked up
 * here and nowhere else, so text of a request never becomes a path.
 *
 * A name `ghcr.io/siderolabs/omni:v1` is found under `siderolabs/omni` and under `ghcr.io/siderolabs/omni`. What was
 * pushed here wins over what was carried, and a name of the newest bundle over one of an older bundle. Two carried names
 * that would meet without their hosts are found with their hosts only, and reported.
 */

import { byText, messageOf } from '@omni-airgap/oci/base';
import { formatPushedName, parsePushedName } from '@omni-airgap/oci/layout';
import {
  type Descriptor,
  type Digest,
  formatReference,
  isRepository,
  parseReference,
  type Reference,
} from '@omni-airgap/oci/model';
import type { ContentSource } from '../source.ts';
import { type GraphNode, ManifestGraph } from './graph.ts';
import { newestRelease, otherInstallerName, parseInstallerPath } from './installers.ts';

export interface Repository {
  readonly tags: ReadonlyMap<string, Descriptor>;
  /** By tag: the name that it comes from, as it was carried or pushed. */
  readonly names: ReadonlyMap<string, string>;
  readonly manifests: ReadonlyMap<Digest, Descriptor>;
  /** By the digest of their subject. */
  readonly referrers: ReadonlyMap<Digest, readonly Descriptor[]>;
}

/** A name that cannot be asked for as one would expect. */
export interface Unreachable {
  readonly name: string;
  readonly reason: string;
}

/** A name's right to stand in a repository; the highest rank gets a tag. */
interface Claim {
  readonly name: string;
  readonly tag: string | undefined;
  readonly descriptor: Descriptor;
  readonly rank: (typeof ranks)[number];
}
const ranks = ['pushed', 'withHost', 'withoutHost', 'olderWithoutHost'] as const;

export class Catalog {
  readonly graph: ManifestGraph = new ManifestGraph();
  readonly #claims = new Map<string, Map<string, Claim>>();
  readonly #views = new Map<string, Repository>();
  /** Referrers that are in the source under no name of their own; they belong where their subject is. */
  readonly #unnamed = new Map<Digest, Descriptor[]>();
  readonly #unreachable = new Map<string, string>();

  readonly #isOlder: (name: string) => boolean;

  private constructor(isOlder: (name: string) => boolean) {
    this.#isOlder = isOlder;
  }

  /**
   * Reads all names and manifests of the source.
   * @param isOlder tells names of bundles that are not the newest of their store
   * @throws DISK and other errors of the source
   */
  static async read(
    source: ContentSource,
    isOlder: (name: string) => boolean = () => false,
    signal?: AbortSignal,
  ): Promise<Catalog> {
    const catalog = new Catalog(isOlder);
    const names: (readonly [string, Descriptor])[] = [];
    for await (const entry of source.names(signal)) names.push(entry);
    const roots = names.map(([, descriptor]) => descriptor);
    await catalog.graph.read(source, roots, signal);
    for (const [name, descriptor] of names) catalog.#claim(name, descriptor);
    for (const path of catalog.#claims.keys()) catalog.#refresh(path);
    return catalog;
  }

  /** An installer that stands under the other of its two names is found too. */
  repository(path: string): Repository | undefined {
    return this.#views.get(path) ?? this.#views.get(otherInstallerName(path) ?? '');
  }

  /** Paths of all repositories. */
  paths(): Iterable<string> {
    return this.#views.keys();
  }

  /** What a tag stands for. `latest` of an installer is its newest release, as at the Image Factory. */
  tagged(path: string, tag: string): Descriptor | undefined {
    const tags = this.repository(path)?.tags;
    const found = tags?.get(tag);
    if (found !== undefined || tags === undefined || tag !== 'latest') return found;
    const withoutHost = path.replace(/^[^/]*[.][^/]*\//, '');
    return parseInstallerPath(withoutHost) === undefined
      ? undefined
      : tags.get(newestRelease(tags.keys()) ?? '');
  }

  /**
   * What a tag stands for in a repository that was carried from this registry, or pushed here in the form that is carried:
   * by the path with or without the registry's host. Another registry may have one of the same path with other content, and
   * anybody can push one: it is pulled like any other, and nothing is read into it.
   * @param hasForm tells the form
   */
  taggedFrom(
    registry: string,
    path: string,
    tag: string,
    hasForm: (node: GraphNode) => boolean,
  ): Descriptor | undefined {
    const withHost = `${registry}/${path}`;
    for (const repository of [path, withHost]) {
      const pushed = this.pushed(repository, tag);
      const node = pushed && this.graph.node(pushed.digest);
      if (node !== undefined && hasForm(node)) return pushed;
    }
    const name = formatReference({ registry, repository: path, tag });
    return this.#claims.get(withHost)?.get(name)?.descriptor;
  }

  /** The tags that taggedFrom finds. */
  tagsFrom(registry: string, path: string, hasForm: (node: GraphNode) => boolean): readonly string[] {
    const paths = [path, `${registry}/${path}`];
    const tags = new Set(paths.flatMap((one) => [...(this.repository(one)?.tags.keys() ?? [])]));
    return [...tags].filter((tag) => this.taggedFrom(registry, path, tag, hasForm) !== undefined);
  }

  /** A manifest that could be read when the server started; undefined when there is none. */
  anyManifest(): Descriptor | undefined {
    for (const { manifests } of this.#views.values()) {
      for (const descriptor of manifests.values()) return descriptor;
    }
    return undefined;
  }

  /** Names that no request reaches under their path without host, and why. */
  unreachable(): readonly Unreachable[] {
    return [...this.#unreachable].map(([name, reason]) => ({ name, reason }));
  }

  /** What was pushed under this tag. */
  pushed(repository: string, tag: string): Descriptor | undefined {
    return this.#claims.get(repository)?.get(formatPushedName({ repository, tag }))?.descriptor;
  }

  /** Takes in a name just written to the source; its manifest must be in the graph. */
  add(name: string, descriptor: Descriptor): void {
    for (const path of this.#claim(name, descriptor)) this.#refresh(path);
  }

  /** Forgets names of one repository. */
  remove(repository: string, names: readonly string[]): void {
    for (const name of names) this.#claims.get(repository)?.delete(name);
    this.#refresh(repository);
  }

  /** Names pushed to this repository that stand for the digest. */
  pushedNames(repository: string, digest: Digest): readonly string[] {
    const claims = this.#claims.get(repository)?.values() ?? [];
    return [...claims]
      .filter((c) => c.rank === 'pushed' && c.descriptor.digest === digest)
      .map((c) => c.name);
  }

  /** What the repository would be without these names. */
  without(repository: string, names: readonly string[]): Repository {
    const claims = [...(this.#claims.get(repository)?.values() ?? [])];
    return this.#view(claims.filter(({ name }) => !names.includes(name)));
  }

  #claim(name: string, descriptor: Descriptor): readonly string[] {
    const problem = this.graph.problemOf(descriptor.digest);
    if (problem !== undefined) this.#unreachable.set(name, problem);
    if (name === `@${descriptor.digest}`) {
      const node = this.graph.node(descriptor.digest);
      if (node?.subject !== undefined) listIn(this.#unnamed, node.subject).push(node.asReferrer);
      return [];
    }
    let reference: Reference;
    try {
      reference = parseReference(name);
    } catch (error) {
      this.#unreachable.set(name, messageOf(error));
      return [];
    }
    const { registry, repository, tag } = reference;
    const paths: string[] = [];
    const put = (path: string, rank: Claim['rank']): void => {
      const claims = this.#claims.get(path) ?? new Map<string, Claim>();
      claims.set(name, { name, tag, descriptor, rank });
      this.#claims.set(path, claims);
      paths.push(path);
    };
    if (parsePushedName(name) !== undefined) put(repository, 'pushed');
    else {
      put(repository, this.#isOlder(name) ? 'olderWithoutHost' : 'withoutHost');
      const withHost = `${registry}/${repository}`;
      // A host with a port is no path component: such names are found without their host only.
      if (isRepository(withHost)) put(withHost, 'withHost');
    }
    return paths;
  }

  #refresh(path: string): void {
    const claims = [...(this.#claims.get(path)?.values() ?? [])];
    if (claims.length === 0) this.#views.delete(path);
    else
      this.#views.set(
        path,
        this.#view(claims, (name, reason) => this.#unreachable.set(name, reason)),
      );
  }

  #view(claims: readonly Claim[], report?: (name: string, reason: string) => void): Repository {
    const tags = new Map<string, Descriptor>();
    const names = new Map<string, string>();
    const manifests = new Map<Digest, Descriptor>();
    const referrers = new Map<Digest, Descriptor[]>();
    for (const [tag, rivals] of Map.groupBy(claims, (claim) => claim.tag)) {
      if (tag === undefined) continue;
      const rank = ranks.find((r) => rivals.some((claim) => claim.rank === r));
      const best = rivals.filter((claim) => claim.rank === rank);
      const digests = new Set(best.map(({ descriptor }) => descriptor.digest));
      const [first] = best;
      const isClear = first !== undefined && digests.size === 1;
      if (isClear) {
        tags.set(tag, first.descriptor);
        names.set(tag, first.name);
      }
      const hidden =
        rank === 'withoutHost'
          ? rivals.filter((one) => one.rank === 'olderWithoutHost' && !digests.has(one.descriptor.digest))
          : [];
      const meeting = [...best, ...hidden].map(({ name }) => name);
      for (const { name } of isClear ? hidden : [...best, ...hidden]) {
        report?.(
          name,
          `only found with its host: without it, it would meet ${meeting.filter((n) => n !== name)}`,
        );
      }
    }
    const queue = claims.map(({ descriptor }) => descriptor);
    for (let next = queue.pop(); next !== undefined; next = queue.pop()) {
      const node = this.graph.node(next.digest);
      if (node === undefined || manifests.has(next.digest)) continue;
      manifests.set(next.digest, next);
      if (node.subject !== undefined) listIn(referrers, node.subject).push(node.asReferrer);
      queue.push(...node.children, ...(this.#unnamed.get(next.digest) ?? []));
    }
    const sorted = new Map([...tags].sort(([a], [b]) => byText(a, b)));
    return { tags: sorted, names, manifests, referrers };
  }
}

function listIn<K, V>(map: Map<K, V[]>, key: K): V[] {
  const list = map.get(key) ?? [];
  map.set(key, list);
  return list;
}
