/**
 * Keyless signatures of cosign: the certificate names who signed, for the minutes in which it was good, and a public log
 * says that it was used in them. Two forms: layers at the tag `sha256-<hex>.sig` with certificate and log entry in their
 * annotations (cosign 2), and Sigstore bundles that refer to the image (cosign 3).
 * Sources: sigstore/cosign specs/SIGNATURE_SPEC.md, specs/BUNDLE_SPEC.md, pkg/oci/static/signature.go. Faults F16, F17.
 */

import { X509Certificate } from 'node:crypto';
import { checkClaim, objectOf, type SignedImage, signatureBytes } from '@omni-airgap/format';
import type { Fetcher } from '@omni-airgap/oci';
import {
  CodedError,
  type JsonObject,
  type JsonValue,
  parseStrictObject,
  printable,
} from '@omni-airgap/oci/base';
import { type Descriptor, type Digest, digestOf, hexOf } from '@omni-airgap/oci/model';
import { checkStatement, firstSignature, parseSignatureBundle, type SignatureManifests } from './bundle.ts';
import type { ImageIdentity } from './identity.ts';
import { kindOfEntry } from './rekor-entry.ts';
import type { Signer, SigstoreRoot } from './sigstore-root.ts';

export interface KeylessSignature extends Signer {
  /** The manifest that holds it. */
  readonly signature: Digest;
}

const maxAnnotation = 64 * 1024;

/**
 * Any valid signature by any of the identities is enough, as for cosign.
 * @returns undefined when there is no signature at all
 * @throws BAD_SIGNATURE saying why none of those that are there does
 */
export async function verifyKeyless(
  source: Fetcher,
  manifests: SignatureManifests,
  image: SignedImage,
  identities: readonly ImageIdentity[],
  root: SigstoreRoot,
): Promise<KeylessSignature | undefined> {
  const expected = (signer: Signer): Signer => {
    if (identities.some((one) => one.fits(signer))) return signer;
    const by = `${printable(signer.identity)} (${printable(signer.issuer)})`;
    throw new CodedError('BAD_SIGNATURE', `it is by ${by}, not by ${identities.map(String).join(' or ')}`);
  };
  const found = await firstSignature(source, manifests, image, {
    bundle: (bytes) => expected(signerOfBundle(bytes, image, root)),
    layer(layer, payload) {
      const signer = root.signerOf(bundleOf(layer, payload), payload);
      checkClaim(payload, image);
      return expected(signer);
    },
  });
  return found && { ...found.signer, signature: found.signature };
}

function signerOfBundle(bytes: Uint8Array, image: SignedImage, root: SigstoreRoot): Signer {
  const { bundle, statement } = parseSignatureBundle(bytes);
  const signer = root.signerOf(bundle, new Uint8Array());
  checkStatement(statement, image);
  return signer;
}

/**
 * The signature of a layer as a bundle of the first version, which is the same in another form. The chain in the
 * annotations is left alone, since only the operator's root counts, and so is a time stamp: the log's own time is signed.
 */
function bundleOf(layer: Descriptor, payload: Uint8Array): JsonObject {
  const logged = parseStrictObject(Buffer.from(annotation(layer, 'bundle')), { what: 'its log entry' });
  const { body, integratedTime, logID, logIndex } = objectOf(logged['Payload']);
  if (typeof logID !== 'string' || !/^[0-9a-f]{64}$/.test(logID)) {
    throw new CodedError('BAD_SIGNATURE', 'its log entry is of no log');
  }
  const tlogEntry = {
    logIndex: decimal(logIndex),
    logId: { keyId: Buffer.from(logID, 'hex').toString('base64') },
    kindVersion: { ...kindOfEntry(body) },
    integratedTime: decimal(integratedTime),
    inclusionPromise: { signedEntryTimestamp: logged['SignedEntryTimestamp'] ?? '' },
    canonicalizedBody: body ?? '',
  };
  return {
    mediaType: 'application/vnd.dev.sigstore.bundle+json;version=0.1',
    verificationMaterial: {
      x509CertificateChain: { certificates: [{ rawBytes: certificateOf(layer) }] },
      tlogEntries: [tlogEntry],
    },
    messageSignature: {
      messageDigest: {
        algorithm: 'SHA2_256',
        digest: Buffer.from(hexOf(digestOf(payload)), 'hex').toString('base64'),
      },
      signature: signatureBytes(layer).toString('base64'),
    },
  };
}

function certificateOf(layer: Descriptor): string {
  const pem = annotation(layer, 'certificate');
  try {
    return new X509Certificate(pem).raw.toString('base64');
  } catch (cause) {
    throw new CodedError('BAD_SIGNATURE', 'its certificate cannot be read', { cause });
  }
}

function annotation({ annotations }: Descriptor, name: 'bundle' | 'certificate'): string {
  const text = annotations?.[`dev.sigstore.cosign/${name}`] ?? '';
  if (text === '') {
    const what = name === 'bundle' ? 'log entry (Rekor)' : 'certificate';
    throw new CodedError(
      'BAD_SIGNATURE',
      `it has no ${what}: it was made with a key, or kept out of the log`,
    );
  }
  if (text.length > maxAnnotation) throw new CodedError('BAD_SIGNATURE', `its ${name} is larger than any`);
  return text;
}

function decimal(value: JsonValue | undefined): string {
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return String(value);
  throw new CodedError('BAD_SIGNATURE', 'its log entry is malformed');
}
