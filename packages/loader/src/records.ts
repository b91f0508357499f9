/**
 * What this host keeps in the folder of its state about loads and prunes, a file for each: `receipts/` has a record of each
 * load, `prunes/` a folder for each prune. prune decides by the first; load refuses an increment by the second.
 */
import { createHash } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import {
  type LoadRecord,
  maxBundleDocumentBytes,
  type PruneRecord,
  parseLoadRecord,
  parsePruneRecord,
  type ReceiptDocument,
  serializeDocument,
  serializeReceipt,
} from '@omni-airgap/format';
import { CodedError, systemCodeOf } from '@omni-airgap/oci/base';
import { diskError, ensureFolder, readSmallFile, writeFileAtomic } from '@omni-airgap/oci/fs';

const receiptsFolder = 'receipts';
const prunesFolder = 'prunes';
const recordName = 'record';

/**
 * Keeps the record of a load. The same load made again replaces it.
 * @throws DISK
 */
export async function keepLoadRecord(state: string, record: LoadRecord): Promise<void> {
  const { loadedAt, tool, ...same } = record.receipt;
  const hash = createHash('sha256').update(JSON.stringify({ ...record, receipt: same }));
  const { origin, sequence, bundle } = record.receipt;
  const name = `${origin}.${sequence}.${bundle.slice(0, 12)}.${hash.digest('hex').slice(0, 12)}`;
  await keep(join(state, receiptsFolder), name, record, parseLoadRecord);
}

/** @throws BAD_DOCUMENT for a file that was damaged or that a newer program wrote; DISK */
export async function readLoadRecords(state: string): Promise<readonly LoadRecord[]> {
  const found: LoadRecord[] = [];
  const folder = join(state, receiptsFolder);
  for (const name of await namesIn(folder, /^[^.].*\.json$/)) {
    const path = join(folder, name);
    const bytes = await readSmallFile(path, maxBundleDocumentBytes);
    if (bytes === undefined) throw new CodedError('DISK', `${path}: it was removed just now`);
    found.push(parseLoadRecord(bytes, path));
  }
  return found;
}

/**
 * Keeps the record of a prune and, beside it, the receipts of what is inside now.
 * @returns the path of the record
 * @throws DISK
 */
export async function keepPruneRecord(
  state: string,
  record: PruneRecord,
  receipts: readonly ReceiptDocument[],
): Promise<string> {
  await ensureFolder(join(state, prunesFolder));
  const folder = join(state, prunesFolder, record.plan.slice(0, 12));
  await ensureFolder(folder);
  for (const receipt of receipts) {
    const name = `receipt-${receipt.bundle.slice(0, 12)}.json`;
    await writeFileAtomic(join(folder, name), serializeReceipt(receipt));
  }
  return keep(folder, recordName, record, parsePruneRecord);
}

/** The record of a prune, and paths of the receipts of what was inside after it. */
export interface KeptPrune {
  readonly record: PruneRecord;
  readonly receipts: readonly string[];
}

/** @throws BAD_DOCUMENT, DISK */
export async function readPruneRecords(state: string): Promise<readonly KeptPrune[]> {
  const found: KeptPrune[] = [];
  for (const name of await namesIn(join(state, prunesFolder), /^[a-f0-9]{12}$/)) {
    const folder = join(state, prunesFolder, name);
    const path = join(folder, `${recordName}.json`);
    const bytes = await readSmallFile(path, maxBundleDocumentBytes);
    // It is written last: one that is missing was never done.
    if (bytes === undefined) continue;
    const receipts = (await namesIn(folder, /^receipt-.*\.json$/)).map((file) => join(folder, file));
    found.push({ record: parsePruneRecord(bytes, path), receipts });
  }
  return found;
}

async function keep(
  folder: string,
  name: string,
  document: object,
  parse: (bytes: Uint8Array, what: string) => unknown,
): Promise<string> {
  const path = join(folder, `${name}.json`);
  const text = serializeDocument(document);
  parse(Buffer.from(text), path);
  await ensureFolder(folder);
  await writeFileAtomic(path, text);
  return path;
}

async function namesIn(folder: string, pattern: RegExp): Promise<readonly string[]> {
  try {
    return (await readdir(folder)).filter((name) => pattern.test(name)).sort();
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT') return [];
    throw diskError(error, folder);
  }
}
