/**
 * What of the Image Factory's was carried: schematics, media, installers, lists. Everything is looked up in the
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
  isVersion,
  type ListName,
  maxSchematicBytes,
  mediaArtifactType,
  publicFactoryHost,
  schematicMediaType,
  schematicRepository,
  vPrefixed,
} from '@omni-airgap/talos';
import type { Integrity } from '../integrity.ts';
import type { Catalog } from '../registry/catalog.ts';
import type { GraphNode } from '../registry/graph.ts';
import { parseInstallerPath } from '../registry/installers.ts';

const mediaPrefix = 'talos-media/';
const listPrefix = 'talos-catalog/';
/** For lists that belong to no version. */
const currentTag = 'latest';
const maxListBytes = 4 * 1024 * 1024;
/** Lists of which each version of Talos has its own. */
const listsOfVersions = ['extensions', 'overlays', 'talosctl'] as const satisfies readonly ListName[];
const noFiles: ReadonlyMap<string, Descriptor> = new Map();

const isMedia = ({ fileType }: GraphNode): boolean => fileType === mediaArtifactType;
const isList = ({ fileType }: GraphNode): boolean => fileType === catalogArtifactType;

/** Files or installers of one schematic and version. */
export interface HeldMedia {
  readonly schematic: string;
  readonly version: string;
  readonly files: ReadonlyMap<string, Descriptor>;
}

export interface HeldInstaller {
  readonly schematic: string;
  /** Such as `metal-installer`. */
  readonly repository: string;
  /** Newest first. */
  readonly versions: readonly string[];
}

export class Holdings {
  readonly #catalog: Catalog;
  readonly #integrity: Integrity;

  constructor(catalog: Catalog, integrity: Integrity) {
    this.#catalog = catalog;
    this.#integrity = integrity;
  }

  /** IDs of the schematics that were carried, in byte order. */
  schematics(): readonly string[] {
    return this.#catalog
      .tagsFrom(publicFactoryHost, schematicRepository, () => true)
      .filter((tag) => this.hasSchematic(tag));
  }

  hasSchematic(id: string): boolean {
    if (!isSchematicId(id)) return false;
    const hasForm = ({ onlyLayer }: GraphNode): boolean =>
      onlyLayer?.digest === digestFromHex(id) && onlyLayer.mediaType === schematicMediaType;
    return this.#catalog.taggedFrom(publicFactoryHost, schematicRepository, id, hasForm) !== undefined;
  }

  /** The canonical text; undefined when it was not carried. @throws what Integrity.read throws */
  async schematic(id: string, signal?: AbortSignal): Promise<Uint8Array | undefined> {
    if (!this.hasSchematic(id)) return undefined;
    const digest: Digest = digestFromHex(id);
    const size = this.#catalog.graph.sizeOf(digest);
    if (size === undefined) return undefined;
    const descriptor = { mediaType: schematicMediaType, digest, size };
    return this.#integrity.read(descriptor, maxSchematicBytes, `schematic ${id}`, signal);
  }

  /** The newest release of the Image Factory among the images; undefined when none was carried. */
  factoryVersion(): string | undefined {
    return versionsOf(this.#catalog.tagsFrom('ghcr.io', 'siderolabs/image-factory', () => true))[0];
  }

  /** All media, by schematic and version, newest version first. */
  media(): readonly HeldMedia[] {
    const held: HeldMedia[] = [];
    const schematics = new Set<string>();
    for (const path of this.#catalog.paths()) {
      const own = path.replace(`${publicFactoryHost}/`, '');
      const schematic = own.startsWith(mediaPrefix) ? own.slice(mediaPrefix.length) : '';
      if (isSchematicId(schematic)) schematics.add(schematic);
    }
    for (const schematic of schematics) {
      const path = `${mediaPrefix}${schematic}`;
      for (const version of versionsOf(this.#catalog.tagsFrom(publicFactoryHost, path, isMedia))) {
        const files = this.files(schematic, version);
        if (files.size > 0) held.push({ schematic, version, files });
      }
    }
    return held;
  }

  /** Media files of one schematic and version, by name. */
  files(schematic: string, version: string): ReadonlyMap<string, Descriptor> {
    return this.#filesAt(`${mediaPrefix}${schematic}`, version, isMedia);
  }

  /** The kernel does not depend on the schematic. */
  kernel(version: string, arch: Architecture): Descriptor | undefined {
    const name = `kernel-${arch}`;
    return this.media()
      .find((held) => held.version === version && held.files.has(name))
      ?.files.get(name);
  }

  installers(): readonly HeldInstaller[] {
    return [...this.#catalog.paths()].flatMap((path) => {
      const installer = parseInstallerPath(path);
      const versions = versionsOf(this.#catalog.repository(path)?.tags.keys() ?? []);
      if (installer === undefined || versions.length === 0) return [];
      return [{ schematic: installer.schematic, repository: installer.name, versions }];
    });
  }

  /**
   * Talos versions something was carried of, oldest first, as the Image Factory lists them. The list that was carried is that
   * of the newest bundle; what older ones brought has lists of its own version.
   */
  async versions(): Promise<readonly string[]> {
    const found = new Set<string>(await this.#listedVersions());
    for (const name of listsOfVersions) {
      const tags = this.#catalog.tagsFrom(publicFactoryHost, `${listPrefix}${name}`, isList);
      for (const version of versionsOf(tags)) found.add(version);
    }
    for (const { version } of this.media()) found.add(version);
    for (const { versions } of this.installers()) for (const version of versions) found.add(version);
    return [...found].sort(compareVersions);
  }

  /** Files of a list, by name. @param version for lists that belong to one */
  list(name: ListName, version: string = currentTag): ReadonlyMap<string, Descriptor> {
    return this.#filesAt(`${listPrefix}${name}`, version, isList);
  }

  /** A small file of a list; undefined when it was not carried. */
  async listFile(name: ListName, file: string, version?: string): Promise<Uint8Array | undefined> {
    const descriptor = this.list(name, version).get(file);
    if (descriptor === undefined) return undefined;
    return this.#integrity.read(descriptor, maxListBytes, `${name} ${version ?? ''}`);
  }

  async #listedVersions(): Promise<readonly string[]> {
    try {
      const bytes = await this.listFile('versions', 'versions');
      const list: unknown = bytes === undefined ? [] : JSON.parse(Buffer.from(bytes).toString('utf8'));
      return Array.isArray(list)
        ? list.filter((v) => typeof v === 'string' && isVersion(v)).map(vPrefixed)
        : [];
    } catch (error) {
      // Media and installers still tell what there is; health shows the damage.
      if (error instanceof SyntaxError || isCoded(error)) return [];
      throw error;
    }
  }

  #filesAt(
    path: string,
    tag: string,
    hasForm: (node: GraphNode) => boolean,
  ): ReadonlyMap<string, Descriptor> {
    const manifest = this.#catalog.taggedFrom(publicFactoryHost, path, tag, hasForm);
    return (manifest && this.#catalog.graph.node(manifest.digest)?.files) ?? noFiles;
  }
}

function versionsOf(tags: Iterable<string>): readonly string[] {
  return [...tags].filter(isVersion).sort((a, b) => compareVersions(b, a));
}
