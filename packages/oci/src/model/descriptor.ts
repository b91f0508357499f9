/**
 * Descriptor: what content is (media type), how it is named (digest) and how long it is (bytes).
 * Source: opencontainers/image-spec v1.1.1 descriptor.md.
 */
import { type Digest, digestOf } from './digest.ts';

export interface Platform {
  readonly os: string;
  readonly architecture: string;
  readonly variant?: string;
}

export interface Descriptor {
  readonly mediaType: string;
  readonly digest: Digest;
  /** Bytes; a safe integer from 0. */
  readonly size: number;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly artifactType?: string;
  readonly platform?: Platform;
}

/** RFC 6838 restricted names: what a media type may look like. */
const mediaTypePattern = /^[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}\/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}$/;

export function isMediaType(value: unknown): value is string {
  return typeof value === 'string' && value.length <= 255 && mediaTypePattern.test(value);
}

/** The descriptor of bytes held in memory. */
export function descriptorOf(
  mediaType: string,
  bytes: Uint8Array,
  extra: Pick<Descriptor, 'annotations' | 'artifactType' | 'platform'> = {},
): Descriptor {
  return { mediaType, digest: digestOf(bytes), size: bytes.byteLength, ...extra };
}

/** Only what identifies content: for use where annotations must not travel along. */
export function plain(d: Descriptor): Descriptor {
  return { mediaType: d.mediaType, digest: d.digest, size: d.size };
}
