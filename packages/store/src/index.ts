/** The store on the connected host: its records beside the image layout. */

export type { Carried } from './carried.ts';
export type { DownloadJournal } from './download-journal.ts';
export { type EgressLog, readEgressLog } from './egress-log.ts';
export type { GcReport } from './garbage.ts';
export type {
  Issue,
  IssuedBundle,
  IssuedDocument,
  SmallFile,
} from './issued-bundles.ts';
export {
  type LockDocument,
  type LockedFile,
  type LockedItem,
  type LockedRange,
  lockedName,
  parseLockDocument,
} from './lock-document.ts';
export { Store } from './store.ts';
export type { VolumeJournal } from './volume-journal.ts';
