/** The registry's content as files: looked up in the catalog, read and verified from a medium, store or writable folder. */
import { type Descriptor, type Digest, isDigest, maxManifestBytes } from '@omni-airgap/oci/model';
import type { Body } from '../http/message.ts';
import type { Integrity } from '../integrity.ts';
import type { Blobs } from './blobs.ts';
import type { Catalog } from './catalog.ts';
import type { Asked, FoundManifest, Images } from './images.ts';
import { listedPaths } from './lists.ts';

export class CarriedImages implements Images {
  readonly #catalog: Catalog;
  readonly #integrity: Integrity;
  readonly #blobs: Blobs;

  constructor(catalog: Catalog, integrity: Integrity, blobs: Blobs) {
    this.#catalog = catalog;
    this.#integrity = integrity;
    this.#blobs = blobs;
  }

  async manifest(
    { repository, ns }: Asked,
    reference: string,
  ): Promise<FoundManifest | 'no repository' | 'absent'> {
    if (this.#catalog.repository(repository) === undefined) return 'no repository';
    const at = (path: string): Descriptor | undefined =>
      isDigest(reference)
        ? this.#catalog.repository(path)?.manifests.get(reference)
        : this.#catalog.tagged(path, reference);
    // Two carried names that meet without their hosts are told apart by the host that a mirror stands for.
    const descriptor = at(repository) ?? (ns === null ? undefined : at(`${ns}/${repository}`));
    if (descriptor === undefined) return 'absent';
    const what = `manifest ${descriptor.digest}`;
    return {
      descriptor,
      bytes: (signal) => this.#integrity.read(descriptor, maxManifestBytes, what, signal),
    };
  }

  async blob({ repository, isHead }: Asked, digest: Digest): Promise<Body | 'no repository' | 'absent'> {
    const { isPushedTo } = this.#blobs;
    if (!isPushedTo && this.#catalog.repository(repository) === undefined) return 'no repository';
    // A client that pushes asks so, and leaves out what is here.
    const size = await (isHead ? this.#blobs.claim(repository, digest) : this.#blobs.sizeOf(digest));
    if (size === undefined && this.#catalog.graph.sizeOf(digest) !== undefined) {
      await this.#integrity.requireMedium();
    }
    const body = size === undefined ? undefined : await this.#integrity.body({ digest, size });
    return body ?? 'absent';
  }

  async tags({ repository }: Asked): Promise<Iterable<string> | 'no repository'> {
    return this.#catalog.repository(repository)?.tags.keys() ?? 'no repository';
  }

  async referrers({ repository }: Asked, subject: Digest): Promise<readonly Descriptor[]> {
    return this.#catalog.repository(repository)?.referrers.get(subject) ?? [];
  }

  async repositories(): Promise<readonly string[]> {
    return listedPaths(this.#catalog);
  }
}
