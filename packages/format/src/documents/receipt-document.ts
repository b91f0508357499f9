/**
 * The receipt: what `load` placed where. Its `bundle` member alone is enough to tell `bundle --since` what the
 * inside has.
 */
import * as v from 'valibot';
import {
  bytesSchema,
  digestSchema,
  hex64Schema,
  manyOf,
  parseDocument,
  serializeDocument,
  textSchema,
  timeSchema,
} from './schema.ts';
import { verifiedSchema } from './verified.ts';

/** The members of a receipt. */
export const receiptSchema = v.strictObject({
  /**
   * Of a load that left something out: names of the bundle, and keys of objects, that are not where the receipt says the
   * rest is. It comes before all other members, so that the first line of the file does not show the id.
   */
  missing: v.optional(
    manyOf(v.strictObject({ name: textSchema, why: v.picklist(['refused', 'excluded', 'held']) })),
  ),
  /**
   * Of a load with --trim-indexes, likewise first: names whose tag stands for an index of the carried platforms, of digest
   * `digest`, and not for the one outside, of digest `index`, which the registry does not have. `signatures`: names of what
   * was loaded about that one, and does not cover the trimmed one.
   */
  trimmed: v.optional(
    manyOf(
      v.strictObject({
        name: textSchema,
        index: digestSchema,
        digest: digestSchema,
        signatures: manyOf(textSchema),
      }),
    ),
  ),
  /** First in other receipts, so that the first line of the file can be copied onto paper. */
  bundle: hex64Schema,
  kind: v.literal('omni-airgap/receipt'),
  schema: v.literal(1),
  origin: textSchema,
  sequence: v.pipe(v.number(), v.safeInteger()),
  /** Names of earlier bundles of the same origin that the bundle withdraws, so that prune may delete them. */
  withdraws: v.optional(v.pipe(manyOf(textSchema), v.minLength(1))),
  loadedAt: timeSchema,
  tool: textSchema,
  /** How the bundle was trusted: the key's fingerprint, or that it was not. */
  trust: v.variant('mode', [
    v.strictObject({ mode: v.literal('signed'), key: textSchema }),
    v.strictObject({ mode: v.literal('unsigned') }),
  ]),
  /** Of a load of several bundles: which key each was signed with, the oldest first; left out if none was checked. */
  signers: v.optional(manyOf(v.strictObject({ bundle: hex64Schema, key: textSchema }))),
  registry: v.optional(textSchema),
  objectStore: v.optional(textSchema),
  /** False after `--verify quick`: objects in a bucket were taken for what their metadata says. */
  objectsReadBack: v.optional(v.boolean()),
  images: manyOf(
    v.strictObject({
      name: textSchema,
      target: textSchema,
      digest: digestSchema,
      /** What the bundle says was known of its signature outside. */
      signature: v.optional(textSchema),
      /** The signature that was checked outside. */
      verified: v.optional(verifiedSchema),
    }),
  ),
  /** Indexes of which some platforms were left out, and the manifests that were not. */
  sparse: v.optional(manyOf(v.strictObject({ digest: digestSchema, manifests: manyOf(digestSchema) }))),
  objects: manyOf(v.strictObject({ key: textSchema, digest: digestSchema, size: bytesSchema })),
  /**
   * Of a prune: what is inside after it. The site lacks content of `bundles`, which can no longer be bases of an increment.
   */
  pruned: v.optional(v.strictObject({ at: timeSchema, bundles: manyOf(hex64Schema) })),
});
export type ReceiptDocument = v.InferOutput<typeof receiptSchema>;

/** @throws BAD_DOCUMENT */
export function parseReceiptDocument(bytes: Uint8Array, what = 'receipt'): ReceiptDocument {
  return parseDocument(receiptSchema, bytes, what, 1);
}

/**
 * The text of a receipt. The bundle id stands in its first line, to be copied onto paper, unless something is missing or
 * trimmed: then only the whole file tells what is inside.
 * @throws BAD_DOCUMENT for one that `bundle --since` would not read
 */
export function serializeReceipt(receipt: ReceiptDocument): string {
  const text = serializeDocument(receipt).replace(/^\{\s+/, '{ ');
  parseReceiptDocument(Buffer.from(text));
  return text;
}
