/**
 * What of a bundle a load leaves out, and why. What the site's registry or object store refuses is one refused item: the
 * others are loaded, and all that failed is listed in the end.
 */
import { byText, CodedError, type ErrorCode, isCoded } from '@omni-airgap/oci/base';

export interface MissingItem {
  /** Name in the bundle, or the key of an object. */
  readonly name: string;
  /**
   * `refused` by the site; `excluded` by the operator; `held` back, because something that it needs or advertises is
   * missing.
   */
  readonly why: 'refused' | 'excluded' | 'held';
  /** Of refused items. */
  readonly code?: ErrorCode;
  /** What happened, or what it is held back for. */
  readonly message: string;
}

/** Statuses that say nothing about the item: log in, a slow client, too many requests. */
const passing: ReadonlySet<number> = new Set([401, 407, 408, 429]);

/** True when the other side refuses this item, which says nothing about others. */
export function isRefusal(error: unknown): error is CodedError {
  if (!isCoded(error, 'UPSTREAM', 'DENIED', 'NOT_FOUND', 'USAGE')) return false;
  return error.status !== undefined && error.status >= 400 && !passing.has(error.status);
}

/** The same error, with the name that it is about. */
export function aboutName(error: CodedError, name: string): CodedError {
  const { code, descriptor, status } = error;
  return new CodedError(code, `${name}: ${error.message}`, { cause: error, descriptor, status });
}

export class Missing {
  readonly #items = new Map<string, MissingItem>();
  readonly #note: (text: string) => void;
  #first: CodedError | undefined;

  /** @param note told of each refusal at once, since it may be hours before the load ends */
  constructor(note: (text: string) => void) {
    this.#note = note;
  }

  has({ name }: { readonly name: string }): boolean {
    return this.#items.has(name);
  }

  isRefused({ name }: { readonly name: string }): boolean {
    return this.#items.get(name)?.why === 'refused';
  }

  /** Sorted by name. */
  get items(): readonly MissingItem[] {
    return [...this.#items.values()].sort((a, b) => byText(a.name, b.name));
  }

  exclude(name: string): void {
    this.#items.set(name, { name, why: 'excluded', message: 'left out by --only or --except' });
  }

  /** @param names to which the same happens @param error without a name */
  refuse(names: readonly string[], error: CodedError): void {
    const [first] = names;
    if (first === undefined) return;
    this.#first ??= names.length > 1 ? error : aboutName(error, first);
    const { code, message } = error;
    for (const name of names) this.#items.set(name, { name, why: 'refused', code, message });
    const more = names.length > 1 ? ` and ${names.length - 1} more` : '';
    this.#note(`not loaded: ${first}${more}: ${message}; the others are loaded`);
  }

  /** @param why what is missing */
  hold(name: string, why: string): void {
    this.#items.set(name, { name, why: 'held', message: why });
  }

  /** Goes on with what is left. @throws the first refusal when that is nothing */
  left<T extends { readonly name: string }>(names: readonly T[]): readonly T[] {
    const left = names.filter((name) => !this.has(name));
    if (left.length === 0 && names.length > 0 && this.#first !== undefined) throw this.#first;
    return left;
  }
}
