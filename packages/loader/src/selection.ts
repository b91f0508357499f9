/**
 * Which names of a bundle are loaded: `--only` and `--except`, and what speaks about an image (signatures, referrers) along
 * with it.
 */
import type { Fetcher, Presence } from '@omni-airgap/oci';
import { CodedError, printable } from '@omni-airgap/oci/base';
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
  readonly #only: readonly Pattern[];
  readonly #except: readonly Pattern[];

  /** @param only,except patterns for whole names or keys: `*` stands for any text, `?` for one character */
  constructor(only: readonly string[] = [], except: readonly string[] = []) {
    this.#only = only.map((text) => new Pattern('--only', text));
    this.#except = except.map((text) => new Pattern('--except', text));
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

class Pattern {
  readonly flag: string;
  readonly text: string;
  readonly #parts: readonly string[];
  isUsed = false;

  constructor(flag: string, text: string) {
    this.flag = flag;
    this.text = text;
    this.#parts = text.split(/\*+/);
  }

  /** Greedy from the left, so that no text takes more than linear time for each `*`. */
  matches(text: string): boolean {
    const isMatch = fits(this.#parts, text);
    if (isMatch) this.isUsed = true;
    return isMatch;
  }
}

/** @param parts what stands between the stars */
function fits(parts: readonly string[], text: string): boolean {
  const [first = '', ...others] = parts;
  if (!startsAt(text, 0, first)) return false;
  const last = others.pop();
  if (last === undefined) return text.length === first.length;
  let at = first.length;
  for (const part of others) {
    while (at + part.length <= text.length && !startsAt(text, at, part)) at++;
    if (at + part.length > text.length) return false;
    at += part.length;
  }
  return text.length - last.length >= at && startsAt(text, text.length - last.length, last);
}

function startsAt(text: string, at: number, part: string): boolean {
  if (at + part.length > text.length) return false;
  for (let i = 0; i < part.length; i++) if (part[i] !== '?' && part[i] !== text[at + i]) return false;
  return true;
}
