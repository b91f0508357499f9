/** Where wishes are recorded. */
import type { Wish, WishSubject } from './wish.ts';

/** wants.json: what `wants --from` reads. */
export interface WantsDocument {
  readonly kind: 'omni-airgap/wants';
  readonly schema: 1;
  /** Different wishes that found no room. */
  readonly dropped: number;
  /** In the order they were first asked for. */
  readonly wishes: readonly Wish[];
}

export interface Wishes {
  /** Counts it, or takes it in while there is room. Never throws: a wish is nothing to fail a request for. */
  add(subject: WishSubject, signal?: AbortSignal): Promise<'recorded' | 'full' | 'failed'>;
  /** @throws DENIED, UPSTREAM, NETWORK where they are kept elsewhere */
  document(signal?: AbortSignal): Promise<WantsDocument>;
  /** For metrics: how many different ones are known here, and how many found no room. */
  readonly counts: { readonly size: number; readonly dropped: number };
}
