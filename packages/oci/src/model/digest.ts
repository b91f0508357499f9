/**
 * Digests: the name of content, always `sha256:<64 lower-case hex>`, which is safe as a file name and in a URL.
 * Other algorithms are refused by name.
 * Source: opencontainers/image-spec v1.1.1 descriptor.md#digests.
 */
import { createHash, type Hash } from 'node:crypto';
import { CodedError } from '../base/errors.ts';
import { printable } from '../base/text.ts';

declare const digestBrand: unique symbol;
/** `sha256:` and 64 lower-case hex characters. */
export type Digest = string & { readonly [digestBrand]: true };

const sha256Pattern = /^sha256:[a-f0-9]{64}$/;
const hexPattern = /^[a-f0-9]{64}$/;

/** True when the value is a digest in the one form this project uses. */
export function isDigest(value: unknown): value is Digest {
  return typeof value === 'string' && value.length === 71 && sha256Pattern.test(value);
}

/** The 64 hex characters of a digest: its file name. */
export function hexOf(digest: Digest): string {
  return digest.slice(7);
}

/** True for 64 lower-case hex characters, such as a schematic ID. */
export function isHex64(value: string): boolean {
  return value.length === 64 && hexPattern.test(value);
}

/** The digest of bytes held in memory. */
export function digestOf(bytes: Uint8Array): Digest {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}` as Digest;
}

/** A running SHA-256; `finish` gives the digest and ends it. */
export class Hasher {
  #hash: Hash = createHash('sha256');
  #size = 0;

  /** Bytes seen so far. */
  get size(): number {
    return this.#size;
  }

  update(chunk: Uint8Array): void {
    this.#hash.update(chunk);
    this.#size += chunk.byteLength;
  }

  /** One that has seen the same bytes; the two go on by themselves. */
  copy(): Hasher {
    const copy = new Hasher();
    copy.#hash = this.#hash.copy();
    copy.#size = this.#size;
    return copy;
  }

  finish(): Digest {
    return `sha256:${this.#hash.digest('hex')}` as Digest;
  }
}

/**
 * @param value untrusted text
 * @param where what it stands in, for the message
 * @throws BAD_NAME for anything but a sha256 digest; other algorithms are named as unsupported
 */
export function parseDigest(value: unknown, where = 'digest'): Digest {
  if (isDigest(value)) return value;
  if (typeof value !== 'string') throw new CodedError('BAD_NAME', `${where}: a digest must be a string`);
  const algorithm = /^([a-z0-9]+(?:[+._-][a-z0-9]+)*):[A-Za-z0-9=_-]+$/.exec(value.slice(0, 200))?.[1];
  if (algorithm !== undefined && algorithm !== 'sha256') {
    throw new CodedError(
      'BAD_NAME',
      `${where}: digest algorithm ${algorithm} is not supported, only sha256 is`,
    );
  }
  throw new CodedError(
    'BAD_NAME',
    `${where}: not a digest (sha256:<64 lower-case hex>): ${printable(value)}`,
  );
}

/** The digest for 64 lower-case hex characters. @throws BAD_NAME */
export function digestFromHex(hex: string, where = 'digest'): Digest {
  return parseDigest(`sha256:${hex}`, where);
}
