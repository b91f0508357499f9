/**
 * Claims as cosign 2 signs them, byte for byte what Go's encoding/json gives: compact, members in this order, no
 * newline. Source: sigstore/sigstore pkg/signature/payload; sigstore/cosign specs/SIGNATURE_SPEC.md.
 */
import { createPublicKey, type KeyObject, sign, verify } from 'node:crypto';
import { type Descriptor, type Digest, descriptorOf } from '@omni-airgap/oci';

export const claimMediaType = 'application/vnd.dev.cosign.simplesigning.v1+json';
const signatureAnnotation = 'dev.cosignproject.cosign/signature';

/**
 * @param reference host and repository, without tag
 * @param digest of what is signed; of the index, for an image of several platforms
 */
export function claimOf(reference: string, digest: Digest): Uint8Array {
  const claim = {
    critical: {
      identity: { 'docker-reference': reference },
      image: { 'docker-manifest-digest': digest },
      type: 'cosign container image signature',
    },
    optional: null,
  };
  return Buffer.from(goEscaped(JSON.stringify(claim)));
}

/** The claim as a layer, with its signature. ECDSA gives another signature each time; all of them hold. */
export function signClaim(claim: Uint8Array, key: KeyObject): Descriptor {
  const signature = sign('sha256', claim, key).toString('base64');
  return { ...descriptorOf(claimMediaType, claim), annotations: { [signatureAnnotation]: signature } };
}

/** True for a layer that holds this very claim, signed with the key. */
export function isSignedClaim(layer: Descriptor, claim: Uint8Array, key: KeyObject): boolean {
  const { digest } = descriptorOf(claimMediaType, claim);
  const signature = layer.annotations?.[signatureAnnotation];
  if (layer.mediaType !== claimMediaType || layer.digest !== digest || signature === undefined) return false;
  const der = Buffer.from(signature, 'base64');
  return der.toString('base64') === signature && verify('sha256', claim, createPublicKey(key), der);
}

/** Go's encoder escapes what could end a script in HTML, and two line separators. */
function goEscaped(json: string): string {
  return json.replace(/[<>&\u2028\u2029]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
