/**
 * bundle.json: the signed statement of what a bundle holds and where each byte of it lies.
 * The format is described in docs/bundle-format.md.
 */
import * as v from 'valibot';
import {
  bytesSchema,
  descriptorSchema,
  digestSchema,
  hex64Schema,
  manyOf,
  namedSchema,
  parseDocument,
  textSchema,
  timeSchema,
} from './schema.ts';

const wholeNumber = v.pipe(v.number(), v.safeInteger(), v.minValue(0));

const schema = v.strictObject({
  kind: v.literal('omni-airgap/bundle'),
  schema: v.literal(1),
  /** sha256 of what `sha256sum content.tar.*` prints for all volumes. */
  id: hex64Schema,
  /** Random name of the store that issued it. */
  origin: v.pipe(v.string(), v.regex(/^[a-f0-9]{32}$/)),
  /** Counts the bundles of that origin, from 1. */
  sequence: v.pipe(wholeNumber, v.minValue(1)),
  createdAt: timeSchema,
  tool: textSchema,
  roots: manyOf(namedSchema),
  blobs: manyOf(
    v.strictObject({ digest: digestSchema, size: bytesSchema, volume: wholeNumber, offset: bytesSchema }),
  ),
  volumes: v.pipe(
    v.array(v.strictObject({ name: textSchema, size: bytesSchema, sha256: hex64Schema })),
    v.minLength(1),
    v.maxLength(1000),
  ),
  /** Other files beside the volumes that the signature covers. */
  files: manyOf(v.strictObject({ name: textSchema, size: bytesSchema, sha256: hex64Schema })),
  /** Manifests whose index names platforms that were left out on purpose. */
  sparse: v.optional(manyOf(descriptorSchema)),
  /** Hosts that were contacted to gather the content. */
  egress: manyOf(v.strictObject({ host: textSchema, requests: wholeNumber, bytes: bytesSchema })),
});
export type BundleDocument = v.InferOutput<typeof schema>;

/** Some 200 bytes for each blob: enough for half a million. */
export const maxBundleDocumentBytes: number = 128 * 1024 * 1024;

/** @throws BAD_DOCUMENT */
export function parseBundleDocument(bytes: Uint8Array, what = 'bundle.json'): BundleDocument {
  return parseDocument(schema, bytes, what, 1);
}
