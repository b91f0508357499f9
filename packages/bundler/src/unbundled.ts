/** The content of a store as if it were a bundle, for what is read straight from it. Nothing is issued and no number is used. */
import type { BundleDocument } from '@omni-airgap/format';
import { byText } from '@omni-airgap/oci/base';
import type { Layout } from '@omni-airgap/oci/layout';
import { type Digest, digestOf, hexOf } from '@omni-airgap/oci/model';
import type { Store } from '@omni-airgap/store';
import { rootsOf } from './bundle-record.ts';
import { readLockedContent, requireContent } from './locked-content.ts';

export interface Unbundled {
  /** With an id that says what the store names now, sequence 0, and no volumes. */
  readonly document: BundleDocument;
  readonly layout: Layout;
  /** Bytes of all content, by digest. */
  readonly sizes: ReadonlyMap<Digest, number>;
}

/**
 * @param tool name and version of this program
 * @throws NO_INPUT, INCOMPLETE for a store that is not as mirror.yaml says; USAGE when content has left it; MISSING_CONTENT
 */
export async function readUnbundled(store: Store, tool: string, signal?: AbortSignal): Promise<Unbundled> {
  const contents = await readLockedContent(store, signal);
  const { layout, descriptors, sparse, items } = contents;
  const blobs = [...descriptors.values()].map(({ digest, size }) => ({ digest, size, volume: 0, offset: 0 }));
  await requireContent(store, layout, blobs);
  const lines = items.map(({ name, descriptor }) => `${descriptor.digest} ${name}\n`).sort(byText);
  const document: BundleDocument = {
    kind: 'omni-airgap/bundle',
    schema: 1,
    id: hexOf(digestOf(Buffer.from(lines.join('')))),
    origin: await store.bundles.origin(),
    sequence: 0,
    createdAt: new Date().toISOString(),
    tool,
    roots: await rootsOf(contents),
    blobs: [],
    volumes: [],
    files: [],
    ...(sparse.length === 0 ? {} : { sparse: [...sparse] }),
    egress: [],
  };
  return { document, layout, sizes: new Map(blobs.map(({ digest, size }) => [digest, size])) };
}
