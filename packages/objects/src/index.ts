/** Object stores: S3 over the HTTP gate, and folders. */

export type { NewObject, ObjectSink, ProbeStep, ReadBackMode, WantedObject } from './object-sink.ts';
export { checkObjectKey, StorageFull } from './object-sink.ts';
export {
  hostsOf,
  type ObjectStoreTarget,
  openBucket,
  openSink,
  parseObjectStore,
  plainHttpHostsOf,
} from './open-sink.ts';
export type { BucketObject, S3Bucket } from './s3-bucket.ts';
export type { S3Settings } from './s3-settings.ts';
