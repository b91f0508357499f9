/**
 * What was asked for and is not carried, bounded in number and size: when it is full, new wishes are only counted, so
 * that nobody can push others out. Kept in memory, and in a file beside what is pushed where there is such a place.
 */
import { CodedError, parseStrictObject } from '@omni-airgap/oci/base';
import { readSmallFile, writeFileAtomic } from '@omni-airgap/oci/fs';
import { parseWish, type Wish, type WishSubject, wishKey } from './wish.ts';
import type { WantsDocument, Wishes } from './wishes.ts';

export const wantsFile = 'wants.json';
export const maxWantsBytes: number = 16 * 1024 * 1024;
export const maxWishes = 1000;
export const maxTextBytes: number = 64 * 1024;
const maxAllTextBytes = 4 * 1024 * 1024;
const writeAfterMs = 1000;

/** @throws BAD_DOCUMENT */
export function parseWants(bytes: Uint8Array, what: string): WantsDocument {
  const document = parseStrictObject(bytes, { what });
  const { kind, schema, dropped, wishes } = document;
  if (kind !== 'omni-airgap/wants' || schema !== 1 || !Array.isArray(wishes)) {
    throw new CodedError('BAD_DOCUMENT', `${what}: not a list of wishes that this version reads`);
  }
  if (wishes.length > maxWishes)
    throw new CodedError('BAD_DOCUMENT', `${what}: more than ${maxWishes} wishes`);
  return {
    kind,
    schema,
    dropped: typeof dropped === 'number' && Number.isSafeInteger(dropped) && dropped > 0 ? dropped : 0,
    wishes: wishes.map((wish, i) => parseWish(wish, `${what}: wish ${i + 1}`)),
  };
}

export class WishList implements Wishes {
  readonly #wishes = new Map<string, Wish>();
  readonly #path: string | undefined;
  #textBytes = 0;
  #dropped = 0;
  #timer: NodeJS.Timeout | undefined;
  #writing: Promise<void> = Promise.resolve();

  private constructor(path: string | undefined) {
    this.#path = path;
  }

  /**
   * @param path of wants.json; left out, wishes end with the process
   * @throws DISK, BAD_DOCUMENT
   */
  static async open(path: string | undefined): Promise<WishList> {
    const list = new WishList(path);
    const bytes = path === undefined ? undefined : await readSmallFile(path, maxWantsBytes);
    if (bytes === undefined || path === undefined) return list;
    const document = parseWants(bytes, path);
    list.#dropped = document.dropped;
    for (const wish of document.wishes) {
      list.#wishes.set(wishKey(wish), wish);
      list.#textBytes += textBytes(wish);
    }
    return list;
  }

  async add(subject: WishSubject): Promise<'recorded' | 'full'> {
    const key = wishKey(subject);
    const now = new Date().toISOString();
    const before = this.#wishes.get(key);
    if (before !== undefined) this.#wishes.set(key, { ...before, last: now, count: before.count + 1 });
    else if (this.#wishes.size >= maxWishes) {
      this.#dropped++;
      this.#writeSoon();
      return 'full';
    } else {
      const kept = this.#withoutLongText(subject);
      this.#textBytes += textBytes(kept);
      this.#wishes.set(key, { ...kept, first: now, last: now, count: 1 });
    }
    this.#writeSoon();
    return 'recorded';
  }

  get counts(): { readonly size: number; readonly dropped: number } {
    return { size: this.#wishes.size, dropped: this.#dropped };
  }

  async document(): Promise<WantsDocument> {
    return this.#document();
  }

  #document(): WantsDocument {
    return {
      kind: 'omni-airgap/wants',
      schema: 1,
      dropped: this.#dropped,
      wishes: [...this.#wishes.values()],
    };
  }

  async close(): Promise<void> {
    if (this.#timer !== undefined) {
      clearTimeout(this.#timer);
      this.#timer = undefined;
      this.#write();
    }
    await this.#writing;
  }

  #withoutLongText(subject: WishSubject): WishSubject {
    if (subject.kind !== 'schematic' || subject.text === undefined) return subject;
    const size = textBytes(subject);
    if (size <= maxTextBytes && this.#textBytes + size <= maxAllTextBytes) return subject;
    const { text: _, ...kept } = subject;
    return kept;
  }

  #writeSoon(): void {
    if (this.#path === undefined || this.#timer !== undefined) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#write();
    }, writeAfterMs);
    this.#timer.unref();
  }

  #write(): void {
    const path = this.#path;
    if (path === undefined) return;
    const text = `${JSON.stringify(this.#document(), undefined, 1)}\n`;
    this.#writing = this.#writing
      .catch(() => {})
      .then(() => {
        // The next server must be able to read it.
        parseWants(Buffer.from(text), path);
        return writeFileAtomic(path, text);
      });
    // A full disk must not end the server; the next wish tries again, and close() reports it.
    this.#writing.catch(() => {});
  }
}

function textBytes(wish: WishSubject): number {
  return wish.kind === 'schematic' ? Buffer.byteLength(wish.text ?? '') : 0;
}
