/**
 * Descriptor: what content is (media type), how it is named (digest) and how long it is (bytes).
 * Of descriptors from documents that may be anything, what breaks the specification, or what readers disagree about,
 * is refused.
 * Source: opencontainers/image-spec v1.1.1 descriptor.md.
 */

import { CodedError } from '../base/errors.ts';
import { refuseOtherCase } from '../base/json.ts';
import { printable } from '../base/text.ts';
import { type Digest, digestOf, parseDigest } from './digest.ts';
import { type Platform, platformFrom } from './platform.ts';

/** The name of content: its media type, digest and size, with what a parent says about it. */
export interface Descriptor {
  readonly mediaType: string;
  readonly digest: Digest;
  /** Bytes; a safe integer from 0. */
  readonly size: number;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly artifactType?: string;
  /** Where the content was first published, never empty. A registry may or may not have it too; nobody here asks there. */
  readonly urls?: readonly string[];
  /** Absent when none is named, as for attestations (`unknown/unknown`). */
  readonly platform?: Platform;
}

/** Annotations with a meaning here. Source: image-spec v1.1.1 annotations.md, image-layout.md. */
export const Annotation = {
  /** A file of an artifact: the name that it gets when pulled. */
  title: 'org.opencontainers.image.title',
  /** An entry of a layout's index.json: the name that it stands for. */
  refName: 'org.opencontainers.image.ref.name',
} as const;

/** RFC 6838 restricted names: what a media type may look like. */
const mediaTypePattern = /^[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}\/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}$/;

/** True for text in the form `type/subtype` of RFC 6838, at most 255 characters. */
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

const members = ['mediaType', 'digest', 'size', 'urls', 'annotations', 'data', 'artifactType', 'platform'];

/**
 * A view of an untrusted descriptor (from strict JSON). Unknown members are left out of the view.
 * `urls` is never followed; `data` must agree with digest and size when it is there. Null stands for absent.
 * @throws BAD_DOCUMENT naming `where` and the member
 */
export function parseDescriptor(value: unknown, where: string): Descriptor {
  const bad = (what: string): CodedError => new CodedError('BAD_DOCUMENT', `${where}: ${what}`);
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw bad('a descriptor must be an object');
  const raw = value as Readonly<Record<string, unknown>>;
  refuseOtherCase(raw, members, where);
  const { mediaType, size } = raw;
  // A nil of Go is written as null: absent.
  const [annotations, artifactType, data, urls] = ['annotations', 'artifactType', 'data', 'urls'].map(
    (key) => raw[key] ?? undefined,
  );
  if (!isMediaType(mediaType))
    throw bad(`mediaType is missing or malformed: ${printable(String(mediaType))}`);
  if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0) {
    throw bad(`size must be a whole number of bytes, not ${printable(JSON.stringify(size) ?? 'missing')}`);
  }
  let digest: Digest;
  try {
    digest = parseDigest(raw['digest'], where);
  } catch (cause) {
    throw new CodedError('BAD_DOCUMENT', cause instanceof Error ? cause.message : where, { cause });
  }
  if (urls !== undefined && !(Array.isArray(urls) && urls.every((url) => typeof url === 'string'))) {
    throw bad('urls must be a list of text');
  }
  if (data !== undefined) checkData(data, { digest, size }, bad);
  if (artifactType !== undefined && !isMediaType(artifactType)) throw bad('artifactType is malformed');
  const named = platformFrom(raw['platform'], where);
  return {
    mediaType,
    digest,
    size,
    ...(annotations === undefined ? {} : { annotations: parseAnnotations(annotations, where) }),
    ...(artifactType === undefined ? {} : { artifactType }),
    ...(urls === undefined || urls.length === 0 ? {} : { urls }),
    ...(named === undefined ? {} : { platform: named }),
  };
}

/** Readers differ in what base64 they take, and some refuse a whole layout for it: only the one form is right. */
function checkData(
  data: unknown,
  { digest, size }: Pick<Descriptor, 'digest' | 'size'>,
  bad: (what: string) => CodedError,
): void {
  const bytes = typeof data === 'string' ? Buffer.from(data, 'base64') : undefined;
  if (bytes?.toString('base64') !== data) {
    throw bad(
      'embedded data is not base64 as RFC 4648 section 4 has it (with padding, without line breaks), which other readers refuse; ask the publisher to push it again',
    );
  }
  if (bytes === undefined || bytes.byteLength !== size || digestOf(bytes) !== digest) {
    throw bad('embedded data does not have the digest and size it is announced with');
  }
}

/** @throws BAD_DOCUMENT unless it is a map of strings */
export function parseAnnotations(value: unknown, where: string): Readonly<Record<string, string>> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new CodedError('BAD_DOCUMENT', `${where}: annotations must be an object`);
  }
  for (const [key, text] of Object.entries(value)) {
    if (typeof text !== 'string') {
      throw new CodedError('BAD_DOCUMENT', `${where}: annotation ${printable(key)} must be a string`);
    }
  }
  return value as Readonly<Record<string, string>>;
}
