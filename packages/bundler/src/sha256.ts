/** SHA-256 of what is in memory, in hex. */
import { createHash } from 'node:crypto';

export function sha256Of(bytes: Uint8Array | string): string {
  return createHash('sha256').update(bytes).digest('hex');
}
