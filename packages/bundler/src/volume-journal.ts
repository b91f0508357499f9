/**
 * What is known of the volumes of a plan, kept in the store: their hashes, so that content is hashed once for any
 * number of media, and which of them lie on a medium. A file of lines, each synced; one that a power cut left half
 * written does not count.
 */
import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import {
  diskError,
  ensureFolder,
  isCoded,
  isHex64,
  parseStrictObject,
  readSmallFile,
  syncFolder,
} from '@omni-airgap/content';

const maxJournalBytes = 4 * 1024 * 1024;

interface VolumeState {
  readonly sha256: string;
  readonly written: boolean;
}

export class VolumeJournal {
  readonly #path: string;
  readonly #volumes: Map<number, VolumeState>;

  private constructor(path: string, volumes: Map<number, VolumeState>) {
    this.#path = path;
    this.#volumes = volumes;
  }

  /** @param plan hex hash of the plan @throws DISK */
  static async open(store: string, plan: string): Promise<VolumeJournal> {
    const folder = folderOf(store);
    const path = join(folder, `${plan}.jsonl`);
    const bytes = await readSmallFile(path, maxJournalBytes);
    if (bytes === undefined) {
      await ensureFolder(join(store, 'bundles'));
      await ensureFolder(folder);
    }
    return new VolumeJournal(path, parseLines(bytes ?? new Uint8Array(0)));
  }

  sha256Of(volume: number): string | undefined {
    return this.#volumes.get(volume)?.sha256;
  }

  /** True once the volume lies on a medium, synced and, if that was asked for, read back. */
  isWritten(volume: number): boolean {
    return this.#volumes.get(volume)?.written === true;
  }

  async hashed(volume: number, sha256: string): Promise<void> {
    await this.#add(volume, { sha256, written: this.isWritten(volume) });
  }

  async written(volume: number): Promise<void> {
    const state = this.#volumes.get(volume);
    if (state !== undefined) await this.#add(volume, { ...state, written: true });
  }

  /** For a volume whose hash turned out to be that of damaged content. */
  async forget(volume: number): Promise<void> {
    this.#volumes.delete(volume);
    await append(this.#path, { volume });
  }

  async #add(volume: number, state: VolumeState): Promise<void> {
    const before = this.#volumes.get(volume);
    if (before?.sha256 === state.sha256 && before.written === state.written) return;
    this.#volumes.set(volume, state);
    await append(this.#path, { volume, ...state });
  }
}

function folderOf(store: string): string {
  return join(store, 'bundles', 'plans');
}

function parseLines(bytes: Uint8Array): Map<number, VolumeState> {
  const volumes = new Map<number, VolumeState>();
  for (const line of Buffer.from(bytes).toString('latin1').split('\n')) {
    try {
      const { volume, sha256, written } = parseStrictObject(Buffer.from(line), { what: 'journal' });
      if (typeof volume !== 'number') continue;
      if (typeof sha256 === 'string' && isHex64(sha256))
        volumes.set(volume, { sha256, written: written === true });
      else volumes.delete(volume);
    } catch (error) {
      if (!isCoded(error, 'BAD_DOCUMENT')) throw error;
    }
  }
  return volumes;
}

async function append(path: string, line: object): Promise<void> {
  try {
    const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_APPEND | constants.O_NOFOLLOW;
    const file = await open(path, flags, 0o644);
    try {
      const { size } = await file.stat();
      // A line of its own, whatever a power cut left at the end.
      await file.writeFile(`\n${JSON.stringify(line)}\n`);
      await file.sync();
      if (size === 0) await syncFolder(join(path, '..'));
    } finally {
      await file.close();
    }
  } catch (error) {
    throw diskError(error, path);
  }
}
