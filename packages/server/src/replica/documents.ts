/**
 * Small documents that all replicas share: each is whole under its name or not there, and is written before it is answered.
 * In a bucket they are objects, in a registry artifacts of one layer.
 */
import type { S3Bucket } from '@omni-airgap/objects';
import { CodedError, isCoded } from '@omni-airgap/oci/base';
import {
  collectVerified,
  type Descriptor,
  descriptorOf,
  isTag,
  MediaType,
  openerOf,
  parseManifest,
} from '@omni-airgap/oci/model';
import type { RepositoryClient } from '@omni-airgap/oci/registry';

/** Every method may throw DENIED, UPSTREAM, NETWORK, ABORTED; BAD_DOCUMENT for one that is too large. */
export interface Documents {
  /** How people name the place. */
  readonly place: string;
  get(name: string, signal?: AbortSignal): Promise<Uint8Array | undefined>;
  /** It is stored when this resolves. */
  put(name: string, bytes: Uint8Array, signal?: AbortSignal): Promise<void>;
  names(signal?: AbortSignal): AsyncIterable<string>;
}

const maxDocumentBytes = 256 * 1024;

/** Objects below a folder. */
export class BucketDocuments implements Documents {
  readonly place: string;
  readonly #bucket: S3Bucket;
  readonly #folder: string;
  readonly #contentType: string;

  /** @param folder key in front of the names, such as `schematics` */
  constructor(bucket: S3Bucket, folder: string, contentType: string) {
    this.place = `${bucket.url}/${folder}`;
    this.#bucket = bucket;
    this.#folder = folder;
    this.#contentType = contentType;
  }

  get(name: string, signal?: AbortSignal): Promise<Uint8Array | undefined> {
    return this.#bucket.read(this.#key(name), maxDocumentBytes, signal);
  }

  put(name: string, bytes: Uint8Array, signal?: AbortSignal): Promise<void> {
    return this.#bucket.write(this.#key(name), bytes, this.#contentType, signal);
  }

  async *names(signal?: AbortSignal): AsyncIterable<string> {
    for await (const { key } of this.#bucket.list(this.#key(''), signal)) {
      const name = key.slice(this.#folder.length + 1);
      if (!name.includes('/')) yield name;
    }
  }

  #key(name: string): string {
    return `${this.#folder}/${name}`;
  }
}

/** How an artifact of one layer is put together. */
export interface Shape {
  readonly layer: string;
  /** @returns manifest with its config, around the layer */
  readonly wrap: (layer: Descriptor) => {
    readonly manifest: object & { readonly mediaType: string };
    readonly config: Descriptor;
    readonly configBytes: Uint8Array;
  };
}

/** @param artifactType says what it is */
export function artifactShape(artifactType: string): Shape {
  const configBytes = Buffer.from('{}');
  const config = descriptorOf(MediaType.empty, configBytes);
  return {
    layer: artifactType,
    wrap: (layer) => ({
      manifest: { schemaVersion: 2, mediaType: MediaType.ociManifest, artifactType, config, layers: [layer] },
      config,
      configBytes,
    }),
  };
}

/** Tags of a repository. */
export class RegistryDocuments implements Documents {
  readonly place: string;
  readonly #repository: RepositoryClient;
  readonly #shape: Shape;

  constructor(repository: RepositoryClient, shape: Shape) {
    this.place = `${repository.registry}/${repository.path}`;
    this.#repository = repository;
    this.#shape = shape;
  }

  async get(name: string, signal?: AbortSignal): Promise<Uint8Array | undefined> {
    const found = await this.#repository.read(name, signal);
    if (found === undefined) return undefined;
    const manifest = parseManifest(found.bytes, found.descriptor.mediaType);
    const layer = manifest.kind === 'image' ? manifest.layers.at(0) : undefined;
    if (layer?.mediaType !== this.#shape.layer) {
      throw new CodedError('BAD_DOCUMENT', `${this.place}:${name}: not a document of this program`);
    }
    const what = `${this.place}:${name}`;
    return collectVerified(this.#repository.fetch(layer, signal), layer, maxDocumentBytes, what);
  }

  async put(name: string, bytes: Uint8Array, signal?: AbortSignal): Promise<void> {
    const layer = descriptorOf(this.#shape.layer, bytes);
    const { manifest, config, configBytes } = this.#shape.wrap(layer);
    const manifestBytes = Buffer.from(JSON.stringify(manifest));
    const descriptor = descriptorOf(manifest.mediaType, manifestBytes);
    await this.#repository.push(layer, openerOf(bytes), signal);
    await this.#repository.push(config, openerOf(configBytes), signal);
    await this.#repository.push(descriptor, openerOf(manifestBytes), signal);
    await this.#repository.tag(descriptor, name, signal);
  }

  async *names(signal?: AbortSignal): AsyncIterable<string> {
    try {
      for await (const tag of this.#repository.tags(signal)) if (isTag(tag)) yield tag;
    } catch (error) {
      if (!isCoded(error, 'NOT_FOUND')) throw error;
    }
  }
}
