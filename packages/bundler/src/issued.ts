/** Bundles that a store has issued: bundle.json with what belongs to it, in `bundles/<id>/`. */
import type { KeyObject } from 'node:crypto';
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import {
  type BundleDocument,
  CodedError,
  diskError,
  isHex64,
  maxBundleDocumentBytes,
  parseBundleDocument,
  readSmallFile,
  signBytes,
  verifyBytes,
  writeFileAtomic,
} from '@omni-airgap/content';
import type { SmallFile } from './medium.ts';
import { sha256Of } from './sha256.ts';

export interface Issued {
  readonly document: BundleDocument;
  /** bundle.json */
  readonly bytes: Uint8Array;
  /** README.txt, report.html, and bundle.json.sig when it is signed. */
  readonly files: readonly SmallFile[];
}

const maxSmallFileBytes = 64 * 1024 * 1024;
const signatureName = 'bundle.json.sig';

export function issuedFolder(store: string, id: string): string {
  return join(store, 'bundles', id);
}

/** Undefined when it, or what its bundle.json names, is not all there. @throws BAD_DOCUMENT, DISK */
export async function readIssued(store: string, id: string): Promise<Issued | undefined> {
  const folder = issuedFolder(store, id);
  const path = join(folder, 'bundle.json');
  const bytes = await readSmallFile(path, maxBundleDocumentBytes);
  if (bytes === undefined) return undefined;
  const document = parseBundleDocument(bytes, path);
  const files: SmallFile[] = [];
  for (const { name, sha256 } of document.files) {
    const content = await readSmallFile(join(folder, name), maxSmallFileBytes);
    if (content === undefined || sha256Of(content) !== sha256) return undefined;
    files.push({ name, bytes: content });
  }
  return { document, bytes, files };
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

/** Takes a bundle back that says of damaged content that it is right. @throws DISK */
export async function withdraw(store: string, id: string): Promise<void> {
  const path = join(issuedFolder(store, id), 'bundle.json');
  await rm(path, { force: true }).catch((error: unknown) => {
    throw diskError(error, path);
  });
}

async function issuedIds(store: string): Promise<readonly string[]> {
  return (await readdir(join(store, 'bundles')).catch(() => [])).filter(isHex64);
}

/**
 * @param text its id, or how that begins (8 characters at least)
 * @param flag for messages
 * @throws NO_INPUT, USAGE when several begin so
 */
export async function findIssued(store: string, text: string, flag: string): Promise<string> {
  const found = (await issuedIds(store)).filter((id) => id.startsWith(text));
  const [id] = found;
  if (id === undefined) {
    throw new CodedError('NO_INPUT', `${flag} ${text}: ${store} has issued no such bundle`);
  }
  if (found.length > 1)
    throw new CodedError('USAGE', `${flag} ${text}: ${found.length} bundles begin so; write more of it`);
  return id;
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
