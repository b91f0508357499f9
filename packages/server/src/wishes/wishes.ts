/** Where wishes are recorded. */
import type { WishSubject } from './wish.ts';
import type { WantsDocument } from './wish-list.ts';

export interface Wishes {
  /** Counts it, or takes it in while there is room. Never throws: a wish is nothing to fail a request for. */
  add(subject: WishSubject, signal?: AbortSignal): Promise<'recorded' | 'full' | 'failed'>;
  /** @throws DENIED, UPSTREAM, NETWORK where they are kept elsewhere */
  document(signal?: AbortSignal): Promise<WantsDocument>;
  /** For metrics: how many different ones are known here, and how many found no room. */
  readonly counts: { readonly size: number; readonly dropped: number };
  /** Writes what is not written yet. @throws DISK */
  close(): Promise<void>;
}
