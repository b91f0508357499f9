/** Files: atomic writes, blocks, journals, locks. */

export { alignedBlockSize, giveAligned, takeAligned } from './aligned.ts';
export { BlockHasher } from './block-hasher.ts';
export { BlockWriter } from './block-writer.ts';
export { eachBlockDirect } from './direct.ts';
export { diskError, systemError } from './disk-error.ts';
export {
  ensureFolder,
  fileIdentity,
  freeBytes,
  readSmallFile,
  removeFile,
  removeTemporaries,
  syncFolder,
  writeFileAtomic,
  writeNewFile,
} from './files.ts';
export { Journal } from './journal.ts';
export {
  acquireLock,
  acquireReadLock,
  isLocked,
  type Lock,
  type LockMode,
  type LockOptions,
  type Unlocked,
} from './lock.ts';
export {
  checkOutput,
  checkOutputFolder,
  readInput,
  readNamedFile,
  textBytes,
  textOf,
  writeOutput,
} from './named-file.ts';
export { eachBlock, fetchLocated, openForReading, readInto, readPieces, slicePieces } from './pieces.ts';
export { Runs, runPattern } from './run.ts';
export { SyncedWriter } from './synced-writer.ts';
