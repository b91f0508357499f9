/** What every byte of a bundle's volumes is, from its bundle.json. */
import type { BundleDocument } from './documents/bundle-document.ts';
import { VolumeMap } from './volumes/volume-map.ts';

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
