/**
 * What is known about downloads that have no digest upstream: a small file beside the partial one, in `ingest/` of
 * the store. It survives a kill, so the next run goes on at the last byte, and does not ask again for a file that is
 * here but not yet in lock.json.
 */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { CodedError, isCoded, parseStrictObject } from '@omni-airgap/oci/base';
import { readSmallFile, writeFileAtomic } from '@omni-airgap/oci/fs';
import { type Digest, digestOf, hexOf, isDigest } from '@omni-airgap/oci/model';

export type JournalEntry =
  | { readonly state: 'partial'; readonly size: number; readonly validator: string }
  | { readonly state: 'done'; readonly size: number; readonly digest: Digest };

const maxEntryBytes = 64 * 1024;

export class DownloadJournal {
  readonly #folder: string;

  /** @param store its root folder */
  constructor(store: string) {
    this.#folder = join(store, 'ingest');
  }

  /** Undefined when nothing (or nothing usable) is known. @throws DISK */
  async read(url: string): Promise<JournalEntry | undefined> {
    const path = this.#pathOf(url);
    try {
      const bytes = await readSmallFile(path, maxEntryBytes);
      return bytes === undefined ? undefined : parseEntry(bytes, path);
    } catch (error) {
      if (isCoded(error, 'BAD_DOCUMENT')) return undefined;
      throw error;
    }
  }

  /** @throws DISK; INTERNAL for an entry that `read` would not give back */
  async write(url: string, entry: JournalEntry): Promise<void> {
    const path = this.#pathOf(url);
    const text = `${JSON.stringify({ url, ...entry })}\n`;
    if (parseEntry(Buffer.from(text), path) === undefined)
      throw new CodedError('INTERNAL', `${path}: a download cannot be recorded so`);
    await writeFileAtomic(path, text);
  }

  async forget(url: string): Promise<void> {
    await rm(this.#pathOf(url), { force: true });
  }

  #pathOf(url: string): string {
    return join(this.#folder, `${hexOf(digestOf(Buffer.from(url)))}.json`);
  }
}

/** @throws BAD_DOCUMENT */
function parseEntry(bytes: Uint8Array, path: string): JournalEntry | undefined {
  const { state, size, validator, digest } = parseStrictObject(bytes, { what: path });
  if (typeof size !== 'number' || !Number.isSafeInteger(size)) return undefined;
  if (state === 'partial' && typeof validator === 'string') return { state, size, validator };
  if (state === 'done' && isDigest(digest)) return { state, size, digest };
  return undefined;
}
