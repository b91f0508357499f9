/**
 * Transfers of one command, bounded for each host by what its line turns out to take: one connection of a long line
 * carries a part of what the line has, and a host that is busy gets better with fewer.
 *
 * Of all that wait the heaviest goes next, whatever its host, as in a WorkQueue.
 */
import type { CodedError } from './base/errors.ts';
import { HeaviestFirst, isBefore } from './base/tasks.ts';

/** Transfers from one host at the beginning. */
const firstSlots = 12;
/** How long bytes are counted before more transfers are tried: several round trips of the longest line. */
const windowMs = 500;
/** More transfers must bring so much more, or they are taken back: below it is noise. */
const worthwhile = 1.05;
/** How long a number that has proved best stays before more are tried again. */
const restMs = 10_000;
/** Failures within this time are one: what breaks a line breaks all of its connections. */
const oneFailureMs = 1000;

/**
 * How many transfers from one host run at once. The number grows by a quarter while each step brings 5 % more bytes per
 * second, is halved by failures, and then grows by one. All times are milliseconds of one clock.
 * Source of the form: RFC 5681 section 3.1, slow start and congestion avoidance.
 */
export class AdaptiveSlots {
  readonly #most: number;
  #slots: number;
  /** Before the last step up. */
  #before: number;
  /** Bytes per millisecond that the last step has to surpass; 0 before the first measurement. */
  #rate = 0;
  #windowStart: number | undefined;
  #windowBytes = 0;
  #restUntil = 0;
  #failedAt = Number.NEGATIVE_INFINITY;

  constructor(most: number) {
    this.#most = most;
    this.#slots = Math.min(firstSlots, most);
    this.#before = this.#slots;
  }

  get slots(): number {
    return this.#slots;
  }

  /** @param isFull whether more transfers wait than may run: otherwise the rate says nothing about the line */
  moved(bytes: number, now: number, isFull: boolean): void {
    if (!isFull) {
      this.#windowStart = undefined;
      return;
    }
    if (this.#windowStart === undefined) this.#measureFrom(now);
    this.#windowBytes += bytes;
    const elapsed = now - (this.#windowStart ?? now);
    if (elapsed < windowMs) return;
    const rate = this.#windowBytes / elapsed;
    this.#measureFrom(now);
    if (now < this.#restUntil) return;
    if (this.#slots > this.#before && rate < this.#rate * worthwhile) {
      this.#slots = this.#before;
      this.#restUntil = now + restMs;
      this.#rate = 0;
      return;
    }
    this.#rate = rate;
    this.#before = this.#slots;
    const step = Number.isFinite(this.#failedAt) ? 1 : Math.ceil(this.#slots / 4);
    this.#slots = Math.min(this.#most, this.#slots + step);
  }

  /** A transfer was refused as too much, or broke off. */
  failed(now: number): void {
    if (now - this.#failedAt < oneFailureMs) return;
    this.#failedAt = now;
    this.#slots = Math.max(1, Math.floor(this.#slots / 2));
    this.#before = this.#slots;
    this.#rate = 0;
    this.#restUntil = now + restMs;
    this.#windowStart = undefined;
  }

  #measureFrom(now: number): void {
    this.#windowStart = now;
    this.#windowBytes = 0;
  }
}

/** Transfers from one host. */
interface Lane {
  readonly waiting: HeaviestFirst;
  readonly limit: AdaptiveSlots;
  running: number;
}

/** As AdaptiveSlots for each host, and never more than `most` in all. A task must not wait for another task. */
export class Transfers {
  readonly #most: number;
  readonly #now: () => number;
  readonly #lanes = new Map<string, Lane>();
  #running = 0;
  #order = 0;

  constructor(most: number, now: () => number = () => performance.now()) {
    this.#most = most;
    this.#now = now;
  }

  /** Runs the task when its turn comes. @param weight bytes, usually @param host where they come from */
  async run<T>(weight: number, task: () => Promise<T>, host = ''): Promise<T> {
    const lane = this.#laneOf(host);
    await new Promise<void>((start) => {
      lane.waiting.add({ weight, order: this.#order++, start });
      this.#startWaiting();
    });
    try {
      return await task();
    } finally {
      lane.running--;
      this.#running--;
      this.#startWaiting();
    }
  }

  /** Told of bytes that came. */
  moved(host: string, bytes: number): void {
    const { limit, running, waiting } = this.#laneOf(host);
    const { slots } = limit;
    const isFull = running >= slots && waiting.first !== undefined;
    limit.moved(bytes, this.#now(), isFull);
    if (limit.slots > slots) this.#startWaiting();
  }

  /** Told of an error after which a transfer or request is tried again. */
  failed(host: string, { code, status }: CodedError): void {
    const isBusy = status === 429 || status === 503;
    if (isBusy || code === 'NETWORK') this.#laneOf(host).limit.failed(this.#now());
  }

  #laneOf(host: string): Lane {
    let lane = this.#lanes.get(host);
    if (lane === undefined) {
      lane = { waiting: new HeaviestFirst(), limit: new AdaptiveSlots(this.#most), running: 0 };
      this.#lanes.set(host, lane);
    }
    return lane;
  }

  #startWaiting(): void {
    while (this.#running < this.#most) {
      let next: Lane | undefined;
      for (const lane of this.#lanes.values()) {
        const { first } = lane.waiting;
        if (first === undefined || lane.running >= lane.limit.slots) continue;
        const other = next?.waiting.first;
        if (other === undefined || isBefore(first, other)) next = lane;
      }
      const entry = next?.waiting.take();
      if (next === undefined || entry === undefined) return;
      next.running++;
      this.#running++;
      entry.start();
    }
  }
}
