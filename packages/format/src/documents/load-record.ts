/**
 * What a host keeps of each load in its state: the receipt, and what the load used or made besides. prune decides by these
 * records what may go.
 */
import * as v from 'valibot';
import { receiptSchema } from './receipt-document.ts';
import { digestSchema, manyOf, parseDocument, textSchema } from './schema.ts';

const schema = v.strictObject({
  kind: v.literal('omni-airgap/load-record'),
  schema: v.literal(1),
  receipt: receiptSchema,
  /** Tags that the load changed after the receipt's digests were taken: signatures by the site's key. */
  signatures: v.optional(manyOf(v.strictObject({ target: textSchema, digest: digestSchema }))),
  /** What an increment took from earlier loads, by repository below the host of the registry, and by key. */
  relies: v.optional(
    v.strictObject({
      repositories: manyOf(v.strictObject({ repository: textSchema, digests: manyOf(digestSchema) })),
      keys: manyOf(textSchema),
    }),
  ),
});
export type LoadRecord = v.InferOutput<typeof schema>;

/** @throws BAD_DOCUMENT */
export function parseLoadRecord(bytes: Uint8Array, what: string): LoadRecord {
  return parseDocument(schema, bytes, what, 1);
}
