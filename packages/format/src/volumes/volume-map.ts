/**
 * What every byte of the volumes is: built from the names, the blobs with their places, and the volume sizes that
 * a bundle.json states (or a plan has chosen). Places that leave a gap, overlap or run out of the volumes are
 * refused, so after this check nothing in a volume is left unexplained: writer, reader and verifier share it.
 */

import { createHash } from 'node:crypto';
import { byText, CodedError } from '@omni-airgap/oci/base';
import type { Names } from '@omni-airgap/oci/layout';
import { type Digest, hexOf } from '@omni-airgap/oci/model';
import type { BundleDocument } from '../documents/bundle-document.ts';
import { memberSize, paddingOf, tarBlock, tarHeader, trailerSize } from './tar-header.ts';
import { layoutFiles, type PlacedBlob, type VolumePlan } from './volume-plan.ts';

/** A run of bytes in a volume. Parts follow each other without a gap. */
export type VolumePart =
  /** Bytes that follow from bundle.json: headers, padding, layout files, the end of the archive. */
  | { readonly kind: 'fixed'; readonly bytes: Uint8Array; readonly of: string }
  /** Bytes of a blob, from its byte `from` on. */
  | { readonly kind: 'blob'; readonly blob: PlacedBlob; readonly from: number; readonly size: number };

/** A run of a blob's bytes in one volume. */
interface BlobRun {
  readonly volume: number;
  readonly offset: number;
  readonly size: number;
}

/** Bytes that follow from bundle.json, and where they must be. */
export interface FixedRun {
  readonly volume: number;
  readonly offset: number;
  readonly bytes: Uint8Array;
  readonly of: string;
}

/** Begins the names of volumes, and of no other file of a medium. */
export const volumePrefix = 'content.tar.';

/** `content.tar.007`: safe on every file system that media use. */
export function volumeName(index: number): string {
  return `${volumePrefix}${String(index).padStart(3, '0')}`;
}

/** `3,5-6`, as --volumes takes it. @param volumes rising, one at least */
export function formatVolumeRange(volumes: readonly number[]): string {
  const runs: { first: number; last: number }[] = [];
  for (const volume of volumes) {
    const run = runs.at(-1);
    if (run?.last === volume - 1) run.last = volume;
    else runs.push({ first: volume, last: volume });
  }
  return runs.map(({ first, last }) => (first === last ? `${first}` : `${first}-${last}`)).join(',');
}

/** 7 for `content.tar.007`. @param name of a volume */
export function numberOfVolume(name: string): number {
  return Number(name.slice(volumePrefix.length));
}

export class VolumeMap {
  readonly sizes: readonly number[];
  readonly #files: ReturnType<typeof layoutFiles>;
  readonly #inVolume: readonly (readonly PlacedBlob[])[];
  readonly #places = new Map<Digest, PlacedBlob>();

