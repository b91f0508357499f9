/** A bundle that a store has issued: bundle.json with all that lies beside it on a medium but the volumes. */
import type { KeyObject } from 'node:crypto';
import { join } from 'node:path';
import { signatureName, signBytes, verifyBytes } from '@omni-airgap/format';
import { digestOf, hexOf } from '@omni-airgap/oci';
import { CodedError } from '@omni-airgap/oci/base';
import { readSmallFile, writeFileAtomic } from '@omni-airgap/oci/fs';
import { type IssuedDocument, issuedFolder, issuedIds, readIssuedDocument } from '@omni-airgap/store';

/** A small file of the bundle. */
export interface SmallFile {
  readonly name: string;
  readonly bytes: Uint8Array;
}

export interface Issued extends IssuedDocument {
  /** README.txt, report.html, and bundle.json.sig when it is signed. */
  readonly files: readonly SmallFile[];
}

const maxSmallFileBytes = 64 * 1024 * 1024;

/** Undefined when it, or what its bundle.json names, is not all there. @throws BAD_DOCUMENT, DISK */
export async function readIssued(store: string, id: string): Promise<Issued | undefined> {
  const issued = await readIssuedDocument(store, id);
  if (issued === undefined) return undefined;
  const files: SmallFile[] = [];
  for (const { name, sha256 } of issued.document.files) {
    const content = await readSmallFile(join(issuedFolder(store, id), name), maxSmallFileBytes);
    if (content === undefined || hexOf(digestOf(content)) !== sha256) return undefined;
    files.push({ name, bytes: content });
  }
  return { ...issued, files };
}

/** All bundles of a store, the newest first. @throws BAD_DOCUMENT, DISK */
export async function allIssued(store: string): Promise<readonly Issued[]> {
  const all: Issued[] = [];
  for (const id of await issuedIds(store)) {
    const issued = await readIssued(store, id);
    if (issued !== undefined) all.push(issued);
  }
  return all.sort((a, b) => b.document.sequence - a.document.sequence);
}

/** With the signature that it has, or, where that is not the key's, with a new one. @throws DISK */
export async function signed(store: string, issued: Issued, key: KeyObject | undefined): Promise<Issued> {
  const { bytes, files, document } = issued;
  const path = join(issuedFolder(store, document.id), signatureName);
  const before = await readSmallFile(path, 4096);
  const withFile = (signature: Uint8Array): Issued => ({
    ...issued,
    files: [...files, { name: signatureName, bytes: signature }],
  });
  if (key === undefined) return before === undefined ? issued : withFile(before);
  if (before !== undefined && isSignature(bytes, before, key)) return withFile(before);
  const signature = Buffer.from(signBytes(bytes, key));
  await writeFileAtomic(path, signature);
  return withFile(signature);
}

function isSignature(bytes: Uint8Array, signature: Uint8Array, key: KeyObject): boolean {
  try {
    verifyBytes(bytes, Buffer.from(signature).toString('latin1'), key, signatureName);
    return true;
  } catch (error) {
    if (!(error instanceof CodedError)) throw error;
    return false;
  }
}
