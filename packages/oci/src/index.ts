/** OCI content in motion: the storage interfaces, the walk over graphs, the copy engine. */

export { Copier, type CopyEvent } from './copy.ts';
export {
  formatPlatform,
  isOfPlatforms,
  normalizePlatform,
  type Platform,
  parsePlatform,
} from './model/platform.ts';
export {
  type CopyTally,
  type ItemState,
  noProgress,
  noteRetry,
  type Progress,
  tallying,
} from './progress.ts';
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
export { Transfers } from './transfers.ts';
export { contentKey, GraphBounds, graphOf, type SelectChild, type Visited, walk } from './walk.ts';
