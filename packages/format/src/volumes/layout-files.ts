/** The members that volume 000 begins with: what makes an OCI layout of the unpacked volumes. */
import { formatIndexFile, layoutMarker, type Names } from '@omni-airgap/oci/layout';

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
