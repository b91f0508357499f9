/**
 * The plan of a bundle: its names, the places of its blobs, the sizes of its volumes and its bases. The hash of these
 * decides every byte of the volumes but the content, and is known before any of it is read.
 */
import { createHash } from 'node:crypto';
import type { BundleDocument, VolumeMap } from '@omni-airgap/format';
import { byText } from '@omni-airgap/oci/base';
import type { Names } from '@omni-airgap/oci/layout';

/** @param bases ids of the bundles it is made on @returns hex */
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
