/** For tests of this and other packages: stores' suites, generated content, servers that misbehave on demand. */
export { type TestBundleOptions, writeTestBundle } from './bundle.ts';
export { type GeneratedBlob, generatedBlob, generatedBytes, seededRandom } from './generated-blob.ts';
export {
  type BuiltManifest,
  buildManifest,
  type GeneratedGraph,
  type GraphOptions,
  generateGraph,
} from './graph.ts';
export { type HostileVolume, hostileThreats, hostileVolumes } from './hostile-volumes.ts';
export { type LoopbackServer, readBody, type SeenRequest, startHttpServer } from './http-server.ts';
export { MemoryStore } from './memory-store.ts';
export { type OpenedSink, objectSinkSuite, type TestedSink } from './object-sink-suite.ts';
export * from './registry-double.ts';
export { connectToDouble, type DoubleClient } from './registry-double-client.ts';
export * from './registry-double-kinds.ts';
export {
  type Ability,
  type Fill,
  type Opened,
  type ReadableStore,
  readableStorageSuite,
  writableStorageSuite,
} from './storage-suite.ts';
