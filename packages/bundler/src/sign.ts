/**
 * sign: the signature of a bundle that was issued without one, or with that of another key. bundle.json and all that it
 * names stay as they are, so media of one bundle can be signed apart from each other; only the signature is written.
 * What a person reads before signing, report.html and README.txt, must be what bundle.json states.
 */
import type { KeyObject } from 'node:crypto';
import { join } from 'node:path';
import {
  BundleStore,
  documentName,
  fingerprintOf,
  isSignedWith,
  maxBundleDocumentBytes,
  maxSignatureBytes,
  maxSigstoreBytes,
  signatureName,
  signatureText,
  signBytes,
  sigstoreName,
  verifyBytes,
  verifyFiles,
  writeSignature,
} from '@omni-airgap/format';
import { CodedError } from '@omni-airgap/oci/base';
import { type Lock, readSmallFile } from '@omni-airgap/oci/fs';
import { lockMedium } from './medium.ts';
import { readableAsDocument } from './medium-files.ts';

/** Where the signature comes from. */
export type SignatureSource =
  | { readonly mode: 'key'; readonly key: KeyObject }
  /** Made elsewhere: ECDSA P-256 with SHA-256 over the bytes of bundle.json, in DER or its base64. */
  | {
      readonly mode: 'made';
      readonly signature: Uint8Array;
      /** Names the file in messages. */
      readonly what: string;
      /** The public key that it must verify with. */
      readonly key: KeyObject;
    };

export interface SignReport {
  readonly id: string;
  readonly sequence: number;
  /** Fingerprint of the key that the signature verifies with. */
  readonly signedBy: string;
  /** Folders where the signature was written; the others had one of this key. */
  readonly written: readonly string[];
  /** Those of them that had one of another key. */
  readonly replaced: readonly string[];
}

/**
 * @param folders media of one bundle; their volumes need not be there
 * @throws NO_INPUT, BAD_DOCUMENT, BAD_VOLUME as BundleStore.open; BAD_SIGNATURE for a signature that does not verify;
 * DIGEST_MISMATCH when report.html or README.txt is not what bundle.json states; BUSY; each before anything is written; DISK
 */
export async function signBundle(folders: readonly string[], source: SignatureSource): Promise<SignReport> {
  const { document } = await BundleStore.open(folders, { mode: 'any' }, { volumes: 'present' });
  const locks: Lock[] = [];
  try {
    for (const folder of folders) locks.push(await lockMedium(folder, 'omni-airgap sign'));
    const [damage] = await verifyFiles(folders, document);
    if (damage !== undefined) {
      throw new CodedError(
        'DIGEST_MISMATCH',
        `${damage.path} ${damage.what}; nothing was signed: restore the file, or bundle again into an empty folder`,
      );
    }
    const path = join(folders[0] ?? '', documentName);
    const bytes = await readSmallFile(path, maxBundleDocumentBytes);
    if (bytes === undefined) throw new CodedError('NO_INPUT', `${path}: no such file`);
    return {
      id: document.id,
      sequence: document.sequence,
      ...(await writeTo(folders, bytes, source)),
    };
  } finally {
    for (const lock of locks) await lock.release();
  }
}

async function writeTo(
  folders: readonly string[],
  bytes: Uint8Array,
  source: SignatureSource,
): Promise<Pick<SignReport, 'signedBy' | 'written' | 'replaced'>> {
  const { key } = source;
  let made: string | undefined;
  if (source.mode === 'made') {
    made = signatureText(source.signature, source.what);
    verifyBytes(bytes, made, [key], source.what);
  }
  const media: { folder: string; before: string | undefined; isRight: boolean; hasBoth: boolean }[] = [];
  for (const folder of folders) {
    const file = await readSmallFile(join(folder, signatureName), maxSignatureBytes);
    const before = file === undefined ? undefined : Buffer.from(file).toString('latin1');
    const hasBoth = (await readSmallFile(join(folder, sigstoreName), maxSigstoreBytes)) !== undefined;
    const isRight = before !== undefined && isSignedWith(bytes, before, key);
    media.push({ folder, before, isRight, hasBoth });
  }
  // One that verifies is kept, so that signing twice changes nothing.
  const text = made ?? media.find(({ isRight }) => isRight)?.before ?? signBytes(bytes, key);
  const wrong = media.filter(({ isRight, hasBoth }) => !isRight || !hasBoth);
  for (const { folder } of wrong) {
    await writeSignature(folder, bytes, text, key);
    for (const name of [signatureName, sigstoreName]) await readableAsDocument(folder, name);
  }
  return {
    signedBy: fingerprintOf(key),
    written: wrong.map(({ folder }) => folder),
    replaced: wrong.flatMap(({ folder, before, isRight }) =>
      before === undefined || isRight ? [] : [folder],
    ),
  };
}
