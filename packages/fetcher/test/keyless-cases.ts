/** Signings of which each has one thing wrong, for a layer of cosign 2 and for a bundle of cosign 3 alike. */
import type { Digest } from '@omni-airgap/oci/model';
import { Authority, claimOf, type Signing, signStatement } from './sigstore-authority.ts';

export const authority = new Authority();
export const stranger = new Authority();
export const elsewhere = `sha256:${'b'.repeat(64)}` as Digest;
/** Whom the verifier expects. */
export const expected = { identity: 'somebody@example\\.com', issuer: 'https://accounts.example' };

/** A layer at the `.sig` tag, or a bundle that refers to the image: with an entry of Rekor 1, or of Rekor 2. */
export type Form = 'layer' | 'bundle' | 'second bundle';
export const forms: readonly Form[] = ['layer', 'bundle', 'second bundle'];
export type Made =
  | { readonly payload: string; readonly annotations: Readonly<Record<string, string>> }
  | {
      readonly bundle: string;
      readonly mediaType?: string;
      /** It refers to one platform of the image instead. */
      readonly ofChild?: true;
    };

export function signed(
  form: Form,
  digest: Digest,
  signing: Signing = {},
  repository = 'ghcr.io/dexidp/dex',
): Made {
  if (form !== 'layer') {
    const log = form === 'bundle' ? 1 : 2;
    return { bundle: JSON.stringify(authority.bundle(signStatement(digest), { ...signing, log })) };
  }
  const payload = claimOf(digest, repository);
  return { payload, annotations: authority.annotations(Buffer.from(payload), signing) };
}

export function flip(bytes: Buffer): Buffer {
  const copy = Buffer.from(bytes);
  copy[copy.length - 1] = (copy.at(-1) ?? 0) ^ 1;
  return copy;
}

const minute = 60_000;
const noon = new Date('2026-06-01T12:00:00Z');
const early = new Date('2023-06-01T12:00:00Z');
const hash = /"value":"[0-9a-f]{64}"/g;
const secondHash = /"digest":"[^"]*"/;
const certificate = /"(verifier|content)":"LS0t[^"]*"/;
const secondCertificate = /"rawBytes":"[^"]*"/;
/** What the log would say of another signature of somebody, by another certificate. */
const otherCertificate = (body: string): string => {
  const made = authority.annotations(Buffer.from('something else'))['dev.sigstore.cosign/certificate'] ?? '';
  const der = made.replace(/-----[^-]*-----|\n/g, '');
  return body
    .replace(certificate, `"$1":"${Buffer.from(made).toString('base64')}"`)
    .replace(secondCertificate, `"rawBytes":"${der}"`);
};

export interface WrongSigning {
  readonly what: string;
  readonly signing: Signing;
  /** Said by our verifier. */
  readonly why: string | RegExp;
}

export const wrongSignings: readonly WrongSigning[] = [
  {
    what: 'another identity',
    signing: { identity: 'nobody@example.com' },
    why: 'it is by nobody@example.com (https://accounts.example)',
  },
  {
    what: 'an identity that only ends alike',
    signing: { identity: 'not-somebody@example.com' },
    why: 'it is by not-somebody',
  },
  {
    what: 'an identity that only begins alike',
    signing: { identity: 'somebody@example.com.evil' },
    why: 'it is by somebody@example.com.evil',
  },
  {
    what: 'an identity on two lines',
    signing: { identity: 'x\nsomebody@example.com' },
    why: 'it is by x\\u000asomebody',
  },
  {
    what: 'the identity from another issuer',
    signing: { issuer: 'https://accounts.evil' },
    why: 'it is by somebody@example.com (https://accounts.evil)',
  },
  {
    what: 'an issuer that only begins alike',
    signing: { issuer: 'https://accounts.example/evil' },
    why: 'it is by somebody@example.com (https://accounts.example/evil)',
  },
  { what: 'no identity', signing: { identity: '' }, why: 'names no identity' },
  {
    what: 'something else that was signed',
    signing: { signs: (bytes) => Buffer.concat([bytes, Buffer.from(' ')]) },
    why: 'signature verification failed',
  },
  {
    what: 'the certificate of another authority',
    signing: { certifiedBy: stranger },
    why: 'no valid certificate path',
  },
  {
    what: 'a certificate for something else',
    signing: { usage: '1.3.6.1.5.5.7.3.1' },
    why: 'not for signing code',
  },
  {
    what: 'a certificate that had ended when it was used',
    signing: { at: noon, certifiedAt: new Date(noon.getTime() - 11 * minute) },
    why: 'expired at the specified date',
  },
  {
    what: 'a certificate that was not good yet',
    signing: { at: noon, certifiedAt: new Date(noon.getTime() + minute) },
    why: 'not valid or expired',
  },
  { what: 'a certificate that the log promised otherwise', signing: { sct: 'bad' }, why: 'SCT verification' },
  { what: 'a certificate that no log has promised', signing: { sct: 'none' }, why: 'expected 1 SCTs, got 0' },
  {
    what: 'a log entry of another artifact (CVE-2026-22703)',
    signing: {
      entry: (body) =>
        body
          .replace(hash, `"value":"${'c'.repeat(64)}"`)
          .replace(secondHash, `"digest":"${Buffer.alloc(32).toString('base64')}"`),
    },
    why: 'mismatch',
  },
  {
    what: 'a log entry of another signature',
    signing: { entry: (body) => body.replace(/"ME[^"]*"/, '"MEUCIQ=="') },
    why: 'signature mismatch',
  },
  {
    what: 'a log entry of another certificate',
    signing: { entry: otherCertificate },
    why: 'a signature by another certificate',
  },
  {
    what: 'a log entry that is no JSON',
    signing: { entry: () => '{' },
    why: 'its log entry: a key was expected',
  },
  {
    what: 'a log entry of an unknown kind',
    signing: { entry: (body) => body.replace(/0\.0\.[12]/, '9.9.9') },
    why: '9.9.9',
  },
  {
    what: 'a log entry that the log did not sign',
    signing: { set: flip },
    why: /inclusion promise|checkpoint signature/,
  },
  { what: 'a log entry from before there was a log', signing: { at: early }, why: 'certificate chain' },
];
