/** Tasks side by side: none left running behind an error, and bounded queues that take the largest first. */

/** Waits for all, then throws the first failure. @returns what they gave, in their order */
export async function settleAll<T>(tasks: readonly Promise<T>[]): Promise<T[]> {
  const ended = await Promise.allSettled(tasks);
  return ended.map((one) => {
    if (one.status === 'rejected') throw one.reason;
    return one.value;
  });
}

/**
 * Runs the work, then the clean-up, also after a failure. The clean-up's own failure counts only where the work succeeded:
 * it must not hide the first error.
 */
export async function withCleanUp<T>(work: () => Promise<T>, cleanUp: () => Promise<void>): Promise<T> {
  let result: T;
  try {
    result = await work();
  } catch (error) {
    await cleanUp().catch(() => {});
    throw error;
  }
  await cleanUp();
  return result;
}

/** What waits for its turn in a queue. */
export interface Waiting {
  readonly weight: number;
  /** Of those with the same weight, the least goes first. */
  readonly order: number;
  readonly start: () => void;
}

/** What waits, the heaviest first. */
export class HeaviestFirst {
  readonly #heap: Waiting[] = [];

  /** The next one, which stays. */
  get first(): Waiting | undefined {
    return this.#heap[0];
  }

  add(entry: Waiting): void {
    const heap = this.#heap;
    let i = heap.push(entry) - 1;
    while (i > 0) {
      const up = (i - 1) >> 1;
      const parent = heap[up] as Waiting;
      if (!isBefore(entry, parent)) break;
      heap[i] = parent;
      i = up;
    }
    heap[i] = entry;
  }

  take(): Waiting | undefined {
    const heap = this.#heap;
    const top = heap[0];
    const last = heap.pop();
    if (top === undefined || last === undefined || top === last) return top;
    let i = 0;
    for (;;) {
      let down = 2 * i + 1;
      const left = heap[down];
      if (left === undefined) break;
      const right = heap[down + 1];
      let child = left;
      if (right !== undefined && isBefore(right, left)) {
        child = right;
        down++;
      }
      if (!isBefore(child, last)) break;
      heap[i] = child;
      i = down;
    }
    heap[i] = last;
    return top;
  }
}

/** Whether it goes before the other. */
export function isBefore(a: Waiting, b: Waiting): boolean {
  return a.weight !== b.weight ? a.weight > b.weight : a.order < b.order;
}

/**
 * Bounded work, the largest first: at most `slots` tasks run, and of those that wait the heaviest goes next, so that no
 * long transfer starts when everything else is done. A task must not wait for another task.
 */
export class WorkQueue {
  readonly #waiting = new HeaviestFirst();
  #free: number;
  #order = 0;

  constructor(slots: number) {
    this.#free = slots;
  }

  /** Runs the task when its turn comes. @param weight bytes, usually */
  async run<T>(weight: number, task: () => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free--;
    else await new Promise<void>((start) => this.#waiting.add({ weight, order: this.#order++, start }));
    try {
      return await task();
    } finally {
      const next = this.#waiting.take();
      if (next === undefined) this.#free++;
      else next.start();
    }
  }
}
