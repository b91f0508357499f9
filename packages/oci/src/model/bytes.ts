/** Helpers over `Bytes`: bounded collecting, and checking on the way through. */

import { CodedError } from '../base/errors.ts';
import type { Bytes, OpenBytes } from '../storage.ts';
import type { Descriptor } from './descriptor.ts';
import { Hasher } from './digest.ts';

/** Bytes held in memory as a stream. */
export async function* bytesOf(...chunks: Uint8Array[]): Bytes {
  for (const chunk of chunks) if (chunk.byteLength > 0) yield chunk;
}

/** Opens bytes held in memory, at any offset: what every push of such bytes takes. */
export function openerOf(bytes: Uint8Array): OpenBytes {
  return (offset = 0) => bytesOf(bytes.subarray(offset));
}

/**
 * Everything in one array, or an error: never a silently cut one.
 * @param max bytes
 * @throws BAD_DOCUMENT when there is more
 */
export async function collect(source: Bytes, max: number, what: string): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of source) {
    size += chunk.byteLength;
    if (size > max) throw new CodedError('BAD_DOCUMENT', `${what}: more than ${max} bytes`);
    chunks.push(chunk);
  }
  return chunks.length === 1 && chunks[0] !== undefined ? chunks[0] : Buffer.concat(chunks);
}

/**
 * The same bytes, and an error instead of the last of them when digest or size are not the descriptor's: whoever is sent
 * them never has all of a wrong blob. A stream that runs past its size fails at once, so a lying sender cannot fill a disk.
 * @throws DIGEST_MISMATCH
 */
export async function* verified(source: Bytes, descriptor: Descriptor, where?: string): Bytes {
  const hasher = new Hasher();
  let isChecked = false;
  for await (const chunk of source) {
    if (hasher.size + chunk.byteLength > descriptor.size)
      throw mismatch(descriptor, `more than ${descriptor.size} bytes`, where);
    // Nothing but an empty chunk follows.
    if (isChecked) continue;
    hasher.update(chunk);
    if (hasher.size === descriptor.size) {
      checkFinished(hasher, descriptor, where);
      isChecked = true;
    }
    yield chunk;
  }
  if (!isChecked) checkFinished(hasher, descriptor, where);
}

/** Compares what a hasher has seen with the descriptor, and ends it. @throws DIGEST_MISMATCH */
export function checkFinished(hasher: Hasher, descriptor: Descriptor, where?: string): void {
  checkFound({ size: hasher.size, digest: hasher.finish() }, descriptor, where);
}

/** Compares what was found with the descriptor. @throws DIGEST_MISMATCH */
export function checkFound(
  { size, digest }: Pick<Descriptor, 'size' | 'digest'>,
  descriptor: Descriptor,
  where?: string,
): void {
  if (size !== descriptor.size) {
    throw mismatch(descriptor, `${size} bytes instead of ${descriptor.size}`, where);
  }
  if (digest !== descriptor.digest) throw mismatch(descriptor, `the bytes have ${digest}`, where);
}

export function mismatch(descriptor: Descriptor, what: string, where?: string): CodedError {
  const at = where === undefined ? '' : ` (${where})`;
  return new CodedError('DIGEST_MISMATCH', `${descriptor.digest}${at}: ${what}`, { descriptor });
}

/** A whole small blob, verified. @param max bytes it may have @throws BAD_DOCUMENT, DIGEST_MISMATCH */
export async function collectVerified(
  source: Bytes,
  descriptor: Descriptor,
  max: number,
  what: string,
): Promise<Uint8Array> {
  if (descriptor.size > max) {
    throw new CodedError(
      'BAD_DOCUMENT',
      `${what}: ${descriptor.size} bytes, more than the ${max} that are read`,
      {
        descriptor,
      },
    );
  }
  return collect(verified(source, descriptor, what), max, what);
}
