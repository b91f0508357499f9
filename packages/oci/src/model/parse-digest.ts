/** Digests from text that may be anything; other algorithms than SHA-256 are refused by name. */

import { CodedError } from '../base/errors.ts';
import { printable } from '../base/printable.ts';
import { type Digest, isDigest } from './digest.ts';

/**
 * @param value untrusted text
 * @param where what it stands in, for the message
 * @throws BAD_NAME for anything but a sha256 digest; other algorithms are named as unsupported
 */
export function parseDigest(value: unknown, where = 'digest'): Digest {
  if (isDigest(value)) return value;
  if (typeof value !== 'string') throw new CodedError('BAD_NAME', `${where}: a digest must be a string`);
  const algorithm = /^([a-z0-9]+(?:[+._-][a-z0-9]+)*):[A-Za-z0-9=_-]+$/.exec(value.slice(0, 200))?.[1];
  if (algorithm !== undefined && algorithm !== 'sha256') {
    throw new CodedError(
      'BAD_NAME',
      `${where}: digest algorithm ${algorithm} is not supported, only sha256 is`,
    );
  }
  throw new CodedError(
    'BAD_NAME',
    `${where}: not a digest (sha256:<64 lower-case hex>): ${printable(value)}`,
  );
}

/** The digest for 64 lower-case hex characters. @throws BAD_NAME */
export function digestFromHex(hex: string, where = 'digest'): Digest {
  return parseDigest(`sha256:${hex}`, where);
}
