/**
 * The site's authority and the certificates of its servers, all with P-256 keys: `talos.config.early` carries the
 * authority on the kernel command line, which is cut without a message when it is too long.
 * Sources: RFC 5280; RFC 5480; CA/Browser Forum Baseline Requirements, for the extensions that clients expect.
 */
// The X.509 library finds its parts by decorators, which need this before it is loaded.
import 'reflect-metadata';
import { createPrivateKey, generateKeyPairSync, type webcrypto, X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import { CodedError, messageOf } from '@omni-airgap/oci/base';
import * as x509 from '@peculiar/x509';

const dayMs = 24 * 60 * 60 * 1000;
/** Machines whose clocks are behind must trust a certificate that was just made. */
const backdatedMs = dayMs;
const authorityDays = 3650;
/** The longest that macOS and iOS accept of a private authority. Source: Apple, support document HT210176. */
const serverDays = 825;
/** X.520 allows no more characters in a common name. */
const maxCommonName = 64;
const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;

/** A new P-256 private key, PKCS#8 PEM. */
export function newKey(): string {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  return privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
}

/** The same as `openssl ecparam -genkey` writes it (SEC 1), which the Image Factory's documentation uses. */
export function newSigningKey(): string {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  return privateKey.export({ type: 'sec1', format: 'pem' }).toString();
}

export interface Authority {
  /** PEM. */
  readonly certificate: string;
  /** PKCS#8 PEM. */
  readonly key: string;
}

/**
 * @param key PKCS#8 PEM; with the key of an expired authority, certificates it issued stay valid under the new one
 * @param site names the authority: `omni.site` becomes `omni.site authority`
 * @returns PEM of a certificate that is valid for ten years
 */
export async function authorityCertificate(key: string, site: string, now: Date): Promise<string> {
  const keys = await keyPair(key);
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    name: [{ CN: [`${site.slice(0, maxCommonName - 10)} authority`] }],
    keys,
    signingAlgorithm: algorithm,
    ...validity(now, authorityDays),
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return `${certificate.toString('pem')}\n`;
}

/**
 * @param key PKCS#8 PEM of the server
 * @param names DNS names and IP addresses, without ports and brackets; the first is its common name
 * @returns PEM of a certificate for TLS servers that is valid for 825 days, and of its authority
 */
export async function serverChain(
  authority: Authority,
  key: string,
  names: readonly string[],
  now: Date,
): Promise<string> {
  const issuer = new x509.X509Certificate(authority.certificate);
  const [keys, signer] = await Promise.all([keyPair(key), keyPair(authority.key)]);
  const [first = 'server'] = names;
  const certificate = await x509.X509CertificateGenerator.create({
    subject: [{ CN: [first.slice(0, maxCommonName)] }],
    issuer: issuer.subjectName,
    publicKey: keys.publicKey,
    signingKey: signer.privateKey,
    signingAlgorithm: algorithm,
    ...validity(now, serverDays),
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
      new x509.SubjectAlternativeNameExtension(
        names.map((value) => ({ type: isIP(value) === 0 ? 'dns' : 'ip', value })),
      ),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      await x509.AuthorityKeyIdentifierExtension.create(signer.publicKey),
    ],
  });
  return `${certificate.toString('pem')}\n${authority.certificate}`;
}

function validity(now: Date, days: number): { readonly notBefore: Date; readonly notAfter: Date } {
  // Certificates count in whole seconds.
  const start = Math.floor((now.getTime() - backdatedMs) / 1000) * 1000;
  return { notBefore: new Date(start), notAfter: new Date(start + days * dayMs) };
}

async function keyPair(pem: string): Promise<webcrypto.CryptoKeyPair> {
  const key = createPrivateKey(pem);
  const { d: _, ...jwk } = key.export({ format: 'jwk' });
  const { subtle } = globalThis.crypto;
  const der = key.export({ type: 'pkcs8', format: 'der' });
  const [privateKey, publicKey] = await Promise.all([
    subtle.importKey('pkcs8', new Uint8Array(der), algorithm, true, ['sign']),
    subtle.importKey('jwk', { ...jwk, ext: true }, algorithm, true, ['verify']),
  ]);
  return { privateKey, publicKey };
}

/** @throws CONFIG for a text that is no P-256 private key; the message does not show it */
export function checkKey(pem: string, path: string): void {
  try {
    const { asymmetricKeyDetails } = createPrivateKey(pem);
    if (asymmetricKeyDetails?.namedCurve === 'prime256v1') return;
  } catch (cause) {
    throw new CodedError('CONFIG', `${path}: is not an unencrypted private key in PEM`, { cause });
  }
  throw new CodedError('CONFIG', `${path}: is not a P-256 key; remove it, and run the same command again`);
}

/** @param pem the certificate comes first @throws CONFIG */
export function readCertificate(pem: string, path: string): X509Certificate {
  try {
    return new X509Certificate(pem);
  } catch (cause) {
    throw new CodedError('CONFIG', `${path}: must begin with a certificate in PEM (${messageOf(cause)})`, {
      cause,
    });
  }
}

/** Names that clients would refuse the certificate for. */
export function missingNames(certificate: X509Certificate, names: readonly string[]): readonly string[] {
  return names.filter((name) =>
    isIP(name) === 0 ? certificate.checkHost(name) === undefined : certificate.checkIP(name) === undefined,
  );
}
