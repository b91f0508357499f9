/**
 * Signatures over bundle.json: ECDSA P-256 with SHA-256, DER, base64 on one line. `openssl dgst -sha256 -verify`
 * and `cosign verify-blob --key` accept them.
 * Sources: RFC 3279 section 2.2.3 (DER form); sigstore/cosign specs/SIGNATURE_SPEC.md.
 */
import { createHash, createPrivateKey, createPublicKey, type KeyObject, sign, verify } from 'node:crypto';
import { CodedError, isCoded, printable } from '@omni-airgap/oci/base';

/** What a `.sig` file may have: bytes. One line of base64 takes about a hundred. */
export const maxSignatureBytes = 4096;

/** @param pem PKCS#8, or SEC 1; with a passphrase if it is encrypted @throws CONFIG */
export function parsePrivateKey(pem: string, what: string, passphrase?: string): KeyObject {
  try {
    const key = createPrivateKey({
      key: pem,
      format: 'pem',
      passphrase,
    });
    return requireP256(key, what);
  } catch (error) {
    if (error instanceof CodedError) throw error;
    const why = !pem.includes('ENCRYPTED')
      ? 'not a usable private key; make one with omni-airgap keygen'
      : passphrase === undefined
        ? 'has a passphrase; give it in OMNI_AIRGAP_KEY_PASSPHRASE'
        : 'the passphrase in OMNI_AIRGAP_KEY_PASSPHRASE does not open it';
    throw new CodedError('CONFIG', `${what}: ${why}`, { cause: error });
  }
}

const pemBlock = /-----BEGIN ([^-\n]*)-----[\s\S]*?(?:-----END \1-----|$)/g;

/** @param pem SubjectPublicKeyInfo, one block or more, and nothing secret @returns each key once @throws CONFIG */
export function parsePublicKeys(pem: string, what: string): readonly KeyObject[] {
  const keys = new Map<string, KeyObject>();
  for (const [block, label] of pem.matchAll(pemBlock)) {
    if (label !== 'PUBLIC KEY')
      throw new CodedError(
        'CONFIG',
        `${what}: holds a ${printable(label ?? '')}; it must hold PUBLIC KEYs alone`,
      );
    try {
      const key = requireP256(createPublicKey(block), what);
      keys.set(fingerprintOf(key), key);
    } catch (error) {
      if (error instanceof CodedError) throw error;
      throw new CodedError('CONFIG', `${what}: not a usable public key`, { cause: error });
    }
  }
  // A block that is damaged must not drop out in silence.
  if (keys.size === 0 || pem.replaceAll(pemBlock, '').includes('-----'))
    throw new CodedError('CONFIG', `${what}: must hold one PUBLIC KEY in PEM, or several, each complete`);
  return [...keys.values()];
}

/** Hex sha256 of the public key's DER: how reports and receipts name a key. */
export function fingerprintOf(key: KeyObject): string {
  const pub = key.type === 'private' ? createPublicKey(key) : key;
  return createHash('sha256')
    .update(pub.export({ type: 'spki', format: 'der' }))
    .digest('hex');
}

/** The content of a `.sig` file for these bytes. */
export function signBytes(bytes: Uint8Array, key: KeyObject): string {
  return `${sign('sha256', bytes, key).toString('base64')}\n`;
}

/**
 * @param signature content of a `.sig` file, untrusted
 * @param keys any of which may have made it
 * @returns the key that did
 * @throws BAD_SIGNATURE
 */
export function verifyBytes(
  bytes: Uint8Array,
  signature: string,
  keys: readonly KeyObject[],
  what: string,
): KeyObject {
  const text = signature.trim();
  const der = Buffer.from(text, 'base64');
  // Buffer.from skips what is not base64; the round trip shows whether anything was skipped.
  const isBase64 = der.toString('base64') === text;
  const signer = isBase64 ? keys.find((key) => verify('sha256', bytes, key, der)) : undefined;
  if (signer !== undefined) return signer;
  const names = keys.map((key) => fingerprintOf(key).slice(0, 16)).join(', ');
  throw new CodedError(
    'BAD_SIGNATURE',
    `${what}: the signature does not verify with ${keys.length === 1 ? 'key' : 'any of the keys'} ${names}; the file was changed, or signed with another key`,
  );
}

/** Whether a `.sig` file is of that key, in either half. @param signature untrusted */
export function isSignedWith(bytes: Uint8Array, signature: string, key: KeyObject): boolean {
  try {
    verifyBytes(bytes, signature, [key], 'signature');
    return true;
  } catch (error) {
    if (!isCoded(error, 'BAD_SIGNATURE')) throw error;
    return false;
  }
}

const rawBytes = 64;

/**
 * The text of a `.sig` file for a signature that was made elsewhere.
 * @param signature DER as `openssl dgst -sign` writes it, or its base64
 * @param what names the file in messages
 * @throws BAD_SIGNATURE for the raw form, and for what is neither
 */
export function signatureText(signature: Uint8Array, what: string): string {
  const bytes = Buffer.from(signature);
  // DER begins with a sequence; base64 of a sequence begins with M.
  if (bytes[0] === 0x30) return `${bytes.toString('base64')}\n`;
  const text = bytes.toString('latin1').replace(/\s+/g, '');
  if (/^M[A-Za-z0-9+/]+=*$/.test(text)) return `${text}\n`;
  const why =
    bytes.byteLength === rawBytes
      ? 'is the raw form of a signature (64 bytes); have the device write DER, as pkcs11-tool does with --signature-format openssl'
      : 'is neither a DER signature nor its base64';
  throw new CodedError('BAD_SIGNATURE', `${what}: ${why}`);
}

function requireP256(key: KeyObject, what: string): KeyObject {
  if (key.asymmetricKeyType !== 'ec' || key.asymmetricKeyDetails?.namedCurve !== 'prime256v1') {
    throw new CodedError('CONFIG', `${what}: must be an ECDSA P-256 key, as omni-airgap keygen makes it`);
  }
  return key;
}
