/**
 * Which names of a bundle are loaded: `--only` and `--except`, and what speaks about an image (signatures, referrers) along
 * with it.
 */
import type { Fetcher, Presence } from '@omni-airgap/oci';
import { CodedError, NamePattern, printable } from '@omni-airgap/oci/base';
import { parseReference } from '@omni-airgap/oci/model';
import type { LoadSource } from './source.ts';
import { isDigestName } from './targets/names.ts';
import { imagesOf } from './targets/registry/push-order.ts';

type Root = LoadSource['document']['roots'][number];

/** Names that are loaded, and those that are not. */
export interface Choice {
  readonly chosen: readonly Root[];
  readonly excluded: readonly Root[];
}

/** Patterns of the operator. One that matches neither a name nor a key is a mistake. */
export class Selection {
  readonly #only: readonly NamePattern[];
  readonly #except: readonly NamePattern[];

  /** @param only,except patterns for whole names or keys: `*` stands for any text, `?` for one character */
  constructor(only: readonly string[] = [], except: readonly string[] = []) {
    this.#only = only.map((text) => new NamePattern('--only', text));
    this.#except = except.map((text) => new NamePattern('--except', text));
  }

  get isAll(): boolean {
    return this.#only.length + this.#except.length === 0;
  }

  /**
   * What speaks about an image is chosen with it and excluded with it; by a pattern of its own it can be excluded alone.
   * @throws as the source
   */
  async choose(roots: readonly Root[], source: Fetcher & Presence, signal?: AbortSignal): Promise<Choice> {
    if (this.isAll) return { chosen: roots, excluded: [] };
    const named = roots.filter(({ name }) => !isDigestName(name));
    const places = named.map((root) => {
      const { registry, repository, tag } = parseReference(root.name);
      return { root, descriptor: root.descriptor, repository: `${registry}/${repository}`, tag };
    });
    const images = await imagesOf(places, source, signal);
    const choices = new Map(places.map((place) => [place, this.#isNamed(place.root.name)] as const));
    for (const place of places) {
      const about = images.get(place) ?? [];
      if (about.length === 0 || this.#isExcepted(place.root.name)) continue;
      choices.set(
        place,
        about.some((image) => choices.get(image)),
      );
    }
    const needed = roots.filter(({ name }) => isDigestName(name));
    return {
      chosen: [...needed, ...places.filter((place) => choices.get(place)).map(({ root }) => root)],
      excluded: places.filter((place) => !choices.get(place)).map(({ root }) => root),
    };
  }

  /** Whether an object is stored. @param name that it belongs to */
  choosesObject(key: string, name: string): boolean {
    const isExcepted = [key, name].some((text) => this.#isExcepted(text));
    const isWanted = [key, name].some((text) => this.#isWanted(text));
    return isWanted && !isExcepted;
  }

  /** @throws USAGE for patterns that matched nothing so far */
  requireUsed(): void {
    const unused = [...this.#only, ...this.#except].filter(({ isUsed }) => !isUsed);
    if (unused.length === 0) return;
    const list = unused.map(({ flag, text }) => `${flag} ${printable(text)}`).join(', ');
    throw new CodedError(
      'USAGE',
      `${list}: matches no name of this bundle and no key; names look like ghcr.io/siderolabs/omni:v1.10.4, * stands for any text; load --dry-run lists them`,
    );
  }

  #isNamed(name: string): boolean {
    const isExcepted = this.#isExcepted(name);
    return this.#isWanted(name) && !isExcepted;
  }

  #isWanted(text: string): boolean {
    return this.#only.length === 0 || this.#only.filter((pattern) => pattern.matches(text)).length > 0;
  }

  #isExcepted(text: string): boolean {
    return this.#except.filter((pattern) => pattern.matches(text)).length > 0;
  }
}
