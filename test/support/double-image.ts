/** Images inside a registry double. */
import { collect, type Descriptor, MediaType } from '../../packages/oci/src/model/index.ts';
import {
  buildManifest,
  generatedBytes,
  type RepositoryDouble,
} from '../../packages/oci/src/testing/index.ts';

export interface DoubleImage {
  readonly manifest: Descriptor;
  readonly layers: readonly Descriptor[];
}

/** @param sizes bytes of each layer; the content follows from seed and place */
export async function addImage(
  repository: RepositoryDouble,
  tag: string,
  seed: number,
  sizes: readonly number[],
): Promise<DoubleImage> {
  const config = repository.addBlob(
    Buffer.from(JSON.stringify({ os: 'linux', architecture: 'amd64', seed })),
    MediaType.ociConfig,
  );
  const layers: Descriptor[] = [];
  for (const [i, size] of sizes.entries()) {
    const bytes = await collect(generatedBytes(seed * 100 + i, size)(), size, 'layer');
    layers.push(repository.addBlob(bytes, 'application/vnd.oci.image.layer.v1.tar+gzip'));
  }
  const { bytes } = buildManifest(MediaType.ociManifest, { config, layers });
  return { manifest: repository.addManifest(bytes, MediaType.ociManifest, tag), layers };
}
