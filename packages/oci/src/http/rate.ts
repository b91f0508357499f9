/**
 * The floor for the rate of a transfer. An idle time-out alone is no bound: a server or a middlebox that gives a byte
 * now and then holds a transfer for ever. Only time that the other side takes is counted: whoever reads slowly, or
 * sends from a slow disk, is not too slow. Fault F7.
 */
import { CodedError } from '../base/errors.ts';

export interface RateFloor {
  /** Bytes per second; 0 for none. */
  readonly bytesPerSecond: number;
  /** Milliseconds of the other side's time over which the rate is taken. */
  readonly windowMs: number;
}

/** 1 KiB/s over a minute: below any line that could carry an image, above what keeps a connection alive. */
export const defaultRateFloor: RateFloor = { bytesPerSecond: 1024, windowMs: 60_000 };

/** A transfer was below the floor: NETWORK. What it brought does not count as progress, or it would be repeated for ever. */
export class TooSlow extends CodedError {}

/** Measures one transfer, window by window. */
export class RateMeter {
  readonly #floor: RateFloor;
  #waitedMs = 0;
  #bytes = 0;

  constructor(floor: RateFloor) {
    this.#floor = floor;
  }

  /**
   * Bytes have moved.
   * @param waitedMs how long we had been ready for them, milliseconds
   * @returns the bytes per second of a window below the floor; undefined while all is well
   */
  moved(bytes: number, waitedMs: number): number | undefined {
    const { bytesPerSecond, windowMs } = this.#floor;
    this.#waitedMs += waitedMs;
    this.#bytes += bytes;
    if (this.#waitedMs < windowMs) return undefined;
    const rate = (this.#bytes * 1000) / this.#waitedMs;
    this.#waitedMs = 0;
    this.#bytes = 0;
    return rate < bytesPerSecond ? rate : undefined;
  }
}

/** @param what such as `GET https://ghcr.io/v2/` */
export function tooSlow(what: string, rate: number, { bytesPerSecond }: RateFloor): TooSlow {
  return new TooSlow(
    'NETWORK',
    `${what}: ${Math.round(rate)} bytes per second, less than the ${bytesPerSecond} of --min-rate`,
  );
}
