/**
 * Parts of blobs that are cut over two volumes, kept on disk while only one of the volumes is mounted: with
 * `--spool DIR` discs can be loaded one after another even when a blob lies on two of them.
 */
import { createHash } from 'node:crypto';
import { constants, lstatSync } from 'node:fs';
import { open, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type BundleStore, checkMemberHeader, type PlacedBlob } from '@omni-airgap/format';
import type { Piece, Progress } from '@omni-airgap/oci';
import { CodedError, isCoded, systemCodeOf } from '@omni-airgap/oci/base';
import {
  BlockWriter,
  checkOutputFolder,
  diskError,
  eachBlock,
  ensureFolder,
  Runs,
  runPattern,
  syncFolder,
} from '@omni-airgap/oci/fs';
import { hexOf } from '@omni-airgap/oci/model';

const temporaryPattern = new RegExp(`^[a-f0-9]{64}\\.[0-9]+\\.(${runPattern})\\.tmp$`);

export class Spool {
  readonly #folder: string;
  readonly #runs: Runs;

  constructor(folder: string) {
    this.#folder = folder;
    this.#runs = new Runs(folder);
  }

  /** Looks whether parts can be written. @throws USAGE, DISK */
  async check(): Promise<void> {
    await checkOutputFolder('--spool', this.#folder);
  }

  /** True when the part of the blob that lies in this volume is kept. */
  has(bundle: BundleStore, blob: PlacedBlob, volume: number): boolean {
    return this.pieceOf(bundle, blob, volume) !== undefined;
  }

  /** Where the part is kept. */
  pieceOf(bundle: BundleStore, blob: PlacedBlob, volume: number): Piece | undefined {
    const run = bundle.map.runsOf(blob).find((one) => one.volume === volume);
    if (run === undefined) return undefined;
    const path = this.#path(blob, volume);
    const info = lstatSync(path, { throwIfNoEntry: false });
    return info?.isFile() === true && info.size === run.size
      ? { path, offset: 0, size: run.size }
      : undefined;
  }

  /** Keeps the parts that are at hand of blobs that are not whole. @throws DISK, BAD_VOLUME */
  async fill(bundle: BundleStore, progress: Progress, signal?: AbortSignal): Promise<void> {
    const absent = new Set(bundle.problems.map(({ volume }) => volume));
    for (const blob of bundle.map.blobs) {
      const runs = bundle.map.runsOf(blob);
      if (runs.length < 2 || !runs.some(({ volume }) => absent.has(volume))) continue;
      await checkMemberHeader(bundle, blob, signal);
      for (const { volume, offset, size } of runs) {
        if (absent.has(volume) || this.has(bundle, blob, volume)) continue;
        progress.note(`keeping a part of ${blob.digest} in ${this.#folder} until the rest is mounted`);
        const path = this.#path(blob, volume);
        await this.#keep(bundle, volume, { offset, size }, path, signal);
      }
    }
  }

  /** Removes the parts of these blobs. @returns the volumes that they were from, rising @throws DISK */
  async drop(bundle: BundleStore, blobs: Iterable<PlacedBlob>): Promise<readonly number[]> {
    const dropped = new Set<number>();
    for (const blob of blobs) {
      const runs = bundle.map.runsOf(blob);
      if (runs.length < 2) continue;
      for (const { volume } of runs) {
        const path = this.#path(blob, volume);
        try {
          await rm(path);
          dropped.add(volume);
        } catch (error) {
          if (systemCodeOf(error) !== 'ENOENT') throw diskError(error, path);
        }
      }
    }
    return [...dropped].sort((a, b) => a - b);
  }

  #path(blob: PlacedBlob, volume: number): string {
    return join(this.#folder, `${hexOf(blob.digest)}.${volume}`);
  }

  /**
   * A part has no digest of its own, so the whole volume is read: it must be the one that bundle.json names (A5).
   * @throws BAD_VOLUME, DISK
   */
  async #keep(
    bundle: BundleStore,
    volume: number,
    { offset, size }: Pick<Piece, 'offset' | 'size'>,
    path: string,
    signal?: AbortSignal,
  ): Promise<void> {
    await ensureFolder(this.#folder);
    const temporary = `${path}.${await this.#runs.begin()}.tmp`;
    try {
      await this.#removeAbandoned();
      const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC | constants.O_NOFOLLOW;
      const file = await open(temporary, flags, 0o600);
      const medium = bundle.volumePath(volume);
      const hash = createHash('sha256');
      let at = 0;
      const writer = new BlockWriter(file);
      try {
        const use = async (block: Buffer): Promise<void> => {
          hash.update(block);
          const part = block.subarray(Math.max(0, offset - at), Math.max(0, offset + size - at));
          at += block.byteLength;
          if (part.byteLength > 0) await writer.write(part);
        };
        const whole = { path: medium, offset: 0, size: bundle.map.sizes[volume] ?? 0 };
        await eachBlock([whole], use, signal);
        await writer.sync();
      } finally {
        await writer.release();
        await file.close().catch(() => {});
      }
      if (hash.digest('hex') !== bundle.document.volumes[volume]?.sha256) {
        throw new CodedError(
          'BAD_VOLUME',
          `${medium}: damaged, its bytes are not those that bundle.json names; copy this volume again and run load again: what is done is kept`,
        );
      }
      await rename(temporary, path);
      await syncFolder(this.#folder);
    } catch (error) {
      await rm(temporary, { force: true }).catch(() => {});
      if (signal?.aborted === true || isCoded(error, 'BAD_VOLUME')) throw error;
      throw diskError(error, path);
    } finally {
      await this.#runs.end();
    }
  }

  /** What killed processes left. */
  async #removeAbandoned(): Promise<void> {
    for (const name of await readdir(this.#folder)) {
      const run = temporaryPattern.exec(name)?.[1];
      if (run === undefined || !(await this.#runs.isAbandoned(run))) continue;
      await rm(join(this.#folder, name), { force: true });
    }
  }
}
