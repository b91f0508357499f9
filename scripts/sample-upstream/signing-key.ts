/**
 * P-256 keys and signatures from a seed. Node signs with a random nonce, which would give the sample other digests
 * each time it is made; here the nonce comes from key and message. For samples only.
 * Source: SEC 1 section 4.1.3; sigstore/cosign specs/SIGNATURE_SPEC.md for the payload.
 */
import { createECDH, createHash, createHmac, createPublicKey } from 'node:crypto';

/** Order of the P-256 group. */
const n = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;

export class SigningKey {
  readonly #secret: Buffer;
  /** PEM, SubjectPublicKeyInfo. */
  readonly publicKey: string;

  constructor(...seed: readonly (string | number)[]) {
    this.#secret = scalar(createHash('sha256').update(seed.join('\n')).digest());
    const { x, y } = pointOf(this.#secret);
    const jwk = { kty: 'EC', crv: 'P-256', x: x.toString('base64url'), y: y.toString('base64url') };
    this.publicKey = createPublicKey({ key: jwk, format: 'jwk' })
      .export({ type: 'spki', format: 'pem' })
      .toString();
  }

  /** ECDSA with SHA-256, DER. */
  sign(message: Uint8Array): Buffer {
    const hash = createHash('sha256').update(message).digest();
    const nonce = scalar(createHmac('sha256', this.#secret).update(hash).digest());
    const r = toNumber(pointOf(nonce).x) % n;
    const s = (inverse(toNumber(nonce)) * (toNumber(hash) + r * toNumber(this.#secret))) % n;
    const body = Buffer.concat([integer(r), integer(s)]);
    return Buffer.concat([Buffer.from([0x30, body.byteLength]), body]);
  }
}

/** What cosign signs for an image, byte for byte as its JSON writer has it. */
export function simpleSigningPayload(repository: string, digest: string): Buffer {
  return Buffer.from(
    `{"critical":{"identity":{"docker-reference":"${repository}"},"image":{"docker-manifest-digest":"${digest}"},"type":"cosign container image signature"},"optional":null}`,
  );
}

function pointOf(secret: Buffer): { readonly x: Buffer; readonly y: Buffer } {
  const ecdh = createECDH('prime256v1');
  ecdh.setPrivateKey(secret);
  const point = ecdh.getPublicKey();
  return { x: point.subarray(1, 33), y: point.subarray(33) };
}

function toNumber(bytes: Buffer): bigint {
  return BigInt(`0x${bytes.toString('hex')}`);
}

/** A number from 1, below the order. */
function scalar(bytes: Buffer): Buffer {
  const value = (toNumber(bytes) % (n - 1n)) + 1n;
  return Buffer.from(value.toString(16).padStart(64, '0'), 'hex');
}

function inverse(value: bigint): bigint {
  let [a, b, x, y] = [value % n, n, 1n, 0n];
  while (a > 1n) {
    const quotient = b / a;
    [a, b, x, y] = [b - quotient * a, a, y - quotient * x, x];
  }
  return ((x % n) + n) % n;
}

function integer(value: bigint): Buffer {
  const hex = value.toString(16);
  const bytes = Buffer.from(hex.length % 2 === 0 ? hex : `0${hex}`, 'hex');
  const positive = (bytes[0] ?? 0) < 0x80 ? bytes : Buffer.concat([Buffer.from([0]), bytes]);
  return Buffer.concat([Buffer.from([0x02, positive.byteLength]), positive]);
}
