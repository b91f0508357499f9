/** verify --store: every blob that lock.json or a push leads to, read and hashed; with `quick`, only whether it is there. */

import { noProgress, type Progress } from '@omni-airgap/oci';
import { isCoded, messageOf } from '@omni-airgap/oci/base';
import { eachBlock } from '@omni-airgap/oci/fs';
import { type Digest, Hasher } from '@omni-airgap/oci/model';
import { Store } from '@omni-airgap/store';
import { type Consumed, consumedOf } from './consumed.ts';
import { readStoredContent } from './locked-content.ts';

interface StoreDamage {
  readonly path: string;
  readonly what: string;
}

export interface StoreCheck {
  /** Bytes read. */
  readonly bytes: number;
  readonly blobs: number;
  readonly damages: readonly StoreDamage[];
  /** Names whose content is not all there and right. */
  readonly unusable: readonly string[];
  /** What is not here because it left with bundles. */
  readonly left: Consumed;
}

export interface VerifyStoreOptions {
  /** Look at names and sizes only. */
  readonly quick?: boolean;
  readonly progress?: Progress;
  readonly signal?: AbortSignal | undefined;
}

/**
 * @throws NO_INPUT, INCOMPLETE, MISSING_CONTENT when a manifest is not there; BUSY while another command removes content;
 * DISK
 */
export function verifyStore(root: string, options: VerifyStoreOptions = {}): Promise<StoreCheck> {
  const { signal } = options;
  return Store.use(root, { access: 'read', purpose: 'omni-airgap verify', signal }, (store) =>
    verifyOpen(store, options),
  );
}

async function verifyOpen(store: Store, options: VerifyStoreOptions): Promise<StoreCheck> {
  const { progress = noProgress, signal, quick = false } = options;
  if (store.warning !== undefined) progress.note(store.warning);
  const { layout, descriptors, graphs } = await readStoredContent(store, signal);
  const damages: StoreDamage[] = [];
  const bad = new Set<Digest>();
  let bytes = 0;
  const { digests, ...left } = await consumedOf(store, layout, descriptors.values());
  const blobs = [...descriptors.values()].filter(({ digest }) => !digests.has(digest));
  if (!quick) progress.expect(blobs.reduce((sum, blob) => sum + blob.size, 0));
  for (const blob of blobs) {
    const damage = (what: string): void => {
      damages.push({ path: layout.pathOf(blob.digest), what });
      bad.add(blob.digest);
    };
    const pieces = await layout.locate(blob);
    if (pieces === undefined) {
      const size = await layout.stat(blob.digest);
      damage(size === undefined ? 'is missing' : `has ${size} bytes instead of ${blob.size}`);
    } else if (!quick) {
      const hasher = new Hasher();
      const use = (block: Uint8Array): void => {
        hasher.update(block);
        progress.advance(block.byteLength);
      };
      try {
        await eachBlock(pieces, use, signal);
        bytes += hasher.size;
        if (hasher.finish() !== blob.digest) damage('holds other bytes than its name says');
      } catch (error) {
        if (!isCoded(error, 'DISK', 'MISSING_CONTENT')) throw error;
        damage(`cannot be read: ${messageOf(error)}`);
      }
    }
  }
  const unusable = [...graphs]
    .filter(([, graph]) => [...graph.keys()].some((digest) => bad.has(digest)))
    .map(([name]) => name);
  return { bytes, blobs: blobs.length, damages, unusable, left };
}
