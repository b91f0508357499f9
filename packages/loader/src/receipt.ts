/** What was placed where, for the site and for `bundle --since`. */

import type { LoadRecord, ReceiptDocument } from '@omni-airgap/format';
import { childrenOf, type Digest, fetchManifest } from '@omni-airgap/oci/model';
import type { MissingItem } from './missing.ts';
import type { SignatureTag } from './resign.ts';
import type { LoadSource } from './source.ts';
import { targetText } from './targets/names.ts';
import type { LoadedObject } from './targets/objects/load-objects.ts';
import type { RegistryContext } from './targets/registry/context.ts';
import type { LoadedImage, TrimmedImage } from './targets/registry/publish-tags.ts';

/** What a load placed, and where. */
export interface Placed {
  readonly bundles: LoadSource;
  readonly registry: RegistryContext | undefined;
  /** As people name it. */
  readonly objectStore: string | undefined;
  /** False when objects were taken for what their metadata says. */
  readonly objectsReadBack: boolean;
  readonly images: readonly LoadedImage[];
  readonly trimmed: readonly TrimmedImage[];
  readonly objects: readonly LoadedObject[];
  readonly missing: readonly MissingItem[];
}

/** @param tool name and version of this program @throws BAD_DOCUMENT, DIGEST_MISMATCH, and as the registry */
export async function receiptOf(
  placed: Placed,
  tool: string,
  signal?: AbortSignal,
): Promise<ReceiptDocument> {
  const { bundles, registry, objectStore, objectsReadBack, images, trimmed, objects, missing } = placed;
  const { id, origin, sequence, roots, withdraws } = bundles.document;
  const outside = new Map(roots.map((root) => [root.name, root]));
  const sparse = registry === undefined ? [] : await sparseIndexes(bundles, registry, signal);
  const isTrimmed = new Set(trimmed.map(({ name }) => name));
  const left = missing.map(({ name, why }) => ({ name, why }));
  return {
    // First: the id alone would say that all of the bundle is there.
    ...(left.length === 0 ? {} : { missing: left }),
    ...(trimmed.length === 0
      ? {}
      : { trimmed: trimmed.map((image) => ({ ...image, signatures: [...image.signatures] })) }),
    bundle: id,
    kind: 'omni-airgap/receipt',
    schema: 1,
    origin,
    sequence,
    ...(withdraws === undefined ? {} : { withdraws: [...withdraws] }),
    loadedAt: new Date().toISOString(),
    tool,
    trust: bundles.signer,
    ...signersOf(bundles),
    ...(registry === undefined ? {} : { registry: targetText(registry.target) }),
    objectStore,
    ...(objectStore === undefined ? {} : { objectsReadBack }),
    images: images.map((image) => {
      // What was verified outside is another index.
      const { signature, verified } = isTrimmed.has(image.name) ? {} : (outside.get(image.name) ?? {});
      return {
        ...image,
        signature,
        verified,
      };
    }),
    ...(sparse.length === 0 ? {} : { sparse: [...sparse] }),
    objects: objects.map(({ key, digest, size }) => ({ key, digest, size })),
  };
}

/** The receipt with what this host keeps besides: what the load used of earlier ones, and what it changed after them. */
export function recordOf(
  receipt: ReceiptDocument,
  { documents }: LoadSource,
  registry: RegistryContext | undefined,
  signatures: readonly SignatureTag[],
): LoadRecord {
  const repositories = new Map<string, Digest[]>();
  for (const { repository, digest } of registry?.source.relied ?? []) {
    repositories.set(repository, [...(repositories.get(repository) ?? []), digest]);
  }
  const isObjects = receipt.objectStore !== undefined;
  const keys = documents.flatMap(({ relies }) => (isObjects ? (relies?.objects ?? []) : []));
  const hasRelied = repositories.size + keys.length > 0;
  return {
    kind: 'omni-airgap/load-record',
    schema: 1,
    receipt,
    ...(signatures.length === 0 ? {} : { signatures: [...signatures] }),
    ...(hasRelied
      ? {
          relies: {
            repositories: [...repositories].map(([repository, digests]) => ({ repository, digests })),
            keys: [...new Set(keys.map(({ key }) => key))],
          },
        }
      : {}),
  };
}

/** One bundle alone has its key in `trust`. */
function signersOf({ documents, signers }: LoadSource): Pick<ReceiptDocument, 'signers'> {
  if (documents.length < 2) return {};
  const found = documents.flatMap(({ id }) => {
    const signer = signers.get(id);
    return signer?.mode === 'signed' ? [{ bundle: id, key: signer.key }] : [];
  });
  return found.length === 0 ? {} : { signers: found };
}

/**
 * Whoever has all platforms must not think that all are here. No walk: each index says what its own children are, also
 * what other indexes share.
 */
async function sparseIndexes(
  bundles: LoadSource,
  { source }: RegistryContext,
  signal?: AbortSignal,
): Promise<readonly { readonly digest: Digest; manifests: Digest[] }[]> {
  const found: { readonly digest: Digest; manifests: Digest[] }[] = [];
  for (const index of bundles.document.sparse ?? []) {
    const { manifest } = await fetchManifest(source, index, signal);
    const manifests: Digest[] = [];
    for (const child of childrenOf(manifest)) {
      if (await source.has(child)) manifests.push(child.digest);
    }
    found.push({ digest: index.digest, manifests });
  }
  return found;
}
