/** Which of what the page lists comes from a bundle that is not the newest of its store, and from which. */
import { formatReference } from '@omni-airgap/oci/model';
import { publicFactoryHost } from '@omni-airgap/talos';
import type { Provenance } from '../bundles.ts';
import type { Catalog } from '../registry/catalog.ts';

/** The number of the older bundle that something comes from; undefined for what is current. */
export interface OlderMarks {
  tag(path: string, tag: string): number | undefined;
  /** @param repository such as `talos-media/<schematic>` */
  files(repository: string, version: string): number | undefined;
}

export class OlderContent implements OlderMarks {
  readonly #catalog: Catalog;
  readonly #names: ReadonlyMap<string, Provenance>;

  /** @param names of bundles that are not the newest of their store */
  constructor(catalog: Catalog, names: ReadonlyMap<string, Provenance>) {
    this.#catalog = catalog;
    this.#names = names;
  }

  /** The number of the older bundle that a tag comes from; undefined for what is current or was pushed. */
  tag(path: string, tag: string): number | undefined {
    const name = this.#catalog.repository(path)?.names.get(tag);
    return name === undefined ? undefined : this.#names.get(name)?.sequence;
  }

  /** The same for files of the Image Factory. @param repository such as `talos-media/<schematic>` */
  files(repository: string, version: string): number | undefined {
    const paths = [repository, `${publicFactoryHost}/${repository}`];
    if (paths.some((path) => this.#catalog.pushed(path, version) !== undefined)) return undefined;
    const name = formatReference({ registry: publicFactoryHost, repository, tag: version });
    return this.#names.get(name)?.sequence;
  }
}