  /**
   * @param bases ids of the bundles it was made on
   * @throws BAD_DOCUMENT when the places do not explain every byte of the volumes
   */
  constructor(names: Names, plan: VolumePlan, bases: readonly string[] = []) {
    this.sizes = plan.sizes;
    this.#files = layoutFiles(names, bases);
    const inVolume: PlacedBlob[][] = plan.sizes.map(() => []);
    for (const blob of plan.blobs) {
      if (this.#places.has(blob.digest)) throw bad(`blob ${blob.digest} stands twice`);
      const list = inVolume[blob.volume];
      if (list === undefined)
        throw bad(`blob ${blob.digest} is in volume ${blob.volume}, which does not exist`);
      this.#places.set(blob.digest, blob);
      list.push(blob);
    }
    for (const list of inVolume) list.sort((a, b) => a.offset - b.offset);
    this.#inVolume = inVolume;
    this.#check();
  }

  place(digest: Digest): PlacedBlob | undefined {
    return this.#places.get(digest);
  }

  get blobs(): Iterable<PlacedBlob> {
    return this.#places.values();
  }

  /**
   * Returns the runs of a blob's bytes, one for each volume that has some.
   * @throws BAD_DOCUMENT when the blob runs past the last volume, which is no blob of this map
   */
  runsOf(blob: PlacedBlob): readonly BlobRun[] {
    const runs: BlobRun[] = [];
    let { volume, offset } = blob;
    for (let left = blob.size; left > 0; volume++, offset = 0) {
      const end = this.sizes[volume];
      if (end === undefined) throw bad(`blob ${blob.digest} runs past the last volume`);
      const size = Math.min(left, end - offset);
      runs.push({ volume, offset, size });
      left -= size;
    }
    return runs;
  }

  /** Those that hold bytes of a blob; the one that names it, when it is empty. */
  volumesOf(blob: PlacedBlob): readonly number[] {
    return blob.size === 0 ? [blob.volume] : this.runsOf(blob).map(({ volume }) => volume);
  }

  /** All that has bytes in one of these volumes, and all empty ones there. */
  blobsIn(volumes: Iterable<number>): readonly PlacedBlob[] {
    const wanted = new Set(volumes);
    return [...this.blobs].filter((blob) => this.volumesOf(blob).some((volume) => wanted.has(volume)));
  }

  /** What surrounds the bytes of a blob: the header of its member, and the padding if there is any. */
  *memberHeaderOf(blob: PlacedBlob): Iterable<FixedRun> {
    const { volume } = blob;
    yield { volume, offset: blob.offset - tarBlock, ...headerOf(blob) };
    const last = this.runsOf(blob).at(-1);
    if (last === undefined) return;
    for (const part of padding(blob.size, blob.digest)) {
      yield { volume: last.volume, offset: last.offset + last.size, ...part };
    }
  }

  /** The end of the archive, in the last volume. */
  trailer(): FixedRun {
    const volume = this.sizes.length - 1;
    return { volume, offset: (this.sizes[volume] ?? 0) - trailerSize, ...endOfArchive };
  }

  /** Blobs that have bytes in this volume and in others too. */
  cutBlobsOf(volume: number): readonly PlacedBlob[] {
    const carried = this.#carriedInto(volume)?.blob;
    const last = this.#inVolume[volume]?.at(-1);
    return [carried, last].filter(
      (blob) => blob !== undefined && this.runsOf(blob).length > 1,
    ) as PlacedBlob[];
  }

  /** Every byte of a volume, in order. */
  *parts(volume: number): Iterable<VolumePart> {
    const end = (this.sizes[volume] ?? 0) - (volume === this.sizes.length - 1 ? trailerSize : 0);
    if (volume === 0) {
      for (const { name, bytes } of this.#files) {
        yield fixed(tarHeader({ name, size: bytes.byteLength }), `header of ${name}`);
        if (bytes.byteLength > 0) yield fixed(bytes, name);
        yield* padding(bytes.byteLength, name);
      }
    }
    const carried = this.#carriedInto(volume);
    if (carried !== undefined) {
      const size = Math.min(carried.blob.size - carried.from, end);
      yield { kind: 'blob', blob: carried.blob, from: carried.from, size };
      if (carried.from + size === carried.blob.size) yield* padding(carried.blob.size, carried.blob.digest);
    }
    for (const blob of this.#inVolume[volume] ?? []) {
      yield headerOf(blob);
      const size = Math.min(blob.size, end - blob.offset);
      yield { kind: 'blob', blob, from: 0, size };
      if (size === blob.size) yield* padding(blob.size, blob.digest);
    }
    if (volume === this.sizes.length - 1) yield endOfArchive;
  }

  /** The blob whose bytes a volume begins with, if it goes on from the volume before. */
  #carriedInto(volume: number): { readonly blob: PlacedBlob; readonly from: number } | undefined {
    for (let before = volume - 1; before > 0; before--) {
      const last = this.#inVolume[before]?.at(-1);
      if (last === undefined) continue;
      let from = 0;
      for (const run of this.runsOf(last)) {
        if (run.volume === volume) return { blob: last, from };
        from += run.size;
      }
      return undefined;
    }
    return undefined;
  }

