/**
 * Claims: what a cosign signature is over, and the layer that holds one. A claim that came is checked in its own bytes:
 * it must name the digest that is held, and the repository it is held for. One that is made here is byte for byte what
 * cosign 2 makes, as Go's encoding/json writes it: compact, members in this order, no newline.
 * Sources: sigstore/cosign specs/SIGNATURE_SPEC.md; sigstore/sigstore pkg/signature/payload. Faults F16, F17.
 */
import { createPublicKey, type KeyObject, sign, verify } from 'node:crypto';
import type { Fetcher } from '@omni-airgap/oci';
import {
  CodedError,
  type JsonObject,
  type JsonValue,
  parseStrictObject,
  printable,
  refuseOtherCase,
} from '@omni-airgap/oci/base';
import {
  collectVerified,
  type Descriptor,
  type Digest,
  descriptorOf,
  MediaType,
} from '@omni-airgap/oci/model';

export interface SignedImage {
  readonly digest: Digest;
  /** Its repository, without host: `siderolabs/omni`. */
  readonly repository: string;
}

/** As cosign reads. */
export const maxSignatures = 1000;
const signatureAnnotation = 'dev.cosignproject.cosign/signature';
export const claimMediaType = 'application/vnd.dev.cosign.simplesigning.v1+json';
const claimType = 'cosign container image signature';
const maxPayloadBytes = 64 * 1024;
const base64Pattern = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

/** The claim in a layer. @throws BAD_SIGNATURE, BAD_DOCUMENT, DIGEST_MISMATCH */
export async function signedPayload(source: Fetcher, layer: Descriptor): Promise<Uint8Array> {
  if (layer.mediaType !== claimMediaType)
    throw new CodedError('BAD_SIGNATURE', `${layer.mediaType} is no claim`);
  return collectVerified(source.fetch(layer), layer, maxPayloadBytes, `claim ${layer.digest}`);
}

export function signatureBytes(layer: Descriptor): Buffer {
  return strictBase64(layer.annotations?.[signatureAnnotation], 'the signature');
}

/** Node reads base64 leniently; two texts for one signature are one too many. @throws BAD_SIGNATURE */
export function strictBase64(text: JsonValue | undefined, what: string): Buffer {
  if (typeof text === 'string' && text !== '' && base64Pattern.test(text)) {
    const bytes = Buffer.from(text, 'base64');
    if (bytes.toString('base64') === text) return bytes;
  }
  throw new CodedError('BAD_SIGNATURE', `${what} is not base64`);
}

/** @throws BAD_SIGNATURE, BAD_DOCUMENT unless the claim is about exactly this image */
export function checkClaim(payload: Uint8Array, image: SignedImage): void {
  const what = 'the signed claim';
  const document = parseStrictObject(payload, { what });
  refuseOtherCase(document, ['critical', 'optional'], what);
  const critical = objectOf(document['critical']);
  refuseOtherCase(critical, ['identity', 'image', 'type'], what);
  const claimed = objectOf(critical['image']);
  refuseOtherCase(claimed, ['docker-manifest-digest'], what);
  if (critical['type'] !== claimType) throw new CodedError('BAD_SIGNATURE', 'the claim is of another type');
  if (claimed['docker-manifest-digest'] !== image.digest) {
    throw new CodedError('BAD_SIGNATURE', 'the claim is about another image');
  }
  const identity = objectOf(critical['identity']);
  refuseOtherCase(identity, ['docker-reference'], what);
  checkRepository(identity['docker-reference'], image.repository);
}

/**
 * One key signs many repositories: what it says of one must not be shown for another. Cosign leaves that to its user.
 * Mirrors have another host and put a prefix before the path, so the host says nothing, and the path may be longer here;
 * a claim that names no repository is about any.
 */
function checkRepository(claimed: JsonValue | undefined, repository: string): void {
  if (claimed === undefined || claimed === '') return;
  if (typeof claimed !== 'string') throw new CodedError('BAD_SIGNATURE', 'the claim is malformed');
  const [name = ''] = claimed.split('@');
  const path = name.replace(/:[^/:]*$/, '').replace(/^[^/]*[.:][^/]*\/|^localhost\//, '');
  if (repository === path || repository.endsWith(`/${path}`)) return;
  throw new CodedError(
    'BAD_SIGNATURE',
    `the claim is for ${printable(claimed, 200)}, not for this repository; a mirror must keep the publisher's path`,
  );
}

/** @throws BAD_SIGNATURE */
export function objectOf(value: JsonValue | undefined): JsonObject {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value;
  throw new CodedError('BAD_SIGNATURE', 'the claim is malformed');
}

/**
 * @param reference host and repository, without tag
 * @param digest of what is signed; of the index, for an image of several platforms
 */
export function claimOf(reference: string, digest: Digest): Uint8Array {
  const claim = {
    critical: {
      identity: { 'docker-reference': reference },
      image: { 'docker-manifest-digest': digest },
      type: claimType,
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

interface Built {
  readonly descriptor: Descriptor;
  readonly bytes: Uint8Array;
}

/** True when all layers are signatures: then the config is derived from them. */
export function areSignatures(layers: readonly Descriptor[]): boolean {
  return layers.length > 0 && layers.every(({ mediaType }) => mediaType === claimMediaType);
}

/**
 * The manifest at a signature tag: one layer for each signature, and a config that names them all.
 * @param annotations of the manifest that is there, kept
 */
export function signatureManifest(
  layers: readonly Descriptor[],
  annotations?: Readonly<Record<string, string>> | undefined,
): { readonly manifest: Built; readonly config: Built } {
  const config = serialized(MediaType.ociConfig, {
    architecture: '',
    created: '0001-01-01T00:00:00Z',
    history: layers.map(() => ({ created: '0001-01-01T00:00:00Z' })),
    os: '',
    rootfs: { type: 'layers', diff_ids: layers.map(({ digest }) => digest) },
    config: {},
  });
  const manifest = serialized(MediaType.ociManifest, {
    schemaVersion: 2,
    mediaType: MediaType.ociManifest,
    config: config.descriptor,
    layers,
    annotations,
  });
  return { manifest, config };
}

function serialized(mediaType: string, document: object): Built {
  const bytes = Buffer.from(JSON.stringify(document));
  return { descriptor: descriptorOf(mediaType, bytes), bytes };
}
