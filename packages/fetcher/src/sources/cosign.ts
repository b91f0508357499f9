/**
 * Key-based signatures of cosign 2: a manifest at the tag `sha256-<hex>.sig`, each of whose layers is a signed claim.
 * The bytes that were signed are checked as they came; the claim must name the digest that is held.
 * Source: sigstore/cosign specs/SIGNATURE_SPEC.md. Faults F16, F17.
 */
import { createPublicKey, type KeyObject, verify } from 'node:crypto';
import {
  CodedError,
  collectVerified,
  type Descriptor,
  type Digest,
  digestOf,
  type Fetcher,
  fetchManifest,
  type JsonObject,
  type JsonValue,
  messageOf,
  parseStrictObject,
  printable,
  readSmallFile,
  refuseOtherCase,
} from '@omni-airgap/content';

/** Images that a key must have signed. */
export interface ImageKey {
  readonly key: KeyObject;
  /** `sha256:` over the key in DER: what records name it by. */
  readonly fingerprint: Digest;
  /** References that begin with it; empty for all. */
  readonly prefix: string;
}

export interface SignedImage {
  readonly digest: Digest;
  /** Its repository, without host: `siderolabs/omni`. */
  readonly repository: string;
}

const signatureAnnotation = 'dev.cosignproject.cosign/signature';
const payloadType = 'application/vnd.dev.cosign.simplesigning.v1+json';
const claimType = 'cosign container image signature';
/** As cosign reads. */
const maxSignatures = 1000;
const maxPayloadBytes = 64 * 1024;
const maxKeyBytes = 64 * 1024;
const base64Pattern = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

/**
 * @param text `FILE` or `PREFIX=FILE`, as --verify-images-key takes it
 * @throws NO_INPUT, CONFIG for anything but one public key in PEM
 */
export async function readImageKey(text: string): Promise<ImageKey> {
  const at = text.indexOf('=');
  const [prefix, path] = at < 0 ? ['', text] : [text.slice(0, at), text.slice(at + 1)];
  const bytes = await readSmallFile(path, maxKeyBytes);
  if (bytes === undefined) throw new CodedError('NO_INPUT', `--verify-images-key ${path}: no such file`);
  const pem = Buffer.from(bytes).toString('latin1');
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

/** The keys of which one must have signed an image; none for one that no key is meant for. */
export function keysFor(keys: readonly ImageKey[], reference: string): readonly ImageKey[] {
  return keys.filter(({ prefix }) => reference.startsWith(prefix));
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

async function signedPayload(source: Fetcher, layer: Descriptor): Promise<Uint8Array> {
  if (layer.mediaType !== payloadType)
    throw new CodedError('BAD_SIGNATURE', `${layer.mediaType} is no claim`);
  return collectVerified(source.fetch(layer), layer, maxPayloadBytes, `claim ${layer.digest}`);
}

/** Node reads base64 leniently; two texts for one signature are one too many. */
function signatureBytes(layer: Descriptor): Buffer {
  const text = layer.annotations?.[signatureAnnotation] ?? '';
  const bytes = Buffer.from(text, 'base64');
  if (text !== '' && base64Pattern.test(text) && bytes.toString('base64') === text) return bytes;
  throw new CodedError('BAD_SIGNATURE', 'the signature is not base64');
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

/** @throws BAD_SIGNATURE, BAD_DOCUMENT unless the claim is about exactly this image */
function checkClaim(payload: Uint8Array, image: SignedImage): void {
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

function objectOf(value: JsonValue | undefined): JsonObject {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value;
  throw new CodedError('BAD_SIGNATURE', 'the claim is malformed');
}
