/**
 * The names that the last bundle of a store withdraws, in `bundles/withdraws.json`. The next bundle repeats them, and is made without
 * reading all bundles that were issued before.
 */
import { join } from 'node:path';
import {
  manyOf,
  maxBundleDocumentBytes,
  parseDocument,
  serializeDocument,
  textSchema,
} from '@omni-airgap/format';
import { readSmallFile, removeFile, syncFolder, writeFileAtomic } from '@omni-airgap/oci/fs';
import * as v from 'valibot';

const schema = v.strictObject({
  kind: v.literal('omni-airgap/withdraws'),
  schema: v.literal(1),
  withdraws: v.pipe(manyOf(textSchema), v.minLength(1)),
});

/** @returns sorted; empty where nothing is withdrawn @throws BAD_DOCUMENT, DISK */
export async function readWithdrawnNames(folder: string): Promise<readonly string[]> {
  const path = pathIn(folder);
  const bytes = await readSmallFile(path, maxBundleDocumentBytes);
  return bytes === undefined ? [] : parseDocument(schema, bytes, path, 1).withdraws;
}

/** On disk when this resolves; the records are locked. @param names sorted @throws DISK */
export async function writeWithdrawnNames(folder: string, names: readonly string[]): Promise<void> {
  const path = pathIn(folder);
  const document: v.InferOutput<typeof schema> = {
    kind: 'omni-airgap/withdraws',
    schema: 1,
    withdraws: [...names],
  };
  if (names.length > 0) return writeFileAtomic(path, serializeDocument(document));
  await removeFile(path);
  await syncFolder(folder);
}

function pathIn(folder: string): string {
  return join(folder, 'withdraws.json');
}
