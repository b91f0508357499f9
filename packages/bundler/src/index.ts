/** Packing a store onto media, and verifying what is there. */

export { namesInside } from './base.ts';
export type { BundleOptions } from './bundle.ts';
export { type BundleReport, bundle, bundleFrom, checkMedium } from './bundle.ts';
export { consumingInto } from './consumed.ts';
export { type DiffReport, diff } from './diff.ts';
export { type Inspection, inspectBundle, inspectStore, type StoreInspection } from './inspect.ts';
export { keygen } from './keygen.ts';
export { isSigned } from './medium.ts';
export { type Attachment, attachmentsText } from './report/attachments.ts';
export { changesText, foldedChanges } from './report/changes.ts';
export { extractSboms, type SbomReport, type SbomSource } from './sboms.ts';
export { type SignatureSource, type SignReport, signBundle } from './sign.ts';
export { readUnbundled, type Unbundled } from './unbundled.ts';
export { type StoreCheck, verifyStore } from './verify-store.ts';
export { parseVolumeSize } from './volume-flags.ts';
export { checkWithdraw } from './withdrawals.ts';
