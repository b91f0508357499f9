/**
 * What has left a store with its bundles. `bundle --consume` removes content once the volumes that hold it are safe on a
 * medium; the record of it keeps a fetch from bringing it again, and everybody from taking it for lost.
 */
import { type BundleDocument, mapOf } from '@omni-airgap/format';
import type { Descriptor, Digest } from '@omni-airgap/oci/model';

type Sized = Pick<Descriptor, 'digest' | 'size'>;

export interface Carrier {
  /** Id of a bundle whose volumes hold the content, and may be all that does. */
  readonly bundle: string;
  /** False when the store has taken that bundle back. */
  readonly isIssued: boolean;
}

/** A bundle with which content has left. */
export interface ConsumedBundle {
  readonly document: BundleDocument;
  /** Numbers of the volumes whose content may be gone. */
  readonly volumes: ReadonlySet<number>;
  readonly isIssued: boolean;
}

export class Carried {
  readonly #carriers = new Map<Digest, Carrier & { readonly size: number }>();

  constructor(bundles: Iterable<ConsumedBundle>) {
    for (const { document, volumes, isIssued } of bundles) {
      const map = mapOf(document);
      for (const blob of map.blobs) {
        const { digest, size } = blob;
        const isGone = blob.volume > 0 && map.volumesOf(blob).every((volume) => volumes.has(volume));
        // An issued bundle is the better answer: an increment can be made on it.
        if (isGone && !(this.#carriers.get(digest)?.isIssued === true && !isIssued))
          this.#carriers.set(digest, { size, bundle: document.id, isIssued });
      }
    }
  }

  /** Undefined when it has not left with a bundle. */
  carrierOf({ digest, size }: Sized): Carrier | undefined {
    const found = this.#carriers.get(digest);
    return found?.size === size ? found : undefined;
  }

  has(descriptor: Sized): boolean {
    return this.carrierOf(descriptor) !== undefined;
  }
}
