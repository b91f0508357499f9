/**
 * Manifests: a view of bytes that are kept as they came. The view says what the manifest points at; it is
 * never serialized again. Documents that two readers could understand differently are refused (CVE-2021-41190).
 * Sources: image-spec v1.1.1 manifest.md, image-index.md; distribution v2.8 docs/spec/manifest-v2-2.md.
 */

import { CodedError, isCoded } from '../base/errors.ts';
import { type JsonValue, parseStrictObject, refuseOtherCase } from '../base/json.ts';
import { printable } from '../base/text.ts';
import type { Fetcher } from '../storage.ts';
import { collectVerified } from './bytes.ts';
import { type Descriptor, isMediaType, parseAnnotations, parseDescriptor } from './descriptor.ts';
import { isImageManifestType, isIndexType, isManifestType, MediaType, refusedType } from './media-type.ts';
import { type Platform, platformFrom } from './platform.ts';

/** Source: distribution-spec v1.1.1 spec.md#pushing-manifests; Distribution refuses more. */
export const maxManifestBytes: number = 4 * 1024 * 1024;
/** Descriptors in one manifest; far above any real index. */
const maxChildren = 10_000;
/** Of a configuration; real ones have some ten kilobytes. */
const maxConfigBytes = 4 * 1024 * 1024;
const configTypes: readonly string[] = [MediaType.ociConfig, MediaType.dockerConfig];
const members = [
  ...['schemaVersion', 'mediaType', 'artifactType', 'config', 'layers', 'manifests'],
  ...['subject', 'annotations', 'fsLayers'],
];

interface Common {
  readonly mediaType: string;
  readonly subject?: Descriptor;
  readonly artifactType?: string;
  readonly annotations?: Readonly<Record<string, string>>;
}
/** A config and layers in order; artifacts have this form too. */
export interface ImageManifest extends Common {
  readonly kind: 'image';
  readonly config: Descriptor;
  readonly layers: readonly Descriptor[];
}
/** Other manifests, usually one per platform. */
export interface IndexManifest extends Common {
  readonly kind: 'index';
  readonly manifests: readonly Descriptor[];
}
/** The view of a parsed manifest. The bytes are what counts: keep them beside it. */
export type Manifest = ImageManifest | IndexManifest;

/**
 * @param bytes exactly as received
 * @param mediaType what the descriptor or Content-Type says; the document's own mediaType must agree
 * @throws BAD_DOCUMENT
 */
export function parseManifest(bytes: Uint8Array, mediaType: string, what = 'manifest'): Manifest {
  const bad = (problem: string): CodedError => new CodedError('BAD_DOCUMENT', `${what}: ${problem}`);
  if (bytes.byteLength > maxManifestBytes) {
    throw bad(`${bytes.byteLength} bytes, more than the ${maxManifestBytes} a manifest may have`);
  }
  const refused = refusedType(mediaType);
  if (refused !== undefined) throw bad(refused);
  if (!isManifestType(mediaType)) throw bad(`${printable(mediaType)} is not a manifest type`);
  const doc = parseStrictObject(bytes, { what });
  refuseOtherCase(doc, members, what);
  if (doc['schemaVersion'] !== 2) throw bad('schemaVersion must be 2');
  // A nil of Go is written as null: absent, or a list of nothing.
  const member = (key: string): JsonValue | undefined => doc[key] ?? undefined;
  const own = member('mediaType');
  if (own !== undefined && own !== mediaType) {
    throw bad(`it says it is ${printable(String(own))} but was announced as ${mediaType}`);
  }
  const [subject, annotations] = [member('subject'), member('annotations')];
  const common: Common = {
    mediaType,
    ...(subject === undefined ? {} : { subject: parseDescriptor(subject, `${what} subject`) }),
    ...(annotations === undefined ? {} : { annotations: parseAnnotations(annotations, what) }),
    ...(typeof doc['artifactType'] === 'string' && isMediaType(doc['artifactType'])
      ? { artifactType: doc['artifactType'] }
      : {}),
  };
  const list = (key: 'layers' | 'manifests'): readonly Descriptor[] => {
    const raw = doc[key] === null ? [] : doc[key];
    if (!Array.isArray(raw)) throw bad(`${key} must be a list`);
    if (raw.length > maxChildren) throw bad(`${raw.length} ${key}, more than ${maxChildren}`);
    return raw.map((child, i) => parseDescriptor(child, `${what} ${key}[${i}]`));
  };
  if (isIndexType(mediaType)) {
    if (member('layers') !== undefined || member('config') !== undefined)
      throw bad('it is an image and an index at once');
    return { kind: 'index', ...common, manifests: list('manifests') };
  }
  if (!isImageManifestType(mediaType)) throw bad(`${mediaType} is not handled`);
  if (member('manifests') !== undefined || member('fsLayers') !== undefined)
    throw bad('it is an image and an index at once');
  return {
    kind: 'image',
    ...common,
    config: parseDescriptor(doc['config'], `${what} config`),
    layers: list('layers'),
  };
}

/** What a manifest points at and needs: children of an index; config and layers of an image. Not its subject. */
export function childrenOf(manifest: Manifest): readonly Descriptor[] {
  return manifest.kind === 'index' ? manifest.manifests : [manifest.config, ...manifest.layers];
}

/** A manifest as lists of referrers show it: with its annotations, and the config's type where it has no artifactType. */
export function referrerOf({ mediaType, digest, size }: Descriptor, manifest: Manifest): Descriptor {
  const { annotations } = manifest;
  const artifactType =
    manifest.artifactType ?? (manifest.kind === 'image' ? manifest.config.mediaType : undefined);
  return {
    mediaType,
    digest,
    size,
    ...(artifactType === undefined ? {} : { artifactType }),
    ...(annotations === undefined ? {} : { annotations }),
  };
}

/** Bytes and view of the manifest at `descriptor`, verified. @throws DIGEST_MISMATCH, BAD_DOCUMENT */
export async function fetchManifest(
  source: Fetcher,
  descriptor: Descriptor,
  signal?: AbortSignal,
): Promise<{ readonly bytes: Uint8Array; readonly manifest: Manifest }> {
  const what = `manifest ${descriptor.digest}`;
  const bytes = await collectVerified(source.fetch(descriptor, signal), descriptor, maxManifestBytes, what);
  return { bytes, manifest: parseManifest(bytes, descriptor.mediaType, what) };
}

/**
 * The platform of an image that is in no index, from its configuration.
 * @returns undefined for what has none, such as a chart or another artifact
 * @throws as the source, and DIGEST_MISMATCH
 */
export async function platformOfImage(
  source: Fetcher,
  { config, artifactType }: ImageManifest,
  signal?: AbortSignal,
): Promise<Platform | undefined> {
  if (artifactType !== undefined || !configTypes.includes(config.mediaType) || config.size > maxConfigBytes) {
    return undefined;
  }
  const what = `configuration ${config.digest}`;
  const bytes = await collectVerified(source.fetch(config, signal), config, maxConfigBytes, what);
  try {
    return platformFrom(parseStrictObject(bytes, { what }), what);
  } catch (error) {
    // A configuration of another form says nothing of a platform.
    if (isCoded(error, 'BAD_DOCUMENT')) return undefined;
    throw error;
  }
}
