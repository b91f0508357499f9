/** Media types this project interprets, and which of them are manifests. */

/** Sources: image-spec v1.1.1 media-types.md; distribution v2.8 docs/spec/manifest-v2-2.md. */
export const MediaType = {
  ociManifest: 'application/vnd.oci.image.manifest.v1+json',
  ociIndex: 'application/vnd.oci.image.index.v1+json',
  dockerManifest: 'application/vnd.docker.distribution.manifest.v2+json',
  dockerList: 'application/vnd.docker.distribution.manifest.list.v2+json',
  dockerConfig: 'application/vnd.docker.container.image.v1+json',
  ociConfig: 'application/vnd.oci.image.config.v1+json',
  /** Source: image-spec v1.1.1 manifest.md#guidance-for-an-empty-descriptor. */
  empty: 'application/vnd.oci.empty.v1+json',
  octetStream: 'application/octet-stream',
} as const;

/** Schema 1 cannot be carried without changing its digest. */
const schema1Types: readonly string[] = [
  'application/vnd.docker.distribution.manifest.v1+json',
  'application/vnd.docker.distribution.manifest.v1+prettyjws',
];

/**
 * Why content of a type is not carried, for types of manifests that nothing handles any more; undefined for all others.
 * Sources: distribution v2.8 docs/spec/manifest-v2-1.md; image-spec v1.1.0-rc3, which removed artifact.md.
 */
export function refusedType(mediaType: string): string | undefined {
  if (schema1Types.includes(mediaType))
    return 'Docker schema 1 cannot be carried with its digest; ask the publisher for an OCI image';
  if (mediaType === 'application/vnd.oci.artifact.manifest.v1+json')
    return `${mediaType} was removed from the OCI specification and registries refuse it; ask the publisher to push it again with a current tool`;
  return undefined;
}

/** What we say we accept when asking a registry for a manifest. */
export const manifestAccept: string = [
  MediaType.ociIndex,
  MediaType.ociManifest,
  MediaType.dockerList,
  MediaType.dockerManifest,
].join(', ');

/** True for a manifest of manifests: an OCI index or Docker's manifest list. */
export function isIndexType(mediaType: string): boolean {
  return mediaType === MediaType.ociIndex || mediaType === MediaType.dockerList;
}

/** True for a manifest of config and layers, OCI's or Docker's. */
export function isImageManifestType(mediaType: string): boolean {
  return mediaType === MediaType.ociManifest || mediaType === MediaType.dockerManifest;
}

/** True for the four manifest types: documents that point at other content. */
export function isManifestType(mediaType: string): boolean {
  return isIndexType(mediaType) || isImageManifestType(mediaType);
}

/**
 * Layers that lie behind `urls` of their own and that a registry need not have. Nobody makes them any more.
 * Source: image-spec v1.1.1 layer.md#non-distributable-layers; distribution v2.8 docs/spec/manifest-v2-2.md.
 */
export function isForeignLayerType(mediaType: string): boolean {
  return (
    mediaType.startsWith('application/vnd.oci.image.layer.nondistributable.v1.tar') ||
    mediaType === 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip'
  );
}
