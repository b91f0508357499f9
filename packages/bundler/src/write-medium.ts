/** Writing volumes to a medium, reading them back, and letting content go from the store that is safe by then. */

import { type VolumeMap, volumeName, writeVolume } from '@omni-airgap/format';
import { CodedError } from '@omni-airgap/oci/base';
import { type Bundling, watchOf } from './bundling.ts';
import type { Consumer } from './consume.ts';
import { isRight, wrongBytes } from './content-check.ts';
import { ReadBack } from './read-back.ts';

/**
 * @param volumes rising
 * @param consumer removes content that is safe; undefined keeps all
 * @throws DISK; BAD_VOLUME when the medium is bad; DIGEST_MISMATCH when the store is damaged, which a BadStore says of
 * what was read back
 */
export async function writeMedium(
  work: Bundling,
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
async function refuseChanged(work: Bundling, volume: number, sha256: string): Promise<void> {
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
