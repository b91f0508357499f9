/**
 * Which blob goes into which volume: a pure, deterministic choice.
 *
 * Volume 000 holds the files of the OCI layout and all small content. The others hold blobs, largest first,
 * each in the first volume with room. A blob that no volume can hold starts one and goes on in the next ones.
 */

import { byText, CodedError } from '@omni-airgap/oci/base';
import { formatIndexFile, layoutMarker, type Names } from '@omni-airgap/oci/layout';
import type { Digest } from '@omni-airgap/oci/model';
import { memberSize, tarBlock, trailerSize } from './tar-header.ts';

/** Blobs up to this size are in volume 000. */
export const smallBlobLimit: number = 64 * 1024;

/** What three digits number; bundle.json takes no more. */
const maxVolumes = 1000;

export interface BlobSize {
  readonly digest: Digest;
  /** Bytes. */
  readonly size: number;
}

/** Where a blob's data begins. */
export interface PlacedBlob extends BlobSize {
  readonly volume: number;
  /** Bytes from the start of that volume. */
  readonly offset: number;
}

export interface VolumePlan {
  readonly blobs: readonly PlacedBlob[];
  /** Bytes of each volume. */
  readonly sizes: readonly number[];
}

/**
 * @param names what index.json says
 * @param blobs everything carried, each once
 * @param volumeSize most bytes a volume may have
 * @param bases ids of the bundles it is made on
 * @param reserved bytes that volume 001 leaves free, for other files on its medium
 * @throws USAGE when the small content alone does not fit, or more than a thousand volumes are needed
 */
export function planVolumes(
  names: Names,
  blobs: readonly BlobSize[],
  volumeSize: number,
  bases: readonly string[] = [],
  reserved = 0,
): VolumePlan {
  // The end of the archive must fit wherever the last volume ends; whole blocks only.
  const capacity = Math.floor((volumeSize - trailerSize) / tarBlock) * tarBlock;
  const capacityOf = (volume: number): number =>
    volume === 1 ? capacity - Math.ceil(reserved / tarBlock) * tarBlock : capacity;
  if (reserved > 0 && capacityOf(1) < memberSize(smallBlobLimit)) {
    throw new CodedError(
      'USAGE',
      `--volume-size ${volumeSize}: leaves no room beside the ${reserved} bytes of the program; use a larger one`,
    );
  }
  const ordered = [...blobs].sort((a, b) => b.size - a.size || byText(a.digest, b.digest));
  const used = [layoutFiles(names, bases).reduce((sum, file) => sum + memberSize(file.bytes.byteLength), 0)];
  const placed: PlacedBlob[] = [];
  for (const { digest, size } of ordered.filter((blob) => blob.size <= smallBlobLimit)) {
    const at = used[0] ?? 0;
    placed.push({ digest, size, volume: 0, offset: at + tarBlock });
    used[0] = at + memberSize(size);
  }
  if ((used[0] ?? 0) > capacity) {
    const needed = (used[0] ?? 0) + trailerSize;
    throw new CodedError(
      'USAGE',
      `--volume-size ${volumeSize}: the small content alone needs ${needed} bytes`,
    );
  }
  for (const { digest, size } of ordered.filter((blob) => blob.size > smallBlobLimit)) {
    const takes = memberSize(size);
    const fits = used.findIndex((bytes, volume) => volume > 0 && bytes + takes <= capacityOf(volume));
    const volume = fits < 0 ? used.length : fits;
    const at = used[volume] ?? 0;
    placed.push({ digest, size, volume, offset: at + tarBlock });
    let rest = at + takes;
    for (let next = volume; rest > 0; next++) {
      if (next >= maxVolumes) {
        throw new CodedError('USAGE', `--volume-size ${volumeSize}: needs more than ${maxVolumes} volumes`);
      }
      used[next] = Math.min(rest, capacityOf(next));
      rest -= used[next] ?? 0;
    }
  }
  return { blobs: placed, sizes: used.map((bytes, i) => bytes + (i === used.length - 1 ? trailerSize : 0)) };
}

/** @param bases see formatIndexFile */
export function layoutFiles(
  names: Names,
  bases: readonly string[] = [],
): readonly { readonly name: string; readonly bytes: Uint8Array }[] {
  const none = new Uint8Array(0);
  return [
    { name: 'oci-layout', bytes: Buffer.from(layoutMarker) },
    { name: 'index.json', bytes: Buffer.from(formatIndexFile(names, bases)) },
    { name: 'blobs/', bytes: none },
    { name: 'blobs/sha256/', bytes: none },
  ];
}
