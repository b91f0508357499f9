/**
 * Sigstore's trust root, as the operator pins it, and who signed something according to it. Nothing is asked over the
 * network: certificate, transparency log and time are all proved by what comes with a signature.
 * Sources: sigstore/protobuf-specs sigstore_trustroot.proto, sigstore_bundle.proto; sigstore/cosign specs/BUNDLE_SPEC.md.
 */

import { createPublicKey, X509Certificate } from 'node:crypto';
import { strictBase64 } from '@omni-airgap/format';
import {
  CodedError,
  type JsonObject,
  type JsonValue,
  messageOf,
  parseStrictObject,
  printable,
} from '@omni-airgap/oci/base';
import { readNamedFile } from '@omni-airgap/oci/fs';
import type { Bundle } from '@sigstore/bundle';
import type { TrustedRoot } from '@sigstore/protobuf-specs';
import { checkEntryCertificate } from './rekor-entry.ts';

/** Whom a certificate was issued to, and who vouched for that. */
export interface Signer {
  /** Mail address or URI. */
  readonly identity: string;
  /** Of the OpenID Connect token: `https://accounts.google.com`. */
  readonly issuer: string;
}

const mediaTypes = [
  'application/vnd.dev.sigstore.trustedroot+json;version=0.1',
  'application/vnd.dev.sigstore.trustedroot.v0.2+json',
];
const maxRootBytes = 1024 * 1024;
const maxNameLength = 1024;
/** RFC 5280 4.2.1.12, id-kp-codeSigning. */
const codeSigning = '1.3.6.1.5.5.7.3.3';

export class SigstoreRoot {
  readonly #signerOf: (bundle: JsonObject, artifact: Uint8Array) => Signer;

  private constructor(signerOf: (bundle: JsonObject, artifact: Uint8Array) => Signer) {
    this.#signerOf = signerOf;
  }

  /** @param path a trusted_root.json @throws NO_INPUT, CONFIG naming the field */
  static async read(path: string): Promise<SigstoreRoot> {
    const bad = (why: string): CodedError => new CodedError('CONFIG', `--sigstore-root ${path}: ${why}`);
    const bytes = await readNamedFile('--sigstore-root', path, maxRootBytes);
    const document = strictObject(bytes, bad);
    const { mediaType } = document;
    if (typeof mediaType !== 'string' || !mediaTypes.includes(mediaType)) {
      const found = typeof mediaType === 'string' ? printable(mediaType) : 'missing';
      throw bad(
        `mediaType is ${found}, not that of a trusted_root.json; cosign trusted-root create makes one`,
      );
    }
    // Large, and needed by those who verify identities only.
    const [{ bundleFromJSON }, { TrustedRoot }, { toSignedEntity, toTrustMaterial, Verifier }] =
      await Promise.all([
        import('@sigstore/bundle'),
        import('@sigstore/protobuf-specs'),
        import('@sigstore/verify'),
      ]);
    let verifier: InstanceType<typeof Verifier>;
    try {
      requireStrictBytes(document);
      const root = TrustedRoot.fromJSON(document);
      checkRoot(root);
      verifier = new Verifier(toTrustMaterial(root), {
        ctlogThreshold: 1,
        tlogThreshold: 1,
        timestampThreshold: 1,
      });
    } catch (cause) {
      throw bad(messageOf(cause));
    }
    return new SigstoreRoot((document, artifact) => {
      requireStrictBytes(document);
      const bundle = bundleFromJSON(document);
      const certificate = certificateOf(bundle);
      for (const entry of bundle.verificationMaterial.tlogEntries) checkEntryCertificate(entry, certificate);
      const { identity } = verifier.verify(toSignedEntity(bundle, Buffer.from(artifact)));
      const issuer = identity?.extensions?.issuer ?? '';
      const subject = identity?.subjectAlternativeName ?? '';
      if (!isName(issuer) || !isName(subject))
        throw new Error('its certificate names no identity or no issuer');
      return { identity: subject, issuer };
    });
  }

