/** Bytes in Sigstore's documents: base64 that has one text for the same bytes, wherever it stands. */
import type { JsonValue } from '@omni-airgap/oci/base';
import { strictBase64 } from './claim.ts';

/** Members of the bundle and of the trust root that hold bytes. */
const byteMembers = new Set([
  ...['canonicalizedBody', 'digest', 'hashes', 'keyId', 'payload', 'rawBytes', 'rootHash', 'sig'],
  ...['signature', 'signedEntryTimestamp', 'signedTimestamp'],
]);

/** @throws BAD_SIGNATURE naming the member */
export function requireStrictBytes(value: JsonValue, name = ''): void {
  if (typeof value === 'string') {
    if (byteMembers.has(name) && value !== '') strictBase64(value, name);
  } else if (Array.isArray(value)) {
    for (const one of value) requireStrictBytes(one, name);
  } else if (value !== null && typeof value === 'object') {
    for (const [key, one] of Object.entries(value)) requireStrictBytes(one, key);
  }
}
