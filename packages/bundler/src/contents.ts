/** What goes into a bundle: everything that lock.json names, down to the last blob, found and complete. */

import { join } from 'node:path';
import {
  type BlobSize,
  CodedError,
  collectGraph,
  type Descriptor,
  type Digest,
  isIndexType,
  Layout,
  type LockedItem,
  maxLockBytes,
  parseLockDocument,
  readSmallFile,
} from '@omni-airgap/content';

export interface Contents {
  readonly layout: Layout;
  readonly items: readonly LockedItem[];
  readonly blobs: readonly BlobSize[];
  /** Indexes of which only some platforms are carried. */
  readonly sparse: readonly Descriptor[];
}

/**
 * @throws NO_INPUT without a store or lock, INCOMPLETE when the last fetch was, MISSING_CONTENT naming the item
 */
export async function readContents(store: string, signal?: AbortSignal): Promise<Contents> {
  const layout = await Layout.open(store);
  const path = join(store, 'lock.json');
  const bytes = await readSmallFile(path, maxLockBytes);
  if (bytes === undefined)
    throw new CodedError('NO_INPUT', `${path}: not there; run omni-airgap fetch first`);
  const lock = parseLockDocument(bytes, path);
  if (lock.missing.length > 0) {
    throw new CodedError(
      'INCOMPLETE',
      `${store}: the last fetch could not bring ${lock.missing.length} item(s), ${lock.missing[0]} among them; run it again first`,
    );
  }
  const blobs = new Map<Digest, number>();
  const sparse = new Map<Digest, Descriptor>();
  for (const item of lock.items) {
    const partial = item.platforms !== undefined;
    const select = async (child: Descriptor): Promise<boolean> => !partial || (await layout.has(child));
    const graph = await collectGraph(layout, item.descriptor, {
      select,
      ...(signal === undefined ? {} : { signal }),
    });
    for (const descriptor of graph.values()) {
      if (!(await layout.has(descriptor))) {
        throw new CodedError(
          'MISSING_CONTENT',
          `${item.name}: ${descriptor.digest} is not in the store; run omni-airgap fetch again`,
          { descriptor },
        );
      }
      blobs.set(descriptor.digest, descriptor.size);
    }
    if (partial && isIndexType(item.descriptor.mediaType))
      sparse.set(item.descriptor.digest, item.descriptor);
  }
  return {
    layout,
    items: lock.items,
    blobs: [...blobs].map(([digest, size]) => ({ digest, size })),
    sparse: [...sparse.values()],
  };
}
