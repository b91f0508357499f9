/** OCI content: the model, the storage interfaces, the graph walk and the copy engine. */

export { Copier, type CopyEvent } from './copy.ts';
export { bytesOf, checkFinished, collect, collectVerified, verified } from './model/bytes.ts';
export { Annotation, type Descriptor, descriptorOf, isMediaType, plain } from './model/descriptor.ts';
export {
  type Digest,
  digestFromHex,
  digestOf,
  Hasher,
  hexOf,
  isDigest,
  isHex64,
  parseDigest,
} from './model/digest.ts';
export {
  childrenOf,
  fetchManifest,
  type ImageManifest,
  type IndexManifest,
  type Manifest,
  maxManifestBytes,
  parseManifest,
  referrerOf,
} from './model/manifest.ts';
export { isImageManifestType, isIndexType, isManifestType, MediaType } from './model/media-type.ts';
export {
  companionSuffixes,
  companionTag,
  formatReference,
  isRegistryHost,
  isRepository,
  isTag,
  parseReference,
  type Reference,
  subjectOfTag,
} from './model/reference.ts';
export { type CopyTally, type ItemState, noProgress, type Progress, tallying } from './progress.ts';
export type {
  Bytes,
  Fetcher,
  Located,
  Mounter,
  NameLister,
  OpenBytes,
  Piece,
  Presence,
  PushResult,
  RangeFetcher,
  ReadOnlyStorage,
  Resolver,
  Storage,
  Tagger,
} from './storage.ts';
export { contentKey, GraphBounds, graphOf, type SelectChild, type Visited, walk } from './walk.ts';
