/**
 * Answers of another server: the same question is asked once at a time, whoever waits for it, and an answer is kept for a
 * short time. When thousands of machines boot at once, they ask the same.
 */
import { abortable } from '@omni-airgap/oci/http';

interface Kept<T> {
  readonly answer: Promise<T>;
  /** Ends the question. */
  readonly stop: AbortController;
  /** Who waits for the answer. */
  waiting: number;
  /** Bytes. */
  weight: number;
  /** By the clock that nobody sets, in ms; infinite while it is asked. */
  until: number;
}

interface Keeping<T> {
  /** Milliseconds that an answer is kept; 0 for none. */
  readonly keepMs: (answer: T) => number;
  /** Bytes of all answers; the ones that were not used for the longest time give way. */
  readonly maxBytes: number;
  /** Bytes of an answer, about. */
  readonly weigh?: (answer: T) => number;
}

/** Keeps what was found. That something is not there is never kept: it may be pushed the next moment. */
export function whenFound(ms: number): (found: unknown) => number {
  return (found) => (found === undefined ? 0 : ms);
}

/** Bytes of a key, and of what holds an answer. */
const overhead = 300;

export class Coalesced<T> {
  readonly #keeping: Keeping<T>;
  readonly #kept = new Map<string, Kept<T>>();
  /** Ends what is asked, when the server ends. */
  readonly #closing: AbortSignal;
  #bytes = 0;

  constructor(closing: AbortSignal, keeping: Keeping<T>) {
    this.#closing = closing;
    this.#keeping = keeping;
  }

  /**
   * A client that goes away leaves the others waiting; with the last of them the question ends.
   * @param signal of who waits @throws what `ask` throws, for all who wait; ABORTED
   */
  async get(key: string, ask: (signal: AbortSignal) => Promise<T>, signal?: AbortSignal): Promise<T> {
    const kept = this.#known(key) ?? this.#ask(key, ask);
    kept.waiting++;
    try {
      return await abortable(kept.answer, signal);
    } finally {
      kept.waiting--;
      if (kept.waiting === 0 && kept.until === Number.POSITIVE_INFINITY) {
        this.#drop(key, kept);
        kept.stop.abort();
      }
    }
  }

  #known(key: string): Kept<T> | undefined {
    const known = this.#kept.get(key);
    if (known === undefined || known.until <= performance.now()) return undefined;
    this.#kept.delete(key);
    this.#kept.set(key, known);
    return known;
  }

  #ask(key: string, ask: (signal: AbortSignal) => Promise<T>): Kept<T> {
    this.#drop(key);
    const stop = new AbortController();
    const asked: Kept<T> = {
      ...{ answer: ask(AbortSignal.any([stop.signal, this.#closing])), stop, waiting: 0 },
      ...{ weight: overhead + key.length, until: Number.POSITIVE_INFINITY },
    };
    this.#kept.set(key, asked);
    this.#bytes += asked.weight;
    asked.answer.then(
      (answer) => this.#keep(key, asked, answer),
      () => this.#drop(key, asked),
    );
    return asked;
  }

  /** An answer is not true any more. */
  forget(key: string): void {
    this.#drop(key);
  }

  #keep(key: string, asked: Kept<T>, answer: T): void {
    if (this.#kept.get(key) !== asked) return;
    const { keepMs, weigh, maxBytes } = this.#keeping;
    const ms = keepMs(answer);
    if (ms <= 0) {
      this.#drop(key, asked);
      return;
    }
    const more = weigh?.(answer) ?? 0;
    asked.weight += more;
    this.#bytes += more;
    asked.until = performance.now() + ms;
    for (const [oldest, { until }] of this.#kept) {
      if (this.#bytes <= maxBytes) break;
      if (until !== Number.POSITIVE_INFINITY) this.#drop(oldest);
    }
  }

  #drop(key: string, only = this.#kept.get(key)): void {
    const found = this.#kept.get(key);
    if (found === undefined || found !== only) return;
    this.#kept.delete(key);
    this.#bytes -= found.weight;
  }
}
