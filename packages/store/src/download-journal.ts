/**
 * What is known about downloads that have no digest upstream: a small file beside the partial one, in `ingest/` of
 * the store. It survives a kill and a power cut, so the next run resumes at the last checkpoint, and does not ask again
 * for a file that is here but not yet in lock.json.
 *
 * One JSON object a line: the entry, then one line for each checkpoint of a partial download.
 */

import { join } from 'node:path';
import { CodedError, isCoded, type JsonObject } from '@omni-airgap/oci/base';
import { Journal } from '@omni-airgap/oci/fs';
import type { Checkpoint, Checkpoints } from '@omni-airgap/oci/layout';
import { type Digest, digestOf, hexOf, isDigest } from '@omni-airgap/oci/model';

export type JournalEntry =
  | { readonly state: 'partial'; readonly size: number; readonly validator: string }
  | { readonly state: 'done'; readonly size: number; readonly digest: Digest };

export class DownloadJournal {
  readonly #folder: string;

  /** @param store its root folder */
  constructor(store: string) {
    this.#folder = join(store, 'ingest');
  }

  /** Undefined when nothing (or nothing usable) is known. @throws DISK */
  async read(url: string): Promise<JournalEntry | undefined> {
    const [first] = await this.#records(url);
    return first && entryIn(first);
  }

  /**
   * Begins anew: checkpoints that were there are gone.
   * @throws DISK; INTERNAL for an entry that `read` would not give back
   */
  async write(url: string, entry: JournalEntry): Promise<void> {
    const record = { url, ...entry };
    const journal = this.#journalOf(url);
    if (entryIn(record) === undefined)
      throw new CodedError('INTERNAL', `${journal.path}: a download cannot be recorded so`);
    await journal.begin(record);
  }

  /** Those of the download whose entry was written last. */
  checkpointsOf(url: string): Checkpoints {
    return {
      read: async () => (await this.#records(url)).slice(1).flatMap(checkpointIn),
      add: ({ size, digest }) => this.#journalOf(url).append({ size, digest }),
    };
  }

  /** @throws DISK */
  async forget(url: string): Promise<void> {
    await this.#journalOf(url).remove();
  }

  async #records(url: string): Promise<readonly JsonObject[]> {
    try {
      return await this.#journalOf(url).read();
    } catch (error) {
      if (isCoded(error, 'BAD_DOCUMENT')) return [];
      throw error;
    }
  }

  #journalOf(url: string): Journal {
    return new Journal(join(this.#folder, `${hexOf(digestOf(Buffer.from(url)))}.json`));
  }
}

function entryIn({ state, size, validator, digest }: JsonObject): JournalEntry | undefined {
  if (typeof size !== 'number' || !Number.isSafeInteger(size)) return undefined;
  if (state === 'partial' && typeof validator === 'string') return { state, size, validator };
  if (state === 'done' && isDigest(digest)) return { state, size, digest };
  return undefined;
}

function checkpointIn({ size, digest }: JsonObject): readonly Checkpoint[] {
  return typeof size === 'number' && Number.isSafeInteger(size) && size > 0 && isDigest(digest)
    ? [{ size, digest }]
    : [];
}
