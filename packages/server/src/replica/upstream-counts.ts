/** Requests to the registry and the bucket behind, counted where they all pass: in the gate. */
import type { EgressRecord, EgressSink } from '@omni-airgap/oci/http';

type TargetName = 'registry' | 'object_store' | 'other';

export interface UpstreamCount {
  readonly target: TargetName;
  /** Of the answer; `none` when there was none. */
  readonly status: string;
  readonly requests: number;
  /** Of bodies, in both directions. */
  readonly bytes: number;
}

export class UpstreamCounts implements EgressSink {
  readonly #registry: string;
  readonly #objectStore: readonly string[];
  readonly #counts = new Map<string, UpstreamCount>();

  constructor(registry: string, objectStore: readonly string[]) {
    this.#registry = registry;
    this.#objectStore = objectStore;
  }

  record({ host, status, bytes }: EgressRecord): void {
    const target =
      host === this.#registry ? 'registry' : this.#objectStore.includes(host) ? 'object_store' : 'other';
    const text = status === undefined ? 'none' : String(status);
    const key = `${target} ${text}`;
    const before = this.#counts.get(key) ?? { target, status: text, requests: 0, bytes: 0 };
    this.#counts.set(key, { ...before, requests: before.requests + 1, bytes: before.bytes + bytes });
  }

  counts(): readonly UpstreamCount[] {
    return [...this.#counts.values()];
  }
}
