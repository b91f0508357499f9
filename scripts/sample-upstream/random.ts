/**
 * Bytes from a seed: the same on every machine, and fast (the AES-CTR key stream). `mixed` looks to a compressor
 * as programs and text do: about two thirds of it remain.
 */
import { createCipheriv, createHash } from 'node:crypto';

const zeros = Buffer.alloc(256 * 1024);
const blockSize = 64 * 1024;
const words = 'the machine boots from its image and joins the cluster with a token of its own '.repeat(900);

export class Random {
  readonly #cipher;

  /** @param parts what the bytes are for; other parts give other bytes */
  constructor(...parts: readonly (string | number)[]) {
    const key = createHash('sha256').update(parts.join('\n')).digest();
    this.#cipher = createCipheriv('aes-128-ctr', key.subarray(0, 16), key.subarray(16));
  }

  /** @param size bytes, up to 256 KiB */
  bytes(size: number): Buffer {
    return this.#cipher.update(zeros.subarray(0, size));
  }

  /** A whole number from 0, below `limit`. */
  below(limit: number): number {
    return this.bytes(4).readUInt32LE(0) % limit;
  }

  /** `size` bytes in chunks: half noise, a quarter text, a quarter encoded noise. */
  *mixed(size: number): Generator<Buffer> {
    for (let left = size; left > 0; left -= blockSize) {
      const n = Math.min(left, blockSize);
      const kind = this.below(4);
      if (kind < 2) yield this.bytes(n);
      else if (kind === 2) {
        const from = this.below(80);
        yield Buffer.from(words.slice(from, from + n));
      } else yield Buffer.from(this.bytes(n).toString('base64')).subarray(0, n);
    }
  }

  /** `size` bytes of noise in chunks: what is compressed already. */
  *noise(size: number): Generator<Buffer> {
    for (let left = size; left > 0; left -= zeros.byteLength)
      yield this.bytes(Math.min(left, zeros.byteLength));
  }
}
