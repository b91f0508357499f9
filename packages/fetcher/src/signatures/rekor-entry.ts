/**
 * Entries of the signature log, Rekor. That an entry is about a signature and what it signs is the library's to check
 * (CVE-2026-22703); that it names the certificate as well is checked here: an entry gives a signature its time, and the
 * certificate is only good for minutes.
 * Source: sigstore/rekor pkg/types/{hashedrekord,dsse}; sigstore/protobuf-specs sigstore_rekor v2.
 */

import { X509Certificate } from 'node:crypto';
import { strictBase64 } from '@omni-airgap/format';
import { type JsonValue, parseStrictObject } from '@omni-airgap/oci/base';
import type { TransparencyLogEntry } from '@sigstore/bundle';

/** Where the certificate stands in the body of each kind that signers of images write. */
const certificatePaths: ReadonlyMap<string, readonly (string | number)[]> = new Map([
  ['hashedrekord 0.0.1', ['spec', 'signature', 'publicKey', 'content']],
  ['dsse 0.0.1', ['spec', 'signatures', 0, 'verifier']],
  [
    'hashedrekord 0.0.2',
    ['spec', 'hashedRekordV002', 'signature', 'verifier', 'x509Certificate', 'rawBytes'],
  ],
]);

/** @throws unless the entry is about a signature by this certificate */
export function checkEntryCertificate(
  { canonicalizedBody, kindVersion: { kind, version } }: TransparencyLogEntry,
  certificate: X509Certificate,
): void {
  const path = certificatePaths.get(`${kind} ${version}`);
  if (path === undefined)
    throw new Error(`its log entry is a ${kind} ${version}, which no signature of an image is`);
  const body = parseStrictObject(canonicalizedBody, { what: 'its log entry' });
  const bytes = strictBase64(valueAt(body, path), 'the certificate in its log entry');
  // Rekor 1 holds PEM, Rekor 2 holds DER.
  if (!new X509Certificate(bytes).raw.equals(certificate.raw)) {
    throw new Error('its log entry is about a signature by another certificate');
  }
}

/** What Rekor says of an entry beside its body, which a bundle has to repeat. @throws BAD_DOCUMENT, BAD_SIGNATURE */
export function kindOfEntry(body: JsonValue | undefined): {
  readonly kind: JsonValue;
  readonly version: JsonValue;
} {
  const document = parseStrictObject(strictBase64(body, 'its log entry'), { what: 'its log entry' });
  return { kind: document['kind'] ?? '', version: document['apiVersion'] ?? '' };
}

function valueAt(value: JsonValue | undefined, path: readonly (string | number)[]): JsonValue | undefined {
  let found = value;
  for (const step of path) {
    if (typeof step === 'number') found = Array.isArray(found) ? found[step] : undefined;
    else
      found = typeof found === 'object' && found !== null && !Array.isArray(found) ? found[step] : undefined;
  }
  return found;
}
