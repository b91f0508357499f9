/** How registry and bucket are: asked for a health check at most every few seconds, for a bounded time. */
import { CodedError, isCoded, messageOf } from '@omni-airgap/oci/base';
import type { Digest } from '@omni-airgap/oci/model';
import type { Condition, Damage, TargetState } from '../health.ts';
import { Coalesced } from './coalesced.ts';

/** A server that content comes from. */
export interface Target {
  /** `registry` or `object store`. */
  readonly name: string;
  /** How people name it, without credentials: `registry.site:5000/prefix`, `s3://bucket`. */
  readonly place: string;
  /** Asks it something small. @throws DENIED, UPSTREAM, NETWORK */
  readonly ping: (signal: AbortSignal) => Promise<void>;
}

const askedEveryMs = 5_000;
const pingMs = 5_000;
const maxRemembered = 1000;

export class TargetsCondition implements Condition {
  readonly verifications = { passed: 0, failed: 0 };
  readonly #targets: readonly Target[];
  readonly #onProblem: (message: string) => void;
  readonly #states: Coalesced<readonly TargetState[]>;
  readonly #damage = new Map<Digest, Damage>();
  #last: readonly TargetState[] = [];

  /** @param onProblem told when a target stops answering, and when it answers again */
  constructor(targets: readonly Target[], closing: AbortSignal, onProblem: (message: string) => void) {
    this.#targets = targets;
    this.#onProblem = onProblem;
    this.#states = new Coalesced(closing, { keepMs: () => askedEveryMs, maxBytes: 1024 * 1024 });
  }

  async recheck(): Promise<void> {
    this.#last = await this.#ask();
  }

  /** Of the last recheck. */
  targets(): readonly TargetState[] {
    return this.#last;
  }

  damage(): readonly Damage[] {
    return [...this.#damage.values()];
  }

  /** One that answers is enough to be of use. @throws NETWORK */
  async requireMedium(): Promise<void> {
    const states = await this.#ask();
    if (states.some(({ ok }) => ok)) return;
    throw new CodedError('NETWORK', `${states.map(({ name }) => name).join(' and ')}: no answer`);
  }

  /** @param isRight whether the bytes that passed had this digest */
  checked(digest: Digest, isRight: boolean): void {
    this.verifications[isRight ? 'passed' : 'failed']++;
    if (isRight) {
      this.#damage.delete(digest);
      return;
    }
    if (this.#damage.has(digest) || this.#damage.size >= maxRemembered) return;
    const problem = `${digest}: other bytes came`;
    this.#damage.set(digest, { digest, since: new Date().toISOString(), problem });
    this.#onProblem(problem);
  }

  async #ask(): Promise<readonly TargetState[]> {
    return this.#states.get('', async (closing) => {
      const before = this.#last;
      const states = await Promise.all(this.#targets.map((target) => this.#stateOf(target, closing)));
      for (const { name, place, ok, problem } of states) {
        const wasOk = before.find((one) => one.name === name)?.ok ?? true;
        if (wasOk && !ok) this.#onProblem(`${name} ${place}: ${problem ?? 'no answer'}`);
        if (!wasOk && ok) this.#onProblem(`${name} ${place}: answers again`);
      }
      this.#last = states;
      return states;
    });
  }

  async #stateOf({ name, place, ping }: Target, closing: AbortSignal): Promise<TargetState> {
    const late = AbortSignal.timeout(pingMs);
    try {
      await ping(AbortSignal.any([late, closing]));
      return { name, place, ok: true };
    } catch (error) {
      if (late.aborted) return { name, place, ok: false, problem: `no answer within ${pingMs / 1000} s` };
      if (!isCoded(error)) throw error;
      return { name, place, ok: false, problem: messageOf(error) };
    }
  }
}
