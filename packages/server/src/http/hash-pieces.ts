/** The digest of content in files, hashed on the other thread, so that answers go on meanwhile. */
import type { Digest, Piece } from '@omni-airgap/oci';
import { Lease } from './buffers.ts';
import { checkOf } from './check.ts';
import { readBlocks } from './read-blocks.ts';

/** One is read into, one is hashed. */
const blocks = 2;

/** @param size bytes of all pieces together @throws DISK, MISSING_CONTENT */
export async function hashPieces(pieces: readonly Piece[], size: number): Promise<Digest> {
  const check = checkOf(size);
  const lease = new Lease(blocks);
  try {
    await readBlocks(pieces, size, lease, {
      use: (block, bytes) => lease.use(check.update(block, bytes.byteLength)),
    });
    return await check.finish();
  } finally {
    check.giveUp();
    await lease.end();
  }
}
