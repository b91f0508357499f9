/** For tests of this and other packages: suites of stores, generated content, servers that misbehave on demand. */

export { generatedBlob, generatedBytes, seededRandom } from './generated-blob.ts';
export { type BuiltManifest, buildManifest, generateGraph } from './graph.ts';
export { growthOf, linearGrowth } from './growth.ts';
export { type LoopbackServer, readBody, startHttpServer } from './http-server.ts';
export { MemoryStore } from './memory-store.ts';
export { RepositoryDouble } from './registry/content.ts';
export { type RegistryDouble, type RegistryDoubleOptions, startRegistryDouble } from './registry/double.ts';
export type { Fault } from './registry/faults.ts';
export { artifactory, gitlab, harbor, lying, quay, zot } from './registry/kinds.ts';
export { run, skipWithout } from './run.ts';
export { readableStorageSuite } from './storage-suite.ts';
export { temporaryFolder, temporaryLayout } from './temporary.ts';
