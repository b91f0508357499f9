/** Registry client. */
export { RegistryClient } from './client.ts';
export type { Credential } from './credential.ts';
export type { RepositoryClient } from './repository.ts';
export type { RegistryOptions } from './session.ts';
