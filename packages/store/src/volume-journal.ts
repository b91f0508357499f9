/**
 * What is known of the volumes of a plan, kept in the store: their hashes, so that content is hashed once for any
 * number of media, and which of them lie on a medium.
 */
import { dirname, join } from 'node:path';
import type { JsonObject } from '@omni-airgap/oci/base';
import { ensureFolder, Journal } from '@omni-airgap/oci/fs';
import { isHex64 } from '@omni-airgap/oci/model';

interface VolumeState {
  /** Hex. */
  readonly sha256: string;
  readonly written: boolean;
}

export class VolumeJournal {
  readonly #journal: Journal;
  readonly #volumes: Map<number, VolumeState>;

  private constructor(journal: Journal, volumes: Map<number, VolumeState>) {
    this.#journal = journal;
    this.#volumes = volumes;
  }

  /** @param folder of all plans, made with the one above it when there is something to write @param plan its hash, hex @throws DISK */
  static async open(folder: string, plan: string): Promise<VolumeJournal> {
    const journal = new Journal(join(folder, `${plan}.jsonl`));
    return new VolumeJournal(journal, statesIn(await journal.read()));
  }

  /** Hex. */
  sha256Of(volume: number): string | undefined {
    return this.#volumes.get(volume)?.sha256;
  }

  /** True once the volume lies on a medium, synced and, if that was asked for, read back. */
  isWritten(volume: number): boolean {
    return this.#volumes.get(volume)?.written === true;
  }

  /** @throws DISK */
  async hashed(volume: number, sha256: string): Promise<void> {
    await this.#add(volume, { sha256, written: this.isWritten(volume) });
  }

  /** For a volume that was hashed. @throws DISK */
  async written(volume: number): Promise<void> {
    const state = this.#volumes.get(volume);
    if (state !== undefined) await this.#add(volume, { ...state, written: true });
  }

  /** For a volume whose hash turned out to be that of damaged content. @throws DISK */
  async forget(volume: number): Promise<void> {
    this.#volumes.delete(volume);
    await this.#append({ volume });
  }

  /** For a plan that is not followed any more. @throws DISK */
  async remove(): Promise<void> {
    this.#volumes.clear();
    await this.#journal.remove();
  }

  async #add(volume: number, state: VolumeState): Promise<void> {
    const before = this.#volumes.get(volume);
    if (before?.sha256 === state.sha256 && before.written === state.written) return;
    this.#volumes.set(volume, state);
    await this.#append({ volume, ...state });
  }

  async #append(record: object): Promise<void> {
    const folder = dirname(this.#journal.path);
    for (const path of [dirname(folder), folder]) await ensureFolder(path);
    await this.#journal.append(record);
  }
}

/** The last record of a volume counts. */
function statesIn(records: readonly JsonObject[]): Map<number, VolumeState> {
  const volumes = new Map<number, VolumeState>();
  for (const { volume, sha256, written } of records) {
    if (typeof volume !== 'number') continue;
    if (typeof sha256 === 'string' && isHex64(sha256))
      volumes.set(volume, { sha256, written: written === true });
    else volumes.delete(volume);
  }
  return volumes;
}
