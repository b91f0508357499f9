/** Packing a store onto media, and verifying what is there. */
export { type BundleReport, bundle, bundleFrom } from './bundle.ts';
export type { BundleOptions } from './bundle-options.ts';
export { refuseInStore } from './bundling.ts';
export { consumingInto } from './consume.ts';
export { type DiffReport, diff } from './diff.ts';
export { type Inspection, inspectBundle, inspectStore, isSigned, type StoreInspection } from './inspect.ts';
export { keygen } from './keygen.ts';
export { type StoreCheck, verifyStore } from './verify-store.ts';
export { formatVolumeRange } from './volume-range.ts';
export { parseVolumeSize } from './volume-size.ts';
