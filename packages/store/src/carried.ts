/**
 * What has left a store with its bundles. `bundle --consume` removes content once the volumes that hold it are safe
 * on a medium; which volumes those are stands in `bundles/<id>/consumed.jsonl`, beside the document that says what is
 * in them. So a fetch does not bring it again, and nobody takes it for lost.
 */
import { join } from 'node:path';
import { mapOf } from '@omni-airgap/format';
import type { Descriptor, Digest } from '@omni-airgap/oci';
import { Journal } from '@omni-airgap/oci/fs';
import { issuedFolder, issuedIds, readIssuedDocument, readWithdrawnDocument } from './issued-documents.ts';

type Sized = Pick<Descriptor, 'digest' | 'size'>;

export interface Carrier {
  /** Id of a bundle whose volumes hold the content, and may be all that does. */
  readonly bundle: string;
  /** False when the store has taken that bundle back. */
  readonly isIssued: boolean;
}

export class Carried {
  readonly #carriers: ReadonlyMap<Digest, Carrier & { readonly size: number }>;

  private constructor(carriers: ReadonlyMap<Digest, Carrier & { readonly size: number }>) {
    this.#carriers = carriers;
  }

  /** Nothing has left a store that is not there, or never gave anything away. @throws BAD_DOCUMENT, DISK */
  static async read(store: string): Promise<Carried> {
    const carriers = new Map<Digest, Carrier & { readonly size: number }>();
    for (const bundle of await issuedIds(store)) {
      const volumes = await consumedVolumes(store, bundle);
      if (volumes.size === 0) continue;
      const issued = await readIssuedDocument(store, bundle);
      const kept = issued ?? (await readWithdrawnDocument(store, bundle));
      if (kept === undefined) continue;
      const map = mapOf(kept.document);
      for (const blob of map.blobs) {
        const { digest, size } = blob;
        const isGone = blob.volume > 0 && map.volumesOf(blob).every((volume) => volumes.has(volume));
        // An issued bundle is the better answer: an increment can be made on it.
        if (isGone && !(carriers.get(digest)?.isIssued === true && issued === undefined))
          carriers.set(digest, { size, bundle, isIssued: issued !== undefined });
      }
    }
    return new Carried(carriers);
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

/** Volumes whose content may have left the store with this bundle. @throws DISK */
export async function consumedVolumes(store: string, bundle: string): Promise<ReadonlySet<number>> {
  const records = await journalOf(store, bundle).read();
  return new Set(records.flatMap(({ volume }) => (typeof volume === 'number' ? [volume] : [])));
}

/** Adds volumes; on the disk when this resolves, so before any of their content goes. @throws DISK */
export async function recordConsumed(
  store: string,
  bundle: string,
  volumes: Iterable<number>,
): Promise<void> {
  await journalOf(store, bundle).append(...[...volumes].map((volume) => ({ volume })));
}

function journalOf(store: string, bundle: string): Journal {
  return new Journal(join(issuedFolder(store, bundle), 'consumed.jsonl'));
}
