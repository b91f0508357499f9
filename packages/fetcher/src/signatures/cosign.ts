/**
 * Signatures of cosign by a key, in both of its forms: a manifest at the tag `sha256-<hex>.sig`, each of whose layers is a
 * signed claim (cosign 2), and Sigstore bundles that refer to the image (cosign 3). The bytes that were signed are checked
 * as they came; the claim must name the digest that is held. A log of signatures is not asked: the key is the operator's.
 * Sources: sigstore/cosign specs/SIGNATURE_SPEC.md, specs/BUNDLE_SPEC.md; secure-systems-lab/dsse protocol.md. Faults F16, F17.
 */

import { createPublicKey, type KeyObject, verify } from 'node:crypto';
import { checkClaim, objectOf, type SignedImage, signatureBytes, strictBase64 } from '@omni-airgap/format';
import type { Fetcher } from '@omni-airgap/oci';
import { CodedError, messageOf } from '@omni-airgap/oci/base';
import { readNamedFile } from '@omni-airgap/oci/fs';
import { type Digest, digestOf } from '@omni-airgap/oci/model';
import {
  checkStatement,
  firstSignature,
  parseSignatureBundle,
  type SignatureManifests,
  statementType,
} from './bundle.ts';

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

/** Which key verified, and the manifest that holds its signature. */
export interface KeySignature {
  readonly key: Digest;
  readonly signature: Digest;
}

/**
 * Any valid signature by any of the keys is enough, as for cosign.
 * @param image what must be signed
 * @returns undefined when there is no signature at all
 * @throws BAD_SIGNATURE saying why none does
 */
export async function verifyImage(
  source: Fetcher,
  manifests: SignatureManifests,
  image: SignedImage,
  keys: readonly ImageKey[],
): Promise<KeySignature | undefined> {
  const found = await firstSignature(source, manifests, image, {
    bundle: (bytes) => keyOfBundle(bytes, image, keys),
    layer(layer, payload) {
      const key = keyOf(payload, signatureBytes(layer), keys);
      checkClaim(payload, image);
      return key;
    },
  });
  return found && { key: found.signer.fingerprint, signature: found.signature };
}

/** The bundle's hint at a key is a hint: who signed is shown by the signature alone. */
function keyOfBundle(bytes: Uint8Array, image: SignedImage, keys: readonly ImageKey[]): ImageKey {
  const { bundle, statement } = parseSignatureBundle(bytes);
  if (objectOf(bundle['verificationMaterial'])['publicKey'] === undefined) {
    throw new CodedError('BAD_SIGNATURE', 'it is by an identity, not by a key');
  }
  const { payload, signatures } = objectOf(bundle['dsseEnvelope']);
  const [signature, ...more] = Array.isArray(signatures) ? signatures : [];
  if (signature === undefined || more.length > 0) {
    throw new CodedError('BAD_SIGNATURE', 'its envelope must hold exactly one signature');
  }
  const key = keyOf(
    preAuthEncoding(strictBase64(payload, 'the signed statement')),
    strictBase64(objectOf(signature)['sig'], 'the signature'),
    keys,
  );
  checkStatement(statement, image);
  return key;
}

/** What a DSSE signature is over. */
function preAuthEncoding(payload: Uint8Array): Uint8Array {
  const head = `DSSEv1 ${statementType.length} ${statementType} ${payload.byteLength} `;
  return Buffer.concat([Buffer.from(head), payload]);
}

function keyOf(signed: Uint8Array, signature: Uint8Array, keys: readonly ImageKey[]): ImageKey {
  const key = keys.find((one) => isSignedBy(signed, signature, one.key));
  if (key !== undefined) return key;
  throw new CodedError('BAD_SIGNATURE', 'it is by another key, or its claim was changed');
}

/** Newer versions of cosign hash as the curve asks for. */
const hashes: readonly string[] = ['sha256', 'sha384', 'sha512'];

function isSignedBy(payload: Uint8Array, signature: Uint8Array, key: KeyObject): boolean {
  const algorithms = key.asymmetricKeyType === 'ed25519' ? [null] : hashes;
  try {
    return algorithms.some((algorithm) => verify(algorithm, payload, key, signature));
  } catch {
    // A signature that does not even parse under this key's algorithm.
    return false;
  }
}
