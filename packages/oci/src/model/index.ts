/** The content model: digests, descriptors, manifests, references, and the bytes they name. */

export { bytesOf, checkFinished, collect, collectVerified, openerOf, verified } from './bytes.ts';
export { Annotation, type Descriptor, descriptorOf, isMediaType, plain } from './descriptor.ts';
export {
  type Digest,
  digestFromHex,
  digestOf,
  Hasher,
  hexOf,
  isDigest,
  isHex64,
  parseDigest,
} from './digest.ts';
export {
  childrenOf,
  fetchManifest,
  type ImageManifest,
  type IndexManifest,
  type Manifest,
  maxManifestBytes,
  parseManifest,
  platformOfImage,
  referrerOf,
} from './manifest.ts';
export { isForeignLayerType, isIndexType, isManifestType, MediaType } from './media-type.ts';
export {
  companionSuffixes,
  companionTag,
  formatReference,
  isRegistryHost,
  isRepository,
  isSignatureTag,
  isTag,
  parseReference,
  type Reference,
  subjectOfTag,
} from './reference.ts';
