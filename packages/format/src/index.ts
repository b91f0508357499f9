/** What lies on the media: bundle.json, volumes, signature, receipt; write, read, verify. */

export { type BundleSigner, BundleStore, type BundleTrust, bundleFolders } from './bundle-store.ts';
export {
  areSignatures,
  checkClaim,
  claimMediaType,
  claimOf,
  isSignedClaim,
  maxSignatures,
  objectOf,
  type SignedImage,
  signatureBytes,
  signatureManifest,
  signClaim,
  signedPayload,
  strictBase64,
} from './claim.ts';
export {
  type Accepted,
  acceptedOf,
  checkEquivocation,
  checkOrigin,
  checkRollback,
} from './documents/acceptance.ts';
export { ageInDays, checkBundleAge } from './documents/bundle-age.ts';
export {
  type BundleBase,
  type BundleDocument,
  type BundleRelies,
  type BundleRoot,
  bundleIdOf,
  bundleSchemaOf,
  checksumLines,
  documentName,
  isProgramFile,
  maxBundleDocumentBytes,
  parseBundleDocument,
  serializeBundleDocument,
  signatureName,
  signatureNames,
  sigstoreName,
} from './documents/bundle-document.ts';
export { type LoadRecord, parseLoadRecord } from './documents/load-record.ts';
export {
  type PlannedManifest,
  type PruneInputs,
  type PrunePlan,
  type PruneRecord,
  parsePrunePlan,
  parsePruneRecord,
} from './documents/prune-documents.ts';
export {
  parseReceiptDocument,
  type ReceiptDocument,
  serializeReceipt,
} from './documents/receipt-document.ts';
export {
  bytesSchema,
  descriptorSchema,
  digestSchema,
  manyOf,
  parseDocument,
  serializeDocument,
  textSchema,
  timeSchema,
} from './documents/schema.ts';
export { type CountedSigner, countSigners, signerText, verifiedSchema } from './documents/verified.ts';
export { Html, html, htmlLines } from './html.ts';
export {
  fingerprintOf,
  isSignedWith,
  maxSignatureBytes,
  parsePrivateKey,
  parsePublicKeys,
  signatureText,
  signBytes,
  verifyBytes,
} from './signature.ts';
export {
  checkSigstoreBundle,
  maxSigstoreBytes,
  type SignatureFile,
  sigstoreBundleOf,
  writeSignature,
} from './sigstore-bundle.ts';
export { type BundleCheck, type NamedDamage, verifyBundle, verifyFiles } from './verify-bundle.ts';
export { checkMemberHeader, checkSmallContent, checkTrailer } from './volumes/member-header.ts';
export {
  formatVolumeRange,
  mapOf,
  numberOfVolume,
  planHash,
  planHashOf,
  VolumeMap,
  volumeName,
  volumePrefix,
} from './volumes/volume-map.ts';
export { type BlobSize, type PlacedBlob, planVolumes, smallBlobLimit } from './volumes/volume-plan.ts';
export { VolumeVerifier } from './volumes/volume-verifier.ts';
export { hashVolume, type WrittenVolume, writeVolume } from './volumes/write-volume.ts';