  /**
   * @param bundle a Sigstore bundle
   * @param artifact what a message signature in it is over; a DSSE envelope holds that itself
   * @throws BAD_SIGNATURE unless certificate, its place in the certificate log, entry in the signature log and signature
   * all hold and belong together
   */
  signerOf(bundle: JsonObject, artifact: Uint8Array): Signer {
    try {
      return this.#signerOf(bundle, artifact);
    } catch (cause) {
      // Hostile certificates and entries may fail a parser in any way: none of them is a signature.
      throw new CodedError('BAD_SIGNATURE', printable(reasonOf(cause)), { cause });
    }
  }
}

/** The library says in the cause which certificate it was about. */
function reasonOf(error: unknown): string {
  const { cause } = error as { readonly cause?: unknown };
  return cause instanceof Error ? `${messageOf(error)}: ${messageOf(cause)}` : messageOf(error);
}

function strictObject(bytes: Uint8Array, bad: (why: string) => CodedError): JsonObject {
  try {
    return parseStrictObject(bytes, { what: 'not a trusted_root.json' });
  } catch (cause) {
    throw bad(messageOf(cause));
  }
}

/** Only Fulcio's certificates for signing code count: a trust root may hold authorities that issue others. */
function certificateOf({ verificationMaterial: { content } }: Bundle): X509Certificate {
  const raw =
    content.$case === 'certificate'
      ? content.certificate.rawBytes
      : content.$case === 'x509CertificateChain'
        ? content.x509CertificateChain.certificates[0]?.rawBytes
        : undefined;
  if (raw === undefined) throw new Error('it is by a key, not by an identity');
  const certificate = new X509Certificate(raw);
  if (certificate.ca || certificate.keyUsage?.includes(codeSigning) !== true) {
    throw new Error('its certificate is not for signing code');
  }
  return certificate;
}

/** The library reads these when it first needs them, and then says nothing of where they stand. @throws naming the field */
function checkRoot({ certificateAuthorities, ctlogs, timestampAuthorities, tlogs }: TrustedRoot): void {
  const lists = { certificateAuthorities, ctlogs, tlogs };
  for (const [name, list] of Object.entries(lists)) {
    if (list.length === 0) throw new Error(`${name} is empty: nothing could be verified`);
  }
  for (const [name, list] of Object.entries({ certificateAuthorities, timestampAuthorities })) {
    for (const [i, { certChain }] of list.entries()) {
      const certificates = certChain?.certificates ?? [];
      const at = `${name}[${i}].certChain.certificates`;
      if (certificates.length === 0) throw new Error(`${at} is empty`);
      for (const [j, { rawBytes }] of certificates.entries()) {
        orBad(() => new X509Certificate(rawBytes), `${at}[${j}].rawBytes is no certificate`);
      }
    }
  }
  for (const [name, list] of Object.entries({ ctlogs, tlogs })) {
    for (const [i, { logId, publicKey }] of list.entries()) {
      if (logId === undefined) throw new Error(`${name}[${i}].logId is missing`);
      const key = publicKey?.rawBytes ?? Buffer.alloc(0);
      orBad(() => publicKeyOf(key), `${name}[${i}].publicKey.rawBytes is no public key`);
    }
  }
}

function publicKeyOf(der: Buffer): void {
  try {
    createPublicKey({ key: der, format: 'der', type: 'spki' });
  } catch {
    createPublicKey({ key: der, format: 'der', type: 'pkcs1' });
  }
}

/** What a record of ours can hold. */
function isName(text: string): boolean {
  return text !== '' && text.length <= maxNameLength;
}

function orBad(read: () => void, why: string): void {
  try {
    read();
  } catch (cause) {
    throw new Error(why, { cause });
  }
}

/** Members of the bundle and of the trust root that hold bytes. */
const byteMembers = new Set([
  ...['canonicalizedBody', 'digest', 'hashes', 'keyId', 'payload', 'rawBytes', 'rootHash', 'sig'],
  ...['signature', 'signedEntryTimestamp', 'signedTimestamp'],
]);

/** @throws BAD_SIGNATURE naming the member */
function requireStrictBytes(value: JsonValue, name = ''): void {
  if (typeof value === 'string') {
    if (byteMembers.has(name) && value !== '') strictBase64(value, name);
  } else if (Array.isArray(value)) {
    for (const one of value) requireStrictBytes(one, name);
  } else if (value !== null && typeof value === 'object') {
    for (const [key, one] of Object.entries(value)) requireStrictBytes(one, key);
  }
}
