/** The store on the connected host: its records beside the image layout. */

export { Carried, consumedVolumes, recordConsumed } from './carried.ts';
export { DownloadJournal } from './download-journal.ts';
export { openEgressLog, readEgressLog } from './egress-log.ts';
export { type GcReport, gc } from './gc.ts';
export {
  findIssued,
  forgetWithdrawn,
  type IssuedDocument,
  issuedFolder,
  issuedIds,
  readIssuedDocument,
  withdraw,
} from './issued-documents.ts';
export { type LockDocument, type LockedFile, type LockedItem, parseLockDocument } from './lock-document.ts';
export { nextOrigin, readOrigin } from './origin.ts';
export { pendingBundles } from './pending.ts';
export { planHash, planHashOf } from './plan-hash.ts';
export { readLock, readWholeLock } from './read-lock.ts';
export { VolumeJournal } from './volume-journal.ts';
export { beginWork } from './work-mark.ts';
export { writeLock } from './write-lock.ts';
