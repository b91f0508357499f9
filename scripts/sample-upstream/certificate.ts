/** A self-signed certificate in as few fields as X.509 allows. Source: RFC 5280 section 4.1. */
import type { SigningKey } from './signing-key.ts';

const ecdsaWithSha256 = der(0x30, Buffer.from('06082a8648ce3d040302', 'hex'));

/** PEM, version 1, good for the years 2026 to 2046. */
export function selfSigned(key: SigningKey, commonName: string): string {
  const attribute = der(0x30, Buffer.from('0603550403', 'hex'), der(0x0c, Buffer.from(commonName)));
  const name = der(0x30, der(0x31, attribute));
  const time = (text: string): Buffer => der(0x17, Buffer.from(text));
  const validity = der(0x30, time('260101000000Z'), time('460101000000Z'));
  const publicKey = Buffer.from(key.publicKey.replace(/-----[^-]+-----|\s/g, ''), 'base64');
  const body = der(0x30, der(0x02, Buffer.from([1])), ecdsaWithSha256, name, validity, name, publicKey);
  const signature = der(0x03, Buffer.from([0]), key.sign(body));
  const base64 = der(0x30, body, ecdsaWithSha256, signature).toString('base64');
  const lines = base64.match(/.{1,64}/g) ?? [];
  return ['-----BEGIN CERTIFICATE-----', ...lines, '-----END CERTIFICATE-----', ''].join('\n');
}

function der(tag: number, ...parts: readonly Buffer[]): Buffer {
  const content = Buffer.concat(parts);
  const size = content.byteLength;
  const length = size < 0x80 ? [size] : size < 0x100 ? [0x81, size] : [0x82, size >> 8, size & 0xff];
  return Buffer.concat([Buffer.from([tag, ...length]), content]);
}
