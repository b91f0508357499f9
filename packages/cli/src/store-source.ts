/** A store as what load reads: straight from the image layout, without a bundle in between. */
import { readUnbundled, type Unbundled } from '@omni-airgap/bundler';
import type { BundleDocument, BundleSigner } from '@omni-airgap/format';
import type { LoadSource } from '@omni-airgap/loader';
import type { Bytes, Piece } from '@omni-airgap/oci';
import { CodedError } from '@omni-airgap/oci/base';
import type { Layout } from '@omni-airgap/oci/layout';
import type { Descriptor, Digest } from '@omni-airgap/oci/model';
import { Store } from '@omni-airgap/store';
import { tool } from './session.ts';

type Sized = Pick<Descriptor, 'digest' | 'size'>;

/**
 * Runs a load from a store, whose content nobody removes meanwhile: it is open beside others who do not.
 * @param note told when the store could not be locked
 * @throws NO_INPUT, BUSY, INCOMPLETE, MISSING_CONTENT, USAGE when content has left the store with a bundle; DISK
 */
export function withStoreSource<T>(
  root: string,
  note: (text: string) => void,
  signal: AbortSignal,
  work: (source: LoadSource) => Promise<T>,
): Promise<T> {
  return Store.use(root, { access: 'read', purpose: 'omni-airgap load', signal }, async (store) => {
    if (store.warning !== undefined) note(store.warning);
    return work(new StoreSource(await readUnbundled(store, tool, signal)));
  });
}

class StoreSource implements LoadSource {
  readonly kind = 'store';
  readonly document: BundleDocument;
  readonly documents: readonly BundleDocument[];
  readonly signer: BundleSigner = { mode: 'unsigned' };
  readonly signers: ReadonlyMap<string, BundleSigner>;
  readonly #layout: Layout;
  readonly #sizes: ReadonlyMap<Digest, number>;

  constructor({ document, layout, sizes }: Unbundled) {
    this.document = document;
    this.documents = [document];
    this.signers = new Map([[document.id, this.signer]]);
    this.#layout = layout;
    this.#sizes = sizes;
  }

  async has(descriptor: Sized): Promise<boolean> {
    return this.carries(descriptor);
  }

  carries({ digest, size }: Sized): boolean {
    return this.#sizes.get(digest) === size;
  }

  reliesOn(): boolean {
    return false;
  }

  wantedFor(): readonly [] {
    return [];
  }

  async locate(descriptor: Sized): Promise<readonly Piece[] | undefined> {
    return this.carries(descriptor) ? this.#layout.locate(descriptor) : undefined;
  }

  fetch(descriptor: Descriptor, signal?: AbortSignal): Bytes {
    return this.#layout.fetch(descriptor, signal);
  }

  fetchFrom(descriptor: Descriptor, offset: number, signal?: AbortSignal): Bytes {
    return this.#layout.fetchFrom(descriptor, offset, signal);
  }

  /** A disk, which reads anywhere. */
  position(): number {
    return 0;
  }

  missingBase(items: readonly string[]): CodedError {
    return new CodedError('MISSING_CONTENT', `the store does not have ${items[0]}; run fetch again`);
  }

  async checkParts(): Promise<void> {}

  async keepParts(): Promise<void> {}

  async dropParts(): Promise<readonly string[]> {
    return [];
  }
}
