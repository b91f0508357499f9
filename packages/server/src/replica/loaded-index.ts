/** The images of the registry behind, for the page: as far as it lists its repositories. */
import { WorkQueue } from '@omni-airgap/oci/base';
import { publicFactoryHost } from '@omni-airgap/talos';
import type { ImageIndex, ListedRepository } from '../page/image-index.ts';
import type { OlderMarks } from '../page/older.ts';
import { Coalesced } from './coalesced.ts';
import type { LoadedImages } from './loaded-images.ts';
import type { RegistryNames } from './registry-names.ts';

const listMs = 60_000;
const readsAtOnce = 8;
/** Whose tags the page shows: each is a request. */
const maxRepositories = 500;
const usualHosts = ['docker.io', publicFactoryHost, 'gcr.io', 'ghcr.io', 'quay.io', 'registry.k8s.io'];

export class LoadedIndex implements ImageIndex {
  /** Bundles are behind what was loaded, and no more told apart. */
  readonly older: OlderMarks = { tag: () => undefined, files: () => undefined };
  readonly #images: LoadedImages;
  readonly #names: RegistryNames;
  readonly #listed: Coalesced<readonly ListedRepository[]>;

  constructor(images: LoadedImages, names: RegistryNames, closing: AbortSignal) {
    this.#images = images;
    this.#names = names;
    this.#listed = new Coalesced(closing, { keepMs: () => listMs, maxBytes: Number.MAX_SAFE_INTEGER });
  }

  repositories(signal: AbortSignal): Promise<readonly ListedRepository[]> {
    return this.#listed.get('', (closing) => this.#list(closing), signal);
  }

  /** Where hosts were kept, those of the repositories; else the ones that images usually come from. */
  async hosts(signal: AbortSignal): Promise<readonly string[]> {
    const hosts = (await this.repositories(signal)).map(({ path }) => path.split('/', 1)[0] ?? '');
    const named = [...new Set(hosts.filter((host) => host.includes('.')))].sort();
    return named.length > 0 ? named : usualHosts;
  }

  async #list(signal: AbortSignal): Promise<readonly ListedRepository[]> {
    const paths = await this.#images.repositories(signal);
    if (paths === 'not offered') return [];
    const queue = new WorkQueue(readsAtOnce);
    const listed = paths.slice(0, maxRepositories).map((path) =>
      queue.run(1, async () => ({
        path,
        tags: (await this.#images.tagsOf(this.#names.below(path), signal)) ?? [],
      })),
    );
    return Promise.all(listed);
  }
}
