/**
 * What a registry may refuse: kinds of content, found in a bundle, and the least content that shows whether the
 * registry takes them. Source: facts about zot, Quay, Harbor and Distribution in docs/loading.md.
 */

import { type Fetcher, type Presence, walk } from '@omni-airgap/oci';
import {
  childrenOf,
  type Descriptor,
  descriptorOf,
  digestOf,
  isManifestType,
  type Manifest,
  MediaType,
} from '@omni-airgap/oci/model';

/** In the order they are tried. */
export const shapes = ['image', 'docker', 'artifact', 'index', 'mixed', 'sparse', 'referrer'] as const;
export type Shape = (typeof shapes)[number];

const dockerTypes: readonly string[] = [MediaType.dockerManifest, MediaType.dockerList];

/** What the graphs below these roots are made of. @throws BAD_DOCUMENT, DIGEST_MISMATCH, MISSING_CONTENT */
export async function shapesOf(
  source: Fetcher & Presence,
  roots: readonly Descriptor[],
  signal?: AbortSignal,
): Promise<ReadonlySet<Shape>> {
  const found = new Set<Shape>(['image']);
  for await (const visited of walk(source, roots, { missing: 'skip', blobs: false, signal })) {
    if (visited.kind !== 'manifest') continue;
    const { manifest } = visited;
    note(found, manifest);
    if (manifest.kind === 'image' || found.has('sparse')) continue;
    for (const child of childrenOf(manifest)) if (!(await source.has(child))) found.add('sparse');
  }
  return found;
}

function note(found: Set<Shape>, manifest: Manifest): void {
  if (dockerTypes.includes(manifest.mediaType)) found.add('docker');
  if (manifest.subject !== undefined) found.add('referrer');
  if (manifest.kind === 'image') {
    if (manifest.artifactType !== undefined || manifest.config.mediaType === MediaType.empty) {
      found.add('artifact');
    }
    return;
  }
  found.add('index');
  if (hasOtherKind(manifest.mediaType, manifest.manifests)) found.add('mixed');
}

/** True when Docker manifests are children of an OCI index, or the other way round. */
export function hasOtherKind(indexType: string, children: readonly Descriptor[]): boolean {
  const isDocker = dockerTypes.includes(indexType);
  const manifests = children.filter((child) => isManifestType(child.mediaType));
  return manifests.some((child) => dockerTypes.includes(child.mediaType) !== isDocker);
}

export interface Sample {
  readonly descriptor: Descriptor;
  readonly bytes: Uint8Array;
}

/** The layer without files that every registry has seen: gzip of an empty tar archive. */
const emptyLayer = Buffer.from('1f8b080000096e8800ff621805a360148c5800080000ffff2eafb5ef00040000', 'hex');

/** Content of the shape: blobs first, each manifest after what it points at. A few hundred bytes, always the same. */
export function sampleOf(shape: Shape): readonly Sample[] {
  const image = imageSample(
    MediaType.ociManifest,
    MediaType.ociConfig,
    'application/vnd.oci.image.layer.v1.tar+gzip',
  );
  const docker = imageSample(
    MediaType.dockerManifest,
    MediaType.dockerConfig,
    'application/vnd.docker.image.rootfs.diff.tar.gzip',
  );
  if (shape === 'image') return image;
  if (shape === 'docker') return docker;
  if (shape === 'artifact') return artifactSample();
  if (shape === 'referrer') return [...image, ...artifactSample(image.at(-1)?.descriptor)];
  const child = (sample: readonly Sample[], architecture: string): object => ({
    ...sample.at(-1)?.descriptor,
    platform: { os: 'linux', architecture },
  });
  if (shape === 'index') return [...image, indexSample([child(image, 'amd64')])];
  if (shape === 'mixed') {
    return [...image, ...docker, indexSample([child(image, 'amd64'), child(docker, 'arm64')])];
  }
  const absent = {
    mediaType: MediaType.ociManifest,
    digest: digestOf(Buffer.from('a manifest that is nowhere')),
    size: 400,
    platform: { os: 'linux', architecture: 'arm64' },
  };
  return [...image, indexSample([child(image, 'amd64'), absent])];
}

function imageSample(manifestType: string, configType: string, layerType: string): readonly Sample[] {
  const rootfs = {
    type: 'layers',
    diff_ids: ['sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef'],
  };
  const config = sample(configType, { architecture: 'amd64', os: 'linux', config: {}, rootfs });
  const layer = { descriptor: descriptorOf(layerType, emptyLayer), bytes: emptyLayer };
  const manifest = sample(manifestType, {
    schemaVersion: 2,
    mediaType: manifestType,
    config: config.descriptor,
    layers: [layer.descriptor],
  });
  return [config, layer, manifest];
}

/** @param subject what it speaks about */
function artifactSample(subject?: Descriptor): readonly Sample[] {
  const config = sample(MediaType.empty, {});
  const manifest = sample(MediaType.ociManifest, {
    schemaVersion: 2,
    mediaType: MediaType.ociManifest,
    artifactType: 'application/vnd.omni-airgap.probe.v1',
    config: config.descriptor,
    layers: [config.descriptor],
    subject,
  });
  return [config, manifest];
}

function indexSample(manifests: readonly object[]): Sample {
  return sample(MediaType.ociIndex, { schemaVersion: 2, mediaType: MediaType.ociIndex, manifests });
}

function sample(mediaType: string, document: object): Sample {
  const bytes = Buffer.from(JSON.stringify(document));
  return { descriptor: descriptorOf(mediaType, bytes), bytes };
}
