/** Boot assets and lists as `load` puts them into a registry: artifacts whose layers are files. */
import { isCoded, WorkQueue } from '@omni-airgap/oci/base';
import { collectVerified, type Descriptor, parseManifest } from '@omni-airgap/oci/model';
import {
  artifactName,
  catalogArtifactType,
  isSchematicId,
  isVersion,
  mediaArtifactType,
  publicFactoryHost,
} from '@omni-airgap/talos';
import type { HeldFile, HeldMedia, ListedFiles } from '../factory/holdings.ts';
import { filesIn } from '../registry/graph.ts';
import type { Assets, FileSet } from './assets.ts';
import { Coalesced } from './coalesced.ts';
import type { LoadedImages } from './loaded-images.ts';
import type { RegistryNames } from './registry-names.ts';

const listMs = 30_000;
const readsAtOnce = 8;
const maxMedia = 5_000;
const noFiles: ReadonlyMap<string, Descriptor> = new Map();

export class RegistryAssets implements Assets {
  readonly #images: LoadedImages;
  readonly #names: RegistryNames;
  readonly #schematics: (signal: AbortSignal) => Promise<readonly string[]>;
  readonly #media: Coalesced<readonly HeldMedia[]>;

  /** @param schematics IDs whose media are looked for: registries need not list repositories */
  constructor(
    images: LoadedImages,
    names: RegistryNames,
    schematics: (signal: AbortSignal) => Promise<readonly string[]>,
    closing: AbortSignal,
  ) {
    this.#images = images;
    this.#names = names;
    this.#schematics = schematics;
    this.#media = new Coalesced(closing, { keepMs: () => listMs, maxBytes: Number.MAX_SAFE_INTEGER });
  }

  async file(set: FileSet, name: string, signal?: AbortSignal): Promise<HeldFile | undefined> {
    const { repository } = this.#placeOf(set);
    const layer = (await this.files(set, signal)).get(name);
    if (layer === undefined) return undefined;
    const body = this.#images.body(repository, layer);
    return {
      digest: layer.digest,
      body: async () => body,
      read: (max, stop) => collectVerified(this.#images.fetch(repository, layer, stop), layer, max, name),
    };
  }

  /** Nothing of another form counts: anybody who may push can push something under such a name. */
  async files(set: FileSet, signal?: AbortSignal): Promise<ReadonlyMap<string, Descriptor>> {
    const { repository, tag } = this.#placeOf(set);
    const found = await this.#images.read(repository, tag, signal);
    if (found === undefined) return noFiles;
    const { files, fileType } = filesIn(parseManifest(found.bytes, found.descriptor.mediaType));
    return fileType === (set.kind === 'media' ? mediaArtifactType : catalogArtifactType) ? files : noFiles;
  }

  media(signal?: AbortSignal): Promise<readonly HeldMedia[]> {
    return this.#media.get('', (closing) => this.#listMedia(closing), signal);
  }

  async #listMedia(signal: AbortSignal): Promise<readonly HeldMedia[]> {
    const queue = new WorkQueue(readsAtOnce);
    const ids = (await this.#schematics(signal)).filter(isSchematicId).slice(0, maxMedia);
    const held = ids.map((schematic) =>
      queue.run(1, async () => {
        const repository = this.#names.loaded(publicFactoryHost, `talos-media/${schematic}`);
        const tags = (await this.#images.tagsOf(repository, signal)) ?? [];
        const media: HeldMedia[] = [];
        for (const version of tags.filter(isVersion)) {
          const files = await this.#listed({ kind: 'media', schematic, version }, signal);
          if (files.size > 0) media.push({ schematic, version, files });
        }
        return media;
      }),
    );
    return (await Promise.all(held)).flat();
  }

  /** One that cannot be read must not hide the others. */
  async #listed(set: FileSet, signal: AbortSignal): Promise<ListedFiles> {
    try {
      return await this.files(set, signal);
    } catch (error) {
      if (isCoded(error, 'BAD_DOCUMENT', 'DIGEST_MISMATCH')) return noFiles;
      throw error;
    }
  }

  #placeOf(set: FileSet): { readonly repository: string; readonly tag: string } {
    const name = artifactName(set).slice(publicFactoryHost.length + 1);
    const colon = name.lastIndexOf(':');
    return {
      repository: this.#names.loaded(publicFactoryHost, name.slice(0, colon)),
      tag: name.slice(colon + 1),
    };
  }
}