  #check(): void {
    const { sizes } = this;
    if (sizes.length === 0) throw bad('it names no volume');
    let at = this.#files.reduce((sum, file) => sum + memberSize(file.bytes.byteLength), 0);
    for (const [volume, size] of sizes.entries()) {
      const end = size - (volume === sizes.length - 1 ? trailerSize : 0);
      for (const [i, blob] of (this.#inVolume[volume] ?? []).entries()) {
        if (blob.offset !== at + tarBlock) {
          throw bad(
            `blob ${blob.digest} cannot be at byte ${blob.offset} of ${volumeName(volume)}: it follows at byte ${at + tarBlock}`,
          );
        }
        if (blob.size > 0 ? blob.offset >= end : blob.offset > end)
          throw bad(`blob ${blob.digest} begins past the end of ${volumeName(volume)}`);
        at += memberSize(blob.size);
        const isLast = i === (this.#inVolume[volume]?.length ?? 0) - 1;
        // Only a blob that alone fills the rest of its volume may go on in the next, and never in volume 000.
        if (at > end && !(isLast && volume > 0 && volume < sizes.length - 1)) {
          throw bad(`blob ${blob.digest} runs past the end of ${volumeName(volume)}`);
        }
      }
      if (at < end) throw bad(`${volumeName(volume)} cannot have ${size} bytes: its content ends at ${at}`);
      if (end <= 0 || end % tarBlock !== 0) throw bad(`${volumeName(volume)} cannot have ${size} bytes`);
      at -= end;
    }
    if (at !== 0) throw bad('the content runs past the last volume');
  }
}

type FixedPart = Extract<VolumePart, { kind: 'fixed' }>;

function fixed(bytes: Uint8Array, of: string): FixedPart {
  return { kind: 'fixed', bytes, of };
}

const endOfArchive: FixedPart = fixed(Buffer.alloc(trailerSize), 'end of the archive');

function headerOf({ digest, size }: PlacedBlob): FixedPart {
  const name = `blobs/sha256/${hexOf(digest)}`;
  return fixed(tarHeader({ name, size }), `header of ${name}`);
}

function* padding(size: number, of: string): Iterable<FixedPart> {
  const bytes = paddingOf(size);
  if (bytes > 0) yield fixed(Buffer.alloc(bytes), `padding after ${of}`);
}

function bad(what: string): CodedError {
  return new CodedError('BAD_DOCUMENT', `bundle.json: ${what}`);
}

/** @throws BAD_DOCUMENT when the places do not explain every byte of the volumes */
export function mapOf({ roots, blobs, volumes, base = [] }: BundleDocument): VolumeMap {
  const names = new Map(roots.map(({ name, descriptor }) => [name, descriptor]));
  const sizes = volumes.map(({ size }) => size);
  return new VolumeMap(
    names,
    { blobs, sizes },
    base.map(({ id }) => id),
  );
}

/**
 * The hash of a plan: names, places of blobs, sizes of volumes, bases. It decides every byte of the volumes but the content,
 * and is known before any of it is read.
 * @param bases ids of the bundles it is made on
 * @returns hex
 */
export function planHash(names: Names, map: VolumeMap, bases: readonly string[]): string {
  const hash = createHash('sha256');
  for (const [name, { digest, size, mediaType }] of [...names].sort(([a], [b]) => byText(a, b))) {
    hash.update(`${name} ${digest} ${size} ${mediaType}\n`);
  }
  for (const { digest, size, volume, offset } of map.blobs)
    hash.update(`${digest} ${size} ${volume} ${offset}\n`);
  return hash.update([...map.sizes, ...bases].join()).digest('hex');
}

/** The hash of the plan that a bundle was made by. @param map mapOf the document @returns hex */
export function planHashOf({ roots, base = [] }: BundleDocument, map: VolumeMap): string {
  const names = new Map(roots.map(({ name, descriptor }) => [name, descriptor]));
  return planHash(
    names,
    map,
    base.map(({ id }) => id),
  );
}
