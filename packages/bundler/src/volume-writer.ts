/**
 * Writing volumes to a medium, and reading them back past the caches: what counts is what the medium holds. When that is
 * wrong, the medium or the store is named as the cause. Content that is safe by then may leave the store.
 */

import { join } from 'node:path';
import {
  hashVolume,
  type PlacedBlob,
  type VolumeMap,
  VolumeVerifier,
  volumeName,
  writeVolume,
} from '@omni-airgap/format';
import type { Progress } from '@omni-airgap/oci';
import { CodedError } from '@omni-airgap/oci/base';
import { eachBlockDirect } from '@omni-airgap/oci/fs';
import type { Layout } from '@omni-airgap/oci/layout';
import type { Digest } from '@omni-airgap/oci/model';
import type { VolumeJournal } from '@omni-airgap/store';
import type { Consumer } from './consumed.ts';
import { isRight, wrongBytes } from './locked-content.ts';
import type { Medium } from './medium.ts';

/** The volumes of a bundle, where their content is, where they go, and what is known of them so far. */
export interface VolumeRun {
  readonly map: VolumeMap;
  readonly medium: Medium;
  readonly journal: VolumeJournal;
  readonly layout: Layout;
  readonly progress: Progress;
  readonly signal?: AbortSignal | undefined;
}

/** Reads the content of volumes for their hashes, without writing any. @throws MISSING_CONTENT, DISK */
export async function hashVolumes(work: VolumeRun, volumes: readonly number[]): Promise<void> {
  const { map, layout, journal } = work;
  for (const volume of volumes) {
    const { sha256 } = await hashVolume(map, volume, layout, watchOf(work));
    await journal.hashed(volume, sha256);
  }
}

/**
 * @param volumes rising
 * @param consumer removes content that is safe; undefined keeps all
 * @throws DISK; BAD_VOLUME when the medium is bad; DIGEST_MISMATCH when the store is damaged, which a BadStore says of
 * what was read back
 */
export async function writeMedium(
  work: VolumeRun,
  volumes: readonly number[],
  isReadBack: boolean,
  consumer: Consumer | undefined,
): Promise<void> {
  const { map, layout, medium, journal } = work;
  const readBack = isReadBack ? new ReadBack(work, volumes) : undefined;
  const pending = new Set(volumes);
  await consumer?.consume(pending);
  for (const group of isReadBack ? groupsOf(map, volumes) : volumes.map((volume) => [volume])) {
    for (const volume of group) {
      const { sha256 } = await writeVolume(map, volume, layout, medium.folder, watchOf(work));
      await refuseChanged(work, volume, sha256);
      await journal.hashed(volume, sha256);
      await readBack?.check(volume);
    }
    for (const volume of group) {
      await journal.written(volume);
      await medium.done(volume);
      pending.delete(volume);
    }
    await consumer?.consume(pending);
  }
}

/** For whatever reads or writes volumes. */
function watchOf({ progress, signal }: VolumeRun): {
  readonly onBytes: (bytes: number) => void;
  readonly signal: AbortSignal | undefined;
} {
  return { onBytes: (bytes) => progress.advance(bytes), signal };
}

/** Volumes that share a blob belong together: its digest is known when the last of them has been read back. */
function groupsOf(map: VolumeMap, volumes: readonly number[]): readonly (readonly number[])[] {
  const groups: number[][] = [];
  for (const volume of volumes) {
    const last = groups.at(-1);
    const goesOn = map.cutBlobsOf(volume).some((blob) => blob.volume < volume && last?.at(-1) === volume - 1);
    if (goesOn && last !== undefined) last.push(volume);
    else groups.push([volume]);
  }
  return groups;
}

/** @throws DIGEST_MISMATCH when the volume was hashed before, and had other bytes */
async function refuseChanged(work: VolumeRun, volume: number, sha256: string): Promise<void> {
  const { journal, medium, map, layout, signal } = work;
  const before = journal.sha256Of(volume);
  if (before === undefined || before === sha256) return;
  await journal.forget(volume);
  await medium.remove(volume);
  for (const blob of map.blobsIn([volume])) {
    if (!(await isRight(layout, blob, signal)))
      throw new CodedError('DIGEST_MISMATCH', wrongBytes(layout, blob));
  }
  throw new CodedError(
    'DIGEST_MISMATCH',
    `${volumeName(volume)}: the store gives other bytes than when it was laid out; check it with verify --store`,
  );
}

/** What was written is what the store holds, and that is damaged. */
export class BadStore extends CodedError {}

export class ReadBack {
  readonly #context: VolumeRun;
  readonly #verifier: VolumeVerifier;
  /** Blobs of which another medium holds a part: their digest cannot be seen on this one. */
  readonly #cut: ReadonlySet<Digest>;
  #noted = false;

  /** @param volumes those that will be checked, in rising order */
  constructor(context: VolumeRun, volumes: readonly number[]) {
    this.#context = context;
    const { map, journal } = context;
    this.#verifier = new VolumeVerifier(map, new Set(volumes), (volume) => journal.sha256Of(volume));
    this.#cut = new Set(this.#verifier.bad);
  }

  /**
   * One volume. A blob that goes on in the next is known when that one is checked.
   * @throws BAD_VOLUME when the medium is bad, DIGEST_MISMATCH when the store is, DISK
   */
  async check(volume: number): Promise<void> {
    const { map, medium, layout, progress, signal } = this.#context;
    const path = join(medium.folder, volumeName(volume));
    let direct = true;
    await this.#verifier.verify(volume, async (use) => {
      const each = (block: Buffer): void => {
        use(block);
        progress.advance(block.byteLength);
      };
      direct = await eachBlockDirect(path, map.sizes[volume] ?? 0, each, signal);
    });
    if (!direct && !this.#noted) {
      this.#noted = true;
      progress.note(
        `${medium.folder}: this file system cannot be read past the caches; the read-back proves less`,
      );
    }
    const bad = map.cutBlobsOf(volume).filter(({ digest }) => this.#cut.has(digest));
    for (const blob of bad)
      if (!(await isRight(layout, blob, signal))) await this.#blameStore(blob, [volume]);
    const [damage] = this.#verifier.damages;
    if (damage === undefined) return;
    const wrong = [...this.#verifier.bad].flatMap((digest) =>
      this.#cut.has(digest) ? [] : (map.place(digest) ?? []),
    );
    const suspects = new Set([volume, ...wrong.flatMap((blob) => map.volumesOf(blob))]);
    for (const blob of wrong)
      if (!(await isRight(layout, blob, signal))) await this.#blameStore(blob, [...suspects]);
    for (const one of suspects) await medium.remove(one);
    throw new CodedError(
      'BAD_VOLUME',
      `${path}: ${damage.what} at byte ${damage.offset} reads back otherwise than it was written; the medium is bad, use another`,
    );
  }

  async #blameStore(blob: PlacedBlob, volumes: readonly number[]): Promise<never> {
    const { medium, journal, layout, map } = this.#context;
    for (const volume of new Set([...volumes, ...map.volumesOf(blob)])) {
      await medium.remove(volume);
      await journal.forget(volume);
    }
    throw new BadStore('DIGEST_MISMATCH', wrongBytes(layout, blob));
  }
}
