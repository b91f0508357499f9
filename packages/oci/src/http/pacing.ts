/**
 * Keeping to what a busy host asks for: after a 429 or 503 nobody asks it before its time is over, and then one
 * after the other, faster again with every answer that is not a refusal. Threat T40, fault F08.
 */
import { sleepFor, throwIfAborted } from './retry.ts';

interface Pace {
  /** Milliseconds since the epoch before which nothing is sent. */
  until: number;
  /** Milliseconds between two requests. */
  gapMs: number;
  /** Refusals in a row. */
  refusals: number;
}

interface PacingHooks {
  readonly now?: () => number;
  readonly sleep?: (ms: number, signal?: AbortSignal) => Promise<void>;
}

const busy: ReadonlySet<number> = new Set([429, 503]);
const firstPauseMs = 500;
const longestPauseMs = 60_000;
const firstGapMs = 50;
const longestGapMs = 2_000;
/** A gap that has become shorter than this is none. */
const leastGapMs = 10;

export class Pacing {
  readonly #paces = new Map<string, Pace>();
  readonly #now: () => number;
  readonly #sleep: (ms: number, signal?: AbortSignal) => Promise<void>;

  constructor({ now = Date.now, sleep = sleepFor }: PacingHooks = {}) {
    this.#now = now;
    this.#sleep = sleep;
  }

  /** Resolves when the host may be asked. @throws ABORTED */
  async turn(host: string, signal?: AbortSignal): Promise<void> {
    const pace = this.#paces.get(host);
    if (pace === undefined) return;
    const now = this.#now();
    const start = Math.max(now, pace.until);
    pace.until = start + pace.gapMs;
    if (start <= now) return;
    await this.#sleep(start - now, signal);
    throwIfAborted(signal);
  }

  /** @param retryAfterMs what the host asked for, if it did */
  saw(host: string, status: number, retryAfterMs: number | undefined): void {
    const pace = this.#paces.get(host);
    if (busy.has(status)) {
      const { until, gapMs, refusals } = pace ?? { until: 0, gapMs: 0, refusals: 0 };
      const pause = retryAfterMs ?? firstPauseMs * 2 ** Math.min(refusals, 10);
      this.#paces.set(host, {
        until: Math.max(until, this.#now() + Math.min(longestPauseMs, Math.max(0, pause))),
        gapMs: Math.min(longestGapMs, Math.max(firstGapMs, gapMs * 2)),
        refusals: refusals + 1,
      });
      return;
    }
    if (pace === undefined) return;
    pace.refusals = 0;
    pace.gapMs *= 0.8;
    if (pace.gapMs < leastGapMs) this.#paces.delete(host);
  }
}
