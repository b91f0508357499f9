/** Serves content inside: an OCI registry over a store or a bundle. */
export type { AccessEntry } from './http/server.ts';
export type { Unreachable } from './registry/catalog.ts';
export { createServer, type Server, type ServerOptions } from './server.ts';
export type { ContentSource, WritableSource } from './source.ts';
