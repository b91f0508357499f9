/**
 * OCI artifacts made here: things that are not images, in the shape ORAS gives them or their user expects. Equal
 * content gives equal bytes, so nothing is made twice.
 */

import { walk } from '@omni-airgap/oci';
import { byText } from '@omni-airgap/oci/base';
import type { Layout } from '@omni-airgap/oci/layout';
import {
  Annotation,
  type Descriptor,
  type Digest,
  descriptorOf,
  MediaType,
  openerOf,
  plain,
} from '@omni-airgap/oci/model';
import { schematicMediaType } from '@omni-airgap/talos';

interface Artifact {
  readonly manifest: Descriptor;
  readonly bytes: Uint8Array;
  readonly config: Descriptor;
  readonly configBytes: Uint8Array;
}

/** A file of an artifact: its descriptor, and the name it gets when pulled. */
export interface TitledFile {
  readonly name: string;
  readonly descriptor: Descriptor;
}

/** Files as one artifact, one layer each, in the order of their names. */
export function fileArtifact(artifactType: string, files: readonly TitledFile[]): Artifact {
  const configBytes = Buffer.from('{}');
  const config = descriptorOf(MediaType.empty, configBytes);
  const layers = [...files]
    .sort((a, b) => byText(a.name, b.name))
    .map(({ name, descriptor }) => ({ ...plain(descriptor), annotations: { [Annotation.title]: name } }));
  const bytes = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: MediaType.ociManifest,
      artifactType,
      config,
      // An artifact without files still needs a layer: image-spec manifest.md, "layers".
      layers: layers.length > 0 ? layers : [config],
    }),
  );
  return { manifest: { ...descriptorOf(MediaType.ociManifest, bytes) }, bytes, config, configBytes };
}

/**
 * A schematic as the Image Factory stores it: a Docker schema 2 image whose one layer is the canonical YAML, so
 * that the layer's digest is the schematic ID. The factory reads that layer by digest and nothing else.
 * Source: siderolabs/image-factory internal/schematic/storage/registry/registry.go.
 */
export function schematicArtifact(canonical: Uint8Array): Artifact & { readonly layer: Descriptor } {
  const layer = descriptorOf(schematicMediaType, canonical);
  const diffIds: readonly Digest[] = [layer.digest];
  const configBytes = Buffer.from(
    JSON.stringify({ architecture: '', config: {}, os: '', rootfs: { type: 'layers', diff_ids: diffIds } }),
  );
  const config = descriptorOf(MediaType.dockerConfig, configBytes);
  const bytes = Buffer.from(
    JSON.stringify({ schemaVersion: 2, mediaType: MediaType.dockerManifest, config, layers: [layer] }),
  );
  return { manifest: descriptorOf(MediaType.dockerManifest, bytes), bytes, config, configBytes, layer };
}

/** Its files must be there. @returns the manifest */
export async function storeArtifact(layout: Layout, artifact: Artifact, name: string): Promise<Descriptor> {
  await layout.push(artifact.config, openerOf(artifact.configBytes));
  await layout.push(artifact.manifest, openerOf(artifact.bytes));
  await layout.tag(artifact.manifest, name);
  return artifact.manifest;
}

/** True when the manifest and all it points at are there. */
export async function isWhole(layout: Layout, root: Descriptor): Promise<boolean> {
  for await (const { kind, descriptor } of walk(layout, [root], { missing: 'skip' })) {
    if (kind === 'missing' || (kind === 'blob' && !(await layout.has(descriptor)))) return false;
  }
  return true;
}
