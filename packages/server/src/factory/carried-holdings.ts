/**
 * What of the Image Factory's was carried. Everything is looked up in the
 * catalog by name, so what `load` pushes here later counts at once. What another registry calls alike does not count
 * (F9), nor what is pushed in another form: machines boot from these files.
 */

import { isCoded } from '@omni-airgap/oci/base';
import { type Descriptor, type Digest, digestFromHex } from '@omni-airgap/oci/model';
import {
  type Architecture,
  catalogArtifactType,
  compareVersions,
  isSchematicId,
  type ListName,
  maxSchematicBytes,
  mediaArtifactType,
  publicFactoryHost,
  schematicMediaType,
  schematicRepository,
} from '@omni-airgap/talos';
import type { Integrity } from '../integrity.ts';
import type { Catalog } from '../registry/catalog.ts';
import type { GraphNode } from '../registry/graph.ts';
import { parseInstallerPath } from '../registry/installers.ts';
import {
  type HeldFile,
  type HeldInstaller,
  type HeldMedia,
  type Holdings,
  readVersions,
  versionsOf,
} from './holdings.ts';

const mediaPrefix = 'talos-media/';
const listPrefix = 'talos-catalog/';
/** For lists that belong to no version. */
const currentTag = 'latest';
/** Lists of which each version of Talos has its own. */
const listsOfVersions = ['extensions', 'overlays', 'talosctl'] as const satisfies readonly ListName[];
const noFiles: ReadonlyMap<string, Descriptor> = new Map();

const isMedia = ({ fileType }: GraphNode): boolean => fileType === mediaArtifactType;
const isList = ({ fileType }: GraphNode): boolean => fileType === catalogArtifactType;

type Files = ReadonlyMap<string, Descriptor>;

interface CarriedMedia extends HeldMedia {
  readonly files: Files;
}

export class CarriedHoldings implements Holdings {
  readonly #catalog: Catalog;
  readonly #integrity: Integrity;

  constructor(catalog: Catalog, integrity: Integrity) {
    this.#catalog = catalog;
    this.#integrity = integrity;
  }

  async schematics(): Promise<readonly string[]> {
    return this.#catalog
      .tagsFrom(publicFactoryHost, schematicRepository, () => true)
      .filter((tag) => this.#hasSchematic(tag));
  }

  async hasSchematic(id: string): Promise<boolean> {
    return this.#hasSchematic(id);
  }

  #hasSchematic(id: string): boolean {
    if (!isSchematicId(id)) return false;
    const hasForm = ({ onlyLayer }: GraphNode): boolean =>
      onlyLayer?.digest === digestFromHex(id) && onlyLayer.mediaType === schematicMediaType;
    return this.#catalog.taggedFrom(publicFactoryHost, schematicRepository, id, hasForm) !== undefined;
  }

  async schematic(id: string, signal?: AbortSignal): Promise<Uint8Array | undefined> {
    if (!this.#hasSchematic(id)) return undefined;
    const digest: Digest = digestFromHex(id);
    const size = this.#catalog.graph.sizeOf(digest);
    if (size === undefined) return undefined;
    const descriptor = { mediaType: schematicMediaType, digest, size };
    return this.#integrity.read(descriptor, maxSchematicBytes, `schematic ${id}`, signal);
  }

  async factoryVersion(): Promise<string | undefined> {
    return versionsOf(this.#catalog.tagsFrom('ghcr.io', 'siderolabs/image-factory', () => true))[0];
  }

  /** For each schematic the newest version first. */
  async media(): Promise<readonly CarriedMedia[]> {
    return this.#media();
  }

  #media(): readonly CarriedMedia[] {
    const held: CarriedMedia[] = [];
    const schematics = new Set<string>();
    for (const path of this.#catalog.paths()) {
      const own = path.replace(`${publicFactoryHost}/`, '');
      const schematic = own.startsWith(mediaPrefix) ? own.slice(mediaPrefix.length) : '';
      if (isSchematicId(schematic)) schematics.add(schematic);
    }
    for (const schematic of schematics) {
      const path = `${mediaPrefix}${schematic}`;
      for (const version of versionsOf(this.#catalog.tagsFrom(publicFactoryHost, path, isMedia))) {
        const files = this.#files(schematic, version);
        if (files.size > 0) held.push({ schematic, version, files });
      }
    }
    return held;
  }

  async files(schematic: string, version: string): Promise<Files> {
    return this.#files(schematic, version);
  }

  #files(schematic: string, version: string): Files {
    return this.#filesAt(`${mediaPrefix}${schematic}`, version, isMedia);
  }

  async file(schematic: string, version: string, name: string): Promise<HeldFile | undefined> {
    return this.#held(this.#files(schematic, version).get(name), name);
  }

  async kernel(version: string, arch: Architecture): Promise<HeldFile | undefined> {
    const name = `kernel-${arch}`;
    const media = this.#media().find((held) => held.version === version && held.files.has(name));
    return this.#held(media?.files.get(name), name);
  }

  async installers(): Promise<readonly HeldInstaller[]> {
    return this.#installers();
  }

  #installers(): readonly HeldInstaller[] {
    return [...this.#catalog.paths()].flatMap((path) => {
      const installer = parseInstallerPath(path);
      const versions = versionsOf(this.#catalog.repository(path)?.tags.keys() ?? []);
      if (installer === undefined || versions.length === 0) return [];
      return [{ schematic: installer.schematic, repository: installer.name, versions }];
    });
  }

  /** The list that was carried is that of the newest bundle; what older ones brought has lists of its own version. */
  async versions(): Promise<readonly string[]> {
    const found = new Set<string>(await this.#listedVersions());
    for (const name of listsOfVersions) {
      const tags = this.#catalog.tagsFrom(publicFactoryHost, `${listPrefix}${name}`, isList);
      for (const version of versionsOf(tags)) found.add(version);
    }
    for (const { version } of this.#media()) found.add(version);
    for (const { versions } of this.#installers()) for (const version of versions) found.add(version);
    return [...found].sort(compareVersions);
  }

  async list(name: ListName, version?: string): Promise<Files> {
    return this.#list(name, version);
  }

  async listed(name: ListName, file: string, version?: string): Promise<HeldFile | undefined> {
    return this.#held(this.#list(name, version).get(file), `${name} ${version ?? ''}`);
  }

  #list(name: ListName, version: string = currentTag): Files {
    return this.#filesAt(`${listPrefix}${name}`, version, isList);
  }

  #held(descriptor: Descriptor | undefined, what: string): HeldFile | undefined {
    if (descriptor === undefined) return undefined;
    return {
      digest: descriptor.digest,
      body: () => this.#integrity.body(descriptor),
      read: (max, signal) => this.#integrity.read(descriptor, max, what, signal),
    };
  }

  async #listedVersions(): Promise<readonly string[]> {
    try {
      return await readVersions(await this.listed('versions', 'versions'));
    } catch (error) {
      // Media and installers still tell what there is; health shows the damage.
      if (error instanceof SyntaxError || isCoded(error)) return [];
      throw error;
    }
  }

  #filesAt(path: string, tag: string, hasForm: (node: GraphNode) => boolean): Files {
    const manifest = this.#catalog.taggedFrom(publicFactoryHost, path, tag, hasForm);
    return (manifest && this.#catalog.graph.node(manifest.digest)?.files) ?? noFiles;
  }
}
