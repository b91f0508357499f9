/** Packing a store onto media, and verifying what is there. */
export { type BundleOptions, type BundleReport, bundle } from './bundle.ts';
export { type KeyPair, keygen } from './keygen.ts';
export { type StoreCheck, verifyStore } from './verify-store.ts';
export { defaultVolumeSize, parseVolumeSize } from './volume-size.ts';
