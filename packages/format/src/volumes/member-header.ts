/**
 * What surrounds content in the volumes, checked by those who read only some blobs: the header and the padding of a
 * member, volume 000 as a whole, and the end of the archive. A volume in which one of these was changed is not the
 * volume that was signed for, whatever its blobs are. Fault F30.
 */

import { CodedError } from '@omni-airgap/oci/base';
import { eachBlock, readPieces } from '@omni-airgap/oci/fs';
import { collect } from '@omni-airgap/oci/model';
import type { BundleStore } from '../bundle-store.ts';
import { type FixedRun, volumeName } from './volume-map.ts';
import type { PlacedBlob } from './volume-plan.ts';
import { VolumeVerifier } from './volume-verifier.ts';

/**
 * Checks header and padding of a blob's member where they are at hand: two small reads beside the blob's own.
 * @throws BAD_VOLUME naming volume and byte, DISK
 */
export async function checkMemberHeader(
  bundle: BundleStore,
  blob: PlacedBlob,
  signal?: AbortSignal,
): Promise<void> {
  for (const run of bundle.map.memberHeaderOf(blob)) await checkRun(bundle, run, signal);
}

/** Checks the end of the archive, where it is at hand. @throws BAD_VOLUME, DISK */
export async function checkTrailer(bundle: BundleStore, signal?: AbortSignal): Promise<void> {
  await checkRun(bundle, bundle.map.trailer(), signal);
}

/** Checks volume 000, with all the small content, where it is at hand. @throws BAD_VOLUME naming the byte, DISK */
export async function checkSmallContent(bundle: BundleStore, signal?: AbortSignal): Promise<void> {
  if (isAbsent(bundle, 0)) return;
  const verifier = new VolumeVerifier(bundle.map, new Set([0]), () => undefined);
  const piece = { path: bundle.volumePath(0), offset: 0, size: bundle.map.sizes[0] ?? 0 };
  await verifier.verify(0, (use) => eachBlock([piece], use, signal));
  const [damage] = verifier.damages;
  if (damage !== undefined) throw damaged(bundle, 0, damage.offset, damage.what);
}

async function checkRun(bundle: BundleStore, run: FixedRun, signal?: AbortSignal): Promise<void> {
  const { volume, offset, bytes, of } = run;
  if (isAbsent(bundle, volume)) return;
  const size = bytes.byteLength;
  const found = await collect(
    readPieces([{ path: bundle.volumePath(volume), offset, size }], signal),
    size,
    of,
  );
  if (Buffer.compare(found, bytes) !== 0) throw damaged(bundle, volume, offset, of);
}

function isAbsent(bundle: BundleStore, volume: number): boolean {
  return bundle.problems.some((problem) => problem.volume === volume);
}

function damaged(bundle: BundleStore, volume: number, offset: number, what: string): CodedError {
  return new CodedError(
    'BAD_VOLUME',
    `${bundle.volumePath(volume)}: ${volumeName(volume)} is damaged at byte ${offset} (${what}); copy this volume again and run the same command: what is done is kept`,
  );
}
