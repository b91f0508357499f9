/**
 * Random OCI content, the same for the same seed: images, indexes with platforms, nested indexes, Docker's variants,
 * artifacts that refer to an image; layers are shared between them.
 */
import { openerOf } from '../model/bytes.ts';
import { Annotation, type Descriptor, descriptorOf, plain } from '../model/descriptor.ts';
import { MediaType } from '../model/media-type.ts';
import type { Platform } from '../model/platform.ts';
import type { Pusher, Tagger } from '../storage.ts';
import { generatedBlob, seededRandom } from './generated-blob.ts';

export interface GraphOptions {
  readonly seed: number;
  /** Roots; the kinds take turns. Default 6: one of each kind. */
  readonly roots?: number;
  /** Most layers of an image. Default 4. */
  readonly layers?: number;
  /** Most bytes of a layer. Default 200,000: some above and some below what a bundle calls small. */
  readonly layerBytes?: number;
}

export interface GeneratedGraph {
  /** In the order of their names. */
  readonly roots: readonly { readonly name: string; readonly descriptor: Descriptor }[];
  /** All content, each once, children before parents. */
  readonly descriptors: readonly Descriptor[];
}

/** A manifest and its bytes. */
export interface BuiltManifest {
  readonly descriptor: Descriptor;
  readonly bytes: Uint8Array;
}

/** A manifest of these members, as a client would have written it. */
export function buildManifest(mediaType: string, members: object): BuiltManifest {
  const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType, ...members }));
  return { descriptor: descriptorOf(mediaType, bytes), bytes };
}

const platforms: readonly Platform[] = [
  { os: 'linux', architecture: 'amd64' },
  { os: 'linux', architecture: 'arm64' },
  { os: 'linux', architecture: 'arm', variant: 'v7' },
];
const ociTypes = {
  manifest: MediaType.ociManifest,
  index: MediaType.ociIndex,
  config: MediaType.ociConfig,
  layer: 'application/vnd.oci.image.layer.v1.tar+gzip',
};
const dockerTypes = {
  manifest: MediaType.dockerManifest,
  index: MediaType.dockerList,
  config: MediaType.dockerConfig,
  layer: 'application/vnd.docker.image.rootfs.diff.tar.gzip',
};
type Types = typeof ociTypes | typeof dockerTypes;
const kinds = ['image', 'index', 'nested', 'docker image', 'docker list', 'artifact'] as const;

/** Makes the content, pushes it and names its roots `registry.test/app-<n>:v1`. */
export async function generateGraph(target: Pusher & Tagger, options: GraphOptions): Promise<GeneratedGraph> {
  const { seed, roots: rootCount = kinds.length, layers: maxLayers = 4, layerBytes = 200_000 } = options;
  const random = seededRandom(seed);
  const below = (limit: number): number => Math.floor(random() * limit);
  const pushed = new Map<string, Descriptor>();
  const layers: { readonly seed: number; readonly size: number }[] = [];

  const put = async (built: BuiltManifest): Promise<Descriptor> => {
    await target.push(built.descriptor, openerOf(built.bytes));
    pushed.set(built.descriptor.digest, built.descriptor);
    return built.descriptor;
  };
  const layer = async (mediaType: string): Promise<Descriptor> => {
    const isShared = layers.length > 0 && random() < 0.3;
    const made = (isShared ? layers[below(layers.length)] : undefined) ?? {
      seed: below(2 ** 31),
      size: 1 + below(layerBytes),
    };
    layers.push(made);
    const { descriptor, open } = await generatedBlob(made.seed, made.size, mediaType);
    if (!pushed.has(descriptor.digest)) await target.push(descriptor, open);
    pushed.set(descriptor.digest, descriptor);
    return descriptor;
  };
  const image = async (types: Types, platform: Platform): Promise<Descriptor> => {
    const bytes = Buffer.from(JSON.stringify({ ...platform, created: below(2 ** 31) }));
    const config = await put({ descriptor: descriptorOf(types.config, bytes), bytes });
    const list: Descriptor[] = [];
    for (let i = 1 + below(maxLayers); i > 0; i--) list.push(await layer(types.layer));
    return put(buildManifest(types.manifest, { config, layers: list }));
  };
  const index = async (types: Types): Promise<Descriptor> => {
    const manifests: Descriptor[] = [];
    for (const platform of platforms) manifests.push({ ...(await image(types, platform)), platform });
    return put(buildManifest(types.index, { manifests }));
  };
  const artifact = async (subject: Descriptor | undefined): Promise<Descriptor> => {
    const config = await put({
      descriptor: descriptorOf(MediaType.empty, Buffer.from('{}')),
      bytes: Buffer.from('{}'),
    });
    const file = { ...(await layer('application/x-iso9660-image')) };
    const annotations = { [Annotation.title]: 'metal-amd64.iso' };
    return put(
      buildManifest(MediaType.ociManifest, {
        artifactType: 'application/vnd.test.media',
        config,
        layers: [{ ...file, annotations }],
        ...(subject === undefined ? {} : { subject: plain(subject) }),
      }),
    );
  };

  const roots: { readonly name: string; readonly descriptor: Descriptor }[] = [];
  const make = async (kind: (typeof kinds)[number]): Promise<Descriptor> => {
    const [linux = { os: 'linux', architecture: 'amd64' }] = platforms;
    if (kind === 'image') return image(ociTypes, linux);
    if (kind === 'docker image') return image(dockerTypes, linux);
    if (kind === 'index') return index(ociTypes);
    if (kind === 'docker list') return index(dockerTypes);
    if (kind === 'nested') {
      return put(
        buildManifest(MediaType.ociIndex, { manifests: [await index(ociTypes), await index(ociTypes)] }),
      );
    }
    return artifact(roots[below(roots.length)]?.descriptor);
  };
  for (let i = 0; i < rootCount; i++) {
    const descriptor = await make(kinds[i % kinds.length] ?? 'image');
    const name = `registry.test/app-${String(i).padStart(4, '0')}:v1`;
    await target.tag(descriptor, name);
    roots.push({ name, descriptor });
  }
  return { roots, descriptors: [...pushed.values()] };
}
