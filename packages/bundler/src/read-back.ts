/**
 * Reading volumes back from the medium they were just written to, past the caches: what counts is what the medium
 * holds. When it is wrong, whether the medium or the store is to blame is found out and said.
 */
import { join } from 'node:path';
import { type PlacedBlob, type VolumeMap, VolumeVerifier, volumeName } from '@omni-airgap/format';
import type { Progress } from '@omni-airgap/oci';
import { CodedError } from '@omni-airgap/oci/base';
import { eachBlockDirect } from '@omni-airgap/oci/fs';
import type { Layout } from '@omni-airgap/oci/layout';
import type { Digest } from '@omni-airgap/oci/model';
import type { VolumeJournal } from '@omni-airgap/store';
import { isRight, wrongBytes } from './content-check.ts';
import type { Medium } from './medium.ts';

/** What is read back, and what it is compared with. */
export interface ReadBackContext {
  readonly map: VolumeMap;
  readonly medium: Medium;
  readonly journal: VolumeJournal;
  readonly layout: Layout;
  readonly progress: Progress;
  readonly signal?: AbortSignal | undefined;
}

/** What was written is what the store holds, and that is damaged. */
export class BadStore extends CodedError {}

export class ReadBack {
  readonly #context: ReadBackContext;
  readonly #verifier: VolumeVerifier;
  /** Blobs of which another medium holds a part: their digest cannot be seen on this one. */
  readonly #cut: ReadonlySet<Digest>;
  #noted = false;

  /** @param volumes those that will be checked, in rising order */
  constructor(context: ReadBackContext, volumes: readonly number[]) {
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
