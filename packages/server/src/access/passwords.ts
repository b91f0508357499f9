/**
 * Passwords, checked by bcrypt on one thread of its own, a bounded number at a time. What was right once is remembered as a
 * keyed hash, so that a client pays for bcrypt once and not with each request; a password that is changed is forgotten
 * with its old hash.
 */
import { createHmac, randomBytes } from 'node:crypto';
import { Worker } from 'node:worker_threads';
import { Thread } from '@omni-airgap/oci/base';
import type { LogIns } from './htpasswd.ts';

export interface Question {
  readonly password: string;
  readonly hash: string;
}

/** In a release, the program of the thread. */
declare const omniAirgapBcryptThread: string | undefined;

const resourceLimits = { maxOldGenerationSizeMb: 32 };
const startThread = (): Worker =>
  typeof omniAirgapBcryptThread === 'string'
    ? new Worker(omniAirgapBcryptThread, { eval: true, resourceLimits })
    : new Worker(new URL('./bcrypt-thread.ts', import.meta.url), { resourceLimits });

/** bcrypt takes up to some seconds each: whoever waits behind more is sooner served by trying again. */
const maxWaiting = 64;
const maxRemembered = 1000;

export class Passwords {
  readonly #thread = new Thread<Question, boolean>('the thread that checks passwords', startThread);
  readonly #key = randomBytes(32);
  /** Passwords that were right, or are being checked. */
  readonly #checks = new Map<string, Promise<boolean>>();
  #logIns: LogIns;

  constructor(logIns: LogIns) {
    this.#logIns = logIns;
  }

  /** Takes effect with the next request. */
  set logIns(logIns: LogIns) {
    this.#logIns = logIns;
  }

  /** The bcrypt hash of a user who may log in. */
  hashOf(user: string): string | undefined {
    return this.#logIns.get(user);
  }

  /** The verdict that is known, or on its way; undefined when bcrypt must be asked. */
  known(user: string, password: string): Promise<boolean> | undefined {
    return this.#checks.get(this.#keyOf(user, password));
  }

  /**
   * A user who does not exist takes as long as one who does.
   * @returns undefined when too many wait
   * @throws INTERNAL
   */
  check(user: string, password: string): Promise<boolean> | undefined {
    if (this.#thread.waiting >= maxWaiting) return undefined;
    const own = this.#logIns.get(user);
    const [other = ''] = this.#logIns.values();
    const key = this.#keyOf(user, password);
    const checking = this.#thread
      .ask({ password, hash: own ?? other })
      .then((matches) => matches && own !== undefined);
    this.#remember(key, checking);
    checking.then(
      (isRight) => isRight || this.#checks.delete(key),
      () => this.#checks.delete(key),
    );
    return checking;
  }

  #remember(key: string, checking: Promise<boolean>): void {
    const [oldest] = this.#checks.keys();
    if (this.#checks.size >= maxRemembered && oldest !== undefined) this.#checks.delete(oldest);
    this.#checks.set(key, checking);
  }

  #keyOf(user: string, password: string): string {
    const text = JSON.stringify([this.#logIns.get(user) ?? '', user, password]);
    return createHmac('sha256', this.#key).update(text).digest('base64');
  }
}
