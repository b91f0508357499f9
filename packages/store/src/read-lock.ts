/** lock.json of a store, read. */
import { join } from 'node:path';
import { CodedError } from '@omni-airgap/oci/base';
import { readSmallFile } from '@omni-airgap/oci/fs';
import { type LockDocument, maxLockBytes, parseLockDocument } from './lock-document.ts';

/** Undefined when nothing was ever fetched into this store. @throws BAD_DOCUMENT, DISK */
export async function readLock(store: string): Promise<LockDocument | undefined> {
  const path = join(store, 'lock.json');
  const bytes = await readSmallFile(path, maxLockBytes);
  return bytes === undefined ? undefined : parseLockDocument(bytes, path);
}

/** For what needs a store that is as mirror.yaml says. @throws NO_INPUT, INCOMPLETE; BAD_DOCUMENT, DISK */
export async function readWholeLock(store: string): Promise<LockDocument> {
  const lock = await readLock(store);
  if (lock === undefined) {
    throw new CodedError('NO_INPUT', `${join(store, 'lock.json')}: not there; run omni-airgap fetch first`);
  }
  if (lock.missing.length > 0) {
    throw new CodedError(
      'INCOMPLETE',
      `${store}: the last fetch could not bring ${lock.missing.length} item(s), ${lock.missing[0]} among them; run it again first`,
    );
  }
  return lock;
}
