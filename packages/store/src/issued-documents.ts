/**
 * The bundles that a store has issued: `bundles/<id>/bundle.json`, from which media are written. One that was taken
 * back is `withdrawn.json` there: no media are made of it any more, but content may have left the store with some.
 */
import { readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import {
  type BundleDocument,
  documentName,
  maxBundleDocumentBytes,
  parseBundleDocument,
} from '@omni-airgap/format';
import { isHex64 } from '@omni-airgap/oci';
import { CodedError, systemCodeOf } from '@omni-airgap/oci/base';
import { diskError, readSmallFile, syncFolder } from '@omni-airgap/oci/fs';

export interface IssuedDocument {
  readonly document: BundleDocument;
  /** bundle.json */
  readonly bytes: Uint8Array;
}

/** Folder of what a store knows of one bundle. */
export function issuedFolder(store: string, id: string): string {
  return join(store, 'bundles', id);
}

/** Ids of all bundles that a store knows of, those that it took back among them. @throws DISK */
export async function issuedIds(store: string): Promise<readonly string[]> {
  const folder = join(store, 'bundles');
  try {
    return (await readdir(folder)).filter(isHex64);
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes(systemCodeOf(error) ?? '')) return [];
    throw diskError(error, folder);
  }
}

/** Undefined for a bundle that is not issued, or not any more. @throws BAD_DOCUMENT, DISK */
export function readIssuedDocument(store: string, id: string): Promise<IssuedDocument | undefined> {
  return read(join(issuedFolder(store, id), documentName));
}

/** Undefined for a bundle that was never taken back. @throws BAD_DOCUMENT, DISK */
export function readWithdrawnDocument(store: string, id: string): Promise<IssuedDocument | undefined> {
  return read(withdrawnPath(store, id));
}

/** Takes a bundle back. What left the store with it stays on record. @throws DISK */
export async function withdraw(store: string, id: string): Promise<void> {
  const folder = issuedFolder(store, id);
  try {
    await rename(join(folder, documentName), withdrawnPath(store, id));
    await syncFolder(folder);
  } catch (error) {
    if (systemCodeOf(error) !== 'ENOENT') throw diskError(error, folder);
  }
}

/** For a bundle that is issued again: it was not taken back. @throws DISK */
export async function forgetWithdrawn(store: string, id: string): Promise<void> {
  const path = withdrawnPath(store, id);
  await rm(path, { force: true }).catch((error: unknown) => {
    throw diskError(error, path);
  });
}

/**
 * @param text an id, or how it begins (8 characters at least)
 * @param flag for messages
 * @returns the id of a bundle that a store knows of, issued or taken back
 * @throws NO_INPUT, USAGE when several begin so
 */
export async function findKnown(store: string, text: string, flag: string): Promise<string> {
  const found = (await issuedIds(store)).filter((id) => id.startsWith(text));
  const [id] = found;
  if (id === undefined || text.length < 8) {
    throw new CodedError('NO_INPUT', `${flag} ${text}: ${store} has issued no such bundle`);
  }
  if (found.length > 1) {
    throw new CodedError('USAGE', `${flag} ${text}: ${found.length} bundles begin so; write more of it`);
  }
  return id;
}

/** As findKnown, for bundles that still are issued. @throws NO_INPUT, USAGE; DISK */
export async function findIssued(store: string, text: string, flag: string): Promise<string> {
  const id = await findKnown(store, text, flag);
  const folder = issuedFolder(store, id);
  const names = await readdir(folder).catch((error: unknown) => {
    throw diskError(error, folder);
  });
  if (names.includes(documentName)) return id;
  throw new CodedError(
    'NO_INPUT',
    names.includes('withdrawn.json')
      ? `${flag} ${text}: this bundle was taken back (its store was damaged) or was let go (gc --drop-issued); make a new one`
      : `${flag} ${text}: ${folder} has no bundle.json; restore it from a backup, or make a new bundle`,
  );
}

function withdrawnPath(store: string, id: string): string {
  return join(issuedFolder(store, id), 'withdrawn.json');
}

async function read(path: string): Promise<IssuedDocument | undefined> {
  const bytes = await readSmallFile(path, maxBundleDocumentBytes);
  return bytes === undefined ? undefined : { document: parseBundleDocument(bytes, path), bytes };
}
