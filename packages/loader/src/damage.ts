/**
 * A push that failed because bytes had another digest: was it the medium? Then the volume is named, so that a
 * person knows which disc to copy again. Fault F30.
 */
import { basename } from 'node:path';
import { Hasher, isDigest } from '@omni-airgap/oci';
import { CodedError, isCoded } from '@omni-airgap/oci/base';
import { eachBlock } from '@omni-airgap/oci/fs';
import type { LoadSource } from './source.ts';

/** The same error, or BAD_VOLUME when the blob it is about is damaged in the bundle. */
export async function explainDamage(
  source: LoadSource,
  error: unknown,
  signal?: AbortSignal,
): Promise<unknown> {
  if (!isCoded(error, 'DIGEST_MISMATCH') || error.descriptor === undefined) return error;
  const { digest, size } = error.descriptor;
  const pieces = isDigest(digest) ? await source.locate({ digest, size }) : undefined;
  if (pieces === undefined) return error;
  const hasher = new Hasher();
  await eachBlock(pieces, (block) => hasher.update(block), signal);
  if (hasher.finish() === digest) return error;
  const where = pieces.map(({ path, offset }) => `${basename(path)} at byte ${offset}`).join(', ');
  return new CodedError(
    'BAD_VOLUME',
    `${digest} is damaged on the medium, in ${where} (${pieces[0]?.path ?? ''}); copy this volume again and run load again: what is done is kept`,
    { cause: error, descriptor: error.descriptor },
  );
}
