/** The tasks of one fetch, bounded, and what came of them: items for lock.json, and failures that stop nothing else. */

import { noProgress, type Progress } from '@omni-airgap/oci';
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

  readonly #progress: Progress;

  constructor(signal: AbortSignal | undefined, progress: Progress = noProgress) {
    this.#signal = signal;
    this.#progress = progress;
  }

  /** So many tasks are to come: each ends by `task`, `attempt` or `fail`. */
  declare(count: number): void {
    this.#progress.expectItems?.(count);
    this.#progress.unsized?.(count);
  }

  /** Runs when a place is free; its failure is noted under the name. @returns undefined when it failed */
  task<T>(name: string, task: Task<T>): Promise<T | undefined> {
    return this.#limit(() => this.attempt(name, task));
  }

  /** The same at once, for tasks that wait for others. */
  async attempt<T>(name: string, task: Task<T>): Promise<T | undefined> {
    const sized = once(() => this.#progress.unsized?.(-1));
    try {
      this.#signal?.throwIfAborted();
      return await task(sized);
    } catch (error) {
      this.failures.push({ name, error: systemError(error) });
      return undefined;
    } finally {
      sized();
      this.#progress.itemsOver?.(1);
    }
  }

  /** A task that does not come to be. @param because the name of the failure that it follows from */
  fail(name: string, error: CodedError, because: string): void {
    this.failures.push({ name, error, because });
    this.#progress.unsized?.(-1);
    this.#progress.itemsOver?.(1);
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

/** @param sized to be called once it is known, to whoever watches, how many bytes it has */
type Task<T> = (sized: () => void) => Promise<T>;

/** A function whose second call and all after it do nothing. */
export function once(run: () => void): () => void {
  let isDone = false;
  return () => {
    if (!isDone) run();
    isDone = true;
  };
}

export interface Failure {
  readonly name: string;
  readonly error: unknown;
  /** The name of the failure that it follows from. */
  readonly because?: string;
}

/** One line for each failure that follows from no other, with how many do from it. */
export function failureLines(failures: readonly Failure[]): readonly string[] {
  return failures.flatMap(({ name, error, because }) => {
    if (because !== undefined) return [];
    const follow = failures.filter((one) => one.because === name).length;
    const needed = follow === 0 ? '' : `; ${follow === 1 ? '1 item needs' : `${follow} items need`} it`;
    return [`${name}: ${messageOf(error)}${needed}`];
  });
}

/** Wrong content is worse than a refused request, and that is worse than one to be tried again. */
const severity: readonly number[] = [
  ExitCode.integrity,
  ExitCode.refused,
  ExitCode.usage,
  ExitCode.incomplete,
];

/** One error for all of them: how many, and the worst. @param total items there were */
export function failureOf(failures: readonly Failure[], total: number): CodedError {
  const rank = ({ error, because }: Failure): number => {
    const at = severity.indexOf(exitCodeOf(error));
    return (at < 0 ? severity.length : at) * 2 + (because === undefined ? 0 : 1);
  };
  const [worst] = [...failures].sort((a, b) => rank(a) - rank(b));
  const message = worst === undefined ? 'nothing failed' : `${worst.name}: ${messageOf(worst.error)}`;
  const count = failures.length > 1 ? `${failures.length} of ${total} items failed, first ` : '';
  const code = worst?.error instanceof CodedError ? worst.error.code : 'INCOMPLETE';
  return new CodedError(code, `${count}${message}`, { cause: worst?.error });
}
