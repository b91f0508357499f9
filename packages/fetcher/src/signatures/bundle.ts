/**
 * Where signatures of an image are, in both forms of cosign: Sigstore bundles that refer to it, each a DSSE envelope around
 * an in-toto statement (cosign 3), and the layers at the tag `sha256-<hex>.sig`, each a signed claim (cosign 2). Who signed,
 * an identity or a key, is for the caller to verify; here is what is signed.
 * Sources: sigstore/cosign specs/BUNDLE_SPEC.md; sigstore/protobuf-specs v0.5 sigstore_bundle.proto; in-toto/attestation v1.
 */

import { maxSignatures, objectOf, type SignedImage, signedPayload, strictBase64 } from '@omni-airgap/format';
import type { Fetcher } from '@omni-airgap/oci';
import {
  CodedError,
  isCoded,
  type JsonObject,
  parseStrictObject,
  refuseOtherCase,
} from '@omni-airgap/oci/base';
import { collectVerified, type Descriptor, type Digest, fetchManifest, hexOf } from '@omni-airgap/oci/model';

/** What may hold the signatures of one image. */
export interface SignatureManifests {
  /** At the `.sig` tag. */
  readonly tagged?: Descriptor | undefined;
  /** What refers to something, this image or another. */
  readonly referrers: readonly Descriptor[];
}

const bundleType = 'application/vnd.dev.sigstore.bundle.v0.3+json';
export const statementType = 'application/vnd.in-toto+json';
/** Bundles also hold provenance and lists of parts; only this says "signed" (CVE-2026-39395). */
const signPredicate = 'https://sigstore.dev/cosign/sign/v1';
/** With a proof of the log and a time stamp it has some 10 KiB; what is larger is an attestation. */
const maxBundleBytes = 256 * 1024;

/** How one signature is verified, in each form. */
export interface SignatureVerifier<T> {
  /** @param bytes a bundle @throws BAD_SIGNATURE, BAD_DOCUMENT unless it signs exactly this image */
  bundle(bytes: Uint8Array): T;
  /** @param layer of the manifest at the tag @param payload its bytes @throws BAD_SIGNATURE, BAD_DOCUMENT likewise */
  layer(layer: Descriptor, payload: Uint8Array): T;
}

/**
 * Tries one signature after the other, bundles first, as the Image Factory does. Any valid one is enough, as for cosign.
 * @returns what the verifier found, and the manifest that holds the signature; undefined when there is no signature at all
 * @throws BAD_SIGNATURE saying why the last of them does not verify
 */
export async function firstSignature<T>(
  source: Fetcher,
  manifests: SignatureManifests,
  image: SignedImage,
  verifier: SignatureVerifier<T>,
): Promise<{ readonly signer: T; readonly signature: Digest } | undefined> {
  let why: string | undefined;
  for await (const { manifest, verify } of candidates(source, manifests, image, verifier)) {
    try {
      return { signer: await verify(), signature: manifest };
    } catch (error) {
      if (!isCoded(error, 'BAD_SIGNATURE', 'BAD_DOCUMENT')) throw error;
      why = `signature ${manifest} of ${image.digest}: ${error.message}`;
    }
  }
  if (why === undefined) return undefined;
  throw new CodedError('BAD_SIGNATURE', why);
}

interface Candidate<T> {
  /** The manifest that holds the signature. */
  readonly manifest: Digest;
  readonly verify: () => Promise<T>;
}

async function* candidates<T>(
  source: Fetcher,
  { referrers, tagged }: SignatureManifests,
  image: SignedImage,
  verifier: SignatureVerifier<T>,
): AsyncGenerator<Candidate<T>> {
  for await (const { manifest, bytes } of signatureBundles(source, image, referrers)) {
    yield { manifest, verify: async () => verifier.bundle(bytes) };
  }
  if (tagged === undefined) return;
  const { manifest } = await fetchManifest(source, tagged);
  const layers = manifest.kind === 'image' ? manifest.layers : [];
  if (layers.length === 0 || layers.length > maxSignatures) {
    const why = layers.length === 0 ? 'it holds no signature' : `more than ${maxSignatures} signatures`;
    yield { manifest: tagged.digest, verify: () => Promise.reject(new CodedError('BAD_SIGNATURE', why)) };
    return;
  }
  for (const layer of layers) {
    const verify = async (): Promise<T> => verifier.layer(layer, await signedPayload(source, layer));
    yield { manifest: tagged.digest, verify };
  }
}

/** A bundle, not verified. */
interface FoundBundle {
  /** The manifest that holds it. */
  readonly manifest: Digest;
  readonly bytes: Uint8Array;
}

/** Those of the referrers that refer to the image and hold one bundle, attestations left out. */
async function* signatureBundles(
  source: Fetcher,
  image: SignedImage,
  referrers: readonly Descriptor[],
): AsyncGenerator<FoundBundle> {
  for (const referrer of referrers) {
    const { manifest } = await fetchManifest(source, referrer);
    if (manifest.kind !== 'image' || manifest.subject?.digest !== image.digest) continue;
    const [layer, ...more] = manifest.layers;
    if (layer?.mediaType !== bundleType || more.length > 0 || layer.size > maxBundleBytes) continue;
    const what = `bundle ${layer.digest}`;
    const bytes = await collectVerified(source.fetch(layer), layer, maxBundleBytes, what);
    if (!isAttestation(bytes)) yield { manifest: referrer.digest, bytes };
  }
}

/** A bundle that speaks of something else than a signature; what cannot be read is no reason to pass it over. */
function isAttestation(bytes: Uint8Array): boolean {
  try {
    const { predicateType } = statementIn(parseStrictObject(bytes, { what: 'bundle' }));
    return typeof predicateType === 'string' && predicateType !== signPredicate;
  } catch {
    return false;
  }
}

/** @throws BAD_SIGNATURE, BAD_DOCUMENT unless it is a bundle around a statement */
export function parseSignatureBundle(bytes: Uint8Array): {
  readonly bundle: JsonObject;
  readonly statement: JsonObject;
} {
  const bundle = parseStrictObject(bytes, { what: 'bundle' });
  if (bundle['mediaType'] !== bundleType) throw new CodedError('BAD_SIGNATURE', `it is no ${bundleType}`);
  return { bundle, statement: statementIn(bundle) };
}

/** @throws BAD_SIGNATURE unless the statement says that exactly this image is signed */
export function checkStatement({ predicateType, subject }: JsonObject, image: SignedImage): void {
  if (predicateType !== signPredicate) throw new CodedError('BAD_SIGNATURE', 'it states something else');
  const digests = (Array.isArray(subject) ? subject : []).map(
    (one) => objectOf(objectOf(one)['digest'])['sha256'],
  );
  if (!digests.includes(hexOf(image.digest))) {
    throw new CodedError('BAD_SIGNATURE', 'the signed statement is about another image');
  }
}

/** The in-toto statement that a bundle signs. Cosign writes nothing else for an image, and takes nothing else. */
function statementIn(bundle: JsonObject): JsonObject {
  const { dsseEnvelope, messageSignature } = bundle;
  if (dsseEnvelope === undefined || messageSignature !== undefined) {
    throw new CodedError('BAD_SIGNATURE', 'it signs no statement');
  }
  const { payload, payloadType } = objectOf(dsseEnvelope);
  if (payloadType !== statementType) throw new CodedError('BAD_SIGNATURE', 'it signs no in-toto statement');
  const what = 'the signed statement';
  const statement = parseStrictObject(strictBase64(payload, what), { what });
  refuseOtherCase(statement, ['_type', 'predicate', 'predicateType', 'subject'], what);
  return statement;
}
