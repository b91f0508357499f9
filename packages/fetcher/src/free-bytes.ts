/** Space on the disk where a store is or will be. */
import { statfs } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { systemCodeOf } from '@omni-airgap/oci/base';
import { diskError } from '@omni-airgap/oci/fs';

/** Bytes free at the folder, or at the nearest above it that is there. @throws DISK */
export async function freeBytes(folder: string): Promise<number> {
  for (let at = resolve(folder); ; at = dirname(at)) {
    try {
      const { bavail, bsize } = await statfs(at);
      return bavail * bsize;
    } catch (error) {
      if (systemCodeOf(error) !== 'ENOENT' || at === dirname(at)) throw diskError(error, at);
    }
  }
}
