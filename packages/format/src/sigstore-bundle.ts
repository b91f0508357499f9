/**
 * The signature once more, in the file that cosign 3 reads: a Sigstore bundle with a message signature and the hint of a
 * public key. It holds the bytes of bundle.json.sig and proves nothing else; there is no entry of a transparency log.
 * Source: sigstore/protobuf-specs v0.5.0 protos/sigstore_bundle.proto, sigstore_common.proto, in proto3's JSON.
 */
import { createHash, createPublicKey, type KeyObject } from 'node:crypto';
import { join } from 'node:path';
import { CodedError, type JsonValue, parseStrictObject } from '@omni-airgap/oci/base';
import { removeFile, writeFileAtomic } from '@omni-airgap/oci/fs';
import { objectOf } from './claim.ts';
import { signatureName, sigstoreName } from './documents/bundle-document.ts';

const mediaType = 'application/vnd.dev.sigstore.bundle.v0.3+json';
/** Far more than one signature takes, also with what cosign adds when it made the file. */
export const maxSigstoreBytes: number = 64 * 1024;

/** @param signature content of a `.sig` file that verifies @param key that it verifies with, in either half */
export function sigstoreBundleOf(bytes: Uint8Array, signature: string, key: KeyObject): string {
  const spki = (key.type === 'private' ? createPublicKey(key) : key).export({ type: 'spki', format: 'der' });
  const document = {
    mediaType,
    // As sigstore-go names a key: base64 of the SHA-256 of its DER.
    verificationMaterial: { publicKey: { hint: sha256Of(spki) } },
    messageSignature: {
      messageDigest: { algorithm: 'SHA2_256', digest: sha256Of(bytes) },
      signature: signature.trim(),
    },
  };
  return `${JSON.stringify(document)}\n`;
}

/**
 * @param file content of a `.sigstore.json`, untrusted
 * @param signature content of the `.sig` beside it
 * @param what names the file in messages
 * @throws BAD_SIGNATURE unless it has that signature, for those bytes
 */
export function checkSigstoreBundle(
  file: Uint8Array,
  bytes: Uint8Array,
  signature: string,
  what: string,
): void {
  const refuse = (cause?: unknown): CodedError =>
    new CodedError(
      'BAD_SIGNATURE',
      `${what}: does not hold the signature of ${signatureName}; someone changed one of the two: find out who, or remove this file and run omni-airgap sign again`,
      { cause },
    );
  let found: readonly (JsonValue | undefined)[];
  try {
    const document = parseStrictObject(file, { what });
    const message = objectOf(document['messageSignature']);
    const { algorithm, digest } = objectOf(message['messageDigest']);
    found = [document['mediaType'], algorithm, digest, message['signature']];
  } catch (error) {
    throw refuse(error);
  }
  const expected = [mediaType, 'SHA2_256', sha256Of(bytes), signature.trim()];
  if (found.some((value, i) => value !== expected[i])) throw refuse();
}

export interface SignatureFile {
  readonly name: string;
  readonly bytes: Uint8Array;
}

/**
 * Writes a signature into a folder, in both files. Killed at any moment, it leaves no two that differ.
 * @param signature as sigstoreBundleOf
 * @returns what was written
 * @throws DISK
 */
export async function writeSignature(
  folder: string,
  bytes: Uint8Array,
  signature: string,
  key: KeyObject,
): Promise<readonly SignatureFile[]> {
  const files = [
    { name: signatureName, bytes: Buffer.from(signature) },
    { name: sigstoreName, bytes: Buffer.from(sigstoreBundleOf(bytes, signature, key)) },
  ];
  await removeFile(join(folder, sigstoreName));
  for (const { name, bytes: content } of files) await writeFileAtomic(join(folder, name), content);
  return files;
}

function sha256Of(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('base64');
}
