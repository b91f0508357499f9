/** The tasks of one fetch, bounded, and what came of them: items for lock.json, and failures that stop nothing else. */
import type { LockedItem } from '@omni-airgap/store';
import pLimit from 'p-limit';
import type { Failure } from './failures.ts';

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
      this.failures.push({ name, error });
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
