/**
 * index.json of an OCI image layout: names and what they stand for. Written in one canonical form, so that the
 * same names give the same bytes wherever they are.
 * Source: image-spec v1.1.1 image-layout.md, annotations.md.
 */

import { CodedError } from '../base/errors.ts';
import { parseStrictObject } from '../base/json.ts';
import { printable } from '../base/text.ts';
import type { Descriptor } from '../model/descriptor.ts';
import { Annotation, parseDescriptor } from '../model/descriptor.ts';
import { isManifestType, MediaType } from '../model/media-type.ts';

/** Of the index of an increment: ids of the bundles it was made on. */
const basesAnnotation = 'omni-airgap.bases';

/** What the file `oci-layout` holds. */
export const layoutMarker: string = '{"imageLayoutVersion":"1.0.0"}';

/** A site with every image there is has some ten thousand names. */
export const maxIndexBytes: number = 64 * 1024 * 1024;

/** The names of a layout with what they stand for, in byte order. */
export type Names = ReadonlyMap<string, Descriptor>;

/**
 * The bytes of index.json for these names: sorted by name, one line. What goes by its digest has no name there.
 * @param bases ids of the bundles that an increment was made on: they make its bytes its own
 */
export function formatIndexFile(names: Names, bases: readonly string[] = []): string {
  const manifests = [...names]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, { mediaType, digest, size }]) => ({
      mediaType,
      digest,
      size,
      ...(name === `@${digest}` ? {} : { annotations: { [Annotation.refName]: name } }),
    }));
  const annotations = bases.length === 0 ? {} : { annotations: { [basesAnnotation]: bases.join() } };
  return `${JSON.stringify({ schemaVersion: 2, mediaType: MediaType.ociIndex, manifests, ...annotations })}\n`;
}

/**
 * Names in an index.json, ours or another tool's. Entries without a name go by their digest.
 * @param foreign receives the entries that are no manifests; default: they are refused
 * @throws BAD_DOCUMENT; for an entry that is no manifest, with its descriptor
 */
export function parseIndexFile(
  bytes: Uint8Array,
  what: string,
  foreign?: Map<string, Descriptor>,
): Map<string, Descriptor> {
  const doc = parseStrictObject(bytes, { what });
  const manifests = doc['manifests'] === null ? [] : doc['manifests'];
  if (doc['schemaVersion'] !== 2 || !Array.isArray(manifests)) {
    throw new CodedError('BAD_DOCUMENT', `${what}: not the index of an OCI image layout`);
  }
  const names = new Map<string, Descriptor>();
  for (const [i, raw] of manifests.entries()) {
    const { mediaType, digest, size, annotations } = parseDescriptor(raw, `${what} manifests[${i}]`);
    const descriptor = { mediaType, digest, size };
    const name = annotations?.[Annotation.refName] ?? `@${digest}`;
    if (!isManifestType(mediaType)) {
      foreign?.set(name, descriptor);
      if (foreign !== undefined) continue;
      throw new CodedError(
        'BAD_DOCUMENT',
        `${what} manifests[${i}]: ${printable(name)}: ${mediaType} is not a manifest type`,
        { descriptor },
      );
    }
    if (names.has(name))
      throw new CodedError('BAD_DOCUMENT', `${what}: name ${printable(name)} stands twice`);
    names.set(name, descriptor);
  }
  return names;
}
