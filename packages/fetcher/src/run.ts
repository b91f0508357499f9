/** The tasks of one fetch, bounded, and what came of them: items for lock.json, and failures that stop nothing else. */

import { CodedError, ExitCode, exitCodeOf, messageOf } from '@omni-airgap/oci/base';
import { systemError } from '@omni-airgap/oci/fs';
import type { LockedItem } from '@omni-airgap/store';
import pLimit from 'p-limit';

/**
 * Items under way at once. Each waits mostly for its blobs, which have a bound of their own; the more are known, the
 * better the largest can go first.
 */
const itemsAtOnce = 256;

export class Run {
  readonly items = new Map<string, LockedItem>();
  readonly failures: Failure[] = [];
  readonly #limit = pLimit(itemsAtOnce);
  readonly #signal: AbortSignal | undefined;

  constructor(signal: AbortSignal | undefined) {
    this.#signal = signal;
  }

  /** Runs when a place is free; its failure is noted under the name. @returns undefined when it failed */
  task<T>(name: string, task: () => Promise<T>): Promise<T | undefined> {
    return this.#limit(() => this.attempt(name, task));
  }

  /** The same at once, for tasks that wait for others. */
  async attempt<T>(name: string, task: () => Promise<T>): Promise<T | undefined> {
    try {
      this.#signal?.throwIfAborted();
      return await task();
    } catch (error) {
      this.failures.push({ name, error: systemError(error) });
      return undefined;
    }
  }

  add(items: readonly (LockedItem | undefined)[] | undefined): void {
    for (const item of items ?? []) {
      // An image that was wanted whole somewhere is whole, also when it was wanted in part elsewhere.
      const isPart = item?.platforms !== undefined && this.items.has(item.name);
      if (item !== undefined && !isPart) this.items.set(item.name, item);
    }
  }

  isLocked(url: string): boolean {
    return [...this.items.values()].some((item) => item.files?.some((file) => file.source === url));
  }
}

export interface Failure {
  readonly name: string;
  readonly error: unknown;
}

/** Wrong content is worse than a refused request, and that is worse than one to be tried again. */
const severity: readonly number[] = [
  ExitCode.integrity,
  ExitCode.refused,
  ExitCode.usage,
  ExitCode.incomplete,
];

/** lock.json lists them all. */
const mostNamed = 5;

/** One error for all of them. @param total items there were */
export function failureOf(failures: readonly Failure[], total: number): CodedError {
  const rank = (error: unknown): number => {
    const at = severity.indexOf(exitCodeOf(error));
    return at < 0 ? severity.length : at;
  };
  const [worst] = [...failures].sort((a, b) => rank(a.error) - rank(b.error));
  const message = worst === undefined ? 'nothing failed' : `${worst.name}: ${messageOf(worst.error)}`;
  const others = failures.filter((failure) => failure !== worst).map(({ name }) => name);
  const named = others.slice(0, mostNamed).join(', ');
  const more = others.length > mostNamed ? ` and ${others.length - mostNamed} more` : '';
  const rest =
    others.length === 0 ? '' : `; ${failures.length} of ${total} items failed, also ${named}${more}`;
  const code = worst?.error instanceof CodedError ? worst.error.code : 'INCOMPLETE';
  return new CodedError(code, `${message}${rest}`, { cause: worst?.error });
}
