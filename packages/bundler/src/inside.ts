/**
 * What a site has already, by all that `--since` names together: what lies in its registry, in which repositories, and
 * what lies in its object store, under which keys.
 */
import type { BlobSize, BundleBase } from '@omni-airgap/format';
import type { Descriptor, Digest } from '@omni-airgap/oci/model';

export class Inside {
  /** What was loaded, by id. */
  readonly bases = new Map<string, BundleBase>();
  /** What each name stood for when it was last carried in. */
  readonly names = new Map<string, Digest>();
  /** By repository, with its upstream host. */
  readonly repositories = new Map<string, Set<Digest>>();
  /** By key of the object store: where it lies, or will once what was loaded into the registry is loaded there too. */
  readonly objects = new Map<string, BlobSize>();
  /** Bytes of each blob; undefined when nothing was loaded into a registry. */
  #registry: Map<Digest, number> | undefined;
  /** Likewise for an object store. */
  #objectStore: Map<Digest, number> | undefined;

  /** The site has a registry, as far as is known. */
  addRegistry(): void {
    this.#registry ??= new Map();
  }

  /** The site has an object store, as far as is known. */
  addObjectStore(): void {
    this.#objectStore ??= new Map();
  }

  /** @param key under which an object store gets it, for a file whose key is known */
  place(repository: string, { digest, size }: BlobSize, key?: string): void {
    this.addRegistry();
    this.#registry?.set(digest, size);
    if (key !== undefined) this.objects.set(key, { digest, size });
    this.repositories.set(repository, (this.repositories.get(repository) ?? new Set()).add(digest));
  }

  /** @param key undefined where the object store has it, and nobody knows the key */
  placeObject(key: string | undefined, { digest, size }: BlobSize): void {
    this.addObjectStore();
    this.#objectStore?.set(digest, size);
    if (key !== undefined) this.objects.set(key, { digest, size });
  }

  /**
   * Whether a load finds it wherever it needs it, in everything that the site is known to have.
   * @param isObject whether an object store gets it, which holds nothing but files
   */
  holds({ digest, size }: Pick<Descriptor, 'digest' | 'size'>, isObject: boolean): boolean {
    const isInRegistry = this.#registry?.get(digest) === size;
    const isInObjectStore = this.#objectStore?.get(digest) === size;
    if (this.#registry === undefined) return isInObjectStore;
    return isInRegistry && (this.#objectStore === undefined || !isObject || isInObjectStore);
  }
}
