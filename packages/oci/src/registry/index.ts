/** The registry client, its credentials, and the network of one command. */

export { RegistryClient, RepositoryClient } from './client.ts';
export { type Network, type NetworkSettings, openNetwork } from './network.ts';
