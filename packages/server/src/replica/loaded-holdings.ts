/**
 * What of the Image Factory's was loaded into a registry and a bucket. Boot assets and lists come from the bucket where there is
 * one, and from the registry what it lacks; schematics are in either; installers are images.
 */
import { byText, isCoded, WorkQueue } from '@omni-airgap/oci/base';
import { collectVerified, digestFromHex, digestOf } from '@omni-airgap/oci/model';
import {
  type Architecture,
  compareVersions,
  installerRepository,
  isSchematicId,
  type ListName,
  maxSchematicBytes,
  publicFactoryHost,
  schematicMediaType,
  schematicRepository,
} from '@omni-airgap/talos';
import {
  type HeldFile,
  type HeldInstaller,
  type HeldMedia,
  type Holdings,
  type ListedFiles,
  readVersions,
  versionsOf,
} from '../factory/holdings.ts';
import type { Assets, FileSet } from './assets.ts';
import { Coalesced, whenFound } from './coalesced.ts';
import type { BucketDocuments } from './documents.ts';
import type { LoadedImages } from './loaded-images.ts';
import type { RegistryNames } from './registry-names.ts';

const mebibyte = 1024 * 1024;
/** A schematic that is there stays there; one that is not may be made at another replica the next moment. */
const schematicMs = 60_000;
const listMs = 30_000;
/** Installers that the page looks for. */
const maxInstallers = 200;
const readsAtOnce = 8;

/** Of metal, the platform that everybody has; others are pulled like any image. */
const installerNames = [true, false].flatMap((secureboot) => [
  installerRepository({ platform: 'metal', secureboot }),
  installerRepository({ secureboot }),
]);

export interface LoadedHoldingsOptions {
  readonly images: LoadedImages;
  readonly names: RegistryNames;
  /** In the order in which they are asked. */
  readonly assets: readonly Assets[];
  /** Schematics in the bucket, where there is one. */
  readonly schematics: BucketDocuments | undefined;
  readonly closing: AbortSignal;
}

export class LoadedHoldings implements Holdings {
  readonly #options: LoadedHoldingsOptions;
  readonly #texts: Coalesced<Uint8Array | undefined>;
  readonly #ids: Coalesced<readonly string[]>;
  readonly #factory: Coalesced<string | undefined>;
  readonly #installers: Coalesced<readonly HeldInstaller[]>;

