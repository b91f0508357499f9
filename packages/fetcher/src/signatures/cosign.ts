/**
 * Key-based signatures of cosign 2: a manifest at the tag `sha256-<hex>.sig`, each of whose layers is a signed claim.
 * The bytes that were signed are checked as they came; the claim must name the digest that is held.
 * Source: sigstore/cosign specs/SIGNATURE_SPEC.md. Faults F16, F17.
 */

import { createPublicKey, type KeyObject, verify } from 'node:crypto';
import {
  checkClaim,
  maxSignatures,
  type SignedImage,
  signatureBytes,
  signedPayload,
} from '@omni-airgap/format';
import type { Fetcher } from '@omni-airgap/oci';
import { CodedError, messageOf } from '@omni-airgap/oci/base';
import { readNamedFile } from '@omni-airgap/oci/fs';
import { type Descriptor, type Digest, digestOf, fetchManifest } from '@omni-airgap/oci/model';

/** Images that a key must have signed. */
export interface ImageKey {
  readonly key: KeyObject;
  /** `sha256:` over the key in DER: what records name it by. */
  readonly fingerprint: Digest;
  /** References that begin with it; empty for all. */
  readonly prefix: string;
}

const maxKeyBytes = 64 * 1024;

/**
 * @param text `FILE` or `PREFIX=FILE`, as --verify-images-key takes it
 * @throws NO_INPUT, CONFIG for anything but one public key in PEM
 */
export async function readImageKey(text: string): Promise<ImageKey> {
  const at = text.indexOf('=');
  const [prefix, path] = at < 0 ? ['', text] : [text.slice(0, at), text.slice(at + 1)];
  const pem = (await readNamedFile('--verify-images-key', path, maxKeyBytes)).toString('latin1');
  const bad = (why: string): CodedError => new CodedError('CONFIG', `--verify-images-key ${path}: ${why}`);
  if ((pem.match(/-----BEGIN /g) ?? []).length !== 1) throw bad('must hold exactly one key, in PEM');
  // A private key would give its public one; that it lies here is worth a word instead.
  if (!/-----BEGIN (?:RSA )?PUBLIC KEY-----/.test(pem)) throw bad('holds no public key (cosign.pub)');
  try {
    const key = createPublicKey(pem);
    const fingerprint = digestOf(key.export({ type: 'spki', format: 'der' }));
    return { key, fingerprint, prefix };
  } catch (cause) {
    throw bad(`is no usable public key: ${messageOf(cause)}`);
  }
}

/**
 * Any valid signature by any of the keys is enough, as for cosign.
 * @param signature the manifest at the `.sig` tag of the image
 * @param image what must be signed
 * @returns the key that verified
 * @throws BAD_SIGNATURE saying why none does
 */
export async function verifyImage(
  source: Fetcher,
  signature: Descriptor,
  image: SignedImage,
  keys: readonly ImageKey[],
): Promise<ImageKey> {
  const { manifest } = await fetchManifest(source, signature);
  const layers = manifest.kind === 'image' ? manifest.layers : [];
  const refused = (why: string): CodedError =>
    new CodedError('BAD_SIGNATURE', `signature ${signature.digest} of ${image.digest}: ${why}`);
  if (layers.length > maxSignatures) throw refused(`more than ${maxSignatures} signatures`);
  let why = 'it holds no signature';
  for (const layer of layers) {
    try {
      const payload = await signedPayload(source, layer);
      const bytes = signatureBytes(layer);
      const key = keys.find((one) => isSignedBy(payload, bytes, one.key));
      if (key === undefined) throw refused('it is by another key, or its claim was changed');
      checkClaim(payload, image);
      return key;
    } catch (error) {
      if (!(error instanceof CodedError)) throw error;
      why = error.message;
    }
  }
  throw refused(why);
}

function isSignedBy(payload: Uint8Array, signature: Uint8Array, key: KeyObject): boolean {
  const algorithm = key.asymmetricKeyType === 'ed25519' ? null : 'sha256';
  try {
    return verify(algorithm, payload, key, signature);
  } catch {
    // A signature that does not even parse under this key's algorithm.
    return false;
  }
}
