/**
 * What our own documents have in common: strict JSON, a kind and a schema number, members that are all known.
 * A document of a newer schema is refused with the advice to update, never half understood.
 */

import { CodedError, parseStrictObject, printable } from '@omni-airgap/oci/base';
import { type Digest, isDigest, isMediaType } from '@omni-airgap/oci/model';
import * as v from 'valibot';

export const bytesSchema = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
export const hex64Schema = v.pipe(v.string(), v.regex(/^[a-f0-9]{64}$/));
export const digestSchema = v.custom<Digest>(isDigest, 'must be sha256:<64 lower-case hex>');
export const timeSchema = v.pipe(v.string(), v.isoTimestamp());
export const textSchema = v.pipe(v.string(), v.maxLength(4096));
/** Any array in a document: far more than a site has, few enough to refuse a bomb. */
export const manyOf = <T extends v.GenericSchema>(
  item: T,
): v.SchemaWithPipe<
  readonly [v.ArraySchema<T, undefined>, v.MaxLengthAction<v.InferOutput<T>[], 1_000_000, undefined>]
> => v.pipe(v.array(item), v.maxLength(1_000_000));

export const descriptorSchema = v.strictObject({
  mediaType: v.custom<string>(isMediaType, 'must be a media type'),
  digest: digestSchema,
  size: bytesSchema,
});

/**
 * Parses bytes against a schema.
 * @param what file name for messages
 * @param newest schema number this program writes
 * @throws BAD_DOCUMENT naming the member that is wrong
 */
export function parseDocument<T extends v.GenericSchema>(
  schema: T,
  bytes: Uint8Array,
  what: string,
  newest: number,
): v.InferOutput<T> {
  const doc = parseStrictObject(bytes, { what });
  const number = doc['schema'];
  if (typeof number === 'number' && number > newest) {
    throw new CodedError(
      'BAD_DOCUMENT',
      `${what}: schema ${number} is newer than this program; use a newer omni-airgap`,
    );
  }
  const result = v.safeParse(schema, doc, { abortEarly: true });
  if (result.success) return result.output;
  const issue = result.issues[0];
  const path = v.getDotPath(issue) ?? 'document';
  throw new CodedError('BAD_DOCUMENT', `${what}: ${printable(path)}: ${printable(issue.message)}`);
}

/** The bytes of a document: indented, members in the order they were written, a newline at the end. */
export function serializeDocument(doc: object): string {
  return `${JSON.stringify(doc, undefined, 2)}\n`;
}
