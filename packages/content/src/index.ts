/** OCI content: the model, the copy engine, the stores, the HTTP gate, the bundle format. */

export { allDone } from './all-done.ts';
export { bundleFolders } from './bundle/bundle-folders.ts';
export { bundleIdOf, checksumLines } from './bundle/bundle-id.ts';
export { mapOf } from './bundle/bundle-map.ts';
export * from './bundle/bundle-store.ts';
export * from './bundle/signature.ts';
export * from './bundle/verify-bundle.ts';
export { checkFrame, checkSmallContent, checkTrailer } from './bundle/volume-frame.ts';
export { VolumeMap, volumeName } from './bundle/volume-map.ts';
export { type BlobSize, type PlacedBlob, planVolumes, smallBlobLimit } from './bundle/volume-plan.ts';
export { VolumeVerifier } from './bundle/volume-verifier.ts';
export { hashVolume, type WrittenVolume, writeVolume } from './bundle/write-volume.ts';
export { byText } from './by-text.ts';
export * from './bytes.ts';
export * from './copy.ts';
export * from './descriptor.ts';
export * from './digest.ts';
export { ageInDays, checkBundleAge } from './documents/bundle-age.ts';
export * from './documents/bundle-document.ts';
export * from './documents/lock-document.ts';
export * from './documents/receipt-document.ts';
export { serializeDocument } from './documents/schema.ts';
export { type CountedSigner, countSigners, signerText } from './documents/verified.ts';
export * from './errors.ts';
export { BlockWriter } from './fs/block-writer.ts';
export { eachBlockDirect } from './fs/direct.ts';
export { diskError } from './fs/disk-error.ts';
export {
  ensureFolder,
  readSmallFile,
  removeAbandoned,
  syncFolder,
  temporaryIn,
  writeFileAtomic,
} from './fs/files.ts';
export { Journal } from './fs/journal.ts';
export { lockFile, removeAbandonedLock } from './fs/lock-file.ts';
export { eachBlock, fetchLocated, openForReading, readInto, readPieces, slicePieces } from './fs/pieces.ts';
export * from './graph.ts';
export { Html, html, htmlLines } from './html.ts';
export * from './http/index.ts';
export { Carried, consumedVolumes, recordConsumed } from './issued/carried.ts';
export {
  findIssued,
  forgetWithdrawn,
  type IssuedDocument,
  issuedFolder,
  issuedIds,
  readIssuedDocument,
  withdraw,
} from './issued/issued-documents.ts';
export { dropPending, type Pending, pendingBundles } from './issued/pending.ts';
export { planHash, planHashOf } from './issued/plan-hash.ts';
export { VolumeJournal } from './issued/volume-journal.ts';
export * from './json.ts';
export { type Removed, removeGarbage } from './layout/garbage.ts';
export { knownGraph } from './layout/known-graph.ts';
export { Layout } from './layout/layout.ts';
export { readLock, readWholeLock } from './layout/read-lock.ts';
export { beginWork } from './layout/work-mark.ts';
export * from './manifest.ts';
export * from './media-type.ts';
export * from './network.ts';
export * from './parse-descriptor.ts';
export * from './parse-digest.ts';
export * from './printable.ts';
export * from './progress.ts';
export * from './reference.ts';
export * from './registry/index.ts';
export { formatBytes } from './size-text.ts';
export * from './storage.ts';
export { formatTime } from './time-text.ts';
export { WorkQueue } from './work-queue.ts';
