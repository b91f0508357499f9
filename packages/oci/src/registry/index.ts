/** The registry client, its credentials, and the network of one command. */

export { RegistryClient, RepositoryClient } from './client.ts';
export { type Reclaiming, type RegistryKind, type RegistryRefusal, registryKinds } from './kinds.ts';
export { type Network, type NetworkSettings, openNetwork } from './network.ts';
export { shapesOf } from './shapes.ts';
export { TagRefused } from './tag.ts';
