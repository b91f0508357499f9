/**
 * How often an address may try a password: a few at once, then one now and then. One that was right is not counted, so
 * that the clients behind one address do not lock each other out by logging in.
 */
import { isIP } from 'node:net';

export interface AttemptLimits {
  /** Wrong passwords at once; default 10. */
  readonly burst?: number;
  /** Milliseconds after which another one may be tried; default 6 s. */
  readonly everyMs?: number;
}

interface Entry {
  /** Attempts left when it was last looked at; may be a fraction. */
  readonly left: number;
  /** Milliseconds, by `now`. */
  readonly at: number;
}

const maxAddresses = 10_000;

export class Attempts {
  readonly #burst: number;
  readonly #everyMs: number;
  readonly #now: () => number;
  /** Those that tried last come last. */
  readonly #entries = new Map<string, Entry>();

  /** @param now milliseconds since the epoch */
  constructor({ burst = 10, everyMs = 6_000 }: AttemptLimits, now: () => number) {
    this.#burst = burst;
    this.#everyMs = everyMs;
    this.#now = now;
  }

  /** Counts an attempt. @returns seconds until the next may be made; 0 when this one may */
  take(address: string): number {
    const left = this.#leftFor(address);
    if (left < 1) return Math.ceil(((1 - left) * this.#everyMs) / 1000);
    this.#set(address, left - 1);
    return 0;
  }

  /** The attempt was none: the password was right, or could not be checked. */
  giveBack(address: string): void {
    this.#set(address, Math.min(this.#burst, this.#leftFor(address) + 1));
  }

  #leftFor(address: string): number {
    const entry = this.#entries.get(keyOf(address));
    if (entry === undefined) return this.#burst;
    // A clock that was set back gives nothing and takes nothing.
    const passed = Math.max(0, this.#now() - entry.at);
    return Math.min(this.#burst, entry.left + passed / this.#everyMs);
  }

  #set(address: string, left: number): void {
    const key = keyOf(address);
    this.#entries.delete(key);
    if (left >= this.#burst) return;
    const [oldest] = this.#entries.keys();
    if (this.#entries.size >= maxAddresses && oldest !== undefined) this.#entries.delete(oldest);
    this.#entries.set(key, { left, at: this.#now() });
  }
}

/** One customer of IPv6 has a network of 64 bits. An IPv4 address in the form of IPv6 is itself. */
function keyOf(address: string): string {
  const plain = address.replace(/%.*$/, '').replace(/^::ffff:(?=[0-9.]+$)/i, '');
  if (isIP(plain) !== 6) return plain;
  const [head = '', tail] = plain.split('::');
  const before = head === '' ? [] : head.split(':');
  const after = tail === undefined || tail === '' ? [] : tail.split(':');
  const zeros = tail === undefined ? 0 : 8 - before.length - after.length;
  const groups = [...before, ...Array.from({ length: Math.max(zeros, 0) }, () => '0'), ...after];
  return `${groups.slice(0, 4).join(':').toLowerCase()}::/64`;
}