  constructor(options: LoadedHoldingsOptions) {
    this.#options = options;
    const { closing } = options;
    this.#texts = new Coalesced<Uint8Array | undefined>(closing, {
      keepMs: whenFound(schematicMs),
      maxBytes: 8 * mebibyte,
      weigh: (text) => text?.byteLength ?? 0,
    });
    const listed = { keepMs: () => listMs, maxBytes: 16 * mebibyte } as const;
    this.#ids = new Coalesced(closing, listed);
    this.#factory = new Coalesced(closing, listed);
    this.#installers = new Coalesced(closing, listed);
  }

  schematics(signal?: AbortSignal): Promise<readonly string[]> {
    return this.#ids.get('', (closing) => this.#listSchematics(closing), signal);
  }

  async hasSchematic(id: string, signal?: AbortSignal): Promise<boolean> {
    return (await this.schematic(id, signal)) !== undefined;
  }

  async schematic(id: string, signal?: AbortSignal): Promise<Uint8Array | undefined> {
    if (!isSchematicId(id)) return undefined;
    return this.#texts.get(id, (closing) => this.#readSchematic(id, closing), signal);
  }

  async factoryVersion(signal?: AbortSignal): Promise<string | undefined> {
    const { images, names } = this.#options;
    const repository = names.loaded('ghcr.io', 'siderolabs/image-factory');
    const ask = async (closing: AbortSignal): Promise<string | undefined> =>
      versionsOf((await images.tagsOf(repository, closing)) ?? [])[0];
    return this.#factory.get('', ask, signal);
  }

  async media(signal?: AbortSignal): Promise<readonly HeldMedia[]> {
    const media = new Map<string, HeldMedia>();
    // Later ones say more: what a registry lists has digests.
    for (const assets of this.#options.assets) {
      for (const held of await assets.media(signal)) {
        const at = `${held.schematic} ${held.version}`;
        const files = new Map([...(media.get(at)?.files ?? []), ...held.files]);
        media.set(at, { ...held, files });
      }
    }
    return [...media.values()].sort((a, b) => compareVersions(b.version, a.version));
  }

  files(schematic: string, version: string, signal?: AbortSignal): Promise<ListedFiles> {
    return this.#files({ kind: 'media', schematic, version }, signal);
  }

  file(
    schematic: string,
    version: string,
    name: string,
    signal?: AbortSignal,
  ): Promise<HeldFile | undefined> {
    return this.#file({ kind: 'media', schematic, version }, name, signal);
  }

  async kernel(version: string, arch: Architecture, signal?: AbortSignal): Promise<HeldFile | undefined> {
    const name = `kernel-${arch}`;
    const media = await this.media(signal);
    const held = media.find((one) => one.version === version && one.files.has(name));
    return held && this.file(held.schematic, version, name, signal);
  }

  installers(signal?: AbortSignal): Promise<readonly HeldInstaller[]> {
    return this.#installers.get('', (closing) => this.#listInstallers(closing), signal);
  }

  async versions(signal?: AbortSignal): Promise<readonly string[]> {
    const versions = new Set<string>();
    for (const assets of this.#options.assets) {
      const list = await assets.file({ kind: 'list', list: 'versions' }, 'versions', signal);
      for (const version of await readVersions(list, signal)) versions.add(version);
    }
    for (const { version } of await this.media(signal)) versions.add(version);
    // A list is that of one bundle: others may have brought only an installer.
    for (const held of await this.installers(signal)) for (const one of held.versions) versions.add(one);
    return [...versions].sort(compareVersions);
  }

  list(name: ListName, version?: string, signal?: AbortSignal): Promise<ListedFiles> {
    return this.#files(listOf(name, version), signal);
  }

  listed(
    name: ListName,
    file: string,
    version?: string,
    signal?: AbortSignal,
  ): Promise<HeldFile | undefined> {
    return this.#file(listOf(name, version), file, signal);
  }

  async #files(set: FileSet, signal: AbortSignal | undefined): Promise<ListedFiles> {
    let files: ListedFiles = new Map();
    for (const assets of this.#options.assets) {
      files = new Map([...files, ...(await assets.files(set, signal))]);
    }
    return files;
  }

  async #file(set: FileSet, name: string, signal: AbortSignal | undefined): Promise<HeldFile | undefined> {
    for (const assets of this.#options.assets) {
      const found = await assets.file(set, name, signal);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  async #readSchematic(id: string, signal: AbortSignal): Promise<Uint8Array | undefined> {
    const { images, names, schematics } = this.#options;
    const digest = digestFromHex(id);
    const text = await schematics?.get(id, signal);
    if (text !== undefined && digestOf(text) === digest) return text;
    const repository = names.loaded(publicFactoryHost, schematicRepository);
    const size = await images.sizeOf(repository, digest, signal);
    if (size === undefined) return undefined;
    const layer = { mediaType: schematicMediaType, digest, size };
    const what = `schematic ${id}`;
    return collectVerified(images.fetch(repository, layer, signal), layer, maxSchematicBytes, what);
  }

  async #listSchematics(signal: AbortSignal): Promise<readonly string[]> {
    const { images, names, schematics } = this.#options;
    const ids = new Set<string>();
    if (schematics !== undefined) for await (const name of schematics.names(signal)) ids.add(name);
    const repository = names.loaded(publicFactoryHost, schematicRepository);
    for (const tag of (await images.tagsOf(repository, signal)) ?? []) ids.add(tag);
    return [...ids].filter(isSchematicId).sort(byText);
  }

  async #listInstallers(signal: AbortSignal): Promise<readonly HeldInstaller[]> {
    const { images, names } = this.#options;
    const queue = new WorkQueue(readsAtOnce);
    const schematics = (await this.schematics(signal)).slice(0, maxInstallers);
    const held = schematics.flatMap((schematic) =>
      installerNames.map((repository) =>
        queue.run(1, async () => {
          const tags = await images
            .tagsOf(names.loaded(publicFactoryHost, `${repository}/${schematic}`), signal)
            .catch((error: unknown) => {
              // A registry may deny what does not exist.
              if (isCoded(error, 'DENIED')) return undefined;
              throw error;
            });
          return { schematic, repository, versions: versionsOf(tags ?? []) };
        }),
      ),
    );
    return (await Promise.all(held)).filter(({ versions }) => versions.length > 0);
  }
}

function listOf(list: ListName, version: string | undefined): FileSet {
  return { kind: 'list', list, ...(version === undefined ? {} : { version }) };
}
