/**
 * Secrets at rest: AES-256-GCM with a key that all replicas are given. What is sealed is bound to its name, so nobody who may
 * write to the store can put one in the place of another.
 * Source: NIST SP 800-38D (96-bit nonces; random ones are safe for far more than the schematics of a site).
 */
import { createCipheriv, createDecipheriv, createHmac, randomBytes } from 'node:crypto';
import { CodedError } from '@omni-airgap/oci/base';

/** Bytes of a key. */
export const stateKeyBytes = 32;

const magic = Buffer.from('OAS1');
const keyIdBytes = 8;
const nonceBytes = 12;
const tagBytes = 16;
const headBytes = magic.byteLength + keyIdBytes + nonceBytes;

/** The text cannot be read or kept without the right `--state-key`: the client is told so. */
export class StateKeyNeeded extends CodedError {}

export class Sealing {
  readonly #key: Uint8Array;
  readonly #keyId: Buffer;

  /** @param key 32 bytes @throws CONFIG */
  constructor(key: Uint8Array) {
    if (key.byteLength !== stateKeyBytes) {
      throw new CodedError('CONFIG', `a state key has ${stateKeyBytes} bytes, not ${key.byteLength}`);
    }
    this.#key = key;
    this.#keyId = createHmac('sha256', key).update('omni-airgap state key').digest().subarray(0, keyIdBytes);
  }

  /** @param name what it is sealed for; it opens under no other */
  seal(name: string, text: string): Uint8Array {
    const nonce = randomBytes(nonceBytes);
    const head = Buffer.concat([magic, this.#keyId, nonce]);
    const cipher = createCipheriv('aes-256-gcm', this.#key, nonce);
    cipher.setAAD(Buffer.concat([head, Buffer.from(name)]));
    return Buffer.concat([head, cipher.update(text, 'utf8'), cipher.final(), cipher.getAuthTag()]);
  }

  /** @throws StateKeyNeeded for what another key sealed; DIGEST_MISMATCH for what was changed or sealed for another name */
  open(name: string, sealed: Uint8Array): string {
    const bytes = Buffer.from(sealed);
    const damaged = (cause?: unknown): CodedError =>
      new CodedError('DIGEST_MISMATCH', `${name}: what is stored was changed after it was encrypted`, {
        cause,
      });
    if (bytes.byteLength < headBytes + tagBytes || !bytes.subarray(0, magic.byteLength).equals(magic)) {
      throw damaged();
    }
    if (!bytes.subarray(magic.byteLength, magic.byteLength + keyIdBytes).equals(this.#keyId)) {
      throw new StateKeyNeeded(
        'CONFIG',
        `${name} was encrypted with another --state-key than this server has`,
      );
    }
    const head = bytes.subarray(0, headBytes);
    const nonce = head.subarray(-nonceBytes);
    const decipher = createDecipheriv('aes-256-gcm', this.#key, nonce);
    decipher.setAAD(Buffer.concat([head, Buffer.from(name)]));
    decipher.setAuthTag(bytes.subarray(-tagBytes));
    try {
      return Buffer.concat([
        decipher.update(bytes.subarray(headBytes, -tagBytes)),
        decipher.final(),
      ]).toString('utf8');
    } catch (cause) {
      throw damaged(cause);
    }
  }
}
