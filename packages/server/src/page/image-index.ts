/** The images that the page lists and searches. */
import type { Provenance } from '../bundles.ts';
import type { Catalog } from '../registry/catalog.ts';
import { listedPaths } from '../registry/lists.ts';
import { OlderContent, type OlderMarks } from './older.ts';

/** A repository that can be pulled from, by its path at this server. */
export interface ListedRepository {
  readonly path: string;
  readonly tags: readonly string[];
}

export interface ImageIndex {
  readonly older: OlderMarks;
  /** In the order of their paths. */
  repositories(signal: AbortSignal): Promise<readonly ListedRepository[]>;
  /** Registries whose images are here, in byte order. */
  hosts(signal: AbortSignal): Promise<readonly string[]>;
}

/** Of what was carried. */
export class CarriedIndex implements ImageIndex {
  readonly older: OlderMarks;
  readonly #catalog: Catalog;

  /** @param olderNames names of bundles that are not the newest of their store */
  constructor(catalog: Catalog, olderNames: ReadonlyMap<string, Provenance>) {
    this.#catalog = catalog;
    this.older = new OlderContent(catalog, olderNames);
  }

  async repositories(): Promise<readonly ListedRepository[]> {
    return listedPaths(this.#catalog).map((path) => ({
      path,
      tags: [...(this.#catalog.repository(path)?.tags.keys() ?? [])],
    }));
  }

  async hosts(): Promise<readonly string[]> {
    const hosts = [...this.#catalog.paths()].map((path) => path.split('/', 1)[0] ?? '');
    return [...new Set(hosts.filter((host) => host.includes('.')))].sort();
  }
}
