/** Keys of objects: the Image Factory's URL paths, and nothing that could leave the bucket prefix or folder. */
import { CodedError, printable } from '@omni-airgap/oci/base';

const segmentPattern = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,199}$/;

/** @returns the key itself @throws BAD_NAME */
export function checkObjectKey(key: string): string {
  if (key.length > 900 || !key.split('/').every((segment) => segmentPattern.test(segment))) {
    throw new CodedError('BAD_NAME', `not an object key: ${printable(key)}`);
  }
  return key;
}
