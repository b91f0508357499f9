/** Serves content inside: an OCI registry, an Image Factory that builds nothing, and a page over a store or a bundle. */

export type { AccessOptions } from './access/access.ts';
export type { AttemptLimits } from './access/attempts.ts';
export { type LogIns, maxHtpasswdBytes, parseHtpasswd } from './access/htpasswd.ts';
export { minKeyBytes } from './access/tokens.ts';
export type { Backend } from './backend.ts';
export type { Provenance } from './bundles.ts';
export { type OpenedBundles, openBundles } from './bundles.ts';
export type { Health } from './health.ts';
export type { AccessEntry, TlsOptions } from './http/server.ts';
export type { Unreachable } from './registry/catalog.ts';
export { openReplica, type ReplicaOptions } from './replica/replica.ts';
export { stateKeyBytes } from './replica/sealing.ts';
export { createServer, type Server, type ServerOptions } from './server.ts';
export type { ContentSource, WritableSource } from './source.ts';
export { publicText, schematicsWithoutText, wantsFragment } from './wishes/fragment.ts';
export type { Wish } from './wishes/wish.ts';
export { maxWantsBytes, parseWants, wantsFile } from './wishes/wish-list.ts';
export type { WantsDocument } from './wishes/wishes.ts';
