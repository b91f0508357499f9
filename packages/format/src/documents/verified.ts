/** What is on record of a signature that was checked when an image was fetched: by whom, and where it stands. */

import { byText } from '@omni-airgap/oci/base';
import * as v from 'valibot';
import { digestSchema, textSchema } from './schema.ts';

export const verifiedSchema = v.union([
  /** `key`: sha256 over the public key in DER; `signature`: the manifest that holds it. */
  v.strictObject({ key: digestSchema, signature: digestSchema }),
  /** Without a key: whom the certificate was issued to, and who vouched for that. */
  v.strictObject({ identity: textSchema, issuer: textSchema, signature: digestSchema }),
]);
export type Verified = v.InferOutput<typeof verifiedSchema>;

/** The signer for people; not yet made safe to print. */
export function signerText(verified: Verified): string {
  return 'key' in verified ? `key ${verified.key}` : `${verified.identity} (${verified.issuer})`;
}

export interface CountedSigner {
  /** As signerText gives it. */
  readonly signer: string;
  readonly images: number;
}

/** Who signed how many images. @param checks one for each image; undefined for one that was not checked */
export function countSigners(checks: Iterable<Verified | undefined>): readonly CountedSigner[] {
  const images = new Map<string, number>();
  for (const verified of checks) {
    if (verified === undefined) continue;
    const signer = signerText(verified);
    images.set(signer, (images.get(signer) ?? 0) + 1);
  }
  return [...images].sort(([a], [b]) => byText(a, b)).map(([signer, n]) => ({ signer, images: n }));
}
