/**
 * A repository that is only pushed to what is at hand: content whose volume is not mounted must be there already,
 * from a disc that was loaded before. Fault F28.
 */
import type { Bytes, Descriptor, Mounter, OpenBytes, PushResult, Storage } from '@omni-airgap/oci';
import type { RepositoryClient } from '@omni-airgap/oci/registry';
import { type LoadSource, MissingVolumes } from '../source.ts';

export class AtHand implements Storage, Mounter {
  readonly registry: string;
  readonly path: string;
  readonly #repository: RepositoryClient;
  readonly #bundles: LoadSource;
  readonly #onError: (error: unknown) => void;

  /** @param onError told at once of what fails, before all else that is under way has ended */
  constructor(repository: RepositoryClient, bundles: LoadSource, onError: (error: unknown) => void) {
    this.#onError = onError;
    this.registry = repository.registry;
    this.path = repository.path;
    this.#repository = repository;
    this.#bundles = bundles;
  }

  fetch(descriptor: Descriptor, signal?: AbortSignal): Bytes {
    return this.#repository.fetch(descriptor, signal);
  }

  has(descriptor: Descriptor, signal?: AbortSignal): Promise<boolean> {
    return this.#repository.has(descriptor, signal);
  }

  mount(descriptor: Descriptor, fromRepository: string, signal?: AbortSignal): Promise<boolean> {
    return this.#repository.mount(descriptor, fromRepository, signal);
  }

  async push(descriptor: Descriptor, open: OpenBytes, signal?: AbortSignal): Promise<PushResult> {
    const wanted = this.#bundles.wantedFor(descriptor);
    try {
      if (wanted.length === 0) return await this.#repository.push(descriptor, open, signal);
      if (await this.#repository.has(descriptor, signal)) return 'present';
    } catch (error) {
      this.#onError(error);
      throw error;
    }
    throw new MissingVolumes(wanted);
  }
}
