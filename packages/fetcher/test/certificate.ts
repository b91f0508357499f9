/** X.509 certificates (RFC 5280), with what Sigstore's authorities put into theirs. */
import { createHash, type KeyObject, sign } from 'node:crypto';
import { bits, der, integer, name, octets, oid, sequence, time, truth } from './der.ts';

const ecdsaSha256 = sequence(oid('1.2.840.10045.4.3.2'));

export function extension(id: string, value: Uint8Array, critical = false): Buffer {
  return sequence(oid(id), ...(critical ? [truth()] : []), octets(value));
}
export const keyId = (key: Uint8Array): Buffer => createHash('sha1').update(key).digest();

export interface Certificate {
  readonly issuer: string;
  readonly subject: Buffer;
  readonly from: Date;
  readonly to: Date;
  readonly key: Buffer;
  readonly extensions: readonly Buffer[];
}

export function toBeSigned({ issuer, subject, from, to, key, extensions }: Certificate): Buffer {
  return sequence(
    der(0xa0, integer(2)),
    integer(0x11, 0x18, 0x20, 0x04),
    ecdsaSha256,
    name(issuer),
    sequence(time(from), time(to)),
    subject,
    key,
    der(0xa3, sequence(...extensions)),
  );
}

export function certified(tbs: Buffer, key: KeyObject): Buffer {
  return sequence(tbs, ecdsaSha256, bits(sign('sha256', tbs, key)));
}

export function pemOf(certificate: Buffer): string {
  const lines = certificate.toString('base64').replace(/.{64}(?!$)/g, '$&\n');
  return `-----BEGIN CERTIFICATE-----\n${lines}\n-----END CERTIFICATE-----\n`;
}
