/** Object stores: S3 over the HTTP gate, and folders. */

export type { NewObject, ObjectSink, ProbeStep, ReadBackMode, WantedObject } from './object-sink.ts';
export { checkObjectKey, StorageFull } from './object-sink.ts';
export {
  hostsOf,
  type ObjectStoreTarget,
  openSink,
  parseObjectStore,
  plainHttpHostsOf,
} from './open-sink.ts';
