/**
 * Wishes that all replicas share: a document for each, written before the client is told that it was recorded. Of one that is
 * asked for again nothing is written: ten thousand machines that want the same must not make ten thousand writes. So the count
 * is 1, and the time that of the first request.
 */
import { createHash } from 'node:crypto';
import { byText, isCoded, messageOf, parseStrictJson, WorkQueue } from '@omni-airgap/oci/base';
import { isHex64 } from '@omni-airgap/oci/model';
import { parseWish, type Wish, type WishSubject, wishKey } from '../wishes/wish.ts';
import { maxTextBytes, maxWishes } from '../wishes/wish-list.ts';
import type { WantsDocument, Wishes } from '../wishes/wishes.ts';
import { Coalesced } from './coalesced.ts';
import type { Documents } from './documents.ts';

/** So long may what another replica recorded be missing from the list. */
const listedEveryMs = 5_000;
const readsAtOnce = 16;

export class SharedWishes implements Wishes {
  readonly #documents: Documents;
  readonly #onProblem: (message: string) => void;
  readonly #lists: Coalesced<void>;
  readonly #adding: Coalesced<'recorded' | 'full' | 'failed'>;
  /** By the names of their documents. */
  readonly #known = new Map<string, Wish>();
  readonly #dropped = new Set<string>();

  constructor(documents: Documents, closing: AbortSignal, onProblem: (message: string) => void) {
    this.#documents = documents;
    this.#onProblem = onProblem;
    this.#lists = new Coalesced(closing, { keepMs: () => listedEveryMs, maxBytes: 1024 });
    this.#adding = new Coalesced(closing, { keepMs: () => 0, maxBytes: 1024 * 1024 });
  }

  get counts(): { readonly size: number; readonly dropped: number } {
    return { size: this.#known.size, dropped: this.#dropped.size };
  }

  async add(subject: WishSubject, signal?: AbortSignal): Promise<'recorded' | 'full' | 'failed'> {
    const name = createHash('sha256').update(wishKey(subject)).digest('hex');
    if (this.#known.has(name)) return 'recorded';
    if (this.#dropped.has(name)) return 'full';
    return this.#adding.get(name, (closing) => this.#add(name, subject, closing), signal);
  }

  async document(signal?: AbortSignal): Promise<WantsDocument> {
    await this.#load(signal);
    const wishes = [...this.#known.values()].sort((a, b) => byText(a.first, b.first));
    return { kind: 'omni-airgap/wants', schema: 1, dropped: this.#dropped.size, wishes };
  }

  async #add(
    name: string,
    subject: WishSubject,
    signal: AbortSignal,
  ): Promise<'recorded' | 'full' | 'failed'> {
    try {
      await this.#load(signal);
      if (this.#known.has(name)) return 'recorded';
      if (this.#known.size >= maxWishes) {
        if (this.#dropped.size < maxWishes) this.#dropped.add(name);
        return 'full';
      }
      const now = new Date().toISOString();
      const wish = { ...withoutLongText(subject), first: now, last: now, count: 1 };
      await this.#documents.put(name, Buffer.from(JSON.stringify(wish)), signal);
      this.#known.set(name, wish);
      return 'recorded';
    } catch (error) {
      if (!isCoded(error)) throw error;
      this.#onProblem(`a wish could not be recorded in ${this.#documents.place}: ${error.message}`);
      return 'failed';
    }
  }

  /** Takes in what others recorded. */
  #load(signal: AbortSignal | undefined): Promise<void> {
    return this.#lists.get('', (closing) => this.#list(closing), signal);
  }

  async #list(signal: AbortSignal): Promise<void> {
    const before = [...this.#known.keys()];
    const names = new Set<string>();
    for await (const name of this.#documents.names(signal)) {
      if (isHex64(name) && names.size < maxWishes) names.add(name);
    }
    for (const name of before) if (!names.has(name)) this.#known.delete(name);
    const queue = new WorkQueue(readsAtOnce);
    const unknown = [...names].filter((name) => !this.#known.has(name));
    await Promise.all(unknown.map((name) => queue.run(1, () => this.#read(name, signal))));
  }

  async #read(name: string, signal: AbortSignal): Promise<void> {
    try {
      const bytes = await this.#documents.get(name, signal);
      if (bytes === undefined) return;
      const what = `wish ${name}`;
      const wish = parseWish(parseStrictJson(bytes, { what }), what);
      this.#known.set(name, wish);
    } catch (error) {
      // One that nobody can read must not hide the others.
      if (!isCoded(error, 'BAD_DOCUMENT', 'DIGEST_MISMATCH')) throw error;
      this.#onProblem(`${this.#documents.place}: ${messageOf(error)}`);
    }
  }
}

function withoutLongText(subject: WishSubject): WishSubject {
  if (subject.kind !== 'schematic' || subject.text === undefined) return subject;
  if (Buffer.byteLength(subject.text) <= maxTextBytes) return subject;
  const { text: _, ...kept } = subject;
  return kept;
}
